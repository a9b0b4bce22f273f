"""What remains of JPEG files."""

import pytest

from tests.support import pictures
from tests.support.containers import exif, segment
from tests.support.icc_profiles import ADOBE_RGB
from tests.support.stripping import stripped
from tests.support.taken_apart import jpeg_segments

_JPEG = pictures.jpeg()


def _with(*segments: bytes) -> bytes:
    return _JPEG[:2] + b"".join(segments) + _JPEG[2:]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("order", "<>")
def test_orientation(orientation: int, order: str) -> None:
    """Only the orientation remains of Exif, unless the picture is upright."""
    about = b"Exif\0\0" + exif(orientation, order)
    alone = [segment(0xE1, about)] if orientation > 1 else []
    assert stripped(_with(segment(0xE1, about + b"camera")), "jpeg") == _with(*alone)


def test_short_exif() -> None:
    """Exif without the offset of its next directory does not become longer."""
    short = exif(6)[:-4]
    content = _with(segment(0xE1, b"Exif\0\0" + short))
    assert stripped(content, "jpeg") == content


def test_profile_in_parts() -> None:
    """The parts of a JPEG's profile remain if all exist, and are removed if one is missing."""
    icc = ADOBE_RGB.profile() + bytes(70_000)
    whole = pictures.encoded(pictures.picture(64, 48), "JPEG", icc_profile=icc)
    assert stripped(whole, "jpeg") == whole
    pieces = jpeg_segments(whole)
    parts = [piece for piece in pieces if piece[1] == 0xE2]
    assert len(parts) == 2
    torn = b"".join(piece for piece in pieces if piece != parts[1])
    assert stripped(torn, "jpeg") == b"".join(piece for piece in pieces if piece not in parts)


def test_second_pictures() -> None:
    """Only the first of several pictures in a JPEG, such as a gain map, remains."""
    first, second = pictures.picture(64, 48, 1), pictures.picture(32, 24, 2)
    several = pictures.encoded(first, "MPO", save_all=True, append_images=[second])
    alone = pictures.encoded(first, "JPEG")
    assert several.count(b"\xff\xd8\xff") == 2
    assert stripped(several, "jpeg") == stripped(alone, "jpeg")
    assert b"MPF" not in stripped(several, "jpeg")


def test_tables_behind_the_last_scan() -> None:
    """Tables after the last scan are removed; those between scans remain."""
    progressive = pictures.encoded(pictures.picture(64, 48), "JPEG", progressive=True)
    assert stripped(progressive, "jpeg") == progressive
    table = segment(0xC4, b"\3" + bytes([0, 0, 0, 0, 6, *[0] * 11]) + b"camera")
    late = progressive[:-2] + table + progressive[-2:]
    assert stripped(late, "jpeg") == progressive


def test_segments_behind_a_scan() -> None:
    """Application segments after a scan have no effect and are removed."""
    pieces = jpeg_segments(pictures.encoded(pictures.picture(64, 48), "JPEG", progressive=True))
    late = segment(0xE1, b"Exif\0\0" + exif(6)), segment(0xEE, b"Adobe" + bytes(7))
    content = b"".join([*pieces[:-2], *late, *pieces[-2:]])
    assert stripped(content, "jpeg") == b"".join(pieces)
