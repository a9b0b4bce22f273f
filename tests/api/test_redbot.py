"""REDbot, an independent HTTP checker, reports no errors at any URL."""

from collections.abc import Callable, Iterator
from configparser import ConfigParser
from email.utils import parsedate_to_datetime as parse
from typing import TYPE_CHECKING, Any

import pytest
import thor
from redbot.resource import HttpResource  # type: ignore[import-untyped]

from devstack.object_store import ObjectStore
from devstack.waiting import wait_until
from tests.support.metered_service import MeteredService, metered_service
from tests.support.pictures import noise_png, png

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

LAST = "/images/m%C3%BCll%20%E6%9D%B1%E4%BA%AC?disposition=inline"  # uploaded last
GOOD = {
    "/images/small": 200,
    "/images/large": 200,
    LAST: 200,
    "/images/small/metadata": 200,
    "/images/random/metadata": 200,
    "/images": 200,
    "/images?limit=1&order=-last_updated_at": 200,
    "/health/live": 200,
    "/health/ready": 200,
    "/openapi.json": 200,
    "/images/small?redirect=true": 307,
}
REFUSED = {
    "/images/none": 404,
    "/images/none/metadata": 404,
    "/images/%FF": 400,
    "/images?cursor=x": 400,
    "/images?limit=0": 422,
    "/nothing": 404,
}
SUPPORTED = {
    "/images/small": (True, True, True),
    "/images/large": (True, True, True),
    "/images/small/metadata": (True, True, False),
}


@pytest.fixture(scope="module")
def service(
    object_store: ObjectStore, s3: "S3Client", new_bucket: Callable[[], str]
) -> Iterator[MeteredService]:
    """Return a running service with a few images."""
    with metered_service(object_store, s3, new_bucket()) as service:
        pictures = {"small": png(), "large": noise_png(1_500_000), "m\xfcll \u6771\u4eac": png()}
        for name, picture in pictures.items():
            assert service.upload(name, picture).status_code == 201
        # uvicorn updates Date once a second, and Last-Modified is capped at Date.
        wait_until(lambda: is_past(service), timeout=10, what="the next second")
        yield service


def is_past(service: MeteredService) -> bool:
    """Return whether Last-Modified of all images is earlier than Date."""
    headers = service.send("HEAD", LAST).headers
    return parse(headers["last-modified"]) < parse(headers["date"])


@pytest.fixture(scope="module")
def judged(service: MeteredService) -> dict[str, Any]:
    """Return REDbot's resource for each path, after all its requests."""
    config = ConfigParser()
    config.read_dict({"redbot": {"enable_local_access": "True"}})  # as REDbot's command does
    resources = {}
    left = {*GOOD, *REFUSED}

    def finish(path: str) -> None:
        left.discard(path)
        if not left:
            thor.stop()

    for path in tuple(left):
        resources[path] = HttpResource(config["redbot"])
        resources[path].set_request(service.process.base_url + path)
        resources[path].once("check_done", lambda path=path: finish(path))
        resources[path].check()
    thor.schedule(60, thor.stop)
    thor.run()
    assert not left, "REDbot did not finish"
    return resources


@pytest.mark.parametrize("path", [*GOOD, *REFUSED])
def test_nothing_is_bad(judged: dict[str, Any], path: str) -> None:
    """REDbot finds no error in plain, conditional, range and compression requests."""
    resource = judged[path]
    assert resource.fetch_error is None
    assert resource.response.status_code == (GOOD | REFUSED)[path]
    answers = [resource, *resource.subreqs.values()]
    notes = [note for answer in answers for note in answer.response.notes]
    assert notes
    assert [str(note.summary) for note in notes if note.level.name == "BAD"] == []


@pytest.mark.parametrize("path", SUPPORTED)
def test_what_is_supported(judged: dict[str, Any], path: str) -> None:
    """REDbot detects support for both kinds of conditional requests, and for ranges of images."""
    found = judged[path]
    assert (found.inm_support, found.ims_support, found.partial_support) == SUPPORTED[path]
