"""A form is the same in whatever pieces it arrives."""

import hashlib
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from python_multipart.exceptions import FormParserError

from errors import DigestMismatchError, ImageTooLargeError, InvalidMultipartError
from tests.support import pictures
from tests.support.records import SETTINGS
from tests.support.uploads import BOUNDARY, form
from web.form_parser import FormParser, UploadForm

CONTENT = pictures.noise_png(30_000)
NAME = ('name="name"', b"b")
FILE = 'name="file"; filename="a.png"'
SMALL = SETTINGS.model_copy(update={"max_upload_bytes": 10})
# What could be taken for a boundary
CONTENTS = st.lists(
    st.sampled_from([b"\r\n", b"--", BOUNDARY.encode(), b"x", b"\r", b"\n--aX"]), max_size=12
).map(b"".join)


def parser_of(parsed: UploadForm, *, hashing: bool = False) -> FormParser:
    """Return a parser that keeps files in memory."""
    return FormParser(parsed, BOUNDARY.encode(), SETTINGS, None, hashing=hashing)


def is_boundary(content: bytes) -> bool:
    """Return whether the content of a part would end it."""
    return f"\r\n--{BOUNDARY}".encode() in b"\r\n" + content


@given(CONTENTS.filter(lambda content: not is_boundary(content)), st.data())
def test_any_pieces(content: bytes, data: st.DataObject) -> None:
    """The cuts between the pieces of a body may be anywhere."""
    body = form((FILE, content), NAME)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(body) - 1), max_size=8)))
    parsed = UploadForm()
    parser = parser_of(parsed, hashing=True)
    for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
        parser.write(body[start:end])
    parser.flush()
    parser.require_complete()
    assert (parsed.file.read(), parsed.name, parsed.extension) == (content, "b", "png")
    parser.require_digests([hashlib.sha256(whole).digest() for whole in (content, body)])
    with pytest.raises(DigestMismatchError):
        parser.require_digests([hashlib.sha256(content + b"x").digest()])


@given(st.integers(0, len(form((FILE, b"content"), NAME)) - 3))
def test_cut(length: int) -> None:
    """A body without its closing boundary is never complete."""
    parser = parser_of(UploadForm())
    with pytest.raises((InvalidMultipartError, FormParserError)):  # noqa: PT012 - either may
        parser.write(form((FILE, b"content"), NAME)[:length])
        parser.require_complete()


def test_largest_file() -> None:
    """A file may have MAX_UPLOAD_BYTES, and not one byte more."""
    body = form((FILE, b"x" * 11))
    parser = FormParser(UploadForm(), BOUNDARY.encode(), SMALL, None, hashing=False)
    at = body.index(b"x" * 11) + 10
    parser.write(body[:at])
    with pytest.raises(ImageTooLargeError, match="at most 10 bytes"):
        parser.write(body[at:])


@pytest.mark.parametrize(
    ("filename", "name", "extension"),
    [("a.png", "a", "png"), ("a.b.PNG", "a.b", "png"), ("a", "a", ""), (".png", "", "png")],
)
def test_name_of_the_file(filename: str, name: str, extension: str) -> None:
    """Without a field `name`, the image has the name of the file without its extension."""
    parsed = UploadForm()
    parser_of(parsed).write(form((f'name="file"; filename="{filename}"', b"")))
    assert (parsed.name, parsed.extension) == (name, extension)


@pytest.mark.parametrize("size", [1, 20, 5000])
def test_small_pieces(size: int) -> None:
    """A form that arrives in tiny pieces takes no more memory than its bytes."""
    body = form((FILE, CONTENT), NAME)
    pieces = [body[i : i + size] for i in range(0, len(body), size)]
    parsed = UploadForm()
    parser = parser_of(parsed)
    tracemalloc.start()
    try:
        for piece in pieces:
            parser.write(piece)
        assert tracemalloc.get_traced_memory()[0] < 1.5 * len(body)
    finally:
        tracemalloc.stop()
    parser.flush()
    parser.require_complete()
    assert (parsed.file.read(), parsed.name) == (CONTENT, "b")
