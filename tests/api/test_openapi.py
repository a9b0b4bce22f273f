"""The OpenAPI document says what the service does: judged by clients and testers made from it."""

import importlib
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.support.metered_service import MeteredService
from tests.support.pictures import png

if TYPE_CHECKING:
    pass

PICTURE = png(seed=1)
MESSAGE = {"date", "server", "content-type", "content-length"}  # OpenAPI has no words for these
PROGRAMS = Path(sys.executable).parent


@pytest.fixture(scope="module")
def document(metered: MeteredService) -> dict[str, Any]:
    """Return the OpenAPI document."""
    answer: dict[str, Any] = metered.client.get("/openapi.json").json()
    return answer


# A client made by openapi-python-client.


@pytest.fixture(scope="module")
def generated(
    metered: MeteredService, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ModuleType]:
    """Return the package that openapi-python-client makes, without a warning, of the document."""
    folder = tmp_path_factory.mktemp("generated")
    # The generator asks to be told which media types are files; and not to look for ruff.
    kinds = ("image/jpeg", "image/png", "image/gif", "image/webp")
    overrides = dict.fromkeys(kinds, "application/octet-stream")
    config = folder / "config.json"
    config.write_text(json.dumps({"content_type_overrides": overrides, "post_hooks": []}))
    url = f"{metered.process.base_url}/openapi.json"
    command = [str(PROGRAMS / "openapi-python-client"), "generate", "--url", url]
    options = ["--meta", "none", "--config", str(config), "--fail-on-warning"]
    target = folder / "generated_client"
    made = subprocess.run(
        [*command, *options, "--output-path", str(target)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield importlib.import_module(target.name)


def test_generated_client(metered: MeteredService, generated: ModuleType) -> None:
    """A generated client uploads, describes, lists, downloads, asks conditionally and deletes."""

    def part(name: str) -> Any:
        return importlib.import_module(f"{generated.__name__}.{name}")

    images, models, types = "api.images.", part("models"), part("types")
    with generated.Client(base_url=metered.process.base_url) as client:
        file = types.File(payload=io.BytesIO(PICTURE), file_name="f.png", mime_type="image/png")
        body = models.UploadImageBody(file=file, name="generated")
        uploaded = part(images + "upload_image").sync_detailed(client=client, body=body)
        assert (uploaded.status_code, uploaded.parsed.name) == (201, "generated")
        described = part(images + "describe_image").sync("generated", client=client)
        assert described == uploaded.parsed
        listed = part(images + "list_images").sync(client=client, prefix="gen")
        assert (listed.images, listed.next_cursor) == ([described], None)
        download = part(images + "download_image")
        assert download.sync("generated", client=client).payload.read() == PICTURE
        some = download.sync_detailed("generated", client=client, range_="bytes=0-3")
        assert (some.status_code, some.parsed.payload.read()) == (206, PICTURE[:4])
        etag = uploaded.headers["etag"]
        seen = download.sync_detailed("generated", client=client, if_none_match=etag)
        assert seen.status_code == 304
        missing = part(images + "download_image").sync("none", client=client)
        assert isinstance(missing, models.Problem)
        assert missing.code == "image_not_found"
        deleted = part(images + "delete_image").sync("generated", client=client)
        assert deleted.deleted is True


# Schemathesis.


def test_schemathesis(metered: MeteredService, tmp_path: Path) -> None:
    """Hundreds of made-up requests meet no 5xx and nothing that the document does not say."""
    metered.upload("made-up", PICTURE)
    config = tmp_path / "schemathesis.toml"
    config.write_text('[parameters]\nname = "made-up"\n')  # so that some requests find an image
    command = [str(PROGRAMS / "schemathesis"), "--config-file", str(config), "run"]
    # A valid Range can be refused, and a valid condition be false.
    checks = ["--checks", "all", "--exclude-checks", "positive_data_acceptance"]
    bounds = ["--max-examples", "15", "--seed", "1", "--continue-on-failure", "--no-shrink"]
    url = f"{metered.process.base_url}/openapi.json"
    run = subprocess.run(
        [*command, url, *checks, *bounds],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
    )
    assert run.returncode == 0, run.stdout[-8000:]
    lines = [json.loads(line) for line in metered.process.log().splitlines() if line[:1] == "{"]
    seen = {(line["method"], line["status"]) for line in lines if "route" in line}
    assert not {status for _, status in seen if status >= 500}
    assert seen >= {("POST", 200), ("GET", 200), ("GET", 206), ("GET", 412), ("GET", 404)}


# Our own look at it.


def exchanges(metered: MeteredService) -> Iterator[tuple[str, str, httpx.Response]]:
    """Yield an answer of every kind, after the path and method in the document that say it."""
    path, name = metered.image(PICTURE), "made-up"
    head = metered.send("HEAD", path)
    etag, last = head.headers["etag"], head.headers["last-modified"]
    template, send = "/images/{name}", metered.send
    yield template, "get", send("GET", path)
    yield template, "get", send("GET", path, [("Range", "bytes=0-3")])
    yield template, "get", send("GET", path, [("Range", "bytes=99999-")])
    yield template, "get", send("GET", path, [("If-None-Match", etag)])
    yield template, "get", send("GET", path, [("If-Match", '"other"')])
    yield template, "get", send("GET", f"{path}?redirect=true")
    yield template, "get", send("GET", f"{path}?disposition=x")
    yield template, "get", send("GET", "/images/none")
    yield template, "get", send("GET", "/images/%FF")
    yield f"{template}/metadata", "get", send("GET", f"{path}/metadata")
    yield f"{template}/metadata", "get", send("GET", f"{path}/metadata", [("If-Match", '"x"')])
    since = [("If-Modified-Since", last)]
    yield f"{template}/metadata", "get", send("GET", f"{path}/metadata", since)
    yield "/images", "get", send("GET", "/images?limit=1")
    yield "/images", "get", send("GET", "/images?limit=0")
    yield "/images", "get", send("GET", "/images?cursor=x")
    yield "/images/random/metadata", "get", send("GET", "/images/random/metadata")
    yield "/images", "post", metered.upload(name, png(seed=2))
    yield "/images", "post", metered.upload(name, png(seed=3))
    yield "/images", "post", metered.upload(name, png(seed=3))
    yield "/images", "post", metered.upload(name, PICTURE, [("If-None-Match", "*")])
    yield "/images", "post", metered.upload(name, b"no picture")
    yield "/images", "post", metered.upload(name, PICTURE, [("Content-Digest", "sha-256=:AA==:")])
    yield template, "delete", send("DELETE", path, [("If-Match", '"other"')])
    yield template, "delete", send("DELETE", path)
    yield template, "delete", send("DELETE", path)
    yield "/health/live", "get", send("GET", "/health/live")
    yield "/health/ready", "get", send("GET", "/health/ready")


def test_statuses(metered: MeteredService, document: dict[str, Any]) -> None:
    """Every status that the service sends is in the document, with the type of its body."""
    for path, method, answer in exchanges(metered):
        said = document["paths"][path][method]["responses"].get(str(answer.status_code))
        assert said, f"{method} {path} {answer.status_code}"
        if answer.content:
            assert answer.headers["content-type"] in said["content"]


def test_headers(metered: MeteredService, document: dict[str, Any]) -> None:
    """Every header field that the service sends is in the document."""
    missing = set()
    for path, method, answer in exchanges(metered):
        said = document["paths"][path][method]["responses"][str(answer.status_code)]
        headers = {header.lower() for header in said.get("headers", {})}
        where = f"{method} {path} {answer.status_code}"
        missing |= {(name, where) for name in {*answer.headers} - headers - MESSAGE}
    assert not missing, "\n".join(map(str, sorted(missing)))


def test_every_operation_is_documented(document: dict[str, Any]) -> None:
    """Operations have summaries, descriptions of all answers and parameters, and examples."""
    operations = [entry for path in document["paths"].values() for entry in path.values()]
    assert len(operations) == 9
    for operation in operations:
        assert operation["summary"]
        for parameter in operation.get("parameters", []):
            assert parameter["description"]
        for said in operation["responses"].values():
            assert said["description"]
    schemas = document["components"]["schemas"]
    assert schemas["ImageMetadata"]["examples"]
    for name in ("Problem", "Deleted"):
        fields = schemas[name]["properties"].values()
        assert [field for field in fields if "examples" in field]


def test_binary_fields(document: dict[str, Any]) -> None:
    """What Swagger UI and generators need to offer a file to choose, and one to save, is said."""
    form = document["paths"]["/images"]["post"]["requestBody"]["content"]["multipart/form-data"]
    file = form["schema"]["properties"]["file"]
    assert (file["type"], file["format"]) == ("string", "binary")
    for status in ("200", "206"):
        content = document["paths"]["/images/{name}"]["get"]["responses"][status]["content"]
        assert set(content) >= {"image/jpeg", "image/png", "image/gif", "image/webp"}
        assert all(kind["schema"]["format"] == "binary" for kind in content.values())
