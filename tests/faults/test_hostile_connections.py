"""Hostile connections of every known kind at once do not delay other clients much."""

import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from devstack.object_store import ObjectStore
from devstack.service_process import ROOT
from devstack.waiting import wait_until
from tests.support.metered_service import metered_service
from tests.support.pictures import noise_png
from tests.support.raw_http import LIVE, ask
from tests.tools.hostile_connections import KINDS

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MEGABYTE = 1024 * 1024
SECONDS = 12


def start(tool: str, *arguments: int) -> subprocess.Popen[str]:
    """Run a module of tests/tools as a separate process."""
    command = [sys.executable, "-m", f"tests.tools.{tool}", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def share(times: list[float], percent: int) -> float:
    """Return the given percentile of the waiting times."""
    return sorted(times)[len(times) * percent // 100]


def test_hostile_connections(
    object_store: ObjectStore, s3: "S3Client", new_bucket: Callable[[], str]
) -> None:
    """During the attack liveness and metadata are answered, and memory is bounded and released."""
    with metered_service(
        object_store, s3, new_bucket(), CLIENT_IDLE_SECONDS="3", UPLOAD_TIMEOUT_SECONDS="5"
    ) as service:
        process = service.process
        service.upload("big", noise_png(20_000_000)).raise_for_status()
        assert service.send("GET", "/images/big").status_code == 200
        at_rest = process.rss()
        attackers = start("hostile_connections", process.port, SECONDS, 2 * len(KINDS))
        readers = start("metadata_readers", process.port, SECONDS, 16)
        waited = []
        while attackers.poll() is None:
            begun = time.monotonic()
            assert ask(process.port, LIVE).status == 200
            waited.append(time.monotonic() - begun)
            time.sleep(0.02)
        _, wrong, slow, _ = map(float, readers.communicate()[0].split())
        print(attackers.communicate()[0])  # noqa: T201 - shown when the test fails
        assert wrong == 0
        # Ten times the values of an idle machine, as other tests may run at the same time.
        assert share(waited, 95) < 2, share(waited, 99)
        assert slow < 4
        assert process.rss(peak=True) < 600 * MEGABYTE
        enough = at_rest + 100 * MEGABYTE  # the allocator keeps some freed memory
        wait_until(lambda: process.rss() < enough, timeout=20, what="memory to be free")
        assert "Exception in" not in process.log()
