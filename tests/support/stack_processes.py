"""The containers of deploy/aws.yaml as processes of this machine, with what Fargate sets."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

from devstack.processes import die_with_parent
from devstack.service_process import ROOT
from devstack.waiting import free_port, wait_until
from tests.support.container_files import dockerfile_stages
from tests.support.log_secrets import secrets_in
from tests.support.metered_service import S3Meter
from tests.support.moto_stack import MotoStack
from tests.support.private_servers import PrivateServer

_DEFAULT_COMMAND = next(step for step in dockerfile_stages()[-1] if step.name == "CMD").command


class Deployment:
    """The stack with the servers that it uses; its containers are processes of this machine."""

    def __init__(self, stack: MotoStack, server: PrivateServer, meter: S3Meter) -> None:
        self.stack, self.server, self.meter = stack, server, meter

    def environment(self, task: str, container: Mapping[str, Any]) -> dict[str, str]:
        """Return the variables of a container: Fargate's, and what differs here."""
        given = self.stack.environment(task, container)
        python = Path(sys.executable).parent
        # Nothing else differs: the certificate, the endpoint, the credentials and folders.
        return {
            **given,
            "DB_URL": given["DB_URL"].replace(
                "/etc/image-api/rds.pem", str(self.server.certificates.ca)
            ),
            "AWS_ENDPOINT_URL_S3": self.meter.url,
            **self.stack.credentials(task),
            "PATH": f"{python}:{os.environ['PATH']}",
        }

    @contextmanager
    def running(self, task: str, name: str) -> Iterator["Process"]:
        """Run a container of a task definition."""
        container = self.stack.containers(task)[name]
        environment = self.environment(task, container)
        ports = [str(one["containerPort"]) for one in container["portMappings"]]
        with tempfile.TemporaryFile() as log, tempfile.TemporaryDirectory() as folder:
            process = Process(container, environment | {"TMPDIR": folder}, ports, log)
            try:
                yield process
            finally:
                process.end()


class Process:
    """The process of a container, on another port."""

    def __init__(
        self,
        container: Mapping[str, Any],
        environment: Mapping[str, str],
        ports: Sequence[str],
        log: IO[bytes],
    ) -> None:
        self._container, self._environment = container, environment
        self.ports = ports
        self._log, self._port = log, str(free_port())
        self.url = f"http://127.0.0.1:{self._port}"
        self._process = subprocess.Popen(
            ["/usr/bin/env", *self._moved(container.get("command") or _DEFAULT_COMMAND)],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=log,
            preexec_fn=partial(die_with_parent, os.getpid(), signal.SIGTERM),  # noqa: PLW1509
        )

    def _moved(self, command: Sequence[str]) -> list[str]:
        (port,) = self.ports or [""]
        return [word.replace(port, self._port) if port else word for word in command]

    def log(self) -> str:
        """Return the output so far."""
        return os.pread(self._log.fileno(), os.fstat(self._log.fileno()).st_size, 0).decode()

    def is_healthy(self) -> bool:
        """Run the health check of the task definition."""
        kind, *command = self._container["healthCheck"]["command"]
        assert kind == "CMD"
        moved = self._moved(command)
        assert moved != command, "it asks another port"
        check = subprocess.run(
            ["/usr/bin/env", *moved],
            env=self._environment,
            check=False,
            capture_output=True,
        )
        return check.returncode == 0

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds; fail if the process ends before."""
        wait_until(lambda: self.ended or condition(), timeout=60, what="the container")
        assert not self.ended, self.log()

    @property
    def ended(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    def wait(self) -> int:
        """Wait for the end; return the status."""
        return self._process.wait(60)

    def end(self) -> None:
        """Send SIGTERM, wait for the end, and search the log for secrets."""
        self._process.terminate()
        self._process.wait(60)
        assert secrets_in(self.log(), self._environment) == []
