"""Column types that behave alike on every engine: text by bytes, moments in UTC."""

from datetime import UTC, datetime

from sqlalchemy import TIMESTAMP, DateTime, Dialect, String
from sqlalchemy.dialects import mssql, mysql
from sqlalchemy.types import TypeDecorator, TypeEngine


class ExactText(TypeDecorator[str]):
    """Text that compares byte for byte on every engine.

    PostgreSQL's "C" collation also makes prefixes and keyset pages index-backed. The usual
    collations of MySQL and MariaDB merge case, accents, trailing spaces and all emoji. Oracle
    compares as its session says; SQL Server, by UTF-8 here, merges trailing spaces whatever it is
    told: neither names nor keys have any.
    """

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[str]:
        """Choose the collation."""
        length = self.impl_instance.length  # type: ignore[attr-defined]
        if dialect.name == "postgresql":
            return dialect.type_descriptor(String(length, collation="C"))
        if dialect.name in {"mysql", "mariadb"}:
            on_mariadb = getattr(dialect, "is_mariadb", False)
            collation = "utf8mb4_nopad_bin" if on_mariadb else "utf8mb4_0900_bin"
            return dialect.type_descriptor(
                mysql.VARCHAR(length, charset="utf8mb4", collation=collation)
            )
        if dialect.name == "mssql":
            collation = "Latin1_General_100_BIN2_UTF8"
            return dialect.type_descriptor(mssql.VARCHAR(length, collation=collation))
        return dialect.type_descriptor(String(length))


class UTCDateTime(TypeDecorator[datetime]):
    """A moment in UTC with microseconds; always aware in Python."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[datetime]:
        """Choose the type with microseconds."""
        if dialect.name in {"mysql", "mariadb"}:
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        if dialect.name == "mssql":
            return dialect.type_descriptor(mssql.DATETIME2(6))  # type: ignore[no-untyped-call]
        if dialect.name == "oracle":
            return dialect.type_descriptor(TIMESTAMP())  # its DATE has seconds only
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn an aware moment into what the engine stores: UTC."""
        if value is None or dialect.name == "postgresql":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(
        self,
        value: datetime | None,
        dialect: Dialect,  # noqa: ARG002
    ) -> datetime | None:
        """Turn what the engine stored into an aware moment in UTC."""
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
