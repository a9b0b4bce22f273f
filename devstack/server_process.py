"""An HTTP server as a separate process with a log, an empty working folder and a free port."""

import http
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Self

import urllib3

from devstack.processes import die_with_parent
from devstack.waiting import wait_until


class ServerProcess:
    """A server on `port`, as a process group. It is live once it answers `probe` with `status`.

    Entering the context starts the process, from a thread that must outlive it; leaving the context
    kills it. The kernel sends `death_signal` to the process when its parent ends. `folder` is the
    working folder, which also holds the log.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        port: int,
        *,
        probe: str = "/health/live",
        status: int = http.HTTPStatus.OK,
        death_signal: int = signal.SIGKILL,
    ) -> None:
        self._command = command
        self.environment = environment
        self._probe, self._status = probe, status
        self._parent_death_signal = death_signal
        self.port = port
        self.base_url = f"http://127.0.0.1:{port}"

    def __enter__(self) -> Self:
        with ExitStack() as ends:
            self.folder = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="service-")))
            self.start()
            ends.callback(self._after_end)
            ends.callback(self.kill)
            self._ends = ends.pop_all()
        return self

    def _after_end(self) -> None:
        """Hook that runs after the end of the process, while its log exists."""

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def start(self, *, timeout: float = 30) -> None:
        """Start the process, or restart it on the same port, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=partial(die_with_parent, os.getpid(), self._parent_death_signal),
            )
        try:
            wait_until(lambda: self.ended or self._live(), timeout=timeout, what="the server")
            if self.ended:
                raise RuntimeError("the server stopped at once")
        except Exception as error:
            self.kill()
            error.add_note(self.log()[-4000:])
            raise

    def _live(self) -> bool:
        with suppress(urllib3.exceptions.HTTPError):
            url = self.base_url + self._probe
            answer = urllib3.request("GET", url, timeout=2, retries=False)
            return answer.status == self._status
        return False

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
        return (self.folder / "log").read_text(errors="replace")

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

    def reset_peak(self) -> None:
        """Make the current resident bytes of all processes their peaks (proc(5), clear_refs)."""
        for pid in self.pids():
            with suppress(OSError):
                Path(f"/proc/{pid}/clear_refs").write_text("5")

    def rss(self, *, peak: bool = False) -> int:
        """Return the resident bytes of all processes: the current sum, or the sum of the peaks."""
        field, total = "VmHWM:" if peak else "VmRSS:", 0
        for pid in self.pids():
            with suppress(OSError):
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                total += sum(int(line.split()[1]) for line in lines if line.startswith(field))
        return total * 1024
