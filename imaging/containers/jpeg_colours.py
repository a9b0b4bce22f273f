"""The application segments of a JPEG file that affect its colours."""

from imaging.containers.content import Content
from imaging.containers.icc import is_profile
from imaging.containers.jpeg import SOS, segments

_APP0, _APP2, _APP14 = 0xE0, 0xE2, 0xEE
_JFIF_BYTES, _ADOBE_BYTES = 14, 12
_ICC_PROFILE = b"ICC_PROFILE\0"
PART_HEADER_BYTES = len(_ICC_PROFILE) + 2


def colour_model(marker: int, segment: bytes) -> bytes:
    """Return a segment that selects the colour model at its standard length; else no bytes.

    A JFIF segment (ITU T.871) loses its thumbnail and keeps the resolution.
    """
    if marker == _APP0 and segment[:5] == b"JFIF\0" and len(segment) >= _JFIF_BYTES:
        return b"\xff\xe0\0\x10" + segment[:12] + b"\0\0"
    if marker == _APP14 and segment[:5] == b"Adobe" and len(segment) >= _ADOBE_BYTES:
        return b"\xff\xee\0\x0e" + segment[:_ADOBE_BYTES]
    return b""


def profile_parts(content: Content) -> list[tuple[int, int]]:
    """Return the offset and length of each part of the ICC profile (ICC.1:2010 annex B.4).

    Empty, as for decoders, unless every announced part is before the first scan exactly once, and
    the first begins as a profile does.
    """
    found = []
    for marker, at, length in segments(content):
        if marker == SOS:
            break
        if marker == _APP2 and content[at : at + len(_ICC_PROFILE)] == _ICC_PROFILE:
            start, end = at + PART_HEADER_BYTES, at + length
            found.append((tuple(content[start - 2 : min(start, end)]), (start, end - start)))
    found.sort()
    numbers, places = [number for number, _ in found], [place for _, place in found]
    if not found or numbers != [(number, len(found)) for number in range(1, len(found) + 1)]:
        return []
    at, length = places[0]
    return places if is_profile(content[at : at + length]) else []
