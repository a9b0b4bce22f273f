"""`scripts.verify` checks the objects of variants, and repairs what it finds."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from config import Settings
from devstack.databases import connection
from resources import Resources
from scripts import verify
from services.maintenance.verification import Damage, Finding, VerifyReport
from tests.support.uploads import count, on_sqlite, upload
from tests.support.variants import WIDE, resources, variant_keys

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

URL = "/images/a/variants/160.png"


@pytest.fixture
def key(client: TestClient, settings: Settings) -> str:
    """Upload an image, make a variant, and return the variant's key."""
    assert upload(client, WIDE, "a.jpg").status_code == 201
    assert client.get(URL).is_success
    (made,) = variant_keys(settings)
    return made


@pytest.fixture
def opened(settings: Settings) -> Iterator[Resources]:
    """Return the resources of a verification."""
    with resources(settings) as opened_all:
        yield opened_all


def verified(opened: Resources, **options: bool) -> tuple[list[Finding], VerifyReport]:
    """Verify; return the findings and the report."""
    found: list[Finding] = []
    report = opened.verifier(**options).verify(found.append, lambda *_: None)
    return found, report


@pytest.mark.parametrize("damage", [Damage.ALTERED, Damage.WRONG_SIZE])
def test_damaged(
    client: TestClient,
    settings: Settings,
    s3: "S3Client",
    opened: Resources,
    key: str,
    damage: Damage,
) -> None:
    """Damaged variants are found, altered bytes only with `deep`; a repair makes them anew."""
    deep, right = damage is Damage.ALTERED, client.get(URL).content
    wrong = right[:-1] + bytes([right[-1] ^ 1]) if damage is Damage.ALTERED else right + b"?"
    s3.put_object(Bucket=settings.aws_s3_bucket, Key=key, Body=wrong)
    assert verified(opened, deep=False)[1].clean is deep
    (finding,), report = verified(opened, deep=deep)
    assert (finding.damage, finding.key, report.clean) == (damage, key, False)
    assert verify._line(finding).startswith(f"{damage:<10} {key!r} of a variant: ")
    assert verify._document(finding)["name"] is None
    (repaired,), report = verified(opened, deep=deep, repairs=True)
    assert (repaired.journaled, report.clean) == (True, True)
    assert client.get(URL).content == right
    opened.sweeper().sweep()
    assert count(settings, "pending_objects") == 0
    assert verified(opened, deep=True) == ([], VerifyReport(objects=2, images=1, variants=1))


def test_lost(settings: Settings, s3: "S3Client", opened: Resources, key: str) -> None:
    """A variant without its object does not count as damage."""
    s3.delete_object(Bucket=settings.aws_s3_bucket, Key=key)
    for deep in (False, True):
        assert verified(opened, deep=deep) == ([], VerifyReport(objects=1, images=1, variants=1))


@on_sqlite
@pytest.mark.planted_damage
def test_original_not_named(settings: Settings, opened: Resources, key: str) -> None:
    """The object of a variant whose image was deleted behind the service's back is an orphan."""
    with connection(settings.db_url) as db:
        db.execute(text("DELETE FROM images"))
    found, report = verified(opened, repairs=True)
    assert {finding.damage for finding in found} == {Damage.ORPHAN}
    assert key in {finding.key for finding in found}
    assert report.clean
