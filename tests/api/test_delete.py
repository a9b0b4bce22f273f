"""DELETE removes row and object and frees the name."""

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from fastapi.testclient import TestClient

from config import Settings
from devstack.waiting import wait_until
from tests.support import pictures
from tests.support.uploads import count, on_sqlite, problem, serving, upload

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def keys(s3: "S3Client", bucket: str) -> list[str]:
    """Return the keys of the objects in a bucket."""
    return [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def test_delete(client: TestClient, settings: Settings, s3: "S3Client") -> None:
    """DELETE removes row, object and journal entry of that image only."""
    for name in ("a", "b"):
        upload(client, pictures.png(), name=name).raise_for_status()
    answer = client.delete("/images/a")
    assert (answer.status_code, answer.json()) == (200, {"name": "a", "deleted": True})
    problem(client.get("/images/a"), 404, "image_not_found")
    problem(client.get("/images/a/metadata"), 404, "image_not_found")
    problem(client.delete("/images/a"), 404, "image_not_found")
    assert client.get("/images/b").content == pictures.png()
    (kept,) = keys(s3, settings.aws_s3_bucket)
    assert kept.startswith("b-")
    assert (count(settings, "images"), count(settings, "pending_objects")) == (1, 0)


@on_sqlite
def test_name_is_free(client: TestClient) -> None:
    """A deleted name can be used again; its image is new, with a new creation time."""
    first = upload(client, pictures.png(), "a.png").json()
    client.delete("/images/a").raise_for_status()
    second = upload(client, pictures.png(), "a.png")
    assert second.status_code == 201
    assert second.json()["created_at"] > first["last_updated_at"]
    assert client.get("/images/a").content == pictures.png()


def test_only_one_deletes(settings: Settings) -> None:
    """Of many concurrent deletes one answers 200 and the others 404."""
    with serving(settings) as client, ThreadPoolExecutor(8) as threads:
        for _ in range(3):
            upload(client, pictures.png(), "a.png").raise_for_status()
            answers = list(threads.map(client.delete, ["/images/a"] * 8))
            assert sorted(answer.status_code for answer in answers) == [200] + [404] * 7
    assert count(settings, "images") == 0


@on_sqlite
def test_storage_down(settings: Settings, s3: "S3Client") -> None:
    """While S3 is down an image is still deleted; the journal keeps its object's key."""
    with serving(settings) as client:
        upload(client, pictures.png(), "a.png").raise_for_status()
    nowhere = {"aws_endpoint_url_s3": "http://127.0.0.1:1", "s3_max_attempts": 1}
    with serving(settings, **nowhere) as client:
        assert client.delete("/images/a").json() == {"name": "a", "deleted": True}
        problem(client.get("/images/a"), 404, "image_not_found")
        wait_until(
            lambda: count(settings, "pending_objects") == 1, timeout=5, what="the journal entry"
        )
    assert len(keys(s3, settings.aws_s3_bucket)) == 1
