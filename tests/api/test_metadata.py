"""What is told of an image, and that every image is picked at random equally often."""

import random
import re
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from config import Settings
from db import build_engine, build_sessions
from devstack.databases import connection
from repositories.images import RandomImages
from tests.support import pictures
from tests.support.uploads import on_sqlite, problem, upload

FIELDS = [
    *("name", "size_bytes", "extension", "last_updated_at"),
    *("content_type", "sha256", "width", "height", "created_at", "variants"),
]
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?(Z|\+00:00)")
# Dense, sparse, and so sparse that drawing ids finds nothing in most rounds.
IDS = [1, 2, 3, 40, 41, 100, 1000, 1500]
DRAWS = 800
# Chi-square with 7 degrees of freedom exceeds this once in 10 million times.
CRITICAL = 43.8


def test_shape(client: TestClient) -> None:
    """Uploading, describing and picking show the same fields, in order, and no others."""
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


def test_random_is_uniform(client: TestClient, settings: Settings) -> None:
    """With gaps between the ids, every image is picked with the same probability."""
    for number in IDS:
        upload(client, pictures.png(2, 2), name=str(number)).raise_for_status()
    with connection(settings.db_url) as db:
        db.execute(text("UPDATE images SET id = id + 1000000"))  # out of the way
        for number in IDS:
            renumber = text("UPDATE images SET id = :id WHERE name = :name")
            db.execute(renumber, {"id": number, "name": str(number)})
    random.seed(4)  # the service draws from here
    engine = build_engine(settings)
    session = build_sessions(engine)()
    images = RandomImages()
    drawn = [images.pick(session) for _ in range(DRAWS)]
    engine.dispose()
    counts = Counter(image.name for image in drawn if image)
    assert counts.total() == DRAWS
    expected = DRAWS / len(IDS)
    assert sum((counts[str(n)] - expected) ** 2 / expected for n in IDS) < CRITICAL, counts
    picked = {client.get("/images/random/metadata").json()["name"] for _ in range(60)}
    assert len(picked) > 4
    assert picked <= set(counts)


def test_random_of_none(client: TestClient) -> None:
    """Without images nothing is picked: 404, also when the last one has been deleted."""
    problem(client.get("/images/random/metadata"), 404, "image_not_found")
    upload(client, pictures.png()).raise_for_status()
    assert client.get("/images/random/metadata").json()["name"] == "a"
    client.delete("/images/a").raise_for_status()
    problem(client.get("/images/random/metadata"), 404, "image_not_found")


@on_sqlite
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_missing(client: TestClient, method: str) -> None:
    """Nothing is told of an image that does not exist."""
    answer = client.request(method, "/images/none/metadata")
    assert answer.status_code == 404
    if method == "GET":
        problem(answer, 404, "image_not_found")
