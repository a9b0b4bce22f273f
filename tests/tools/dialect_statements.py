"""Compiles all tables and statements for Oracle and SQL Server, without running them.

    python -m tests.tools.dialect_statements

Writes tests/contracts/oracle.sql and mssql.sql, which a test compares with the code. `$NAME`
abbreviates lists of columns that many statements share.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from types import ModuleType
from typing import Any, cast
from unittest import mock

from sqlalchemy import Connection, Dialect
from sqlalchemy.dialects.mssql import pymssql
from sqlalchemy.dialects.oracle import oracledb
from sqlalchemy.orm import Session
from sqlalchemy.schema import CreateIndex, CreateTable

from db import Base
from devstack.service_process import ROOT
from repositories import images, pending_objects, references, variants
from repositories.images import ImageRecord
from repositories.variants import VariantRecord

REPOSITORIES = [images, pending_objects, references, variants]
DIALECTS: dict[str, Any] = {"oracle": oracledb.dialect, "mssql": pymssql.dialect}
FOLDER = ROOT / "tests" / "contracts"
_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_IMAGE = ImageRecord(1, "a", 1, "png", "image/png", "0" * 64, 1, 1, "key", _NOW, _NOW)
_VARIANT = VariantRecord("key", "320.webp", "other", 1, "image/webp", "0" * 64, 1, 1, _NOW)
_SHARED = {
    "$IMAGE": ", ".join(f"images.{field}" for field in ImageRecord._fields),
    "$VARIANT": ", ".join(f"variants.{f} AS variant_{f}" for f in VariantRecord._fields),
    "$ENTRY": ", ".join(
        f"pending_objects.{field}" for field in pending_objects.JournalEntry._fields
    ),
}


class _Result:
    """A result without a database: rows that make the caller run its next statement."""

    rowcount = 1

    def __init__(self, rows: Sequence[Any]) -> None:
        self._rows = rows

    def all(self) -> Sequence[Any]:
        return self._rows

    def first(self) -> None:
        return None

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)


class Recorder:
    """Replaces a connection and records the statements it receives, compiled for one dialect."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self.statements: list[str] = []
        self.empty: list[str] = []  # statements with an empty string, which is NULL to Oracle
        self.rows: list[Sequence[Any]] = []

    def execute(self, statement: Any, parameters: Any = None) -> _Result:
        """Record the statement; it may be run with several sets of parameters."""
        if isinstance(parameters, list):
            parameters = parameters[0]
        keys = list(parameters or {}) if hasattr(statement, "table") else None
        compiled = statement.compile(dialect=self._dialect, column_keys=keys)
        sql = re.sub(r"\s+", " ", str(compiled))
        self.statements.append(sql)
        given = {**compiled.params, **(parameters or {})}
        if any(given[name] == "" for name in compiled.params):
            self.empty.append(sql)
        return _Result(self.rows.pop() if self.rows else [])

    scalars = execute

    def scalar(self, statement: Any, parameters: Mapping[str, Any] | None = None) -> Any:
        """Record the statement and return the first row."""
        return next(iter(self.execute(statement, parameters)), None)

    @contextmanager
    def reading(self, _session: Any) -> Iterator["Recorder"]:
        """Replace `db.reading`."""
        yield self

    def fetch(self, _session: Any, statement: Any, parameters: Mapping[str, Any]) -> Sequence[Any]:
        """Replace `db.fetch`."""
        return self.execute(statement, parameters).all()


def functions() -> set[str]:
    """Return the names of all functions of the repositories that run statements."""
    return {
        f"{_name(module)}.{name}"
        for module in REPOSITORIES
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    }


def calls(recorder: Recorder) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield the name of each function and a call with suitable arguments."""
    connection, session = cast(Connection, recorder), cast(Session, None)
    by_time, by_name = "-last_updated_at", "name"
    values = {field: value for field, value in _IMAGE._asdict().items() if field != "id"}
    after = (_NOW, "k")

    def delete_variants() -> object:
        recorder.rows = [["k"]]
        return variants.delete_variants(connection, "key")

    def unnamed_variants() -> object:
        recorder.rows = [[], ["z"]]
        return variants.unnamed_variants(connection, variants.BEFORE_ALL_KEYS, 9)

    def pick() -> object:
        # In reverse order: no draw hits, so the rows are counted, and then they are gone.
        missed = [(1, 9, *[None] * len(_IMAGE))]
        recorder.rows = [[[0]], [], [[9]], *[missed] * 4]
        return images.RandomImages().pick(session)

    yield "images.find_image", partial(images.find_image, session, "a")
    yield "images.lock_image", partial(images.lock_image, connection, "a")
    yield "images.insert_image", partial(images.insert_image, connection, values)
    yield "images.insert_images", partial(images.insert_images, connection, [values])
    yield "images.existing_names", partial(images.existing_names, session, ["a"])
    yield "images.replace_image", partial(images.replace_image, connection, _IMAGE, {"sha256": "1"})
    yield "images.delete_image", partial(images.delete_image, connection, _IMAGE)
    yield "images.list_images", partial(images.list_images, session, by_time, limit=9)
    yield (
        "images.list_images",
        partial(images.list_images, session, by_name, prefix="p", after=("pa", 3), limit=9),
    )
    yield "images.read_all", lambda: list(images.read_all(connection))
    yield "images.RandomImages.pick", pick
    yield (
        "pending_objects.journal_upload",
        partial(pending_objects.journal_upload, connection, "k", _NOW),
    )
    yield (
        "pending_objects.journal_deletion",
        partial(pending_objects.journal_deletion, connection, "k", _NOW),
    )
    yield (
        "pending_objects.journal_uploads",
        partial(pending_objects.journal_uploads, connection, ["k"], _NOW),
    )
    yield "pending_objects.has_entry", partial(pending_objects.has_entry, connection, "k")
    yield "pending_objects.finish_upload", partial(pending_objects.finish_upload, connection, "k")
    yield (
        "pending_objects.finish_uploads",
        partial(pending_objects.finish_uploads, connection, ["k"]),
    )
    yield (
        "pending_objects.claim_upload",
        partial(pending_objects.claim_upload, connection, "k", _NOW),
    )
    yield "pending_objects.remove_entry", partial(pending_objects.remove_entry, connection, "k")
    yield (
        "pending_objects.entries_after",
        partial(pending_objects.entries_after, connection, after, 9),
    )
    yield "pending_objects.ping", partial(pending_objects.ping, connection)
    yield "references.read_all", lambda: list(references.read_all(connection))
    yield "references.read_of_key", partial(references.read_of_key, connection, "k")
    yield (
        "variants.find_image_with_variants",
        partial(variants.find_image_with_variants, session, "a", ["320.webp"]),
    )
    yield "variants.insert_variant", partial(variants.insert_variant, connection, _VARIANT)
    yield "variants.delete_variant", partial(variants.delete_variant, connection, "k")
    yield "variants.delete_variants", delete_variants
    yield "variants.unnamed_variants", unnamed_variants


def recorded(recorder: Recorder) -> Iterator[tuple[str, list[str]]]:
    """Yield the name of each function and the statements that it runs."""
    with (
        mock.patch.object(images, "fetch", recorder.fetch),
        mock.patch.object(images, "reading", recorder.reading),
        mock.patch.object(variants, "fetch", recorder.fetch),
    ):
        for function, call in calls(recorder):
            call()
            yield function, list(recorder.statements)
            recorder.statements.clear()


def dialect_of(name: str) -> Dialect:
    """Return a dialect in the state after it connected to a current server."""
    dialect: Dialect = DIALECTS[name]()
    if name == "mssql":
        dialect._supports_offset_fetch = True  # type: ignore[attr-defined]
    return dialect


def render(name: str) -> str:
    """Return the content of the file for one dialect."""
    dialect = dialect_of(name)
    parts = ["-- python -m tests.tools.dialect_statements", *_tables(dialect)]
    for function, statements in recorded(Recorder(dialect)):
        distinct = dict.fromkeys(statements)
        parts.append("\n".join([f"-- {function}", *(f"{sql};" for sql in distinct)]))
    text = "\n\n".join(parts) + "\n"
    for short, long in _SHARED.items():
        text = text.replace(long, short)
    return text


def _tables(dialect: Dialect) -> Iterator[str]:
    for table in Base.metadata.sorted_tables:
        yield str(CreateTable(table).compile(dialect=dialect)).strip() + ";"
        for index in table.indexes:
            yield str(CreateIndex(index).compile(dialect=dialect)) + ";"


def _name(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


if __name__ == "__main__":
    for one in DIALECTS:
        (FOLDER / f"{one}.sql").write_text(render(one))
