"""Database servers of a test's own, which it may kill, restart and configure.

Children of this process, on free ports of 127.0.0.1, with TLS by certificates of the test's own.
PostgreSQL and MariaDB are the system's; of MySQL no package can be counted on, so
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
    """A running server: its root's URL, the certificates that it shows, and power over its life."""

    def __init__(
        self,
        url: str,
        certificates: Certificates,
        command: Callable[[int], Sequence[str]],
        place: Path,
        **popen: Any,
    ) -> None:
        """`command` runs it on a port."""
        self.certificates = certificates
        self._url, self._port = make_url(url), free_port()
        self._command, self._place, self._popen = command, place, popen

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return "127.0.0.1", self._port

    @property
    def url(self) -> str:
        """The URL of its root."""
        return self._url.set(port=self._port).render_as_string(hide_password=False)

    def start(self) -> None:
        """Start it, and return when it answers."""
        with (self._place / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(self._port),
                cwd=self._place,
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
            error.add_note((self._place / "log").read_text(errors="replace")[-3000:])
            self.kill()
            raise

    def kill(self) -> None:
        """End it as a power cut would."""
        # PostgreSQL ends its children by this signal, none of which closes or writes anything.
        hard = signal.SIGQUIT if "postgresql" in self._url.drivername else signal.SIGKILL
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, hard)
        self._process.wait(timeout=30)

    def restart(self) -> None:
        """Kill it and start it again."""
        self.kill()
        self.start()

    def move(self) -> None:
        """Kill it and start it on another port, with what it has stored."""
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
    """Run a server of that kind; without its program skip, or fail where CI has it.

    Without `own_ca` MySQL keeps the certificates that it makes for itself, and starts once less.
    """
    place = Path(tempfile.mkdtemp(prefix=f"{kind}-", dir="/tmp"))
    try:
        server = {"postgresql": _postgresql, "mariadb": _mariadb, "mysql": _mysql}[kind](place)
        if kind == "mysql" and own_ca:
            _replace_certificates(server, place / "data")
        server.start()
        try:
            yield server
        finally:
            server.kill()
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _postgresql(place: Path) -> PrivateServer:
    """Prepare PostgreSQL with TLS, users with passwords but for `postgres`."""
    folders = [*Path("/usr/lib/postgresql").glob("*/bin"), *map(Path, os.get_exec_path())]
    programs = next((folder for folder in folders if (folder / "initdb").exists()), None)
    if programs is None:
        _without_postgresql()
    certificates = make_certificates(place)
    user = _handed_over(place)
    data = place / "data"
    initdb = [str(programs / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "-N"]
    encoding = ["-E", "UTF8", "--locale=C"]
    subprocess.run([*initdb, *encoding], check=True, stdout=subprocess.DEVNULL, cwd=place, **user)
    (data / "pg_hba.conf").write_text(
        "host all postgres 127.0.0.1/32 trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n"
    )
    given = {
        "ssl": "on",
        "ssl_cert_file": certificates.certificate,
        "ssl_key_file": certificates.key,
        # A COMMIT takes 20 ms, so that whoever kills the server interrupts some.
        "commit_delay": 20_000,
        "commit_siblings": 0,
    }
    options = [part for name, value in given.items() for part in ("-c", f"{name}={value}")]
    command = [str(programs / "postgres"), "-D", str(data), "-k", "", "-h", "127.0.0.1", *options]
    return PrivateServer(
        "postgresql://postgres@127.0.0.1/postgres",
        certificates,
        lambda port: [*command, "-p", str(port)],
        place,
        **user,
    )


def _mariadb(place: Path) -> PrivateServer:
    """Prepare MariaDB with TLS."""
    program, install = shutil.which("mariadbd"), shutil.which("mariadb-install-db")
    if program is None and (folder := Path("/usr/sbin/mariadbd")).exists():
        program = str(folder)
    if program is None or install is None:
        pytest.skip("no MariaDB is installed that a test could run by itself")
    certificates = make_certificates(place)
    user = _handed_over(place)
    data, socket = place / "data", place / "socket"
    setup = ["--auth-root-authentication-method=normal", "--skip-test-db"]
    subprocess.run(
        [install, "--no-defaults", f"--datadir={data}", *setup],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd=place,
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
        place,
        **user,
    )


def _mysql(place: Path) -> PrivateServer:
    """Prepare MySQL, which makes its data and certificates when it starts for the first time."""
    program = os.environ.get("TEST_MYSQL_PROGRAM")
    if program is None:
        pytest.skip("TEST_MYSQL_PROGRAM names no MySQL to run, so none was restarted")
    data = place / "data"
    return PrivateServer(
        "mysql://root@127.0.0.1/mysql",
        make_certificates(place),
        lambda port: [program, str(data), str(port)],
        place,
    )


def _replace_certificates(server: PrivateServer, data: Path) -> None:
    server.start()
    made = server.certificates
    for path in (made.ca, made.certificate, made.key):
        shutil.copy(path, data / path.name)
    server.kill()


def _handed_over(place: Path) -> dict[str, Any]:
    """Return as which user to run what root must not, once `place` is theirs."""
    if os.geteuid() != 0:
        return {}
    for path in (place, *place.rglob("*")):
        os.chown(path, _NOBODY.pw_uid, _NOBODY.pw_gid)
    return dict(_AS_NOBODY)


def _without_postgresql() -> NoReturn:
    reason = "no PostgreSQL is installed that a test could run by itself"
    if os.environ.get("REQUIRE_SERVICES") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
