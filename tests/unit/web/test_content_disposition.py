"""Names travel in Content-Disposition without a change, whatever characters they have."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import InvalidMultipartError
from web.content_disposition import content_disposition, part_parameters

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1)


@given(NAMES)
def test_there_and_back(name: str) -> None:
    """The parser of forms reads the name that a download has."""
    header = content_disposition("attachment", name, "png")
    assert part_parameters(header.encode())[b"filename"].decode() == f"{name}.png"


@given(NAMES)
def test_one_line_of_ascii(name: str) -> None:
    """The header is printable ASCII, and its `filename` is one quoted string."""
    header = content_disposition("inline", name, "png")
    assert header.isascii()
    assert header.isprintable()
    assert header.startswith('inline; filename="')
    assert header.count('"') == 2
    assert "\\" not in header


@pytest.mark.parametrize(
    ("name", "filename"),
    [
        ("a", "a.png"),
        ("a.png", "a.png"),
        ("a.PNG", "a.PNG"),
        ("a.jpg", "a.jpg.png"),
        ("a.", "a..png"),
    ],
)
def test_extension(name: str, filename: str) -> None:
    """The file name has the extension of the image, once."""
    assert f'filename="{filename}"' in content_disposition("attachment", name, "png")


@given(st.text(st.characters(codec="latin-1")))
def test_latin_1(filename: str) -> None:
    """`filename*` in ISO 8859-1 is read as the same characters (RFC 8187 section 3.2.1)."""
    value = quote(filename.encode("latin-1"))
    parameters = part_parameters(f"form-data; name=file; filename*=iso-8859-1''{value}".encode())
    assert parameters[b"filename"].decode() == filename


@pytest.mark.parametrize("charset", ["", "latin-1", "utf-16"])
def test_unknown_charset(charset: str) -> None:
    """`filename*` in another character set is refused, because the name would be a guess."""
    with pytest.raises(InvalidMultipartError, match=r"filename\*"):
        part_parameters(f"form-data; name=file; filename*={charset}''a.png".encode())
