"""Conditional requests follow RFC 9110 section 13. The tests run a table against a real server.

The table has every precondition and pair of preconditions, on GET, HEAD, POST, PUT and DELETE, of
images that exist and that do not, and of metadata. Only a body needs a request to S3.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import TYPE_CHECKING, NamedTuple

import httpx
import pytest
from sqlalchemy import text

from tests.support.metered_service import Fields, MeteredService, S3Request
from tests.support.pictures import png

if TYPE_CHECKING:
    pass

OLD, NEW = png(seed=1), png(seed=2)
UPLOADS = pytest.mark.parametrize("upload", [MeteredService.upload, MeteredService.put])
READS = [(method, suffix) for suffix in ("", "/metadata") for method in ("GET", "HEAD")]


Upload = Callable[[MeteredService, str, bytes, Fields], httpx.Response]


class Case(NamedTuple):
    """One line of the table.

    `conditions` are header fields, with the current validators in braces. `read` is the status of
    GET and HEAD, `write` whether POST and DELETE succeed, `create` whether POST may create.
    """

    conditions: str
    read: int
    write: bool
    create: bool


# Without an image only POST evaluates conditions (13.2.1). If-Unmodified-Since is then false, as it
# is for a deleted image.
TABLE = """
                                                                    read write create
If-Match: {etag}                                                    200  yes   no
If-Match: *                                                         200  yes   no
If-Match: "other"                                                   412  no    no
If-Match: W/{etag}                                                  412  no    no
If-Match: "a, b", {etag}                                            200  yes   no
If-Match: "other" , ,{etag},                                        200  yes   no
If-Match: "other", W/{etag}                                         412  no    no
If-Match: "other" & If-Match: {etag}                                200  yes   no
If-Match: "other" & If-Match: "third"                               412  no    no
If-Match: {bare}                                                    412  no    no
If-Match: '{bare}'                                                  412  no    no
If-Match: "{bare}                                                   412  no    no
If-Match:                                                           412  no    no
If-None-Match: {etag}                                               304  no    yes
If-None-Match: W/{etag}                                             304  no    yes
If-None-Match: *                                                    304  no    yes
If-None-Match: "other"                                              200  yes   yes
If-None-Match: "a, b", W/"other", W/{etag}                          304  no    yes
If-None-Match: "other", W/"third"                                   200  yes   yes
If-None-Match: "other" & If-None-Match: {etag}                      304  no    yes
If-None-Match: "other" & If-None-Match: "third"                     200  yes   yes
If-None-Match: {bare}                                               200  yes   yes
If-None-Match: "{bare}                                              200  yes   yes
If-None-Match:                                                      200  yes   yes
If-Modified-Since: {last}                                           304  yes   yes
If-Modified-Since: {last850}                                        304  yes   yes
If-Modified-Since: {lastc}                                          304  yes   yes
If-Modified-Since: {later}                                          200  yes   yes
If-Modified-Since: {earlier}                                        200  yes   yes
If-Modified-Since: {earlier850}                                     200  yes   yes
If-Modified-Since: {earlierc}                                       200  yes   yes
If-Modified-Since: yesterday                                        200  yes   yes
If-Modified-Since: 4102444800                                       200  yes   yes
If-Modified-Since:                                                  200  yes   yes
If-Unmodified-Since: {last}                                         200  yes   no
If-Unmodified-Since: {last850}                                      200  yes   no
If-Unmodified-Since: {lastc}                                        200  yes   no
If-Unmodified-Since: {later}                                        200  yes   no
If-Unmodified-Since: {earlier}                                      412  no    no
If-Unmodified-Since: {earlier850}                                   412  no    no
If-Unmodified-Since: {earlierc}                                     412  no    no
If-Unmodified-Since: yesterday                                      200  yes   yes
If-Match: {etag} & If-Unmodified-Since: {earlier}                   200  yes   no
If-Match: "other" & If-Unmodified-Since: {later}                    412  no    no
If-Match: {etag} & If-None-Match: {etag}                            304  no    no
If-Match: {etag} & If-None-Match: "other"                           200  yes   no
If-Match: "other" & If-None-Match: {etag}                           412  no    no
If-Match: "other" & If-None-Match: "other"                          412  no    no
If-Match: {etag} & If-Modified-Since: {later}                       200  yes   no
If-Match: "other" & If-Modified-Since: {later}                      412  no    no
If-None-Match: {etag} & If-Modified-Since: {earlier}                304  no    yes
If-None-Match: "other" & If-Modified-Since: {later}                 200  yes   yes
If-Unmodified-Since: {later} & If-None-Match: {etag}                304  no    no
If-Unmodified-Since: {earlier} & If-None-Match: "other"             412  no    no
If-Unmodified-Since: {earlier} & If-None-Match: {etag}              412  no    no
If-Unmodified-Since: {later} & If-Modified-Since: {later}           200  yes   no
If-Unmodified-Since: {earlier} & If-Modified-Since: {earlier}       412  no    no
"""


def _cases() -> Iterator[Case]:
    for line in TABLE.strip().splitlines()[1:]:
        *conditions, read, write, create = line.split()
        yield Case(" ".join(conditions), int(read), write == "yes", create == "yes")


CASES = list(_cases())
each_case = pytest.mark.parametrize("case", CASES, ids=[case.conditions for case in CASES])


@pytest.fixture(autouse=True)
def _settled(metered: MeteredService) -> None:
    """Exclude the requests of earlier tests from the count."""
    metered.settle()


@pytest.fixture(scope="module")
def path(metered: MeteredService) -> str:
    """Return the path of an image that no test changes."""
    return metered.image(OLD)


def words(answer: httpx.Response) -> dict[str, str]:
    """Return the values for the words in braces, from a response with the current validators."""
    last = parsedate_to_datetime(answer.headers["last-modified"])
    found = {"etag": answer.headers["etag"], "bare": answer.headers["etag"].strip('"')}
    for name, days in (("earlier", -1), ("last", 0), ("later", 1)):
        moment = last + timedelta(days=days)
        found[name] = format_datetime(moment, usegmt=True)
        found[f"{name}850"] = moment.strftime("%A, %d-%b-%y %H:%M:%S GMT")
        found[f"{name}c"] = f"{moment:%a %b} {moment.day:2} {moment:%H:%M:%S %Y}"
    return found


def fields(conditions: str, current: httpx.Response) -> Fields:
    """Return the header fields of `conditions`, with the validators of the response `current`."""
    lines = conditions.format_map(words(current)).split(" & ")
    return [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]


@each_case
@pytest.mark.parametrize(("method", "suffix"), READS)
def test_read(metered: MeteredService, path: str, case: Case, method: str, suffix: str) -> None:
    """GET and HEAD answer 200, 304 or 412 by the table; only a body needs a GET to S3."""
    plain = metered.send(method, path + suffix)
    metered.meter.taken()
    answer = metered.send(method, path + suffix, fields(case.conditions, plain))
    assert answer.status_code == case.read
    asked = metered.meter.taken()
    if case.read == 200:
        assert (answer.content, words(answer)) == (plain.content, words(plain))
        assert asked == ([S3Request("GET", None)] if (method, suffix) == ("GET", "") else [])
        return
    assert asked == []
    if case.read == 304:
        assert answer.content == b""
        assert words(answer) == words(plain)
        assert answer.headers["cache-control"] == plain.headers["cache-control"]
        assert not {"content-type", "content-range"} & answer.headers.keys()
    elif method == "GET":
        assert answer.json()["code"] == "precondition_failed"


@each_case
def test_nothing_there(metered: MeteredService, path: str, case: Case) -> None:
    """A missing image is 404 under any conditions."""
    current = metered.send("HEAD", path)
    for method, suffix in (*READS, ("DELETE", "")):
        answer = metered.send(method, "/images/nothing" + suffix, fields(case.conditions, current))
        assert answer.status_code == 404
    assert metered.meter.taken() == []


@each_case
@UPLOADS
def test_overwrite(metered: MeteredService, case: Case, upload: Upload) -> None:
    """An upload replaces an image if the conditions hold; else it is 412 without asking S3."""
    path = metered.image(OLD)
    before = metered.send("HEAD", path)
    answer = upload(metered, path.rpartition("/")[2], NEW, fields(case.conditions, before))
    assert answer.status_code == (200 if case.write else 412)
    asked = [request.method for request in metered.meter.taken() if request.method != "DELETE"]
    assert asked == (["PUT"] if case.write else [])
    metered.settle()
    assert metered.send("GET", path).content == (NEW if case.write else OLD)
    after = metered.send("HEAD", path)
    same = (after.headers["etag"], after.headers["last-modified"]) == (
        before.headers["etag"],
        before.headers["last-modified"],
    )
    assert same or case.write


@each_case
@UPLOADS
def test_create(metered: MeteredService, path: str, case: Case, upload: Upload) -> None:
    """An upload creates an image if the conditions hold without one; if not, it is 412."""
    name = metered.new_name()
    answer = upload(metered, name, NEW, fields(case.conditions, metered.send("HEAD", path)))
    assert answer.status_code == (201 if case.create else 412)
    asked = [request.method for request in metered.meter.taken()]
    assert asked == (["PUT"] if case.create else [])
    assert metered.send("HEAD", f"/images/{name}").status_code == (200 if case.create else 404)


@each_case
def test_delete(metered: MeteredService, case: Case) -> None:
    """DELETE deletes the image if the conditions hold; if not, it is 412 and changes nothing."""
    path = metered.image(OLD)
    answer = metered.send("DELETE", path, fields(case.conditions, metered.send("HEAD", path)))
    assert answer.status_code == (200 if case.write else 412)
    metered.settle() if case.write else None
    assert metered.meter.taken() == []
    left = metered.send("GET", path)
    assert left.status_code == 404 if case.write else left.content == OLD


NOT_A_DATE = [
    "If-Modified-Since: 2099-11-23T15:04:02Z",
    "If-Unmodified-Since: 2001-11-23T15:04:02Z",
    "If-Modified-Since: {later} & If-Modified-Since: {later}",
    "If-Modified-Since: {later}, {later}",
    "If-Modified-Since: Mon, 23 Nov 2099 15:04:02 +0100",
    "If-Modified-Since: Mon, 23 Nov 2099 15:04:02",
    "If-Unmodified-Since: {earlier} & If-Unmodified-Since: {earlier}",
    "If-Unmodified-Since: {earlier}, {earlier}",
    "If-Unmodified-Since: Fri, 23 Nov 2001 15:04:02 +0100",
    "If-Unmodified-Since: Fri, 23 Nov 2001 15:04:02",
]


@pytest.mark.parametrize("conditions", NOT_A_DATE)
def test_no_http_date(metered: MeteredService, path: str, conditions: str) -> None:
    """A value that is not exactly one HTTP-date is ignored (13.1.3, 13.1.4)."""
    given = fields(conditions, metered.send("HEAD", path))
    assert metered.send("HEAD", path, given).status_code == 200


@pytest.mark.parametrize("prefix", ["w/", "x", "W /", "W/ "])
def test_no_entity_tag(metered: MeteredService, path: str, prefix: str) -> None:
    """A malformed entity tag that contains the current one does not match."""
    tag = metered.send("HEAD", path).headers["etag"]
    assert metered.send("HEAD", path, [("If-Match", prefix + tag)]).status_code == 412


def test_validators_of_versions(metered: MeteredService) -> None:
    """Image and metadata have distinct strong ETags, which change with each version."""
    path = metered.image(OLD)
    name = path.rpartition("/")[2]
    seen = set()
    for content in (OLD, NEW, OLD):
        metered.upload(name, content)
        heads = [metered.send("HEAD", path + suffix) for suffix in ("", "/metadata")]
        seen |= {head.headers["etag"] for head in heads}
    assert len(seen) == 5  # the first and the last version have the same bytes
    assert all(tag.startswith('"') for tag in seen)


def test_last_modified(metered: MeteredService, path: str) -> None:
    """Last-Modified is `last_updated_at` in whole seconds, for image and metadata."""
    metadata = metered.send("GET", f"{path}/metadata").json()
    stored = datetime.fromisoformat(metadata["last_updated_at"])
    for suffix in ("", "/metadata"):
        header = metered.send("HEAD", path + suffix).headers["last-modified"]
        assert parsedate_to_datetime(header) == stored.replace(microsecond=0)


def test_not_in_the_future(metered: MeteredService) -> None:
    """Last-Modified is never later than Date (8.8.2.1), even if another host's clock is ahead."""
    path = metered.image(OLD)
    future = datetime.now(UTC).replace(tzinfo=None) + timedelta(minutes=1)
    values = {"at": f"{future:%Y-%m-%d %H:%M:%S.%f}", "name": path.rpartition("/")[2]}
    with metered.engine.begin() as connection:
        connection.execute(
            text("UPDATE images SET last_updated_at = :at WHERE name = :name"), values
        )
    headers = metered.send("HEAD", path).headers
    assert parsedate_to_datetime(headers["last-modified"]) <= parsedate_to_datetime(headers["date"])


def test_head_is_get_without_bytes(metered: MeteredService, path: str) -> None:
    """HEAD has the header fields of GET, including Content-Length, and sends nothing to S3."""
    for suffix, asked in (("", [S3Request("GET", None)]), ("/metadata", [])):
        answers = [metered.send(method, path + suffix) for method in ("GET", "HEAD")]
        for answer in answers:
            del answer.headers["date"], answer.headers["x-request-id"]
        assert sorted(answers[0].headers.items()) == sorted(answers[1].headers.items())
        assert answers[1].content == b""
        assert metered.meter.taken() == asked
