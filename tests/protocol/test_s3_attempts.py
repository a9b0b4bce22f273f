"""How often and how long S3 is asked: a PUT once until its deadline, reads and deletes again."""

import hashlib
import io
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from tempfile import TemporaryFile

import pytest

from config import Settings
from devstack.object_store import ObjectStore
from devstack.waiting import wait_until
from errors import ObjectMissingError, StorageUnavailableError
from s3_client import Bucket, ObjectBody
from tests.support.fault_proxy import FaultProxy, s3_error
from tests.support.stored_objects import get, new_key, put

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


def put_until(images: Bucket, key: str, body: bytes, deadline: float) -> None:
    """Put an object, as an upload with that deadline does."""
    digest = hashlib.sha256(body).hexdigest()
    images.upload_image(io.BytesIO(body), key, "image/png", sha256=digest, deadline=deadline)


def read_on(body: ObjectBody) -> None:
    """Read a body to its end."""
    while body.read(100_000):
        pass


@pytest.mark.parametrize("reused", [True, False])
@pytest.mark.parametrize("fault", ["cut_before", "cut_after", "503"])
def test_put_once(proxy: FaultProxy, images: Bucket, fault: str, reused: bool) -> None:  # noqa: FBT001
    """A PUT is sent once, whatever becomes of it, also over a connection that was used before."""
    if reused:
        put(images, new_key(), b"x")
        assert proxy.accepted == 1
    if fault == "503":
        armed = proxy.answer_with(s3_error(503, "SlowDown"), when=b"PUT /", times=None)
    else:
        armed = getattr(proxy, fault)(b"PUT /", times=None)
    with pytest.raises(StorageUnavailableError):
        put(images, new_key(), BODY)
    assert armed.fired == 1
    assert proxy.accepted == 1


def test_put_over_a_closed_connection(proxy: FaultProxy, images: Bucket) -> None:
    """A PUT that finds its pooled connection closed goes over a new one."""
    put(images, new_key(), b"x")
    proxy.close_connections()
    key = new_key()
    put(images, key, BODY)
    assert get(images, key) == BODY


def test_put_too_late(proxy: FaultProxy, images: Bucket) -> None:
    """At its deadline nothing is sent any more."""
    with pytest.raises(StorageUnavailableError):
        put_until(images, new_key(), BODY, time.monotonic())
    assert proxy.accepted == 0


@pytest.mark.parametrize("slowed", ["hang", "throttle", "delay"])
def test_put_deadline(proxy: FaultProxy, images: Bucket, place: Settings, slowed: str) -> None:
    """A PUT that is not answered at its deadline is given up, and its connection closed."""
    key = new_key()
    body = BODY if slowed == "delay" else LARGE
    match slowed:
        case "hang":
            proxy.hang()
        case "throttle":
            proxy.throttle(len(LARGE) // 10, "request")
        case "delay":
            proxy.delay(30, "answer")
    with pytest.raises(StorageUnavailableError):
        put_until(images, key, body, time.monotonic() + 0.5)
    if slowed == "hang":
        proxy.heal()
    wait_until(lambda: proxy.connections == 0, timeout=10, what="the connection to be closed")
    with closing(Bucket(place)) as direct:
        assert direct.has_object(key, len(body)) == (slowed == "delay")


def test_put_time_limit(proxy: FaultProxy, place: Settings) -> None:
    """S3_PUT_TIMEOUT_SECONDS limits a PUT that names no deadline."""
    proxy.hang()
    with (
        behind(proxy, place, s3_put_timeout_seconds=0.5) as images,
        pytest.raises(StorageUnavailableError),
    ):
        put(images, new_key(), BODY)


def test_read_time_limit(proxy: FaultProxy, place: Settings) -> None:
    """S3_READ_TIMEOUT_SECONDS limits each wait for a response and for more of a body."""
    key = new_key()
    with behind(proxy, place, s3_read_timeout_seconds=0.5) as images:
        put(images, key, BODY)
        body = images.download_image(key)
        proxy.hang()
        for ask in (lambda: read_on(body), lambda: get(images, key)):
            with pytest.raises(StorageUnavailableError):
                ask()


def test_large_files_are_mapped(images: Bucket) -> None:
    """A large file is sent from where it lies: no memory of its own is taken for its bytes."""
    key, digest = new_key(), hashlib.sha256(LARGE).hexdigest()
    with TemporaryFile() as file:
        file.write(LARGE)
        before = _own_memory()
        images.upload_image(file, key, "image/png", sha256=digest)
        taken = _own_memory() - before
    assert taken < len(LARGE) / 3
    assert get(images, key) == LARGE


def _own_memory() -> int:
    """Return the bytes of this process that are in no file."""
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon"))


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_asked_again(proxy: FaultProxy, images: Bucket, method: str) -> None:
    """Reads and deletes are sent three times at most, after errors and cut connections."""
    key = new_key()
    put(images, key, BODY)
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
    put(images, key, BODY)
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
    ],
)
def test_missing_or_not(
    proxy: FaultProxy, images: Bucket, code: str, error: type[Exception]
) -> None:
    """Only a missing object is missing; to a delete it is no error."""
    proxy.answer_with(s3_error(404, code), times=None)
    with pytest.raises(error):
        images.download_image("a.png")
    with pytest.raises(StorageUnavailableError):
        put(images, "a.png", b"x")
    with ExitStack() as expected:
        if error is StorageUnavailableError:
            expected.enter_context(pytest.raises(StorageUnavailableError))
        images.delete_image("a.png")
