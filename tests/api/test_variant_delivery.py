"""A request that waits for a variant blocks no others, and returns one of the current image."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import httpx
import pytest
from fastapi.testclient import TestClient

from config import Settings
from devstack.waiting import wait_until
from tests.support.inspections import decoders
from tests.support.uploads import on_sqlite, problem, serving, upload
from tests.support.variants import HIGH, WIDE, opened, variant_keys
from web import variant_queue

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class HeldService:
    """A service that handles one request to S3 and makes one variant at a time."""

    def __init__(self, client: TestClient, threads: ThreadPoolExecutor) -> None:
        self.client = client
        self._threads = threads
        self._stopped: list[int] = []

    def stop_decoder(self) -> None:
        """Stop the process that makes variants, which must be running."""
        self._stopped = decoders()
        assert len(self._stopped) == 1
        os.kill(self._stopped[0], signal.SIGSTOP)

    def go_on(self) -> None:
        """Continue the process."""
        for decoder in self._stopped:
            with suppress(ProcessLookupError):
                os.kill(decoder, signal.SIGCONT)

    def ask(self, path: str) -> Future[httpx.Response]:
        """Request a variant; return when it is being made, or waits for another one."""
        under_way = self.client.app_state["variant_delivery"]._queue._turns
        before = len(under_way)
        answer = self._threads.submit(self.client.get, path)
        wait_until(lambda: len(under_way) > before, timeout=20, what="the request")
        return answer


@pytest.fixture
def held(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[HeldService]:
    """Return a service with the images `a` and `b`; `a` has the variant 160.png."""
    monkeypatch.setattr(variant_queue, "_THREADS", 1)
    with (
        serving(settings, concurrency=1, inspection="header") as client,
        ThreadPoolExecutor(4) as threads,
        _let_go(HeldService(client, threads)) as service,
    ):
        for name in ("a", "b"):
            assert upload(client, WIDE, "a.jpg", name).is_success
        assert client.get("/images/a/variants/160.png").is_success
        yield service


@contextmanager
def _let_go(service: HeldService) -> Iterator[HeldService]:
    try:
        yield service
    finally:
        service.go_on()


@on_sqlite
@pytest.mark.parametrize("spec", ["320", "160"], ids=["missing", "lost"])
def test_blocks_no_others(held: HeldService, settings: Settings, s3: "S3Client", spec: str) -> None:
    """While a missing or lost variant is made, other requests use S3."""
    (key,) = variant_keys(settings)
    s3.delete_object(Bucket=settings.aws_s3_bucket, Key=key)
    held.stop_decoder()
    answer = held.ask(f"/images/a/variants/{spec}.png")
    assert held.client.get("/images/a").content == WIDE
    held.go_on()
    assert opened(answer.result()).width == int(spec)


@on_sqlite
@pytest.mark.parametrize(
    "change",
    ["replaced", "deleted", pytest.param("lost", marks=pytest.mark.planted_damage)],
)
def test_original_gone(held: HeldService, settings: Settings, s3: "S3Client", change: str) -> None:
    """If an image changes while its variant waits, the response is that of the current image."""
    held.stop_decoder()
    first = held.ask("/images/a/variants/320.png")
    second = held.ask("/images/b/variants/320")
    if change == "replaced":
        assert upload(held.client, HIGH, "b.jpg", "b").status_code == 200
    elif change == "deleted":
        assert held.client.delete("/images/b").is_success
    else:
        for entry in s3.list_objects_v2(Bucket=settings.aws_s3_bucket)["Contents"]:
            s3.delete_object(Bucket=settings.aws_s3_bucket, Key=entry["Key"])
    held.go_on()
    assert opened(first.result()).size == (320, 160)
    if change == "replaced":
        assert opened(second.result()).size == (160, 320)
    elif change == "deleted":
        problem(second.result(), 404, "image_not_found")
    else:
        problem(second.result(), 500, "image_lost")
    assert "Accept" in second.result().headers["Vary"]
