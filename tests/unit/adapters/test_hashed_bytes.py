"""A file in memory remembers its SHA-256 until its bytes change."""

import hashlib
import sys
import tempfile
from collections.abc import Callable

import pytest

from adapters.hashed_bytes import HashedBytes, sha256_of

CONTENT = b"some bytes"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def test_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hash is computed once, regardless of reads."""
    file = HashedBytes(CONTENT)
    assert sha256_of(file) == DIGEST
    monkeypatch.setattr("adapters.hashed_bytes.hashlib.sha256", None)
    assert file.read(4) == CONTENT[:4]
    assert file.read() == CONTENT[4:]
    assert sha256_of(file) == DIGEST


def test_written() -> None:
    """Any way of writing changes the hash."""
    appended, cut, viewed = (HashedBytes(CONTENT) for _ in range(3))
    appended.seek(0, 2)
    appended.writelines([b"!"])
    cut.truncate(4)
    with viewed.getbuffer() as view:
        view[0] = 0
    for file in (appended, cut, viewed):
        assert sha256_of(file) == hashlib.sha256(file.getvalue()).hexdigest() != DIGEST


@pytest.mark.parametrize("release", [HashedBytes.close, lambda file: file.truncate(0)])
def test_released(release: Callable[[HashedBytes], object]) -> None:
    """A closed or emptied file releases its bytes, even while something still refers to it."""
    content = bytes(10_000)
    before = sys.getrefcount(content)
    file = HashedBytes(content)
    assert sys.getrefcount(content) > before
    release(file)
    assert sys.getrefcount(content) == before


def test_other_files() -> None:
    """Other files are hashed from the start, regardless of their position."""
    with tempfile.TemporaryFile() as file:
        file.write(CONTENT)
        assert sha256_of(file) == DIGEST
