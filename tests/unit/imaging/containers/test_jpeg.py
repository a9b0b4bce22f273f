"""The walk finds the first picture of a JPEG, with every scan."""

import pytest

from imaging.containers.content import MalformedImageError
from imaging.containers.jpeg import SOS, segments, walk
from imaging.containers.limits import PixelLimits
from tests.support import pictures
from tests.support.containers import exif, segment

PLAIN = pictures.jpeg(24, 16)
PROGRESSIVE = pictures.encoded(pictures.picture(24, 16), "JPEG", progressive=True)
LIMITS = PixelLimits(frame=1000, animation=0)


def after_start(*pieces: bytes) -> bytes:
    """Return a file with these pieces after its Start Of Image."""
    return PLAIN[:2] + b"".join(pieces) + PLAIN[2:]


def test_baseline() -> None:
    """One scan of Huffman codes needs no memory for coefficients."""
    plain, progressive = (walk(file, LIMITS) for file in (PLAIN, PROGRESSIVE))
    assert (plain.scans, plain.is_plain, plain.buffered) == (1, True, False)
    assert (progressive.scans > 1, progressive.is_plain, progressive.buffered) == (
        True,
        False,
        True,
    )
    assert progressive.decoded_bytes > plain.decoded_bytes


def test_missing_scan() -> None:
    """A progressive file without its last scan would be blurred, so it is refused."""
    scans = [at for marker, at, _ in segments(PROGRESSIVE) if marker == SOS]
    with pytest.raises(MalformedImageError, match="last scans are missing"):
        walk(PROGRESSIVE[: scans[-1] - 4] + b"\xff\xd9", LIMITS)


def test_exif() -> None:
    """The first Exif segment counts; other APP1 segments, such as XMP, do not."""
    xmp = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0")
    turned = [segment(0xE1, b"Exif\0\0" + exif(orientation)) for orientation in (6, 3)]
    assert walk(after_start(xmp, *turned), LIMITS).shown == (16, 24)


@pytest.mark.parametrize(
    ("piece", "reason"),
    [
        (b"\xff\xd8", "second picture"),
        (b"\xff\xc3\0\2", "decoders do not know"),
        (b"\xff\xe0\0\1", "cut short"),
        (b"\xff\xe0\xff\xff", "cut short"),
        (segment(0xC0, b"\x08\0\1\0\1\1\1\x11\0") * 2, "two frame headers"),
        (segment(0xC0, b"\x0c\0\1\0\1\1\1\x11\0"), "8 bits"),
        (segment(0xC0, b"\x08\0\1\0\1\1\1\x51\0"), "sampling factors"),
        (segment(0xDA, b"\1\1\0\0\x3f\0"), "no component"),
    ],
)
def test_refused(piece: bytes, reason: str) -> None:
    """Files on which decoders disagree are refused with the reason."""
    with pytest.raises(MalformedImageError, match=reason):
        walk(after_start(piece), LIMITS)
