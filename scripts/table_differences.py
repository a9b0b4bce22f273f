"""What a table in the database lacks, compared with its description in `db.py`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Index, Inspector, Table, UniqueConstraint

Columns = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Differences:
    """What a table lacks; `unique` names the columns that lack a unique index."""

    columns: list[Column[Any]]
    indexes: list[Index]
    unique: list[str]

    @property
    def impossible(self) -> list[str]:
        """The columns that cannot be added, because existing rows would have no value."""
        return sorted(c.name for c in self.columns if not (c.nullable or c.server_default))

    def sentence(self) -> str:
        """Name the missing columns and indexes; empty if there are none."""
        lacking = {
            "columns": sorted(column.name for column in self.columns),
            "indexes": [str(index.name) for index in self.indexes],
        }
        return "; ".join(f"{kind}: {', '.join(names)}" for kind, names in lacking.items() if names)


def differences(table: Table, existing: Inspector) -> Differences:
    """Compare an existing table with its description."""
    present = {column["name"] for column in existing.get_columns(table.name)}
    indexed = _indexed(existing, table.name)
    return Differences(
        columns=[column for column in table.columns if column.name not in present],
        indexes=sorted(
            (index for index in table.indexes if tuple(index.columns.keys()) not in indexed),
            key=lambda index: str(index.name),
        ),
        unique=sorted(map(" + ".join, _unique(table) - _unique_in(existing, table.name))),
    )


def _indexed(existing: Inspector, table: str) -> set[Columns]:
    return {tuple(map(str, index["column_names"])) for index in existing.get_indexes(table)}


def _unique(table: Table) -> set[Columns]:
    """Return the columns that the write protocol needs to be unique."""
    constraints = [c for c in table.constraints if isinstance(c, UniqueConstraint)]
    return {tuple(c.columns.keys()) for c in (table.primary_key, *constraints)}


def _unique_in(existing: Inspector, table: str) -> set[Columns]:
    """Return the columns that the database keeps unique."""
    indexes = [
        index["column_names"]
        for index in existing.get_indexes(table)
        # A partial index, or one of a prefix, does not keep the whole column unique.
        if index["unique"]
        and not any(
            option.endswith(("_where", "_length")) for option in index.get("dialect_options", {})
        )
    ]
    constraints = [
        constraint["column_names"]
        for constraint in existing.get_unique_constraints(table)
        if "duplicates_index" not in constraint
    ]
    primary_key = existing.get_pk_constraint(table)["constrained_columns"]
    found: list[Sequence[str | None]] = [*indexes, *constraints, primary_key]
    return {tuple(map(str, columns)) for columns in found}
