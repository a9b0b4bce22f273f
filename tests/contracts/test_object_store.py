"""Contract: what the service requires of an object store, through `s3_client.Bucket`.

Each declared difference of a store from S3 is proved by the test of that behavior.
"""

import base64
import hashlib
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext
from random import Random

import pytest
import urllib3

from config import Settings
from devstack.object_store import ObjectStore
from errors import ObjectMissingError, StorageUnavailableError
from s3_client import Bucket
from tests.support.fault_proxy import FaultProxy
from tests.support.stored_objects import TEN, get, new_key, put, stored
from tests.support.stores import Difference, StoreKind

BODY = Random(1).randbytes(10_000)
LARGE = 300 * BODY
BIG = Random(2).randbytes(25_000_000)


@pytest.mark.parametrize("body", [b"", b"x", BODY, BIG], ids=["empty", "one", "small", "25 MB"])
def test_put_and_get(images: Bucket, body: bytes) -> None:
    """An object is read back complete, with its length and content type."""
    key = new_key()
    with stored(images, key, body=body):
        answer = images.download_image(key)
        assert answer.length == len(body)
        kept = images.client.head_object(Bucket="images", Key=key)
        assert kept["ContentType"] == "image/png"
        assert answer.read_all(len(body)) == body
        assert images.has_object(key, len(body))
        assert not images.has_object(key, len(body) + 1)


def test_in_pieces(images: Bucket) -> None:
    """A large object can be read in pieces; an abandoned download does not affect later ones."""
    key = new_key()
    with stored(images, key, body=BIG):
        answer = images.download_image(key)
        pieces = list(iter(lambda: answer.read(1_000_000), b""))
        answer.close()
        assert b"".join(pieces) == BIG
        given_up = images.download_image(key)
        assert BIG.startswith(given_up.read(1000))
        given_up.close()
        assert get(images, key) == BIG


@pytest.mark.parametrize("part", [(0, 0), (0, 9), (3, 5), (9, 9), (5, 100)])
def test_ranges(images: Bucket, part: tuple[int, int]) -> None:
    """A range returns exactly its bytes; a range beyond the end stops at the end."""
    key = new_key()
    with stored(images, key):
        answer = images.download_image(key, part)
        assert answer.length == min(part[1], 9) - part[0] + 1
        assert answer.read_all() == TEN[part[0] : part[1] + 1]


def test_range_in_25_mb(images: Bucket) -> None:
    """A range of a large object returns the right bytes at every position."""
    key = new_key()
    with stored(images, key, body=BIG):
        for first in (0, 4_194_303, 8_388_607, 24_999_000):
            assert get(images, key, (first, first + 999)) == BIG[first : first + 1000]


def test_range_beyond_the_end(images: Bucket) -> None:
    """A range that starts beyond the end is refused with 416."""
    key = new_key()
    with stored(images, key), pytest.raises(StorageUnavailableError) as raised:
        images.download_image(key, (10, 11))
    assert "416" in str(raised.value.__cause__)


def test_missing(images: Bucket) -> None:
    """A missing object raises ObjectMissingError for every kind of request."""
    key = new_key()
    for ask in (images.download_image, images.stored_name):
        with pytest.raises(ObjectMissingError):
            ask(key)
    with pytest.raises(ObjectMissingError):
        images.download_image(key, (0, 1))
    assert not images.has_object(key, 0)


def test_delete(images: Bucket) -> None:
    """A deleted object is missing and not listed, and deleting it again succeeds."""
    key = new_key()
    put(images, key, TEN)
    for _ in range(2):
        images.delete_image(key)
        with pytest.raises(ObjectMissingError):
            images.download_image(key)
    assert key not in dict(images.list_objects())


OVERRIDES = {
    "Content-Type": "image/webp",
    "Content-Disposition": "inline; filename=\"a b.png\"; filename*=UTF-8''%C3%A9%20%26.png",
    "Cache-Control": "private, max-age=60",
}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_presigned(images: Bucket, kind: StoreKind, method: str) -> None:
    """A presigned URL serves the object with the response headers that it names."""
    key = new_key()
    with stored(images, key):
        url = images.presigned_url(method, key, OVERRIDES)
        answer = urllib3.request(method, url, retries=False)
        assert answer.status == 200
        assert answer.data == (TEN if method == "GET" else b"")
        if method == "HEAD" and Difference.OVERRIDES in kind.differences:
            assert answer.headers["Content-Type"] == "image/png"
            return
        assert {name: answer.headers.get(name) for name in OVERRIDES} == OVERRIDES


def test_presigned_range(images: Bucket) -> None:
    """A presigned URL serves ranges."""
    key = new_key()
    with stored(images, key):
        part = {"Range": "bytes=2-4"}
        url = images.presigned_url("GET", key, {})
        answer = urllib3.request("GET", url, headers=part, retries=False)
        assert (answer.status, answer.data) == (206, TEN[2:5])


@pytest.mark.parametrize("key", ["é 😀+%.png", "plain.png"])
def test_presigned_forged(images: Bucket, kind: StoreKind, key: str) -> None:
    """A presigned URL is valid only for its own object, method and response headers."""
    with stored(images, key, "other.png"):
        url = images.presigned_url("GET", key, {"Content-Type": "image/webp"})
        assert urllib3.request("GET", url, retries=False).status == 200
        other = images.presigned_url("GET", "other.png", {}).partition("?")[0]
        forged = [
            ("GET", f"{other}?{url.partition('?')[2]}"),
            ("GET", url.replace("webp", "jpeg")),
            ("GET", url.partition("?")[0]),
            ("DELETE", url),
        ]
        unchecked = Difference.SIGNATURES in kind.differences
        expected = [200, 200, 403, 204] if unchecked else [403] * 4
        assert [urllib3.request(*one, retries=False).status for one in forged] == expected


def test_wrong_sha256(images: Bucket) -> None:
    """An upload whose bytes do not match its SHA-256 is refused and stores nothing."""
    key = new_key()
    digest = hashlib.sha256(b"other").hexdigest()
    with pytest.raises(StorageUnavailableError, match="SHA-256"):
        images.upload_image(io.BytesIO(BODY), key, "image/png", sha256=digest)
    assert not images.has_object(key, len(BODY))


@pytest.mark.parametrize("checksum", [True, False])
def test_wrong_sha256_of_a_large_file(
    store_settings: Settings, kind: StoreKind, *, checksum: bool
) -> None:
    """The store refuses a large file that does not match its SHA-256, unless it gets no checksum.

    Then the service itself refuses it.
    """
    key, digest = new_key(), hashlib.sha256(b"other").hexdigest()
    settings = store_settings.model_copy(update={"s3_checksum": checksum})
    unnoticed = checksum and Difference.NO_CHECKSUM in kind.differences
    refused = nullcontext() if unnoticed else pytest.raises(StorageUnavailableError)
    with closing(Bucket(settings)) as images:
        with refused:
            images.upload_image(io.BytesIO(LARGE), key, "image/png", sha256=digest)
        assert images.has_object(key, len(LARGE)) is unnoticed
        images.delete_image(key)


def test_checksum(images: Bucket, kind: StoreKind) -> None:
    """The store returns the SHA-256 that a PUT sent."""
    key = new_key()
    with stored(images, key, body=BODY):
        kept = images.client.head_object(Bucket="images", Key=key, ChecksumMode="ENABLED")
    digest = base64.b64encode(hashlib.sha256(BODY).digest()).decode()
    expected = None if Difference.NO_CHECKSUM in kind.differences else digest
    assert kept.get("ChecksumSHA256") == expected


def test_altered_in_transit(
    store: ObjectStore, store_settings: Settings, images: Bucket, kind: StoreKind
) -> None:
    """The store refuses a PUT whose bytes changed in transit, and stores nothing."""
    key = new_key()
    with FaultProxy(("127.0.0.1", int(store.endpoint_url.rpartition(":")[2]))) as proxy:
        proxy.alter(TEN, TEN[::-1])
        endpoint = {"aws_endpoint_url_s3": f"http://127.0.0.1:{proxy.address[1]}"}
        with closing(Bucket(store_settings.model_copy(update=endpoint))) as bucket:
            if Difference.CHECKSUMS in kind.differences:
                put(bucket, key, TEN)
                assert get(images, key) == TEN[::-1]
                images.delete_image(key)
                return
            with pytest.raises(StorageUnavailableError) as raised:
                put(bucket, key, TEN)
    assert " 400 " in str(raised.value.__cause__)
    assert not images.has_object(key, len(TEN))


@pytest.fixture
def unauthorized(store_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """Return a client with a wrong secret key."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with closing(Bucket(store_settings)) as bucket:
        yield bucket


def test_wrong_secret(images: Bucket, unauthorized: Bucket, kind: StoreKind) -> None:
    """With a wrong secret key every request is refused, and none reports a missing object."""
    if Difference.SIGNATURES in kind.differences:
        unauthorized.check()
        return
    key = new_key()
    with stored(images, key):
        asks = (
            unauthorized.check,
            lambda: get(unauthorized, key),
            lambda: unauthorized.delete_image(key),
        )
        for ask in asks:
            with pytest.raises(StorageUnavailableError):
                ask()
        with pytest.raises(StorageUnavailableError):
            put(unauthorized, key, BODY)
        assert get(images, key) == TEN


def test_check(images: Bucket, store_settings: Settings) -> None:
    """A missing bucket is an error of the store, never a missing object."""
    images.check()
    elsewhere = store_settings.model_copy(update={"aws_s3_bucket": "nowhere"})
    with closing(Bucket(elsewhere)) as bucket:
        asks = (bucket.check, lambda: get(bucket, "a.png"), lambda: list(bucket.list_objects()))
        for ask in asks:
            with pytest.raises(StorageUnavailableError):
                ask()


def test_concurrent_use(images: Bucket) -> None:
    """Sixteen threads can put, read and delete objects concurrently with one client."""
    shared = new_key()

    def work(number: int) -> None:
        body = Random(number).randbytes(1 + number * 7919)
        for _ in range(6):
            key = new_key()
            put(images, key, body)
            assert get(images, key) == body
            assert get(images, shared) == BODY
            images.delete_image(key)
            assert not images.has_object(key, len(body))

    with stored(images, shared, body=BODY), ThreadPoolExecutor(16) as threads:
        for done in [threads.submit(work, number) for number in range(16)]:
            done.result()
    assert not list(images.list_objects(shared))
