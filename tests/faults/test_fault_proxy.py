"""The fault proxy injects its faults in front of real databases and a real object store."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from sqlalchemy import Engine, exc, make_url, text

from devstack.databases import connection, engine_for, fresh_database, through
from devstack.object_store import ObjectStore
from devstack.waiting import wait_until
from tests.support.fault_proxy import COMMIT, FaultProxy, s3_error

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

INSERT = text("INSERT INTO t VALUES (1)")


@pytest.fixture(scope="module", params=["postgres_url", "mariadb_url"])
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """Return the URL of a database with a table `t`."""
    with fresh_database(request.getfixturevalue(request.param)) as url:
        with connection(url) as db:
            db.execute(text("CREATE TABLE t (x integer)"))
        yield url


@pytest.fixture
def proxy(database: str) -> Iterator[FaultProxy]:
    """Empty the table and run a proxy in front of the database server."""
    with connection(database) as db:
        db.execute(text("DELETE FROM t"))
    target = make_url(database)
    assert target.host
    with FaultProxy((target.host, target.port or 5432)) as proxy:
        yield proxy


@pytest.fixture
def engine(database: str, proxy: FaultProxy) -> Engine:
    """Return an engine whose connections go through the proxy."""
    return engine_for(through(database, proxy.address))


def rows(database: str) -> int:
    """Count the rows of `t` without the proxy."""
    with connection(database) as db:
        return int(db.scalar(text("SELECT count(*) FROM t")) or 0)


def insert(engine: Engine) -> None:
    """Insert one row in a transaction."""
    with engine.begin() as db:
        db.execute(INSERT)


def test_it_forwards(engine: Engine, database: str, proxy: FaultProxy) -> None:
    """Without a fault the proxy forwards everything unchanged."""
    insert(engine)
    assert rows(database) == 1
    assert proxy.accepted == 1
    wait_until(lambda: proxy.connections == 0, timeout=5, what="the connection to end")


def test_commit_answer_lost(engine: Engine, database: str, proxy: FaultProxy) -> None:
    """After `cut_after` the client has lost its connection, but the row exists."""
    lost = proxy.cut_after(COMMIT)
    with pytest.raises(exc.OperationalError):
        insert(engine)
    assert lost.fired == proxy.fired == 1
    assert rows(database) == 1
    insert(engine)  # the fault strikes only once
    assert rows(database) == 2


def test_commit_cut(engine: Engine, database: str, proxy: FaultProxy) -> None:
    """After `cut_before` the client has lost its connection and the row does not exist."""
    cut = proxy.cut_before(COMMIT)
    with pytest.raises(exc.OperationalError):
        insert(engine)
    assert cut.fired == 1
    assert rows(database) == 0


def test_skip_and_times(engine: Engine, database: str, proxy: FaultProxy) -> None:
    """A fault can skip requests first and strike more than once."""
    cut = proxy.cut_before(COMMIT, skip=1, times=2)
    insert(engine)
    for _ in range(2):
        with pytest.raises(exc.OperationalError):
            insert(engine)
    insert(engine)
    assert cut.fired == 2
    assert rows(database) == 2


def test_earlier_requests_do_not_match(engine: Engine, proxy: FaultProxy) -> None:
    """A fault ignores requests that were sent before it was armed."""
    with engine.connect() as db:
        db.execute(text("SELECT 'needle'"))
        cut = proxy.cut_before(b"needle")
        db.execute(text("SELECT 1"))
        assert cut.fired == 0


def test_refuse_and_heal(engine: Engine, database: str, proxy: FaultProxy) -> None:
    """`refuse` keeps the port and open connections, and can alternate with `heal`."""
    with engine.connect() as open_connection:
        for _ in range(2):
            proxy.refuse()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(proxy.address, timeout=5)
            open_connection.execute(text("SELECT 1"))
            proxy.heal()
            insert(engine)
    assert rows(database) == 2


def test_close_connections(engine: Engine, proxy: FaultProxy) -> None:
    """`close_connections` cuts open connections; new ones are served."""
    with engine.connect() as open_connection:
        open_connection.execute(text("SELECT 1"))
        assert proxy.connections == 1
        proxy.close_connections()
        assert proxy.connections == 0
        with pytest.raises(exc.OperationalError):
            open_connection.execute(text("SELECT 1"))
    with engine.connect() as db:
        assert db.scalar(text("SELECT 1")) == 1


def test_hang(proxy: FaultProxy) -> None:
    """`hang` accepts new connections but forwards nothing until `heal`."""
    proxy.hang()
    with socket.create_connection(proxy.address, timeout=0.2) as client:
        client.sendall(b"\0\0\0\x08\x04\xd2\x16\x2f")  # PostgreSQL's SSLRequest; MariaDB greets
        with pytest.raises(TimeoutError):
            client.recv(1)
        proxy.heal()
        client.settimeout(5)
        assert client.recv(1)


def test_delay(engine: Engine, proxy: FaultProxy) -> None:
    """`delay` delays each answer by the given time."""
    with engine.connect() as db:
        db.execute(text("SELECT 1"))
        proxy.delay(0.2, "answer")
        start = time.monotonic()
        db.execute(text("SELECT 1"))
        assert 0.2 <= time.monotonic() - start < 2


@pytest.fixture(scope="module")
def stored(s3: "S3Client", new_bucket: Callable[[], str]) -> str:
    """Return a bucket with an object `a` of 100,000 bytes."""
    bucket = new_bucket()
    s3.put_object(Bucket=bucket, Key="a", Body=b"a" * 100_000)
    return bucket


@contextmanager
def proxied(store: ObjectStore) -> Iterator[tuple[FaultProxy, "S3Client"]]:
    """Yield a proxy in front of S3, and a client with short timeouts that uses it."""
    port = int(store.endpoint_url.rpartition(":")[2])
    with FaultProxy(("127.0.0.1", port)) as proxy:
        client = boto3.session.Session().client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{proxy.address[1]}",
            region_name=store.region,
            config=Config(
                read_timeout=1,
                retries={"total_max_attempts": 1},
                s3={"addressing_style": "path"},
            ),
        )
        yield proxy, client
        client.close()


def test_body_cut_short(object_store: ObjectStore, stored: str) -> None:
    """`cut_response_after` ends a response after the given number of bytes."""
    with proxied(object_store) as (proxy, client):
        cut = proxy.cut_response_after(50_000, when=b"GET /")
        with pytest.raises(ResponseStreamingError):
            client.get_object(Bucket=stored, Key="a")["Body"].read()
        assert cut.fired == 1
        assert len(client.get_object(Bucket=stored, Key="a")["Body"].read()) == 100_000


def test_own_answer(object_store: ObjectStore, stored: str) -> None:
    """`answer_with` returns an S3 error for downloads and uploads."""
    with proxied(object_store) as (proxy, client):
        proxy.answer_with(s3_error(503, "SlowDown"), when=b"GET /", times=None)
        proxy.answer_with(s3_error(403, "AccessDenied"), when=b"PUT /")
        with pytest.raises(ClientError, match="SlowDown"):
            client.get_object(Bucket=stored, Key="a")
        with pytest.raises(ClientError, match="AccessDenied"):
            client.put_object(Bucket=stored, Key="refused", Body=b"x" * 3_000_000)
        assert proxy.fired == 2
        proxy.heal()
        keys = [entry["Key"] for entry in client.list_objects_v2(Bucket=stored)["Contents"]]
        assert "refused" not in keys


def test_put_answer_lost(object_store: ObjectStore, s3: "S3Client", stored: str) -> None:
    """After `cut_after` a PUT is stored; 100 Continue does not count as its answer."""
    with proxied(object_store) as (proxy, client):
        proxy.cut_after(b"PUT /")
        with pytest.raises(ConnectionClosedError):
            client.put_object(Bucket=stored, Key="landed", Body=b"x" * 1_000_000)
        assert proxy.fired == 1
        assert s3.head_object(Bucket=stored, Key="landed")["ContentLength"] == 1_000_000


def test_put_lands_late(object_store: ObjectStore, s3: "S3Client", stored: str) -> None:
    """A held PUT that its client has given up is stored when the test calls `release`."""
    with proxied(object_store) as (proxy, client):
        held = proxy.hold(b"PUT /")
        with pytest.raises(ReadTimeoutError):
            client.put_object(Bucket=stored, Key="late", Body=b"x" * 200_000)
        held.wait()
        with pytest.raises(s3.exceptions.ClientError, match="404"):
            s3.head_object(Bucket=stored, Key="late")
        client.close()
        proxy.release()
        assert s3.head_object(Bucket=stored, Key="late")["ContentLength"] == 200_000


def test_throttle(object_store: ObjectStore, stored: str) -> None:
    """`throttle` limits the rate of a response without long pauses."""
    with proxied(object_store) as (proxy, client):
        proxy.throttle(100_000, "answer")
        start = time.monotonic()
        assert len(client.get_object(Bucket=stored, Key="a")["Body"].read()) == 100_000
        assert time.monotonic() - start > 0.9


def test_a_dead_server_looks_dead(object_store: ObjectStore) -> None:
    """If the server is down, the proxy accepts connections and closes them at once."""
    with proxied(object_store) as (proxy, client):
        proxy.target = ("127.0.0.1", 1)
        with pytest.raises(BotoCoreError):
            client.list_buckets()
