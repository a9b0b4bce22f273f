"""`make run` keeps its images and leaves no process behind, however it ends."""

import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from types import MappingProxyType

import httpx
import pytest

from devstack.waiting import free_port, wait_until
from tests.support.pictures import png

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 20.0

# What make does: a parent process starts the service, passes its own process id, and waits.
PARENT = 'trap : INT; "$0" -m devstack --port "$1" --data "$2" --parent $$ & wait'


@pytest.fixture
def port() -> int:
    """Return a free port for the service."""
    return free_port()


@pytest.mark.parametrize(
    ("victim", "signum"),
    [
        ("parent", signal.SIGKILL),
        ("service", signal.SIGTERM),
        ("service", signal.SIGKILL),
        ("store", signal.SIGKILL),
    ],
)
def test_death(tmp_path: Path, port: int, victim: str, signum: signal.Signals) -> None:
    """After any process is killed, none remains, the port is free and the images are kept."""
    with running(tmp_path, port):
        upload(port, "kept")
        for pid in processes(tmp_path, victim):
            os.kill(pid, signum)
        await_end(tmp_path)
        socket.create_server(("127.0.0.1", port)).close()
    with running(tmp_path, port):
        assert get(port, "/images/kept").content == png()


def test_store_ends(tmp_path: Path, port: int) -> None:
    """When the store ends, `make run` exits with status 1 and names the store's log."""
    command = [sys.executable, "-m", "devstack", "--port", str(port), "--data", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, env=environment(), stderr=subprocess.PIPE) as service:
        wait_until(lambda: answers(port), timeout=DEADLINE, what="the service to answer")
        (store,) = processes(tmp_path, "store")
        os.kill(store, signal.SIGKILL)
        printed = service.communicate(timeout=DEADLINE)[1].decode()
    assert service.returncode == 1
    assert printed.splitlines()[-1] == (
        "The object store ended unexpectedly (exit status -9), so the service stopped. "
        f"The stored images are kept. Store log: {tmp_path}/objects/server.log"
    )
    assert "Traceback" not in printed


def test_old_tables(tmp_path: Path, port: int) -> None:
    """`make run` refuses tables that lack columns, in one sentence."""
    with closing(sqlite3.connect(tmp_path / "images.db")) as database:
        database.execute("CREATE TABLE images (id INTEGER PRIMARY KEY, name VARCHAR(255))")
    refused = run(tmp_path, port)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("Table images lacks columns: content_type, ")
    assert refused.stderr.count("\n") == 1


def test_second_run(tmp_path: Path, port: int) -> None:
    """A second run on the same data is refused in one sentence; the first keeps serving."""
    with running(tmp_path, port):
        second = run(tmp_path, 0)
        assert (second.returncode, second.stdout) == (1, "")
        assert second.stderr == f"Another `make run` uses {tmp_path}; stop it first.\n"
        assert get(port, "/health/ready").is_success


def test_port_in_use(tmp_path: Path, port: int) -> None:
    """A port in use is reported in one sentence, before anything is started or written."""
    with socket.create_server(("127.0.0.1", port)):
        refused = run(tmp_path / "data", port)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == f"Port {port} is in use; choose another: make run PORT={port + 1}\n"
    assert not (tmp_path / "data").exists()


def test_hosts(tmp_path: Path, port: int) -> None:
    """The service answers to the names of this machine only, so that no page can rebind its own."""
    with running(tmp_path, port):
        for host, status in (("localhost", 200), ("127.0.0.1", 200), ("evil.example", 400)):
            headers = {"Host": f"{host}:{port}", "Sec-Fetch-Site": "same-origin"}
            answer = httpx.get(f"http://127.0.0.1:{port}/images", headers=headers)
            assert answer.status_code == status, host


def test_settings(tmp_path: Path, port: int) -> None:
    """`make run` heeds the settings that README puts before it."""
    readme = (ROOT / "README.md").read_text()
    found = re.search(r"^(VARIANTS=(\S+) MAX_UPLOAD_BYTES=(\d+)) make run$", readme, re.MULTILINE)
    assert found
    changes = dict(part.split("=") for part in found[1].split())
    with running(tmp_path, port, changes):
        upload(port, "a")
        variants = get(port, "/images/a/metadata").json()["variants"]
        assert list(variants) == found[2].split(",")
        large = {"file": ("b.png", png() + bytes(int(found[3])))}
        assert httpx.post(f"http://127.0.0.1:{port}/images", files=large).status_code == 413


@contextmanager
def running(
    data_dir: Path, port: int, changes: Mapping[str, str] = MappingProxyType({})
) -> Iterator[None]:
    """Run the service on `data_dir` and `port` with changed settings until the block ends."""
    command = ["sh", "-c", PARENT, sys.executable, str(port), str(data_dir)]
    parent = subprocess.Popen(
        command, cwd=ROOT, env={**environment(), **changes}, stdout=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: answers(port), timeout=DEADLINE, what="the service to answer")
        yield
    finally:
        parent.kill()
        parent.wait()
        await_end(data_dir)


def run(data_dir: Path, port: int) -> subprocess.CompletedProcess[str]:
    """Run the command to its end and return the finished process."""
    command = [sys.executable, "-m", "devstack", "--port", str(port), "--data", str(data_dir)]
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


def environment() -> dict[str, str]:
    """Return this process's environment without database, bucket and host."""
    cleared = ("DB_URL", "AWS_S3_BUCKET", "HOST", "ALLOWED_HOSTS")
    return {**os.environ, **dict.fromkeys(cleared, "")}


def processes(data_dir: Path, kind: str | None = None) -> list[int]:
    """Return the ids of the processes that use `data_dir`: all, or those of one `kind`."""
    marks = {"parent": PARENT.encode(), "store": b"mini", "service": b"devstack"}
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it has just ended
            continue
        ours = any(os.fsencode(data_dir) in argument for argument in arguments)
        if ours and (kind is None or marks[kind] in arguments):
            found.append(int(entry.name))
    return found


def await_end(data_dir: Path) -> None:
    """Wait until no process uses `data_dir`; fail if one remains."""
    wait_until(lambda: not processes(data_dir), timeout=DEADLINE, what="every process to end")


def answers(port: int) -> bool:
    """Return whether the service on `port` is ready."""
    try:
        return get(port, "/health/ready").is_success
    except httpx.TransportError:
        return False


def get(port: int, path: str) -> httpx.Response:
    """Return the response of the service on `port`."""
    return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=DEADLINE)


def upload(port: int, name: str) -> None:
    """Upload a picture under `name`."""
    files = {"file": (f"{name}.png", png())}
    httpx.post(f"http://127.0.0.1:{port}/images", files=files).raise_for_status()
