"""A form has the same result however it is split into pieces."""

import hashlib
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from python_multipart.exceptions import FormParserError

from config import Settings
from errors import ImageTooLargeError, InvalidMultipartError
from tests.support import pictures
from tests.support.records import SETTINGS
from tests.support.uploads import BOUNDARY, form
from web.uploads.form_parser import FormParser
from web.uploads.received_file import ReceivedFile, Upload

CONTENT = pictures.noise_png(30_000)
NAME = ('name="name"', b"b")
FILE = 'name="file"; filename="a.png"'
SMALL = SETTINGS.model_copy(update={"max_upload_bytes": 10})
# What could be taken for a boundary
CONTENTS = st.lists(
    st.sampled_from([b"\r\n", b"--", BOUNDARY.encode(), b"x", b"\r", b"\n--aX"]), max_size=12
).map(b"".join)


class Form:
    """A form being received, whose file is kept in memory."""

    def __init__(self, settings: Settings = SETTINGS) -> None:
        self.file = ReceivedFile(settings, None, hashing=True)
        self.parser = FormParser(BOUNDARY.encode(), self.file, settings)

    def upload(self) -> Upload:
        """Return the upload after all pieces have arrived."""
        self.file.flush()
        return self.parser.upload()


def is_boundary(content: bytes) -> bool:
    """Return whether the content of a part would end it."""
    return f"\r\n--{BOUNDARY}".encode() in b"\r\n" + content


@given(CONTENTS.filter(lambda content: not is_boundary(content)), st.data())
def test_any_pieces(content: bytes, data: st.DataObject) -> None:
    """The cuts between the pieces of a body may be anywhere."""
    body = form((FILE, content), NAME)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(body) - 1), max_size=8)))
    arriving = Form()
    for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
        arriving.parser.write(body[start:end])
    parsed = arriving.upload()
    assert (parsed.file.read(), parsed.name, parsed.extension) == (content, "b", "png")
    assert arriving.file.digest() == hashlib.sha256(content).digest()


@given(st.integers(0, len(form((FILE, b"content"), NAME)) - 3))
def test_cut(length: int) -> None:
    """A body without its closing boundary is never complete."""
    arriving = Form()
    with pytest.raises((InvalidMultipartError, FormParserError)):  # noqa: PT012 - either may
        arriving.parser.write(form((FILE, b"content"), NAME)[:length])
        arriving.upload()


def test_largest_file() -> None:
    """A file may have MAX_UPLOAD_BYTES, and not one byte more."""
    body = form((FILE, b"x" * 11))
    parser = Form(SMALL).parser
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
    arriving = Form()
    arriving.parser.write(form((f'name="file"; filename="{filename}"', b"")))
    parsed = arriving.upload()
    assert (parsed.name, parsed.extension) == (name, extension)


@pytest.mark.parametrize("size", [1, 20, 5000])
def test_small_pieces(size: int) -> None:
    """A form that arrives in tiny pieces takes no more memory than its bytes."""
    body = form((FILE, CONTENT), NAME)
    pieces = [body[i : i + size] for i in range(0, len(body), size)]
    arriving = Form()
    tracemalloc.start()
    try:
        for piece in pieces:
            arriving.parser.write(piece)
        assert tracemalloc.get_traced_memory()[0] < 1.5 * len(body)
    finally:
        tracemalloc.stop()
    parsed = arriving.upload()
    assert (parsed.file.read(), parsed.name) == (CONTENT, "b")
