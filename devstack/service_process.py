"""The real service as a separate process: `uvicorn main:app` on a free port."""

import http
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import ClassVar, Self

import urllib3

from devstack.processes import die_with_parent
from devstack.waiting import free_port, wait_until

ROOT = Path(__file__).resolve().parent.parent


class ServiceProcess:
    """The real service, or another `application`, as a separate process on a free port.

    Its variables are `environment` and those of this process except AWS_* and DB_*. It works in an
    empty folder, so that it reads no `.env`. `args` are options of uvicorn. `root` is another
    deployment with its own `.venv`; by default this checkout and this Python run. Without
    `log_config` uvicorn starts with its own logging. Entering the context starts the process, from
    a thread that must outlive it; leaving the context kills it.
    """

    on_end: ClassVar[list[Callable[["ServiceProcess"], None]]] = []
    """Functions to call with each service that has ended, while its log exists."""

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        args: Sequence[str] = (),
        workers: int = 1,
        application: str = "main:app",
        root: Path | None = None,
        log_config: bool = True,
    ) -> None:
        self._python = root / ".venv/bin/python" if root else sys.executable
        self._root = root or ROOT
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "DB_"))}
        self._environment = {**kept, **environment}
        self._application = application
        self._args = [*args, *(["--workers", str(workers)] if workers > 1 else [])]
        ours = self._root / "runtime/log_config.json"
        if log_config and "--app-dir" not in args and ours.exists():  # an early version has none
            self._args += ["--log-config", str(ours)]
        # A supervisor needs SIGTERM to stop its workers.
        self._parent_death_signal = signal.SIGTERM if workers > 1 else signal.SIGKILL
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        with ExitStack() as ends:
            self._folder = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="service-")))
            self.start()
            ends.callback(self._call_on_end)
            ends.callback(self.kill)
            self._ends = ends.pop_all()
        return self

    def _call_on_end(self) -> None:
        for function in self.on_end:
            function(self)

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def start(self, *, timeout: float = 30) -> None:
        """Start the process, or restart it on the same port, and wait until it is live."""
        options = ["--app-dir", str(self._root), "--host", "127.0.0.1", "--port", str(self.port)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._python, "-m", "uvicorn", self._application, *options, *self._args],
                cwd=self._folder,
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=partial(die_with_parent, os.getpid(), self._parent_death_signal),
            )
        try:
            wait_until(lambda: self.ended or self._live(), timeout=timeout, what="the service")
            if self.ended:
                raise RuntimeError("the service stopped at once")
        except Exception as error:
            self.kill()
            error.add_note(self.log()[-4000:])
            raise

    def _live(self) -> bool:
        with suppress(urllib3.exceptions.HTTPError):
            url = f"{self.base_url}/health/live"
            answer = urllib3.request("GET", url, timeout=2, retries=False)
            return answer.status == http.HTTPStatus.OK
        return False

    @property
    def environment(self) -> Mapping[str, str]:
        """The process's environment variables."""
        return self._environment

    @property
    def pid(self) -> int:
        """The process id, which is also the id of its process group."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    def log(self) -> str:
        """Return the output so far."""
        return (self._folder / "log").read_text(errors="replace")

    def terminate(self, *, timeout: float = 30) -> int:
        """Send SIGTERM, wait until the process ends and return its exit status."""
        self._process.terminate()
        return self._process.wait(timeout=timeout)

    def kill(self) -> None:
        """Kill the process group with SIGKILL and wait until the process ends."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(timeout=30)

    def pids(self) -> list[int]:
        """Return the ids of the running processes of the process group."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # the process has ended
                fields = stat.read_text().rpartition(")")[2].split()
                if int(fields[2]) == self.pid:
                    found.append(int(stat.parent.name))
        return found

    def rss(self, *, peak: bool = False) -> int:
        """Return the resident bytes of all processes: the current sum, or the sum of the peaks."""
        field, total = "VmHWM:" if peak else "VmRSS:", 0
        for pid in self.pids():
            with suppress(OSError):
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                total += sum(int(line.split()[1]) for line in lines if line.startswith(field))
        return total * 1024
