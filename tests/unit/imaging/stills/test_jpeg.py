"""The first picture of a JPEG, with only what its pixels need."""

import io

import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from imaging.stills.jpeg import still
from tests.support import pictures
from tests.support.containers import exif, segment
from tests.support.icc_profiles import ADOBE_RGB

PLAIN = pictures.jpeg(24, 16)
ICC = ADOBE_RGB.profile()


def after_start(*pieces: bytes) -> bytes:
    """Return a file with these pieces after its Start Of Image."""
    return PLAIN[:2] + b"".join(pieces) + PLAIN[2:]


def profile_part(number: int, total: int, content: bytes) -> bytes:
    """Return an APP2 segment with a part of a profile."""
    return segment(0xE2, b"ICC_PROFILE\0" + bytes([number, total]) + content)


def test_pixels() -> None:
    """The minimal file has the same pixels, and no text."""
    whole = after_start(segment(0xFE, b"a comment"), segment(0xED, b"Photoshop 3.0\0"))
    with still(whole).open() as file:
        content = file.read()
    assert b"comment" not in content
    assert b"Photoshop" not in content
    one, other = (Image.open(io.BytesIO(file)).tobytes() for file in (whole, content))
    assert one == other


@pytest.mark.parametrize(
    ("parts", "found"),
    [
        ([profile_part(1, 1, ICC)], ICC),
        ([profile_part(2, 2, ICC[300:]), profile_part(1, 2, ICC[:300])], ICC),
        ([profile_part(1, 2, ICC)], b""),
        ([profile_part(1, 2, ICC[:300]), profile_part(1, 2, ICC[300:])], b""),
        ([], b""),
    ],
    ids=["one part", "out of order", "a part missing", "a part twice", "none"],
)
def test_profile(parts: list[bytes], found: bytes) -> None:
    """A profile counts if each of its parts exists once, in any order (ICC.1 annex B.4)."""
    assert still(after_start(*parts)).colours.icc == found


def test_orientation() -> None:
    """The orientation is that of Exif, and 1 without."""
    turned = after_start(segment(0xE1, b"Exif\0\0" + exif(6)))
    assert (still(turned).orientation, still(PLAIN).orientation) == (6, 1)


def test_memory() -> None:
    """Only a picture in several scans needs memory per pixel besides the decoded pixels."""
    progressive = pictures.encoded(pictures.picture(24, 16), "JPEG", progressive=True)
    assert still(PLAIN).pixel_bytes == 0 < still(progressive).pixel_bytes


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_coarse(mode: str, subsampling: str) -> None:
    """At an eighth of its size, a progressive picture looks the same without most of its scans."""
    bands = [Image.effect_noise((200, 120), 60) for _ in range(Image.getmodebands(mode))]
    original = Image.merge(mode, bands)
    options = {"progressive": True, "subsampling": subsampling} if mode == "RGB" else {}
    found = still(pictures.encoded(original, "JPEG", **{"progressive": True} | options))
    eighths = []
    for coarse in (False, True):
        with found.open(coarse=coarse) as file, JpegImageFile(file) as image:
            image.draft(None, (25, 15))
            eighths.append(image.tobytes())
    assert eighths[0] == eighths[1]
    assert 2 * sum(map(len, found.coarse)) < found.size_bytes


def test_not_coarse() -> None:
    """A picture of one scan needs all of it."""
    assert not still(PLAIN).coarse
