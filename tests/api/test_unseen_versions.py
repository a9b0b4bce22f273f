"""If-Modified-Since alone is never answered with 304 for a version that the client has not seen."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from config import Settings
from devstack.databases import connection
from tests.support import pictures
from tests.support.uploads import on_sqlite, upload

pytestmark = on_sqlite


def test_versions_of_one_second(client: TestClient) -> None:
    """The Last-Modified of one version never stands for another, stored in the same second."""
    seen = dict.fromkeys(("", "/metadata", "/variants/160.png"), "")
    for seed in range(6):
        upload(client, pictures.png(seed=seed), "a.png").raise_for_status()
        for suffix, last in seen.items():
            current = client.get(f"/images/a{suffix}")
            seen[suffix] = current.headers["last-modified"]
            asked = client.get(f"/images/a{suffix}", headers={"If-Modified-Since": last})
            assert (asked.status_code, asked.content) == (200, current.content)
            known = {"If-None-Match": current.headers["etag"], "If-Modified-Since": last}
            assert client.get(f"/images/a{suffix}", headers=known).status_code == 304


def test_deleted_in_between(client: TestClient) -> None:
    """It does not stand for an image that replaces a deleted one within the second either."""
    last = "Thu, 01 Jan 1970 00:00:00 GMT"
    for seed in range(6):
        upload(client, pictures.png(seed=seed), "a.png").raise_for_status()
        asked = client.get("/images/a", headers={"If-Modified-Since": last})
        assert (asked.status_code, asked.content) == (200, pictures.png(seed=seed))
        last = client.get("/images/a").headers["last-modified"]
        client.delete("/images/a").raise_for_status()


def test_seen_version(client: TestClient) -> None:
    """The Last-Modified of the current version is answered with 304, a later date is not."""
    upload(client, pictures.png(), "a.png").raise_for_status()
    current = client.get("/images/a").headers["last-modified"]
    for date, status in ((current, 304), ("Thu, 31 Dec 2099 23:59:59 GMT", 200)):
        assert client.get("/images/a", headers={"If-Modified-Since": date}).status_code == status


@pytest.mark.parametrize("minutes", [-1, 1])
def test_another_clock(client: TestClient, settings: Settings, minutes: int) -> None:
    """A version is not mistaken for one that a host with another clock stored."""
    upload(client, pictures.png(), "a.png").raise_for_status()
    other = datetime.now(UTC).replace(tzinfo=None) + timedelta(minutes=minutes)
    with connection(settings.db_url) as db:
        statement = "UPDATE images SET created_at = :at, last_updated_at = :at"
        db.execute(text(statement), {"at": f"{other:%Y-%m-%d %H:%M:%S.%f}"})
    dates = [client.get("/images/a").headers["last-modified"]]
    dates.append(format_datetime(other.replace(microsecond=0, tzinfo=UTC), usegmt=True))
    upload(client, pictures.png(seed=1), "a.png").raise_for_status()
    for date in dates:
        answer = client.get("/images/a", headers={"If-Modified-Since": date})
        assert answer.content == pictures.png(seed=1)
