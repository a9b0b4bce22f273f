"""How often and how long S3 is asked: a PUT once until its deadline, reads and deletes again."""

import hashlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryFile

import pytest

import s3_client
from config import Settings
from devstack.object_store import ObjectStore
from devstack.waiting import wait_until
from errors import ObjectMissingError, StorageUnavailableError
from s3_client import Bucket, ObjectBody
from tests.support.fault_proxy import FaultProxy, s3_error
from tests.support.stored_objects import get, new_key
from tests.support.stored_objects import put as put_bytes

Put = Callable[..., None]
BODY = bytes(range(256)) * 12_000
LARGE = 10 * BODY  # more than the sockets of this host take
FOREVER = 24 * 3600


@pytest.fixture(scope="module")
def place(object_store: ObjectStore, new_bucket: Callable[[], str]) -> Settings:
    """Return settings with a bucket of its own; only deadlines end a request that hangs."""
    return Settings(
        db_url="sqlite:///unused.db",
        aws_region=object_store.region,
        aws_s3_bucket=new_bucket(),
        aws_endpoint_url_s3=object_store.endpoint_url,
        s3_put_timeout_seconds=3600,
        s3_read_timeout_seconds=FOREVER,
        put_horizon_seconds=FOREVER,
    )


@pytest.fixture
def proxy(object_store: ObjectStore) -> Iterator[FaultProxy]:
    """Return a proxy in front of S3."""
    port = int(object_store.endpoint_url.rpartition(":")[2])
    with FaultProxy(("127.0.0.1", port)) as proxy:
        yield proxy


@contextmanager
def behind(proxy: FaultProxy, place: Settings, **changes: object) -> Iterator[Bucket]:
    """Open the bucket behind the proxy."""
    endpoint = f"http://127.0.0.1:{proxy.address[1]}"
    settings = place.model_copy(update={"aws_endpoint_url_s3": endpoint} | changes)
    with closing(Bucket(settings)) as images:
        yield images


@pytest.fixture
def images(proxy: FaultProxy, place: Settings) -> Iterator[Bucket]:
    """Return the bucket behind the proxy."""
    with behind(proxy, place) as images:
        yield images


@pytest.fixture(params=["obstore", "boto3"])
def put(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Return a function that puts bytes as the service does, by the client for small or large."""
    largest = sys.maxsize if request.param == "obstore" else 0
    monkeypatch.setattr(s3_client, "_LARGE_BYTES", largest)

    def put(images: Bucket, key: str, body: bytes, deadline: float | None = None) -> None:
        digest = hashlib.sha256(body).hexdigest()
        file = BytesIO(body)
        images.upload_image(file, key, "image/png", sha256=digest, deadline=deadline)

    return put


def read_on(body: ObjectBody) -> None:
    """Read a body to its end."""
    while body.read(100_000):
        pass


@pytest.mark.parametrize("reused", [True, False])
@pytest.mark.parametrize("fault", ["cut_before", "cut_after", "503"])
def test_put_once(
    proxy: FaultProxy,
    images: Bucket,
    put: Put,
    fault: str,
    reused: bool,  # noqa: FBT001
) -> None:
    """A PUT is sent once, whatever becomes of it, also after another one."""
    if reused:
        put(images, new_key(), BODY)
    before = proxy.accepted
    if fault == "503":
        armed = proxy.answer_with(s3_error(503, "SlowDown"), when=b"PUT /", times=None)
    else:
        armed = getattr(proxy, fault)(b"PUT /", times=None)
    with pytest.raises(StorageUnavailableError):
        put(images, new_key(), BODY)
    assert armed.fired == 1
    assert proxy.accepted <= before + 1


def test_put_over_a_closed_connection(proxy: FaultProxy, images: Bucket, put: Put) -> None:
    """A PUT that finds its connection closed goes over a new one."""
    put(images, new_key(), BODY)
    proxy.close_connections()
    key = new_key()
    put(images, key, BODY)
    assert get(images, key) == BODY


def test_put_too_late(proxy: FaultProxy, images: Bucket, put: Put) -> None:
    """At its deadline nothing is sent any more."""
    with pytest.raises(StorageUnavailableError):
        put(images, new_key(), BODY, time.monotonic())
    assert proxy.accepted == 0


@pytest.mark.parametrize("slowed", ["hang", "throttle"])
def test_put_deadline(
    proxy: FaultProxy, images: Bucket, place: Settings, put: Put, slowed: str
) -> None:
    """A PUT that is not sent at its deadline is given up, and its connection closed."""
    key = new_key()
    if slowed == "hang":
        proxy.hang()
    else:
        proxy.throttle(len(LARGE) // 10, "request")
    with pytest.raises(StorageUnavailableError):
        put(images, key, LARGE, time.monotonic() + 0.5)
    if slowed == "hang":
        proxy.heal()
    wait_until(lambda: proxy.connections == 0, timeout=10, what="the connection to be closed")
    with closing(Bucket(place)) as direct:
        assert not direct.has_object(key, len(LARGE))


@pytest.mark.parametrize("slowed", ["hang", "delay"])
def test_put_time_limit(proxy: FaultProxy, place: Settings, put: Put, slowed: str) -> None:
    """S3_PUT_TIMEOUT_SECONDS limits a PUT that names no deadline, and the wait for its response."""
    if slowed == "hang":
        proxy.hang()
    else:
        proxy.delay(30, "answer")
    with (
        behind(proxy, place, s3_put_timeout_seconds=0.5) as images,
        pytest.raises(StorageUnavailableError),
    ):
        put(images, new_key(), BODY)


def test_read_time_limit(proxy: FaultProxy, place: Settings) -> None:
    """S3_READ_TIMEOUT_SECONDS limits each wait for a response and for more of a body."""
    key = new_key()
    with behind(proxy, place, s3_read_timeout_seconds=0.5) as images:
        put_bytes(images, key, LARGE)
        body = images.download_image(key)
        proxy.hang()
        for ask in (lambda: read_on(body), lambda: get(images, key)):
            with pytest.raises(StorageUnavailableError):
                ask()


def test_large_file(images: Bucket) -> None:
    """A large file is sent in pieces: it is not brought into memory."""
    key, digest = new_key(), hashlib.sha256(LARGE).hexdigest()
    with TemporaryFile() as file:
        file.write(LARGE)
        before = _most_memory()
        images.upload_image(file, key, "image/png", sha256=digest)
        taken = _most_memory() - before
    assert taken < len(LARGE) / 3
    assert get(images, key) == LARGE


def _most_memory() -> int:
    """Return the most bytes that this process ever had in memory (Linux: VmHWM)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if "VmHWM" in line)


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_asked_again(proxy: FaultProxy, images: Bucket, method: str) -> None:
    """Reads and deletes are sent three times at most, after errors and cut connections."""
    key = new_key()
    put_bytes(images, key, BODY)
    asks: dict[str, Callable[[], object]] = {
        "GET": lambda: get(images, key),
        "HEAD": lambda: images.has_object(key, len(BODY)),
        "DELETE": lambda: images.delete_image(key),
    }
    request = f"{method} /".encode()
    slow_down = s3_error(503, "SlowDown")
    for arm in (
        proxy.cut_before,
        lambda when, **how: proxy.answer_with(slow_down, when=when, **how),
    ):
        for_good = arm(request, times=None)
        with pytest.raises(StorageUnavailableError):
            asks[method]()
        assert for_good.fired == 3
        proxy.heal()
        twice = arm(request, times=2)
        asks[method]()
        assert twice.fired == 2
        proxy.heal()


def test_cut_body(proxy: FaultProxy, images: Bucket) -> None:
    """A body that is cut is resumed; one that is cut again and again never passes for whole."""
    key = new_key()
    put_bytes(images, key, BODY)
    cut = proxy.cut_response_after(1_000_000, when=b"GET /")
    assert get(images, key) == BODY
    assert cut.fired == 1
    proxy.cut_response_after(100_000, when=b"GET /", times=None)
    with pytest.raises(StorageUnavailableError):
        get(images, key)
    body = images.download_image(key)
    with pytest.raises(StorageUnavailableError):
        read_on(body)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("NoSuchKey", ObjectMissingError),
        ("NoSuchBucket", StorageUnavailableError),
        ("NoSuchThing", StorageUnavailableError),
        ("", StorageUnavailableError),  # of a gateway that does not reach the store
    ],
)
def test_missing_or_not(
    proxy: FaultProxy, images: Bucket, code: str, error: type[Exception]
) -> None:
    """Only an object that S3 itself misses is missing; to a delete it is no error."""
    proxy.answer_with(s3_error(404, code), times=None)
    with pytest.raises(error):
        images.download_image("a.png")
    with pytest.raises(StorageUnavailableError):
        put_bytes(images, "a.png", b"x")
    with ExitStack() as expected:
        if error is StorageUnavailableError:
            expected.enter_context(pytest.raises(StorageUnavailableError))
        images.delete_image("a.png")
