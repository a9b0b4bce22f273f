"""Shared code of the tests of variants."""

import io
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from PIL import Image
from sqlalchemy import text

from config import Settings
from devstack.databases import connection
from resources import Resources
from tests.support.pictures import jpeg

WIDE, HIGH = jpeg(800, 400, seed=1), jpeg(400, 800, seed=2)


def opened(answer: httpx.Response) -> Image.Image:
    """Return the picture in a response."""
    assert answer.status_code == 200, answer.text
    return Image.open(io.BytesIO(answer.content))


def variant_keys(settings: Settings) -> set[str]:
    """Return the keys of the stored variants."""
    with connection(settings.db_url) as db:
        return set(db.scalars(text("SELECT s3_key FROM variants")))


@contextmanager
def resources(settings: Settings) -> Iterator[Resources]:
    """Open the resources of a service whose sweeper does not wait for unfinished uploads."""
    with Resources.open(settings.model_copy(update={"upload_grace_seconds": 0})) as opened_all:
        yield opened_all
