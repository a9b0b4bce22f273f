"""The same picture, smaller: which there are, how they are answered, and none is ever stale."""

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from sqlalchemy import text

from config import Settings
from devstack.databases import connection
from devstack.service_process import ServiceProcess
from errors import StorageUnavailableError
from resources import Resources
from s3_client import Bucket
from tests.support.pictures import jpeg, noise_png
from tests.support.uploads import count, on_sqlite, problem, serving, upload

WIDE, HIGH = jpeg(800, 400, seed=1), jpeg(400, 800, seed=2)


def opened(answer: httpx.Response) -> Image.Image:
    """Return the picture of an answer."""
    assert answer.status_code == 200, answer.text
    return Image.open(io.BytesIO(answer.content))


def variant_keys(settings: Settings) -> set[str]:
    """Return the keys of the stored variants."""
    with connection(settings.db_url) as db:
        return set(db.scalars(text("SELECT s3_key FROM variants")))


@contextmanager
def resources(settings: Settings) -> Iterator[Resources]:
    """Open what the service works with, without patience for what is to be deleted."""
    with Resources.open(settings.model_copy(update={"upload_grace_seconds": 0})) as opened_ones:
        yield opened_ones


def test_made_once(client: TestClient, settings: Settings) -> None:
    """A variant is made at the first request and stored; the second finds it."""
    assert upload(client, WIDE, "a.jpg").status_code == 201
    first, second = (client.get("/images/a/variants/320") for _ in range(2))
    assert opened(first).size == (320, 160)
    assert first.content == second.content
    assert (
        first.headers["ETag"] == second.headers["ETag"] != client.get("/images/a").headers["ETag"]
    )
    assert count(settings, "variants") == 1
    assert count(settings, "pending_objects") == 0


@on_sqlite
@pytest.mark.parametrize(
    ("variant", "size", "kind"),
    [
        ("160", (160, 80), "JPEG"),
        ("1280", (800, 400), "JPEG"),
        ("320x320-crop", (320, 320), "JPEG"),
        ("320.png", (320, 160), "PNG"),
        ("320.webp", (320, 160), "WEBP"),
    ],
)
def test_offered(client: TestClient, variant: str, size: tuple[int, int], kind: str) -> None:
    """Each that is offered has its size, never a larger one than the original, and its kind."""
    upload(client, WIDE, "a.jpg")
    answer = client.get(f"/images/a/variants/{variant}")
    picture = opened(answer)
    assert (picture.size, picture.format) == (size, kind)
    assert answer.headers["Content-Type"] == f"image/{kind.lower()}"
    assert ("Accept" in answer.headers.get("Vary", "")) is ("." not in variant)


@on_sqlite
@pytest.mark.parametrize(
    "variant",
    ["321", "0320", "320x320", "320.gif", "320.avif", "320.", "320.jpg.png", "-1", "crop", "320X1"],
)
def test_not_offered(client: TestClient, settings: Settings, variant: str) -> None:
    """Everything else is 404, and makes nothing."""
    upload(client, WIDE, "a.jpg")
    problem(client.get(f"/images/a/variants/{variant}"), 404, "variant_not_found")
    assert count(settings, "variants") == 0


@on_sqlite
def test_no_such_image(client: TestClient) -> None:
    """No image has no variants."""
    problem(client.get("/images/none/variants/320"), 404, "image_not_found")


@on_sqlite
@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("image/webp,*/*", "image/webp"),
        ("text/html, image/webp;q=0.1", "image/webp"),
        ("image/webp;q=0, image/*", "image/png"),
        ("image/*", "image/png"),
        ("", "image/png"),
    ],
)
def test_accept(client: TestClient, accept: str, kind: str) -> None:
    """WebP for those that name it, the image's own kind for all others, and caches are told."""
    upload(client, noise_png(10_000), "a.png")
    answer = client.get("/images/a/variants/160", headers={"Accept": accept})
    assert answer.headers["Content-Type"] == kind
    again = {"Accept": accept, "If-None-Match": answer.headers["ETag"]}
    unchanged = client.get("/images/a/variants/160", headers=again)
    assert unchanged.status_code == 304
    assert "Accept" in answer.headers["Vary"] == unchanged.headers["Vary"]


@on_sqlite
def test_delivery(client: TestClient) -> None:
    """HEAD, ranges, conditions, file names and redirects are those of downloads."""
    upload(client, WIDE, "a.jpg")
    path = "/images/a/variants/320.webp"
    whole, head = client.get(path), client.head(path)
    assert head.content == b""
    assert {name: head.headers[name] for name in ("ETag", "Content-Length")} == {
        name: whole.headers[name] for name in ("ETag", "Content-Length")
    }
    part = client.get(path, headers={"Range": "bytes=4-9", "If-Range": whole.headers["ETag"]})
    assert (part.status_code, part.content) == (206, whole.content[4:10])
    assert client.get(path, headers={"If-Match": '"other"'}).status_code == 412
    inline = client.get(path, params={"disposition": "inline"})
    assert inline.headers["Content-Disposition"].startswith('inline; filename="a.webp"')
    there = client.get(path, params={"redirect": True}, follow_redirects=False)
    assert httpx.get(there.headers["Location"]).content == whole.content


def test_overwritten(client: TestClient, settings: Settings) -> None:
    """An overwrite has variants of its own at once, and a sweep removes the old ones."""
    upload(client, WIDE, "a.jpg")
    client.get("/images/a/variants/320")
    upload(client, HIGH, "a.jpg")
    assert opened(client.get("/images/a/variants/320")).size == (160, 320)
    assert count(settings, "variants") == 2
    with resources(settings) as opened_ones:
        opened_ones.sweeper().sweep()
    assert count(settings, "variants") == 1
    assert count(settings, "pending_objects") == 0
    client.delete("/images/a").raise_for_status()
    problem(client.get("/images/a/variants/320"), 404, "image_not_found")
    with resources(settings) as opened_ones:
        opened_ones.sweeper().sweep()
    assert count(settings, "variants") == count(settings, "pending_objects") == 0


@on_sqlite
def test_lost(client: TestClient, settings: Settings) -> None:
    """A variant whose object is lost is made again."""
    upload(client, WIDE, "a.jpg")
    first = client.get("/images/a/variants/320")
    (lost,) = variant_keys(settings)
    with resources(settings) as opened_ones:
        opened_ones.bucket.delete_image(lost)
        assert client.get("/images/a/variants/320").content == first.content
        assert variant_keys(settings) != {lost}
        opened_ones.sweeper().sweep()
        assert opened_ones.verifier().verify(lambda _: None, lambda *_: None).clean


@on_sqlite
def test_not_stored(
    client: TestClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variant that cannot be stored is answered all the same, and stored by a later request."""

    def refuse(*_args: object, **_options: object) -> None:
        raise StorageUnavailableError

    upload(client, WIDE, "a.jpg")
    with monkeypatch.context() as patched:
        patched.setattr(Bucket, "upload_image", refuse)
        first = client.get("/images/a/variants/320", params={"redirect": True})
    assert opened(first).size == (320, 160)
    assert count(settings, "variants") == 0
    assert count(settings, "pending_objects") == 1
    assert client.get("/images/a/variants/320").content == first.content
    assert count(settings, "variants") == 1


@pytest.mark.parametrize("database_url", ["postgresql", "mariadb", "mysql"], indirect=True)
def test_stampede(service_environment: dict[str, str], settings: Settings) -> None:
    """Of 64 first requests at once to two workers, each worker makes a variant at most once."""
    with ServiceProcess(service_environment, workers=2) as service:
        files = {"file": ("a.jpg", WIDE)}
        httpx.post(f"{service.base_url}/images", files=files).raise_for_status()
        url = f"{service.base_url}/images/a/variants/320"
        with ThreadPoolExecutor(64) as threads:
            answers = list(threads.map(lambda _: httpx.get(url, timeout=60), range(64)))
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.content for answer in answers}) == 1
        assert count(settings, "variants") == 1
        assert count(settings, "pending_objects") == 0


def test_overwrites_race(client: TestClient, settings: Settings) -> None:
    """While an image is overwritten again and again, no variant is of another one."""
    upload(client, WIDE, "a.jpg")

    def overwrite(turn: int) -> None:
        assert upload(client, (WIDE, HIGH)[turn % 2], "a.jpg").status_code == 200

    def read(_: int) -> None:
        before = client.get("/images/a/metadata").json()
        picture = opened(client.get("/images/a/variants/160.png"))
        after = client.get("/images/a/metadata").json()
        if before == after:
            assert (picture.width > picture.height) is (before["width"] > before["height"])

    with ThreadPoolExecutor(6) as threads:
        work = [threads.submit(act, i) for i in range(12) for act in (overwrite, read, read)]
    for done in work:
        done.result()
    with resources(settings) as opened_ones:
        opened_ones.sweeper().sweep()
        assert opened_ones.verifier().verify(lambda _: None, lambda *_: None).clean
    assert count(settings, "variants") <= 1


@on_sqlite
def test_listed(client: TestClient) -> None:
    """Metadata lists the paths of an image's variants, in pages, too."""
    upload(client, WIDE, "a.jpg", name="ä b")
    listed = client.get("/images").json()["images"][0]["variants"]
    assert listed == client.get("/images/%C3%A4%20b/metadata").json()["variants"]
    assert listed["320"] == "/images/%C3%A4%20b/variants/320"
    assert {client.get(path).status_code for path in listed.values()} == {200}


@on_sqlite
def test_off(settings: Settings) -> None:
    """Without VARIANTS there are none, and no statement knows of their table."""
    with serving(settings, variants=()) as client, connection(settings.db_url) as db:
        db.execute(text("ALTER TABLE variants RENAME TO away"))
        try:
            assert upload(client, WIDE, "a.jpg").json()["variants"] == {}
            problem(client.get("/images/a/variants/320"), 404, "variant_not_found")
            assert client.delete("/images/a").status_code == 200
            quiet = settings.model_copy(update={"variants": ()})
            with resources(quiet) as opened_ones:
                opened_ones.sweeper().sweep()
        finally:
            db.execute(text("ALTER TABLE away RENAME TO variants"))


@on_sqlite
@pytest.mark.parametrize(
    "variables", [{"variants": "320,none"}, {"variants": ",".join(map(str, range(1, 22)))}]
)
def test_settings(settings: Settings, variables: dict[str, str]) -> None:
    """A spec that is none, and more than 20 of them, stop the start."""
    known = settings.model_dump(include={"db_url", "aws_region", "aws_s3_bucket"})
    with pytest.raises(ValueError, match="variant"):
        Settings.model_validate(known | variables)
