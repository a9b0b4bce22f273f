"""What remains of WebP files."""

from tests.support import pictures
from tests.support.containers import exif, riff, uint24, webp_file
from tests.support.stripping import stripped
from tests.support.taken_apart import webp_chunks


def test_orientation() -> None:
    """Exif is removed with its orientation, which has no effect, and the canvas announces none."""
    canvas = riff(b"VP8X", bytes([8, 0, 0, 0]) + uint24(63) + uint24(47))
    content = webp_file(canvas, pictures.webp()[12:], riff(b"EXIF", exif(6)))
    (kind, flags), (pixels, _) = webp_chunks(stripped(content, "webp")[12:])
    assert (kind, flags[:4], pixels) == (b"VP8X", bytes(4), b"VP8 ")
