"""A revoked key is refused after SIGHUP, and the log says so when the reload fails."""

import hashlib
import json
import os
import re
import shlex
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from sqlalchemy import make_url

from devstack.databases import through
from devstack.service_process import ROOT, ServiceProcess
from devstack.waiting import wait_until
from tests.support.fault_proxy import FaultProxy
from tests.support.uploads import on_sqlite

# The default of uvicorn, after which it keeps the old worker.
HEALTHCHECK_SECONDS = 5
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


def documented_commands() -> list[dict[str, str]]:
    """Return the options of every uvicorn command that starts the service in production."""
    commands = []
    for file in ("README.md", "docs/operations.md", "Dockerfile"):
        text = (ROOT / file).read_text().replace("\\\n", " ")
        for line in re.findall(r'uvicorn[", ]+main:app(.*)', text):
            words = shlex.split(re.sub(r'[",\]]', " ", line).partition("2>")[0])
            options = [word for word in words if word != "--no-access-log"]
            commands.append(dict(zip(options[::2], options[1::2], strict=True)))
    return commands


def test_documented_commands() -> None:
    """Every command gives a new worker time, and keeps idle connections longer than an ALB."""
    commands = documented_commands()
    assert len(commands) == 4
    for options in commands:
        assert int(options["--timeout-worker-healthcheck"]) >= 60
        assert int(options["--timeout-keep-alive"]) > 60
        assert int(options["--timeout-graceful-shutdown"]) == 30
        assert (ROOT / options["--log-config"]).exists()
    assert "keepalive_timeout 60s;" in (ROOT / "docs/operations.md").read_text()


class Reloadable:
    """Two workers, started as documented, with one key for reading."""

    token = "token-of-the-backend"

    def __init__(self, process: ServiceProcess, keys: Path) -> None:
        self.process = process
        self.keys = keys

    def statuses(self) -> set[int]:
        """Return the statuses of enough requests with the key to reach both workers."""
        headers = {"Authorization": f"Bearer {self.token}", "Connection": "close"}
        url = f"{self.process.base_url}/images"
        return {httpx.get(url, headers=headers, timeout=30).status_code for _ in range(20)}

    def revoke(self) -> None:
        """Replace the key by another, and reload."""
        self.keys.write_text(f"other:read:{hashlib.sha256(b'other').hexdigest()}\n")
        os.kill(self.process.pid, signal.SIGHUP)


@contextmanager
def reloadable(environment: dict[str, str], keys: Path) -> Iterator[Reloadable]:
    """Run the service with a file of keys."""
    keys.write_text(f"backend:read:{hashlib.sha256(Reloadable.token.encode()).hexdigest()}\n")
    options = documented_commands()[0]
    kept = ("--timeout-worker-healthcheck", "--timeout-keep-alive", "--timeout-graceful-shutdown")
    args = [word for name in kept if name in options for word in (name, options[name])]
    variables = {"API_KEYS_FILE": str(keys), "PUBLIC_READS": "false", "LOG_FORMAT": "json"}
    with ServiceProcess(environment | variables, args=args, workers=2) as process:
        service = Reloadable(process, keys)
        wait_until(lambda: service.statuses() == {200}, timeout=60, what="both workers")
        yield service


@on_postgresql
def test_revoked_key(service_environment: dict[str, str], tmp_path: Path) -> None:
    """A revoked key is refused, although new workers wait for a database that is slow."""
    url = make_url(service_environment["DB_URL"])
    assert url.host
    assert url.port
    with FaultProxy((url.host, url.port)) as proxy:
        environment = service_environment | {
            "DB_URL": through(service_environment["DB_URL"], proxy.address),
            "CONNECT_TIMEOUT_SECONDS": "30",
        }
        with reloadable(environment, tmp_path / "keys") as service:
            proxy.hang()
            begun = time.monotonic()
            service.revoke()
            wait_until(
                lambda: time.monotonic() > begun + HEALTHCHECK_SECONDS + 4,
                timeout=60,
                what="more time than uvicorn gives by itself",
            )
            proxy.heal()
            wait_until(lambda: service.statuses() == {401}, timeout=120, what="the revocation")
            assert "keeping worker" not in service.process.log()


@on_sqlite
def test_reload_that_fails(service_environment: dict[str, str], tmp_path: Path) -> None:
    """Without keys in the file the old workers continue, and the log says why."""
    with reloadable(service_environment, tmp_path / "keys") as service:
        service.keys.write_text("")
        os.kill(service.process.pid, signal.SIGHUP)
        log = service.process.log
        wait_until(lambda: "keeping worker" in log(), timeout=60, what="the end of the reload")
        assert service.statuses() == {200}
        lines = [json.loads(line) for line in log().splitlines()]
    errors = [line["message"] for line in lines if line["level"] == "ERROR"]
    assert [message for message in errors if "keeping worker" in message]
    assert [message for message in errors if "API_KEYS_FILE" in message]
