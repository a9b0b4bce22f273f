"""Unfinished uploads reserve the disk, so that they cannot fill it for all."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPResponse
from pathlib import Path

import httpx
import pytest

from config import Settings
from devstack.service_process import ServiceProcess
from devstack.waiting import wait_until
from tests.support.pictures import noise_png, png
from tests.support.uploads import FORM, count, on_sqlite, problem, upload

MEGABYTE = 1024 * 1024
DISK = 64 * MEGABYTE
LARGE = 15 * MEGABYTE


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a small disk."""
    mount = shutil.which("mount") or "mount"
    options = ["-t", "tmpfs", "-o", f"size={DISK}", "none", str(tmp_path)]
    if subprocess.run([mount, *options], check=False).returncode:
        pytest.skip("a disk cannot be mounted here")
    yield tmp_path
    subprocess.run([shutil.which("umount") or "umount", "--lazy", str(tmp_path)], check=True)


@on_sqlite
@pytest.mark.parametrize(("workers", "most"), [(1, 3), (2, 2)])
def test_unfinished_uploads(
    service_environment: dict[str, str],
    settings: Settings,
    disk: Path,
    tmp_path_factory: pytest.TempPathFactory,
    workers: int,
    most: int,
) -> None:
    """Beyond the disk, large uploads are 503 before their body; smaller ones find room."""
    # Metrics are files as well, which a worker that starts later adds.
    metrics = tmp_path_factory.mktemp("metrics")
    environment = service_environment | {
        "TMPDIR": str(disk),
        "PROMETHEUS_MULTIPROC_DIR": str(metrics),
    }
    with ServiceProcess(environment, workers=workers) as service, ExitStack() as unfinished:
        before = shutil.disk_usage(disk).used
        admitted = [unfinished.enter_context(raw) for _ in range(16) if (raw := begin(service))]
        assert 1 <= len(admitted) <= most
        with httpx.Client(base_url=service.base_url, timeout=60) as client:
            assert upload(client, png(), name="small").status_code == 201
            if workers == 1:
                assert upload(client, noise_png(9_000_000), name="large").status_code == 201
        assert count(settings, "images") == 3 - workers
        assert count(settings, "pending_objects") == 0
        unfinished.close()
        wait_until(
            lambda: shutil.disk_usage(disk).used == before, timeout=20, what="the files to go"
        )
        with begin(service) or pytest.fail("the space is not free again"):
            pass
        assert "Traceback" not in service.log()


def begin(service: ServiceProcess) -> socket.socket | None:
    """Begin a large upload, and return its connection if the service wants the body."""
    raw = socket.create_connection(("127.0.0.1", service.port), timeout=30)
    head = f"POST /images HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM['Content-Type']}\r\n"
    raw.sendall(f"{head}Expect: 100-continue\r\nContent-Length: {LARGE}\r\n\r\n".encode())
    interim = b"HTTP/1.1 100 "
    if raw.recv(len(interim), socket.MSG_PEEK | socket.MSG_WAITALL) == interim:
        part = b'--aXb\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
        raw.sendall(part + bytes(MEGABYTE))
        return raw
    with raw:
        answer = HTTPResponse(raw)
        answer.begin()
        refusal = httpx.Response(answer.status, headers=answer.getheaders(), content=answer.read())
    problem(refusal, 503, "overloaded")
    assert refusal.headers["Retry-After"] == "1"
    return None
