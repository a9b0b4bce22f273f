"""compose.yaml is valid and locked down, and its commands start a production without Docker."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
import urllib3
from sqlalchemy import make_url

from config import Settings
from devstack import seaweedfs
from devstack.databases import fresh_database
from devstack.processes import die_with_parent
from devstack.service_process import ROOT
from devstack.waiting import free_port, wait_until
from tests.support.container_files import compose, dockerfile_stages
from tests.support.pictures import png
from tests.support.uploads import problem, upload

TOKEN = "a-key"
SECRETS = {
    "POSTGRES_PASSWORD": "word",
    "S3_ACCESS_KEY": "access",
    "S3_SECRET_KEY": "secret-of-the-store",
    "API_KEYS": f"web:write:{sha256(TOKEN.encode()).hexdigest()}",
}
SERVICES: dict[str, dict[str, Any]] = compose(SECRETS)["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "image-api"}
STORE = "http://objects:8333"


def test_schema() -> None:
    """compose.yaml is valid by the schema of the Compose specification."""
    check = [str(Path(sys.executable).with_name("check-jsonschema"))]
    arguments = ["--builtin-schema", "vendor.compose-spec", "compose.yaml"]
    done = subprocess.run(
        [*check, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("missing", SECRETS)
def test_secrets_are_required(missing: str) -> None:
    """No secret has a default, and git ignores the file that contains them."""
    with pytest.raises(KeyError, match=missing):
        compose({name: value for name, value in SECRETS.items() if name != missing})
    assert "/production.env" in (ROOT / ".gitignore").read_text().splitlines()


def test_link_secrets() -> None:
    """Without LINK_SECRETS the variable is unset, because an empty one stops the service."""
    assert "LINK_SECRETS" not in OURS["service"]["environment"]
    given = compose(SECRETS | {"LINK_SECRETS": "secrets"})["services"]
    assert given["service"]["environment"]["LINK_SECRETS"] == "secrets"


def test_closed() -> None:
    """Our containers have no capabilities; one port is published, on the loopback interface."""
    assert set(OURS) == {"service", "sweeper", "verify", "tables"}
    for name, service in OURS.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"]
        assert service["tmpfs"][0].startswith("/tmp:")  # noqa: S108
        assert service["volumes"] == ["metrics:/var/lib/image-api"]
    for name, service in SERVICES.items():
        assert service["security_opt"] == ["no-new-privileges:true"], name
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert ports == {"service": ["127.0.0.1:8000:8000"]}


def test_order() -> None:
    """`tables` starts after the database; all others start after `tables` and the store."""
    healthy = {name: {"condition": "service_healthy"} for name in ("database", "objects")}
    for name, service in OURS.items():
        after = {"database": healthy["database"]} if name == "tables" else healthy
        extra = (
            {} if name == "tables" else {"tables": {"condition": "service_completed_successfully"}}
        )
        assert service["depends_on"] == after | extra
    assert all(SERVICES[name]["healthcheck"]["test"] for name in healthy)


def test_variables() -> None:
    """Every variable is a setting, and URLs and credentials match the other containers."""
    known = {name.upper() for name in Settings.model_fields}
    for service in OURS.values():
        variables = service["environment"]
        assert set(variables) <= known | {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
        url, server = make_url(variables["DB_URL"]), SERVICES["database"]["environment"]
        assert (url.username, url.password, url.database, url.host) == (
            *(server[f"POSTGRES_{part}"] for part in ("USER", "PASSWORD", "DB")),
            "database",
        )
        store = SERVICES["objects"]["environment"]
        assert store == {name: variables[name] for name in store}
        assert variables["STRIP_METADATA"] == "all"
        assert variables["AWS_ENDPOINT_URL_S3"] == STORE


class Machine:
    """Runs the containers' commands as processes of this machine, in place of Docker."""

    def __init__(self, folder: Path, db_url: str, ends: ExitStack) -> None:
        self._folder, self._db_url, self._ends = folder, db_url, ends
        self._ports = seaweedfs.Ports.choose(folder, None)
        self.store = f"http://127.0.0.1:{self._ports.http['s3']}"
        self.port = free_port()
        self.log = folder / "log"

    def start_store(self) -> None:
        """Start the store as its container does, and wait until it is healthy."""
        service = SERVICES["objects"]
        (self._folder / "data").mkdir()
        given = [word for word in service["command"] if not word.startswith("-s3.port=")]
        more = [f"-{name}.port={port}" for name, port in self._ports.http.items()]
        more += [f"-{name}.port.grpc={port}" for name, port in self._ports.grpc.items()]
        words = [*service["entrypoint"], *given, *more]
        command = [word.replace("/data", f"{self._folder}/data") for word in words]
        self.spawn(command, service["environment"] | {"HOME": str(self._folder)})
        url = service["healthcheck"]["test"][-1].replace("http://127.0.0.1:8333", self.store)
        wait_until(lambda: _answers(url), timeout=60, what="the store")

    def command(self, name: str) -> tuple[list[str], dict[str, str]]:
        """Return a service's command and variables, with this machine's addresses."""
        default = next(step for step in dockerfile_stages()[-1] if step.name == "CMD").command
        command = SERVICES[name].get("command", default)
        given = {"DB_URL": self._db_url, "AWS_ENDPOINT_URL_S3": self.store, "WEB_CONCURRENCY": "2"}
        given["METRICS_FOLDER"] = str(self._folder)
        port = str(self.port)
        return [word.replace("8000", port) for word in command], SERVICES[name][
            "environment"
        ] | given

    def run(self, name: str, path: Path | None = None) -> str:
        """Run a service's command to its end and return its output."""
        command, variables = self.command(name)
        return subprocess.run(
            ["/usr/bin/env", *command],
            cwd=ROOT,
            env=variables | _path(path),
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        ).stdout

    def spawn(self, command: list[str], variables: dict[str, str]) -> None:
        """Start a command that ends with the test."""
        log = self._ends.enter_context(self.log.open("a"))
        process = subprocess.Popen(
            ["/usr/bin/env", *command],
            cwd=ROOT,
            env=variables | _path(None),
            stdout=log,
            stderr=log,
            preexec_fn=partial(die_with_parent, os.getpid(), signal.SIGTERM),  # noqa: PLW1509
        )
        self._ends.callback(process.wait, 60)
        self._ends.callback(process.terminate)


def _path(first: Path | None) -> dict[str, str]:
    folders = [*([str(first)] if first else []), str(Path(sys.executable).parent)]
    return {"PATH": ":".join([*folders, os.environ["PATH"]])}


def _answers(url: str) -> bool:
    try:
        return urllib3.request("GET", url, timeout=5, retries=False).status == 200
    except urllib3.exceptions.HTTPError:
        return False


@pytest.fixture
def machine(postgres_url: str, tmp_path: Path) -> Iterator[Machine]:
    """Return a machine on which only the database runs."""
    with fresh_database(postgres_url) as url, ExitStack() as ends:
        yield Machine(tmp_path, url, ends)


def test_production(machine: Machine, tmp_path: Path) -> None:
    """The commands, in compose's order, start a production that serves, sweeps and verifies."""
    machine.start_store()
    assert "Table images created." in machine.run("tables")
    machine.spawn(*machine.command("service"))
    ready = f"http://127.0.0.1:{machine.port}/health/ready"
    wait_until(lambda: _answers(ready), timeout=60, what="the service")
    with httpx.Client(base_url=f"http://127.0.0.1:{machine.port}") as client:
        problem(upload(client, png(), "a.png"), 401, "key_required")
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        assert upload(client, png(), "a.png").status_code == 201
        assert client.get("/images/a").content == png()

    machine.spawn(*machine.command("sweeper"))
    swept = "0 removed, 0 taken, 0 waiting, 0 failed"
    wait_until(lambda: swept in machine.log.read_text(), timeout=60, what="the sweeper")

    # The nightly loop of verify, with a `sleep` that succeeds once and then fails, which ends it.
    nights = tmp_path / "nights"
    nights.mkdir()
    sleep = nights / "sleep"
    sleep.write_text(f"#!/bin/sh\necho slept $1\nmkdir {nights}/night 2>/dev/null\n")
    sleep.chmod(0o755)
    first, report, second = machine.run("verify", nights).splitlines()
    assert report == "1 objects, 1 images, 0 journal entries: clean"
    assert 0 < int(first.split()[1]) <= 86400
    assert second.startswith("slept")

    # The service exposes the metrics of sweeper and verify.
    with httpx.Client(base_url=f"http://127.0.0.1:{machine.port}") as client:
        problem(client.get("/metrics"), 401, "key_required")
        metrics = client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).text
    assert "image_api_last_sweep_timestamp_seconds " in metrics
    assert "image_api_last_verify_timestamp_seconds " in metrics
