"""A variant is made once and stored, is never stale, and is removed with its image."""

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from config import Settings
from devstack.databases import connection
from devstack.service_process import ServiceProcess
from errors import DatabaseUnavailableError, StorageUnavailableError, TransactionAbortedError
from repositories import pending_objects, variants
from s3_client import Bucket
from services.maintenance.purge import purge
from services.maintenance.verification import Damage
from tests.support.metrics import scrape
from tests.support.uploads import count, on_sqlite, problem, upload
from tests.support.variants import HIGH, WIDE, opened, resources, variant_keys

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def test_made_once(client: TestClient, settings: Settings) -> None:
    """The first request makes and stores a variant; the second one reads it."""
    assert upload(client, WIDE, "a.jpg").status_code == 201
    first, second = (client.get("/images/a/variants/320") for _ in range(2))
    assert opened(first).size == (320, 160)
    assert first.content == second.content
    assert (
        first.headers["ETag"] == second.headers["ETag"] != client.get("/images/a").headers["ETag"]
    )
    assert count(settings, "variants") == 1
    assert count(settings, "pending_objects") == 0


def test_overwritten(client: TestClient, settings: Settings) -> None:
    """After an overwrite variants show the new image at once; a sweep removes the old ones."""
    upload(client, WIDE, "a.jpg")
    client.get("/images/a/variants/320")
    upload(client, HIGH, "a.jpg")
    assert opened(client.get("/images/a/variants/320")).size == (160, 320)
    assert count(settings, "variants") == 1
    with resources(settings) as opened_ones:
        opened_ones.sweeper().sweep()
    assert count(settings, "pending_objects") == 0
    client.delete("/images/a").raise_for_status()
    problem(client.get("/images/a/variants/320"), 404, "image_not_found")
    with resources(settings) as opened_ones:
        opened_ones.sweeper().sweep()
    assert count(settings, "variants") == count(settings, "pending_objects") == 0


def test_of_an_older_renderer(client: TestClient, settings: Settings) -> None:
    """Variants of an older renderer are made again, and their objects are removed."""
    upload(client, WIDE, "a.jpg")
    for side in (320, 640):
        client.get(f"/images/a/variants/{side}").raise_for_status()
    old = variant_keys(settings)
    with connection(settings.db_url) as db:
        db.execute(text("UPDATE variants SET spec = '320.jpg' WHERE spec LIKE '%/320.jpg'"))
        db.execute(text("UPDATE variants SET spec = 'r1/640.jpg' WHERE spec LIKE '%/640.jpg'"))
    assert opened(client.get("/images/a/variants/320")).size == (320, 160)
    new = variant_keys(settings)
    assert len(new) == 1
    assert not old & new
    assert opened(client.get("/images/a/variants/640")).size == (640, 320)
    assert len(variant_keys(settings)) == 2
    with resources(settings) as opened_ones:
        opened_ones.sweeper().sweep()
        assert opened_ones.verifier().verify(lambda _: None, lambda *_: None).clean
    assert count(settings, "pending_objects") == 0


@on_sqlite
def test_lost(client: TestClient, settings: Settings) -> None:
    """A variant whose object is missing is made again."""
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
@pytest.mark.parametrize("damage", ["lost", "cut"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_lost_before_a_redirect(
    client: TestClient, settings: Settings, s3: "S3Client", damage: str, method: str
) -> None:
    """A redirect leads to a variant whose object is complete; else it is made again first."""
    upload(client, WIDE, "a.jpg")
    url = "/images/a/variants/320"
    content = client.get(url).content
    (lost,) = variant_keys(settings)
    if damage == "lost":
        s3.delete_object(Bucket=settings.aws_s3_bucket, Key=lost)
    else:
        s3.put_object(Bucket=settings.aws_s3_bucket, Key=lost, Body=content[:-1])
    for _ in range(2):
        answer = client.request(method, url, params={"redirect": True}, follow_redirects=False)
        assert answer.status_code == 307
        found = httpx.request(method, answer.headers["Location"])
        assert (found.status_code, found.headers["Content-Length"]) == (200, str(len(content)))
    assert variant_keys(settings) != {lost}


@on_sqlite
@pytest.mark.parametrize(
    "failure",
    [
        (pending_objects, "journal_upload", DatabaseUnavailableError, 0),
        (pending_objects, "journal_upload", TransactionAbortedError, 0),
        (Bucket, "upload_image", StorageUnavailableError, 1),
        (pending_objects, "finish_upload", TransactionAbortedError, 0),
        (variants, "insert_variant", DatabaseUnavailableError, 0),
    ],
)
def test_not_stored(
    client: TestClient,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    failure: tuple[object, str, type[Exception], int],
) -> None:
    """A variant that cannot be stored is still returned, and a later request stores it."""
    owner, step, error, entries = failure

    def refuse(*_args: object, **_options: object) -> None:
        raise error

    upload(client, WIDE, "a.jpg")
    with monkeypatch.context() as patched:
        patched.setattr(owner, step, refuse)
        first = client.get("/images/a/variants/320", params={"redirect": True})
    assert opened(first).size == (320, 160)
    assert count(settings, "variants") == 0
    assert count(settings, "pending_objects") == entries
    assert client.get("/images/a/variants/320").content == first.content
    assert count(settings, "variants") == 1


@on_sqlite
def test_unknown_sizes(client: TestClient, settings: Settings) -> None:
    """Requests for unknown sizes make nothing and use neither database nor S3."""
    upload(client, WIDE, "a.jpg")
    known = {int(spec) for spec in settings.variants if spec.isdecimal()}
    sizes = [size for size in range(1, 1001) if size not in known]
    before = scrape(client)
    codes = {client.get(f"/images/a/variants/{size}").json()["code"] for size in sizes}
    assert codes == {"variant_not_found"}
    risen = scrape(client) - before
    for backend in ("database", "s3_request"):
        assert not sum(n for _, n in risen.series(f"image_api_{backend}_duration_seconds_count"))
    assert count(settings, "variants") == count(settings, "pending_objects") == 0


def test_verified(client: TestClient, settings: Settings) -> None:
    """Verification counts variants, and reports one without a row as an orphan."""
    upload(client, WIDE, "a.jpg")
    for variant in ("160.png", "320.png"):
        assert client.get(f"/images/a/variants/{variant}").is_success
    with resources(settings) as opened_ones:
        report = opened_ones.verifier(deep=True).verify(lambda _: None, lambda *_: None)
        assert (report.objects, report.images, report.variants, report.entries) == (3, 1, 2, 0)
        assert report.clean
        with connection(settings.db_url) as db:
            db.execute(text("DELETE FROM variants WHERE spec LIKE '%/160.png'"))
        report = opened_ones.verifier(repairs=True).verify(lambda _: None, lambda *_: None)
        assert (report.found[Damage.ORPHAN], report.journaled, report.clean) == (1, 1, True)


def test_purged(client: TestClient, settings: Settings) -> None:
    """Purge erases the variants of all versions of the image."""
    for picture in (WIDE, HIGH):
        upload(client, picture, "a.jpg")
        assert client.get("/images/a/variants/160.png").is_success
    with resources(settings.model_copy(update={"keep_deleted_seconds": 3600})) as opened_ones:
        purge(opened_ones.sessions, opened_ones.bucket, "a")
        assert list(opened_ones.bucket.list_objects()) == []
    assert count(settings, "variants") == count(settings, "pending_objects") == 0


@on_sqlite
def test_purge_fails(
    client: TestClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Purge raises an error if it cannot erase the variants, and then erases nothing."""

    def refuse(*_args: object) -> None:
        raise DatabaseUnavailableError

    upload(client, WIDE, "a.jpg")
    assert client.get("/images/a/variants/160.png").is_success
    with resources(settings) as opened_ones, monkeypatch.context() as patched:
        patched.setattr(variants, "delete_variants", refuse)
        with pytest.raises(DatabaseUnavailableError):
            purge(opened_ones.sessions, opened_ones.bucket, "a")
    assert client.get("/images/a").content == WIDE
    assert count(settings, "variants") == 1


@pytest.mark.parametrize("database_url", ["postgresql", "mariadb", "mysql"], indirect=True)
def test_stampede(service_environment: dict[str, str], settings: Settings) -> None:
    """64 concurrent first requests to two workers get identical bytes and store one variant."""
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
    """During overwrites no variant shows another version than the metadata around it."""
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
