"""Private database servers that a test may kill, restart and configure.

The servers are child processes on free ports of 127.0.0.1 and use TLS with private certificates.
PostgreSQL and MariaDB come from the system's packages. MySQL has no package everywhere, so
TEST_MYSQL_PROGRAM names a program that runs it in the foreground: `PROGRAM DATADIR PORT`.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import pytest
from sqlalchemy import exc, make_url, text

from devstack.databases import connection
from devstack.processes import die_with_parent
from devstack.waiting import free_port, wait_until
from tests.support.certificates import Certificates, make_certificates

KINDS = ["postgresql", "mariadb", "mysql"]
_NOBODY = pwd.getpwnam("nobody")
_AS_NOBODY = {"user": _NOBODY.pw_uid, "group": _NOBODY.pw_gid, "extra_groups": []}
START_SECONDS = 60


class PrivateServer:
    """A database server with control of its process, its root URL and its certificates."""

    def __init__(
        self,
        url: str,
        certificates: Certificates,
        command: Callable[[int], Sequence[str]],
        folder: Path,
        **popen: Any,
    ) -> None:
        """`command` returns the command line for a port."""
        self.certificates = certificates
        self._url, self._port = make_url(url), free_port()
        self._command, self._folder, self._popen = command, folder, popen

    @property
    def address(self) -> tuple[str, int]:
        """The host and port on which the server listens."""
        return "127.0.0.1", self._port

    @property
    def url(self) -> str:
        """The URL for the root user."""
        return self._url.set(port=self._port).render_as_string(hide_password=False)

    def start(self) -> None:
        """Start the server and wait until it accepts connections."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(self._port),
                cwd=self._folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=partial(die_with_parent, os.getpid(), signal.SIGKILL),  # noqa: PLW1509
                **self._popen,
            )
        try:
            wait_until(self._is_settled, timeout=START_SECONDS, what="the database server")
            assert self._process.poll() is None, "the database server ended at once"
        except (AssertionError, TimeoutError) as error:
            error.add_note((self._folder / "log").read_text(errors="replace")[-3000:])
            self.kill()
            raise

    def kill(self) -> None:
        """Kill the server without a shutdown, like a power failure."""
        # On SIGQUIT PostgreSQL's processes exit immediately, without a checkpoint.
        hard = signal.SIGQUIT if "postgresql" in self._url.drivername else signal.SIGKILL
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, hard)
        self._process.wait(timeout=30)

    def restart(self) -> None:
        """Kill the server and start it again."""
        self.kill()
        self.start()

    def move(self) -> None:
        """Kill the server and start it on another port with the same data."""
        self.kill()
        self._port = free_port()
        self.start()

    def execute(self, *statements: str) -> None:
        """Execute statements as root."""
        with connection(self.url) as db:
            for statement in statements:
                db.execute(text(statement))

    def _is_settled(self) -> bool:
        if self._process.poll() is not None:
            return True
        with suppress(exc.OperationalError), connection(self.url):
            return True
        return False


@contextmanager
def private_server(kind: str, *, own_ca: bool = True) -> Iterator[PrivateServer]:
    """Run a server of this kind; skip the test if its program is missing.

    With REQUIRE_SERVICES=1 a missing PostgreSQL fails the test. Without `own_ca` MySQL keeps its
    generated certificates, which saves a restart.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"{kind}-", dir="/tmp"))
    try:
        server = {"postgresql": _postgresql, "mariadb": _mariadb, "mysql": _mysql}[kind](folder)
        if kind == "mysql" and own_ca:
            _replace_certificates(server, folder / "data")
        server.start()
        try:
            yield server
        finally:
            server.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _postgresql(folder: Path) -> PrivateServer:
    """Prepare PostgreSQL with TLS; all users but `postgres` need passwords.

    As on RDS, members of `rds_iam` sign in with tokens, which here nobody verifies.
    """
    candidates = [*Path("/usr/lib/postgresql").glob("*/bin"), *map(Path, os.get_exec_path())]
    programs = next((path for path in candidates if (path / "initdb").exists()), None)
    if programs is None:
        _without_postgresql()
    certificates = make_certificates(folder)
    user = _unprivileged(folder)
    data = folder / "data"
    initdb = [str(programs / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "-N"]
    encoding = ["-E", "UTF8", "--locale=C"]
    subprocess.run([*initdb, *encoding], check=True, stdout=subprocess.DEVNULL, cwd=folder, **user)
    (data / "pg_hba.conf").write_text(
        "host all postgres 127.0.0.1/32 trust\n"
        "hostssl all dbadmin 127.0.0.1/32 scram-sha-256\n"
        "hostssl all +rds_iam 127.0.0.1/32 trust\n"
        "hostssl all all 127.0.0.1/32 scram-sha-256\n"
    )
    parameters = {
        "ssl": "on",
        "ssl_cert_file": certificates.certificate,
        "ssl_key_file": certificates.key,
        # Each COMMIT takes 20 ms, so a test that kills the server interrupts some.
        "commit_delay": 20_000,
        "commit_siblings": 0,
    }
    options = [part for name, value in parameters.items() for part in ("-c", f"{name}={value}")]
    command = [str(programs / "postgres"), "-D", str(data), "-k", "", "-h", "127.0.0.1", *options]
    return PrivateServer(
        "postgresql://postgres@127.0.0.1/postgres",
        certificates,
        lambda port: [*command, "-p", str(port)],
        folder,
        **user,
    )


def _mariadb(folder: Path) -> PrivateServer:
    """Prepare MariaDB with TLS."""
    program, install = shutil.which("mariadbd"), shutil.which("mariadb-install-db")
    if program is None and (path := Path("/usr/sbin/mariadbd")).exists():
        program = str(path)
    if program is None or install is None:
        pytest.skip("MariaDB's server programs are not installed")
    certificates = make_certificates(folder)
    user = _unprivileged(folder)
    data, socket = folder / "data", folder / "socket"
    setup = ["--auth-root-authentication-method=normal", "--skip-test-db"]
    subprocess.run(
        [install, "--no-defaults", f"--datadir={data}", *setup],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd=folder,
        **user,
    )
    command = [program, "--no-defaults", f"--datadir={data}"]
    command += ["--bind-address=127.0.0.1", f"--socket={socket}", "--innodb-buffer-pool-size=64M"]
    command += [f"--ssl-ca={certificates.ca}", f"--ssl-cert={certificates.certificate}"]
    command += [f"--ssl-key={certificates.key}"]
    return PrivateServer(
        "mysql://root@127.0.0.1/mysql",
        certificates,
        lambda port: [*command, f"--port={port}"],
        folder,
        **user,
    )


def _mysql(folder: Path) -> PrivateServer:
    """Prepare MySQL; it creates its data and certificates at the first start."""
    program = os.environ.get("TEST_MYSQL_PROGRAM")
    if program is None:
        pytest.skip("TEST_MYSQL_PROGRAM is not set, so no private MySQL server can run")
    data = folder / "data"
    return PrivateServer(
        "mysql://root@127.0.0.1/mysql",
        make_certificates(folder),
        lambda port: [program, str(data), str(port)],
        folder,
    )


def _replace_certificates(server: PrivateServer, data: Path) -> None:
    server.start()
    made = server.certificates
    for path in (made.ca, made.certificate, made.key):
        shutil.copy(path, data / path.name)
    server.kill()


def _unprivileged(folder: Path) -> dict[str, Any]:
    """Return Popen options that run a server as `nobody` if this is root; give it `folder`."""
    if os.geteuid() != 0:
        return {}
    for path in (folder, *folder.rglob("*")):
        os.chown(path, _NOBODY.pw_uid, _NOBODY.pw_gid)
    return dict(_AS_NOBODY)


def _without_postgresql() -> NoReturn:
    reason = "PostgreSQL's server programs are not installed"
    if os.environ.get("REQUIRE_SERVICES") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
