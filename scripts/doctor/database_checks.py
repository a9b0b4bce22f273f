"""The checks of the database. They roll back everything that they write."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, inspect, select

from db import Base, Image, read_clock, reading, writing
from errors import DatabaseUnavailableError, TransactionAbortedError
from repositories import images, pending_objects, references, variants
from repositories.variants import VariantRecord
from scripts.doctor.checks import CheckFailed, Subject, check, compare_clock
from scripts.table_differences import differences

# Different bytes, but equal in some collations.
_HOSTILE = ("a", "A", "\u00e4", "a\u0308", "a ", "ss", "\u00df", "\U0001f600", "\U0001f601")

_ANSWERS, _TABLES, _WRITES = "database answers", "tables", "permissions in the database"
_WRONG_CA = (
    "set the file of the server's CA in DB_URL, as sslrootcert (PostgreSQL) or ssl_ca (MySQL), and "
    "name the host as its certificate does"
)
# The settings that decide whether a commit is on disk when it is acknowledged, and the values with
# which it may not be.
_COMMIT_SETTINGS = {
    "postgresql": "synchronous_commit",
    "mysql": "innodb_flush_log_at_trx_commit",
    "mariadb": "innodb_flush_log_at_trx_commit",
}
_VOLATILE = {"synchronous_commit": {"off"}, "innodb_flush_log_at_trx_commit": {"0", "2"}}
_CREATE_ANEW = "run `python -m scripts.create_tables` on a new database and copy the rows into it"


@contextmanager
def _rolled_back(subject: Subject) -> Iterator[Connection]:
    """Yield a connection for writing; roll back what it wrote."""
    with writing(subject.sessions()) as connection:
        yield connection
        connection.rollback()


def _probe_row(text: str) -> dict[str, Any]:
    """Return an image row with this name and key."""
    moment = datetime.now(UTC).replace(microsecond=123456)
    about = {"extension": "png", "content_type": "image/png", "sha256": "0" * 64}
    sizes = {"size_bytes": 1, "width": 1, "height": 1}
    # A minute apart, so that they stay in order even if the column rounds.
    times = {"created_at": moment - timedelta(minutes=1), "last_updated_at": moment}
    return {"name": text, "s3_key": text, **about, **sizes, **times}


def _random_text() -> str:
    return f"doctor-{secrets.token_hex(16)}"


@check(_ANSWERS, "check DB_URL, and that the server runs and accepts this host")
def _database_answers(subject: Subject) -> str:
    try:
        with reading(subject.sessions()) as connection:
            connection.execute(select(1))
            version = connection.dialect.server_version_info or ()
    except DatabaseUnavailableError as exc:
        seen = str(exc.__cause__).partition("\n")[0]
        if "certificate" not in seen:
            raise
        raise CheckFailed(seen, _WRONG_CA) from exc
    return f"{subject.engine.dialect.name} {'.'.join(map(str, version))}"


@check(_TABLES, "run `python -m scripts.create_tables`", _ANSWERS)
def _tables(subject: Subject) -> str:
    with reading(subject.sessions()) as connection:
        existing = inspect(connection)
        for table in Base.metadata.sorted_tables:
            if not existing.has_table(table.name):
                raise CheckFailed(f"there is no table {table.name}")
            if lacking := differences(table, existing).sentence():
                raise CheckFailed(f"table {table.name} lacks {lacking}")
    return "all, with their columns and indexes"


@check("isolation level", "let no pooler or proxy of the database change it", _ANSWERS)
def _isolation(subject: Subject) -> str:
    with _rolled_back(subject) as connection:
        level = connection.get_isolation_level()
    if level not in {"READ COMMITTED", "SERIALIZABLE" if subject.on_sqlite else ""}:
        raise CheckFailed(f"{level} is in effect")
    return level


@check(
    _WRITES,
    "grant SELECT, INSERT, UPDATE and DELETE on all tables, and name no read-only server in DB_URL",
    _TABLES,
)
def _permissions(subject: Subject) -> str:
    text = _random_text()
    now = datetime.now(UTC)
    with _rolled_back(subject) as connection:
        images.insert_image(connection, _probe_row(text))
        image = images.lock_image(connection, text)
        changed = image and images.replace_image(connection, image, {"width": 2})
        if not (image and changed and images.delete_image(connection, image)):
            raise CheckFailed("a row just written is missing")
        pending_objects.journal_upload(connection, text, now)
        pending_objects.claim_upload(connection, text, now)
        pending_objects.remove_entry(connection, text)
        about = 1, "image/png", "0" * 64, 1, 1
        variants.insert_variant(connection, VariantRecord(text, "1.png", text, *about, now))
        variants.delete_variants(connection, text)
    return "SELECT, INSERT, UPDATE and DELETE"


@check("rollback", "use a transactional storage engine: InnoDB", _WRITES)
def _rollback(subject: Subject) -> str:
    text = _random_text()
    with _rolled_back(subject) as connection:
        images.insert_image(connection, _probe_row(text))
        pending_objects.journal_upload(connection, text, datetime.now(UTC))
    with reading(subject.sessions()) as connection:
        if rows := references.read_of_key(connection, text):
            raise CheckFailed(f"{len(rows)} rows named {text} remain: delete them")
    return "leaves nothing"


@check(
    "durable commits",
    "set it to on (PostgreSQL) or 1 (MySQL, MariaDB), or a crash loses acknowledged writes",
    _ANSWERS,
)
def _durability(subject: Subject) -> str:
    backend = subject.engine.dialect.name
    if (setting := _COMMIT_SETTINGS.get(backend)) is None:
        return "are those of SQLite" if subject.on_sqlite else "are not checked"
    show = "SHOW " if backend == "postgresql" else "SELECT @@"
    with reading(subject.sessions()) as connection:
        value = str(connection.exec_driver_sql(show + setting).scalar_one())
    if value in _VOLATILE[setting]:
        raise CheckFailed(f"{setting} is {value}")
    return f"{setting} is {value}"


@check("names compare byte for byte", f"wrong collation: {_CREATE_ANEW}", _WRITES)
def _collation(subject: Subject) -> str:
    stem = _random_text()
    texts = [stem + ending for ending in _HOSTILE]
    try:
        with _rolled_back(subject) as connection:
            for text in texts:
                images.insert_image(connection, _probe_row(text))
                pending_objects.journal_upload(connection, text, datetime.now(UTC))
            by_name = select(Image.name).where(Image.name.in_(texts)).order_by(Image.name)
            listed = connection.scalars(by_name).all()
    except TransactionAbortedError as exc:
        raise CheckFailed("different names or keys count as the same") from exc
    if listed != sorted(texts):
        raise CheckFailed("names are not in the order of their bytes")
    return "case, accents, spaces and emoji count"


@check("uniqueness", f"a unique index is missing: {_CREATE_ANEW}", _WRITES)
def _unique(subject: Subject) -> str:
    for column in ("name", "s3_key"):
        text = _random_text()
        with suppress(TransactionAbortedError), _rolled_back(subject) as connection:
            images.insert_image(connection, _probe_row(text))
            images.insert_image(connection, _probe_row(_random_text()) | {column: text})
            raise CheckFailed(f"images.{column} is not unique")
    return "one row per name and per key"


@check("microseconds", f"wrong type of column: {_CREATE_ANEW}", _WRITES)
def _microseconds(subject: Subject) -> str:
    values = _probe_row(_random_text())
    with _rolled_back(subject) as connection:
        images.insert_image(connection, values)
        image = images.lock_image(connection, values["name"])
    if image is None or image.last_updated_at != values["last_updated_at"]:
        raise CheckFailed("a moment comes back changed")
    return "kept"


@check("clock of the database", "set the clocks of both hosts", _ANSWERS)
def _database_clock(subject: Subject) -> str:
    if subject.on_sqlite:
        return "is this host's"
    with reading(subject.sessions()) as connection:
        return compare_clock(read_clock(connection))


DATABASE_CHECKS = (
    *(_database_answers, _tables, _isolation, _permissions, _rollback, _collation, _unique),
    *(_microseconds, _database_clock, _durability),
)
