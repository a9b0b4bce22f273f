"""Each name has exactly one stored form."""

import time
import unicodedata
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from errors import InvalidNameError
from services.names import (
    MAX_NAME_BYTES,
    normalise_name,
    normalise_prefix,
    split_extension,
    split_extension_of,
)


@given(st.text(max_size=300))
def test_stored_form(name: str) -> None:
    """A normalised name is in NFC, stripped and short; normalising it again changes nothing."""
    with suppress(InvalidNameError):
        stored = normalise_name(name)
        assert unicodedata.is_normalized("NFC", stored)
        assert stored == stored.strip() == normalise_name(stored)
        assert 0 < len(stored.encode()) <= MAX_NAME_BYTES
        assert not set("/\\\0\n\x85") & set(stored)


@given(st.text(st.characters(categories=["L", "M", "N"]), min_size=1, max_size=20))
def test_unicode_forms(name: str) -> None:
    """Composed and decomposed spellings are the same name."""
    assume(name != "random")
    composed, decomposed = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    assert normalise_name(composed) == normalise_name(decomposed) == composed


@pytest.mark.parametrize("name", ["random", ".", "..", " random "])
def test_reserved(name: str) -> None:
    """Names with a special meaning in paths are refused."""
    with pytest.raises(InvalidNameError, match="reserved"):
        normalise_name(name)


def test_prefix() -> None:
    """Unlike a name, a prefix may be empty, a reserved word, or end with a space."""
    for prefix in ("", "random", "a ", "a/"):
        assert normalise_prefix(prefix) == prefix
    with pytest.raises(InvalidNameError, match="control character"):
        normalise_prefix("a\n")


@given(st.text(), st.text(st.characters(exclude_characters=".")))
def test_extension(stem: str, extension: str) -> None:
    """The extension follows the last dot and becomes lower case."""
    assert split_extension(f"{stem}.{extension}") == (stem, extension.lower())


@given(st.text(st.characters(exclude_characters=".")))
def test_no_extension(filename: str) -> None:
    """A file name without a dot has no extension."""
    assert split_extension(filename) == (filename, "")


@pytest.mark.parametrize("normalise", [normalise_name, normalise_prefix])
def test_long_names_cost_nothing(normalise: Callable[[str], str]) -> None:
    """The length is checked before normalisation, which takes quadratic time."""
    begun = time.process_time()
    with pytest.raises(InvalidNameError):
        normalise("a" + "\u0301\u0327" * 200_000)
    assert time.process_time() < begun + 1


def test_extension_of_a_path() -> None:
    """The extension is lower case and belongs to the file, not to a folder."""
    assert split_extension_of("x.y/a.PNG") == ("x.y/a", "png")
    assert split_extension_of("x.y/a") == ("x.y/a", "")
