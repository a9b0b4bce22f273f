"""`--names` turns paths into names."""

from pathlib import Path

import pytest

from services.transfer.failures import FileRefusedError, TransferError
from services.transfer.naming import NamesInCsv, parse_naming


@pytest.mark.parametrize(
    ("rule", "path", "name"),
    [
        ("stem", "a.png", "a"),
        ("stem", "x.y/a.b.png", "a.b"),
        ("stem", "x.y/a", "a"),
        ("path:-", "x.y/z/a.png", "x.y-z-a"),
        ("path: - ", "x/a", "x - a"),
        ("path::", "x/a.png", "x:a"),
    ],
)
def test_names(rule: str, path: str, name: str) -> None:
    """A name lacks only the extension of the file itself."""
    assert parse_naming(rule)(path) == name


@pytest.mark.parametrize("rule", ["", "stems", "stem:", "path", "path:", "csv", "csv:", "other:x"])
def test_unknown_rules(rule: str) -> None:
    """An unknown rule is refused."""
    with pytest.raises(TransferError, match="--names must be"):
        parse_naming(rule)


def test_csv(tmp_path: Path) -> None:
    """A CSV file names each source that it lists once; `missing` has those not looked up."""
    file = tmp_path / "names.csv"
    file.write_text("\ufeffname,source\na,1\nb,2\nc,2\nd,3\nd,3\n")
    naming = NamesInCsv(file)
    assert (naming("1"), naming("3"), naming("4")) == ("a", "d", None)
    assert list(naming.missing) == ["2"]
    with pytest.raises(FileRefusedError, match="several names"):
        naming("2")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"source,title\n", "`source` and `name`"),
        (b"", "`source` and `name`"),
        (b"source,name\na\n", "line 2"),
        (b"source,name\n,a\n", "line 2"),
        (b"source,name\n\xff,a\n", "utf-8"),
        (b'source,name\n"a,b\n', "unexpected end"),
    ],
)
def test_unusable_csv(tmp_path: Path, content: bytes, reason: str) -> None:
    """An unusable CSV file is refused as a whole."""
    file = tmp_path / "names.csv"
    file.write_bytes(content)
    with pytest.raises(TransferError, match=reason):
        NamesInCsv(file)
