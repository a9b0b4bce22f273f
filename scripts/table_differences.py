"""Compares a table in the database with its declaration in `db.py`."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Index, Inspector, Table, UniqueConstraint
from sqlalchemy.engine.interfaces import ReflectedIndex

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
        """Return the names of the missing columns and indexes; empty if there are none."""
        lacking = {
            "columns": sorted(column.name for column in self.columns),
            "indexes": [str(index.name) for index in self.indexes],
        }
        return "; ".join(f"{kind}: {', '.join(names)}" for kind, names in lacking.items() if names)


def differences(table: Table, existing: Inspector) -> Differences:
    """Compare an existing table with its declaration."""
    present = {column["name"] for column in existing.get_columns(table.name)}
    indexed = {tuple(index["column_names"]) for index in _indexes_in(existing, table.name)}
    lacking = [index for index in table.indexes if tuple(index.columns.keys()) not in indexed]
    return Differences(
        columns=[column for column in table.columns if column.name not in present],
        indexes=sorted(lacking, key=lambda index: str(index.name)),
        unique=sorted(map(" + ".join, _unique(table) - _unique_in(existing, table.name))),
    )


def _unique(table: Table) -> set[Columns]:
    """Return the columns that must be unique for the write protocol."""
    constraints = [c for c in table.constraints if isinstance(c, UniqueConstraint)]
    return {tuple(c.columns.keys()) for c in (table.primary_key, *constraints)}


def _indexes_in(existing: Inspector, table: str) -> list[ReflectedIndex]:
    """Return the indexes that work; PostgreSQL keeps those whose creation was interrupted."""
    return [
        index
        for index in existing.get_indexes(table)
        if not index.get("dialect_options", {}).get("postgresql_invalid")
    ]


def _unique_in(existing: Inspector, table: str) -> set[Columns]:
    """Return the columns that the database keeps unique."""
    constraints = existing.get_unique_constraints(table)
    unique = [c["column_names"] for c in constraints if "duplicates_index" not in c]
    unique.append(existing.get_pk_constraint(table)["constrained_columns"])
    for index in _indexes_in(existing, table):
        # An index of some rows, or of a prefix, does not keep the whole column unique.
        partial = [o for o in index.get("dialect_options", {}) if o.endswith(("_where", "_length"))]
        if index["unique"] and not partial:
            unique.append([str(column) for column in index["column_names"]])
    return set(map(tuple, unique))
