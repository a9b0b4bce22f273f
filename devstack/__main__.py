"""`make run`: the whole service on this machine, with nothing to install or configure.

Without DB_URL in the environment or `.env` it uses a SQLite database, and without AWS_S3_BUCKET it
starts a SeaweedFS object store. Both keep their files in the data directory.

    python -m devstack [--port PORT] [--data DIRECTORY]
"""

import argparse
import errno
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import NamedTuple, NoReturn

import uvicorn
from dotenv import load_dotenv
from sqlalchemy import URL
from sqlalchemy.exc import SQLAlchemyError

from config import load_settings
from devstack.object_store import ObjectStoreError, StoreProcess
from devstack.processes import DirectoryInUseError, die_with_parent, exclusive
from devstack.seaweedfs import seaweedfs
from errors import ConfigurationError
from scripts.command_line import failed
from scripts.create_tables import TableError, create_tables

DEFAULT_DATA_DIR = Path(__file__).resolve().parent.parent / ".data"
BUCKET = "images"

# Short, so that developers see both jobs work.
_DEFAULTS = {"SWEEP_INTERVAL_SECONDS": "60", "KEEP_DELETED_SECONDS": "300"}
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class RefusedError(Exception):
    """The service cannot run here. The message is one sentence for the user."""


# `main` prints these without a traceback.
_EXPECTED = (
    *(ConfigurationError, DirectoryInUseError, ObjectStoreError, RefusedError, TableError),
    SQLAlchemyError,
)


class _Embedded(NamedTuple):
    """The parts that run here because the environment names none."""

    locations: list[str]  # lines that print where each part stores its files
    store: StoreProcess | None


class _Server(uvicorn.Server):
    """A uvicorn server that prints `greeting` once it accepts requests."""

    greeting = ""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the server, then print the greeting."""
        await super().startup(sockets=sockets)
        if self.started:
            print(self.greeting, flush=True)


def main() -> int:
    """Run the service until a signal ends it; return the exit code."""
    options = _parse_arguments()
    if options.parent:
        die_with_parent(options.parent, signal.SIGTERM)
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, _quit)
    try:
        _run(os.environ.get("HOST") or "127.0.0.1", options.port, options.data)
    except _EXPECTED as error:
        return failed(error)
    return 0


def _parse_arguments() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m devstack", description="Run the service.")
    parser.add_argument("--port", type=int, default=8000, help="port to serve on (8000)")
    parser.add_argument(
        "--data",
        type=Path,
        default=DEFAULT_DATA_DIR,
        metavar="DIRECTORY",
        help="directory of the embedded database and object store (.data)",
    )
    parser.add_argument("--parent", type=int, help="stop when the process with this id ends")
    return parser.parse_args()


def _quit(_signum: int, _frame: FrameType | None) -> NoReturn:
    """Exit cleanly on a signal, and ignore further signals."""
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_IGN)
    raise SystemExit(0)


def _run(host: str, port: int, data_dir: Path) -> None:
    """Start the missing parts, then serve. Raises the errors in `_EXPECTED`."""
    # Importing takes as long as starting the store. Not `main`, which would replace uvicorn's log.
    threading.Thread(target=import_module, args=("routers.images",), daemon=True).start()
    with ExitStack() as stack:
        listener = stack.enter_context(_listen(host, port))
        load_dotenv(Path(".env"))
        if host in _LOOPBACK:
            # Otherwise a page that rebinds its own name to 127.0.0.1 is same-origin.
            os.environ["ALLOWED_HOSTS"] = os.environ.get("ALLOWED_HOSTS") or ",".join(_LOOPBACK)
        embedded = stack.enter_context(_embedded_parts(data_dir.resolve()))
        for line in create_tables(load_settings()):
            print(line)
        _serve(listener, embedded)


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on `port`. Raises RefusedError if the port cannot be bound."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise RefusedError(
                f"Port {port} is in use; choose another: make run PORT={port + 1}"
            ) from None
        raise RefusedError(f"Cannot serve on {host} port {port}: {error}") from None


@contextmanager
def _embedded_parts(data_dir: Path) -> Iterator[_Embedded]:
    """Run the parts that the environment lacks, and set their environment variables.

    Raises ObjectStoreError, and RefusedError when another process uses `data_dir`.
    """
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    wants_database = not os.environ.get("DB_URL")
    wants_store = not os.environ.get("AWS_S3_BUCKET")
    with ExitStack() as stack:
        locations: list[str] = []
        store: StoreProcess | None = None
        if wants_database or wants_store:
            _claim(data_dir, stack)
        if wants_database:
            database = data_dir / "images.db"
            os.environ["DB_URL"] = URL.create("sqlite", database=str(database)).render_as_string()
            locations.append(f"Rows      {database}")
        if wants_store:
            store = stack.enter_context(seaweedfs(data_dir / "objects"))
            _use(store)
            locations.append(f"Objects   {store.data_dir} (SeaweedFS, {store.endpoint_url})")
        yield _Embedded(locations, store)


def _claim(data_dir: Path, stack: ExitStack) -> None:
    """Lock `data_dir` until `stack` closes. Raises RefusedError if another process holds it."""
    try:
        stack.enter_context(exclusive(data_dir))
    except DirectoryInUseError:
        raise RefusedError(f"Another `make run` uses {data_dir}; stop it first.") from None


def _use(store: StoreProcess) -> None:
    """Create a bucket in `store` and point boto3, and so the service, at it."""
    store.create_bucket(BUCKET)
    # These would override the store's credentials.
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"):
        os.environ.pop(name, None)
    os.environ["no_proxy"] = f"{os.environ.get('no_proxy', '')},127.0.0.1".lstrip(",")
    os.environ.update(store.environment(), AWS_S3_BUCKET=BUCKET)


def _serve(listener: socket.socket, embedded: _Embedded) -> None:
    """Serve on `listener` until a signal arrives. Raises ObjectStoreError if the store ends."""
    server = _Server(uvicorn.Config("main:app", timeout_graceful_shutdown=5))
    host, port = listener.getsockname()[:2]
    address = f"http://{_reachable(host)}:{port}"
    server.greeting = "\n".join(
        [
            "",
            f"Pictures  {address}/",
            f"API       {address}/docs",
            *embedded.locations,
            "Stop      Ctrl-C",
            "",
        ],
    )
    store = embedded.store
    if store:
        threading.Thread(target=_stop_after, args=(store, server), daemon=True).start()
    server.run(sockets=[listener])
    if store and store.ended():
        raise ObjectStoreError(
            f"The object store ended unexpectedly (exit status {store.process.returncode}), so "
            f"the service stopped. The stored images are kept. Store log: {store.log_file}"
        )


def _stop_after(store: StoreProcess, server: uvicorn.Server) -> None:
    """Stop `server` when `store` ends."""
    store.process.wait()
    server.should_exit = True


def _reachable(host: str) -> str:
    """Return the host of the URL at which a browser on this machine reaches `host`."""
    loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # no binding, a look-up
    host = loopback.get(host, host)
    return f"[{host}]" if ":" in host else host


if __name__ == "__main__":
    sys.exit(main())
