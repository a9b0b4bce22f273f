"""The rules of `--names`, which turn paths of a source into names of images."""

import csv
from collections.abc import Callable
from pathlib import Path

from services.names import split_extension_of
from services.transfer.failures import FileRefusedError, TransferError

Naming = Callable[[str], str | None]
"""Returns the name for a path, or None to skip the file. Raises FileRefusedError."""


def parse_naming(text: str) -> Naming:
    """Parse `stem`, `path:SEPARATOR` or `csv:FILE`. Raises TransferError."""
    kind, _, rest = text.partition(":")
    if text == "stem":
        return _stem
    if kind == "path" and rest:
        return lambda path: split_extension_of(path)[0].replace("/", rest)
    if kind == "csv" and rest:
        return NamesInCsv(Path(rest))
    raise TransferError(
        f"--names must be `stem`, `path:` and what replaces a slash, or `csv:` and a file,"
        f" not {text!r}."
    )


def _stem(path: str) -> str:
    return split_extension_of(path)[0].rpartition("/")[2]


class NamesInCsv:
    """Names from the columns `source` and `name` of a CSV file. Other files are skipped.

    `missing` contains the sources in the CSV file that have not been looked up.
    """

    def __init__(self, file: Path) -> None:
        """Read the file. Raises TransferError."""
        self.missing: dict[str, None] = {}
        self._names: dict[str, str] = {}
        self._repeated: set[str] = set()
        try:
            with file.open(encoding="utf-8-sig", newline="") as opened:
                self._read(csv.DictReader(opened, strict=True))
        except (OSError, UnicodeDecodeError, csv.Error) as exc:
            raise TransferError(f"{file} cannot be read: {exc}.") from exc
        self.missing = dict.fromkeys(self._names)

    def _read(self, rows: "csv.DictReader[str]") -> None:
        if not {"source", "name"} <= set(rows.fieldnames or ()):
            raise csv.Error("its first line must name the columns `source` and `name`")
        for row in rows:
            source, name = row["source"], row["name"]
            if not source or name is None:
                raise csv.Error(f"line {rows.line_num} has no source or no name")
            if self._names.setdefault(source, name) != name:
                self._repeated.add(source)

    def __call__(self, path: str) -> str | None:
        """Return the name for a path."""
        self.missing.pop(path, None)
        if path in self._repeated:
            raise FileRefusedError("The CSV file has several names for it.")
        return self._names.get(path)
