"""Runs the contract tests on every database with every store and writes docs/compatibility.md.

    python -m tests.tools.compatibility [--stores moto,juicefs] [--databases sqlite]

Uses the databases that TEST_* variables name and the stores that are installed. Exits with 1 if a
test fails.
"""

# ruff: noqa: T201 - this command prints its progress

import argparse
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from unittest import mock
from xml.etree import ElementTree as ET

from devstack.databases import connection
from devstack.postgresql import postgres
from devstack.service_process import ROOT
from tests.support.stores import STORES

PAGE = ROOT / "docs" / "compatibility.md"
STORE_CONTRACT = ["tests/contracts/test_object_store.py", "tests/contracts/test_object_keys.py"]
PAIR_TESTS = [
    "tests/contracts/test_use_cases.py",
    "tests/api/test_upload.py",
    "tests/api/test_download.py",
    "tests/api/test_delete.py",
    "tests/api/test_listing.py",
]
COMPILED_ONLY = ["Oracle", "SQL Server"]
"""Engines without a server: their statements are compiled and compared, not run."""
_HEAD = """# Compatibility

`make matrix` generated this page on {date} on one machine. AWS itself was not tested. Each cell
contains the number of tests that passed and the number that ran (`STORE_CONTRACT` and `PAIR_TESTS`
in `tests/tools/compatibility.py`). The contract verifies the known differences from S3. None of
them affects how the keys of this service are stored or listed.
"""


@dataclass(frozen=True)
class Database:
    """A database: the name of its engine in test ids, and the variable with its server's URL."""

    title: str
    engine: str
    variable: str | None = None


DATABASES = {
    "sqlite": Database("SQLite", "sqlite"),
    "postgresql": Database("PostgreSQL", "postgresql", "TEST_DB_URL"),
    "embedded": Database("PostgreSQL, embedded", "postgresql"),
    "mariadb": Database("MariaDB", "mariadb", "TEST_MARIADB_URL"),
    "mysql": Database("MySQL", "mysql", "TEST_MYSQL_URL"),
}


@dataclass(frozen=True)
class Outcome:
    """The number of tests that ran, and of those that passed."""

    run: int
    passed: int

    def __str__(self) -> str:
        return f"{self.passed} of {self.run}"


@dataclass(frozen=True)
class Row:
    """A backend and its outcomes: a store has one contract, a database has one per store."""

    title: str
    version: str
    outcomes: dict[str, Outcome]
    differences: tuple[str, ...] = ()


def main() -> None:
    """Run the tests, write the page, and exit with 1 if a test fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.tools.compatibility")
    every: dict[str, list[str]] = {"stores": [*STORES], "databases": [*DATABASES]}
    for option, names in every.items():
        parser.add_argument(f"--{option}", default=",".join(names), help="comma-separated")
    arguments = parser.parse_args()
    stores = [name for name in arguments.stores.split(",") if STORES[name].is_installed()]
    rows = [_store(name) for name in stores]
    pairs = [
        row for name in arguments.databases.split(",") for row in _database(DATABASES[name], stores)
    ]
    PAGE.write_text(page(rows, pairs, f"{datetime.now(UTC):%Y-%m-%d}"))
    outcomes = [one for row in rows + pairs for one in row.outcomes.values()]
    sys.exit(any(one.passed < one.run for one in outcomes))


def page(stores: list[Row], databases: list[Row], date: str) -> str:
    """Return the text of the page with these rows."""
    titles = [store.title for store in stores]
    lines = ["## Object stores", "", *_header("store", "version", "contract", "known differences")]
    for row in stores:
        outcome = "".join(map(str, row.outcomes.values()))
        lines.append(_line(row.title, row.version, outcome, "; ".join(row.differences) or "none"))
    lines += ["", "## Databases on each store", "", *_header("database", "version", *titles)]
    for row in databases:
        lines.append(_line(row.title, row.version, *(str(row.outcomes[one]) for one in titles)))
    for title in COMPILED_ONLY:
        lines.append(_line(title, "compiled, not run", *("" for _ in titles)))
    return "\n".join([_HEAD.format(date=date), *lines, ""])


def _header(*names: str) -> list[str]:
    return [_line(*names), "|" + "---|" * len(names)]


def _line(*cells: str) -> str:
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"


def _store(name: str) -> Row:
    kind = STORES[name]
    outcome = _run(STORE_CONTRACT, name)
    return Row(kind.title, kind.version(), {"contract": outcome}, kind.differences)


def _database(database: Database, stores: list[str]) -> Iterator[Row]:
    """Run one database with each store; yield nothing if it has no server."""
    if database.variable and database.variable not in os.environ:
        print(f"{database.title}: {database.variable} is not set")
        return
    with _server(database) as (version, environment):
        outcomes = {
            STORES[name].title: _run(PAIR_TESTS, name, environment, engine=database.engine)
            for name in stores
        }
    yield Row(database.title, version, outcomes)


@contextmanager
def _server(database: Database) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the version of the server, and the variables that the tests need to find it."""
    if database.engine == "sqlite":
        yield sqlite3.sqlite_version, {}
    elif database.variable:
        yield _version(os.environ[database.variable]), {}
    else:
        with mock.patch.dict(os.environ):
            os.environ.pop("TEST_DB_URL", None)
            with postgres() as url:
                yield _version(url), {"TEST_DB_URL": url}


def _version(url: str) -> str:
    with connection(url) as db:
        query = "SHOW server_version" if db.dialect.name == "postgresql" else "SELECT version()"
        return str(db.exec_driver_sql(query).scalar()).split("-")[0].split()[0]


def _run(
    files: list[str], store: str, environment: dict[str, str] | None = None, *, engine: str = ""
) -> Outcome:
    """Run the tests on one store, restricted to one engine if `engine` is given."""
    present = [file for file in files if (ROOT / file).exists()]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        options = ["-n0", "-q", "--no-header", "-k", engine, f"--junit-xml={report}"]
        subprocess.run(
            [sys.executable, "-m", "pytest", *options, *present],
            cwd=ROOT,
            env={**os.environ, "REQUIRE_SERVICES": "1", "TEST_OBJECT_STORE": store}
            | (environment or {}),
            check=False,
        )
        suite = ET.parse(report).getroot().find("testsuite")  # noqa: S314 - pytest's own
    assert suite is not None
    ran = int(suite.attrib["tests"]) - int(suite.attrib["skipped"])
    bad = int(suite.attrib["failures"]) + int(suite.attrib["errors"])
    print(f"{store}{engine and f', {engine}'}: {ran - bad} of {ran}", flush=True)
    return Outcome(ran, ran - bad)


if __name__ == "__main__":
    main()
