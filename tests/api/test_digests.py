"""RFC 9530: digests of uploads are verified before storing; downloads carry Repr-Digest."""

import base64
import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.support.metered_service import Fields, MeteredService
from tests.support.pictures import png

if TYPE_CHECKING:
    pass

PICTURE, OTHER = png(seed=1), png(seed=2)
FIELDS = ("Content-Digest", "Repr-Digest")
UPLOADS = pytest.mark.parametrize("upload", [MeteredService.upload, MeteredService.put])
Upload = Callable[[MeteredService, str, bytes, Fields], httpx.Response]


def digest(content: bytes, algorithm: str = "sha-256") -> str:
    """Return the value of a digest field for `content`."""
    raw = hashlib.new(algorithm.replace("-", ""), content).digest()
    return f"{algorithm}=:{base64.b64encode(raw).decode()}:"


@pytest.fixture(autouse=True)
def _settled(metered: MeteredService) -> None:
    """Exclude the requests of earlier tests from the count."""
    metered.settle()


def assert_refused(metered: MeteredService, name: str, answer: httpx.Response) -> None:
    """Check that the upload of `name` was refused and left no trace."""
    assert answer.status_code == 400
    assert answer.json()["code"] == "digest_mismatch"
    assert metered.meter.taken() == []
    assert metered.journal() == 0
    assert metered.send("GET", f"/images/{name}").status_code == 404


RIGHT = [
    digest(PICTURE),
    f"{digest(PICTURE, 'sha-512')}, {digest(PICTURE)}",
    f"{digest(PICTURE)},{digest(PICTURE, 'sha-512')}",
    f"md5=:AAAA:, {digest(PICTURE)};q=1",
    # Other algorithms are documented as ignored.
    digest(OTHER, "sha-512"),
    "md5=:AAAA:",
    "",
]


@UPLOADS
@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", RIGHT)
def test_right_digest(metered: MeteredService, upload: Upload, field: str, value: str) -> None:
    """An upload with a matching SHA-256 is stored; digests of other algorithms are ignored."""
    name = metered.new_name()
    assert upload(metered, name, PICTURE, [(field, value)]).status_code == 201
    assert metered.send("GET", f"/images/{name}").content == PICTURE


WRONG = [
    digest(OTHER),
    digest(b""),
    f"{digest(PICTURE, 'sha-512')}, {digest(OTHER)}",
    f"{digest(PICTURE)}, {digest(OTHER)}",
    digest(PICTURE).replace(":", ""),
    digest(PICTURE).rstrip(":"),
    digest(PICTURE).replace("=:", "=::"),
    f"sha-256=:{hashlib.sha256(PICTURE).hexdigest()}:",
    f"sha-256={hashlib.sha256(PICTURE).hexdigest()}",
    f'sha-256="{digest(PICTURE)[9:-1]}"',
    digest(PICTURE)[:-9] + ":",
    "sha-256=::",
    "sha-256=:",
    "sha-256=",
]


@UPLOADS
@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", WRONG)
def test_wrong_digest(metered: MeteredService, upload: Upload, field: str, value: str) -> None:
    """A wrong or malformed SHA-256 is 400, and nothing is stored."""
    name = metered.new_name()
    assert_refused(metered, name, upload(metered, name, PICTURE, [(field, value)]))


def test_digest_beyond_ascii(metered: MeteredService) -> None:
    """A digest that is not ASCII is 400."""
    name = metered.new_name()
    assert_refused(metered, name, metered.upload(name, PICTURE, [(FIELDS[0], "sha-256=:\xe9:")]))


BOTH: list[Fields] = [
    [("Content-Digest", digest(PICTURE)), ("Repr-Digest", digest(OTHER))],
    [("Content-Digest", digest(OTHER)), ("Repr-Digest", digest(PICTURE))],
    [("Content-Digest", digest(PICTURE)), ("Content-Digest", digest(OTHER))],
]


@pytest.mark.parametrize("fields", BOTH)
def test_one_of_two_is_wrong(metered: MeteredService, fields: Fields) -> None:
    """Every digest must match, in every field and line."""
    name = metered.new_name()
    assert_refused(metered, name, metered.upload(name, PICTURE, fields))


def test_digest_of_the_body(metered: MeteredService) -> None:
    """Content-Digest may also be that of the whole form, as RFC 9530 defines it."""
    name = metered.new_name()
    form = {"files": {"file": ("f.png", PICTURE)}, "data": {"name": name}}
    request = metered.client.build_request("POST", "/images", **form)  # type: ignore[arg-type]
    body = request.read()
    for content, status in ((body + b" ", 400), (body, 201)):
        request.headers["Content-Digest"] = digest(content)
        assert metered.client.send(request).status_code == status


def test_overwriting_with_a_wrong_digest(metered: MeteredService) -> None:
    """An overwrite with a wrong digest is refused and leaves the image unchanged."""
    path = metered.image(PICTURE)
    refused = metered.upload(path.rpartition("/")[2], OTHER, [("Content-Digest", digest(PICTURE))])
    assert refused.status_code == 400
    assert metered.meter.taken() == []
    assert metered.send("GET", path).content == PICTURE


def test_repr_digest(metered: MeteredService) -> None:
    """GET, HEAD and range responses carry the SHA-256 of the whole image."""
    path = metered.image(PICTURE)
    answers = [
        metered.send("GET", path),
        metered.send("HEAD", path),
        metered.send("GET", path, [("Range", "bytes=3-9")]),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 206]
    assert {answer.headers["repr-digest"] for answer in answers} == {digest(PICTURE)}
    assert not [answer for answer in answers if "content-digest" in answer.headers]
