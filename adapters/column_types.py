"""Column types that behave alike on every engine: text compared by its bytes, times in UTC."""

from datetime import UTC, datetime

from sqlalchemy import DateTime, Dialect, String
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeDecorator, TypeEngine

from adapters import unverified_engines


class ExactText(TypeDecorator[str]):
    """Text that compares byte for byte.

    The default collations of MySQL and MariaDB ignore case, accents and trailing spaces, and treat
    all emoji as equal. PostgreSQL's "C" collation also lets an index serve prefixes and pages.
    """

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[str]:
        """Choose the type and its collation."""
        length = self.impl_instance.length  # type: ignore[attr-defined]
        chosen: TypeEngine[str] = String(length)
        if dialect.name == "postgresql":
            chosen = String(length, collation="C")
        elif dialect.name in {"mysql", "mariadb"}:
            on_mariadb = getattr(dialect, "is_mariadb", False)
            collation = "utf8mb4_nopad_bin" if on_mariadb else "utf8mb4_0900_bin"
            chosen = mysql.VARCHAR(length, charset="utf8mb4", collation=collation)
        elif dialect.name in unverified_engines.NAMES:
            chosen = unverified_engines.exact_text(dialect.name, length)
        return dialect.type_descriptor(chosen)


class UTCDateTime(TypeDecorator[datetime]):
    """A time with microseconds, stored in UTC, timezone-aware in Python."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[datetime]:
        """Choose a type that keeps microseconds."""
        chosen: TypeEngine[datetime] = DateTime(timezone=True)
        if dialect.name in {"mysql", "mariadb"}:
            chosen = mysql.DATETIME(fsp=6)
        elif dialect.name in unverified_engines.NAMES:
            chosen = unverified_engines.moment(dialect.name)
        return dialect.type_descriptor(chosen)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC, and drop the time zone if the column has none."""
        if value is None or dialect.name == "postgresql":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Return the time in UTC, timezone-aware."""
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
