"""Metadata of an image, and of a random one."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from devstack.service_process import ROOT
from schemas import ImageMetadata
from services.image_store import ImageRecord
from tests.support import pictures
from tests.support.uploads import on_sqlite, problem, upload
from web.addresses import Addresses
from web.metadata_response import image_json, list_json

FIELDS = [
    *("name", "size_bytes", "extension", "last_updated_at"),
    *("content_type", "sha256", "width", "height", "created_at", "url", "variants"),
]
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?(Z|\+00:00)")


def test_shape(client: TestClient) -> None:
    """Upload, metadata and random image return the same fields in the same order."""
    before = datetime.now(UTC)
    uploaded = upload(client, pictures.jpeg(30, 20), "a.jpeg")
    after = datetime.now(UTC)
    described = client.get("/images/a/metadata")
    picked = client.get("/images/random/metadata")
    assert uploaded.text == described.text == picked.text
    for answer in (uploaded, described, picked):
        assert answer.headers["Content-Type"] == "application/json"
    assert list(described.json()) == FIELDS
    assert (described.json()["width"], described.json()["height"]) == (30, 20)
    for field in ("created_at", "last_updated_at"):
        assert MOMENT.fullmatch(described.json()[field])
        moment = datetime.fromisoformat(described.json()[field])
        assert before - timedelta(seconds=1) <= moment <= after + timedelta(seconds=1)


@pytest.mark.parametrize("variants", [(), ("320", "64x48-crop")])
def test_rendering(variants: tuple[str, ...]) -> None:
    """Each image lists its own addresses, whatever characters name and prefix contain."""
    moment = datetime.now(UTC)
    names = ['"variants":0', "50%", "\\u0000", "{}", "a b&c?#", "é"]
    images = [
        ImageRecord(1, name, 5, "jpg", "image/jpeg", "0" * 64, 3, 2, "key", moment, moment)
        for name in names
    ]
    addresses = Addresses('/pre"fix', variants, ("jpg",))
    page = json.loads(list_json(images, addresses, "cursor"))
    assert page["next_cursor"] == "cursor"
    assert [image["name"] for image in page["images"]] == names
    for image, document in zip(images, page["images"], strict=True):
        path = f'/pre"fix/images/{quote(image.name, safe="")}'
        assert document["url"] == f"{path}?v={16 * '0'}"
        assert list(document["variants"]) == list(variants)
        for variant, address in document["variants"].items():
            assert address == str(addresses.variant(image, variant))
            assert address.startswith(f"{path}/variants/{variant}?v={16 * '0'}")
        rendered = image_json(image, addresses)
        assert document == json.loads(rendered)
        assert ImageMetadata.model_validate(document).created_at == moment
        page = list_json([image], addresses, None)
        assert page == b'{"images":[' + rendered + b'],"next_cursor":null}'
    assert json.loads(list_json([], addresses, None)) == {"images": [], "next_cursor": None}


EDITED = """
import json, pathlib, sys, types
from datetime import UTC, datetime

source = pathlib.Path("schemas.py").read_text()
edited = source.replace("    name: Annotated", "    s3_key: str\\n    name: Annotated", 1)
sys.modules["schemas"] = schemas = types.ModuleType("schemas")
exec(compile(edited, "schemas.py", "exec"), schemas.__dict__)

from services.image_store import ImageRecord
from web.addresses import Addresses
from web.metadata_response import image_json, list_json

now = datetime.now(UTC)
image = ImageRecord(1, "a", 5, "jpg", "image/jpeg", "0" * 64, 3, 2, "the-key", now, now)
addresses = Addresses("", (), ())
print(json.loads(image_json(image, addresses))["s3_key"])
print(json.loads(list_json([image], addresses, None))["images"][0]["s3_key"])
"""


def test_the_schema_decides() -> None:
    """A field that is added to the schema appears in the metadata and in pages."""
    command = [sys.executable, "-c", EDITED]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["the-key", "the-key"]


def test_random_of_none(client: TestClient) -> None:
    """Without images the random image is 404, even after the last image was deleted."""
    problem(client.get("/images/random/metadata"), 404, "image_not_found")
    upload(client, pictures.png()).raise_for_status()
    assert client.get("/images/random/metadata").json()["name"] == "a"
    client.delete("/images/a").raise_for_status()
    problem(client.get("/images/random/metadata"), 404, "image_not_found")


@on_sqlite
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_missing(client: TestClient, method: str) -> None:
    """Metadata of a missing image is 404."""
    answer = client.request(method, "/images/none/metadata")
    assert answer.status_code == 404
    if method == "GET":
        problem(answer, 404, "image_not_found")
