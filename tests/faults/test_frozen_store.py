"""A hanging store does not stop other requests, and idle connections to a store are not reused."""

import hashlib
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import timedelta

import pytest

from adapters import s3_connections
from config import Settings
from devstack.waiting import wait_until
from s3_client import Bucket
from tests.support.fault_proxy import FaultProxy
from tests.support.pictures import noise_png
from tests.support.service_behind_proxies import ServiceBehindProxies
from tests.support.uploads import on_sqlite

on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@pytest.fixture
def proxied(service_environment: dict[str, str]) -> Iterator[ServiceBehindProxies]:
    """Run the service behind two proxies as a separate process."""
    with ExitStack() as stack:
        yield ServiceBehindProxies(stack, service_environment)


@on_postgresql
def test_metadata_while_the_store_hangs(proxied: ServiceBehindProxies) -> None:
    """Metadata and readiness are answered while 64 downloads wait for a hanging store."""
    proxied.upload(noise_png(2_000_000))
    proxied.storage.hang()
    with ThreadPoolExecutor(64) as threads:
        downloads = [threads.submit(proxied.get, "/images/big") for _ in range(64)]
        wait_until(lambda: proxied.storage.connections >= 16, timeout=20, what="16 downloads")
        for _ in range(20):
            assert proxied.get("/images/big/metadata", timeout=2).status == 200
        ready = proxied.get("/health/ready", timeout=4)
        assert ready.status == 503
        assert ready.json()["checks"] == {"database": "ok", "bucket": "timeout"}
        assert not any(
            download.done() and download.result().status == 200 for download in downloads
        )
        proxied.storage.heal()
        assert {download.result().status for download in downloads} <= {200, 503}
    assert proxied.get("/images/big").status == 200


@on_sqlite
@pytest.mark.parametrize(("idle_seconds", "reused"), [(5, True), (0, False)])
def test_idle_connection(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, idle_seconds: int, *, reused: bool
) -> None:
    """A connection that was idle for too long is not reused."""
    monkeypatch.setattr(s3_connections, "_POOL_IDLE", timedelta(seconds=idle_seconds))
    port = int(str(settings.aws_endpoint_url_s3).rpartition(":")[2])
    digest = hashlib.sha256(b"x").hexdigest()
    with FaultProxy(("127.0.0.1", port)) as proxy:
        proxied = {"aws_endpoint_url_s3": f"http://127.0.0.1:{proxy.address[1]}"}
        with closing(Bucket(settings.model_copy(update=proxied))) as bucket:
            for _ in range(10):
                bucket.upload_image(io.BytesIO(b"x"), "idle.png", "image/png", sha256=digest)
            opened = proxy.accepted
            bucket.delete_image("idle.png")
    assert opened < 10 if reused else opened == 10
