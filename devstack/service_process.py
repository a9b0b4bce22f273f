"""The real service as a separate process: `uvicorn main:app` on a free port."""

import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from devstack.server_process import ServerProcess
from devstack.waiting import free_port

ROOT = Path(__file__).resolve().parent.parent


class ServiceProcess(ServerProcess):
    """The real service, or another `application`, as a separate process on a free port.

    It gets `environment` and the variables of this process except AWS_* and DB_*. It runs in an
    empty folder, so it reads no `.env`. `args` are options of uvicorn. `root` is another deployment
    with its own `.venv`; the default is this checkout and this Python. Without `log_config` uvicorn
    starts with its own logging.
    """

    on_end: ClassVar[list[Callable[["ServiceProcess"], None]]] = []
    """Functions that are called with each service that has ended, while its log exists."""

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
        port = free_port()
        command = [str(root / ".venv/bin/python") if root else sys.executable, "-m", "uvicorn"]
        command += [application, "--app-dir", str(root or ROOT), "--host", "127.0.0.1"]
        command += ["--port", str(port), *args]
        if workers > 1:
            command += ["--workers", str(workers)]
        ours = (root or ROOT) / "runtime/log_config.json"
        if log_config and ours.exists():  # an early version has none
            command += ["--log-config", str(ours)]
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "DB_"))}
        # A supervisor needs SIGTERM to stop its workers.
        death_signal = signal.SIGTERM if workers > 1 else signal.SIGKILL
        super().__init__(command, {**kept, **environment}, port, death_signal=death_signal)

    def _after_end(self) -> None:
        for function in self.on_end:
            function(self)
