"""The application segments of a JPEG file that affect its colours."""

from imaging.containers.content import Content
from imaging.containers.icc import is_profile
from imaging.containers.jpeg import SOS, segments

_APP0, _APP2, _APP14 = 0xE0, 0xE2, 0xEE
_JFIF_BYTES, _ADOBE_BYTES = 14, 12
_ICC_PROFILE = b"ICC_PROFILE\0"
PART_HEADER_BYTES = len(_ICC_PROFILE) + 2


def colour_model(marker: int, segment: bytes) -> bytes:
    """Return the segment cut to its standard length if it selects the colour model, else no bytes.

    A JFIF segment (ITU T.871) keeps its resolution and loses its thumbnail.
    """
    if marker == _APP0 and segment[:5] == b"JFIF\0" and len(segment) >= _JFIF_BYTES:
        return b"\xff\xe0\0\x10" + segment[:12] + b"\0\0"
    if marker == _APP14 and segment[:5] == b"Adobe" and len(segment) >= _ADOBE_BYTES:
        return b"\xff\xee\0\x0e" + segment[:_ADOBE_BYTES]
    return b""


def profile_parts(content: Content) -> list[tuple[int, int]]:
    """Return the offset and length of each part of the ICC profile (ICC.1:2010 annex B.4).

    Like decoders, ignore a profile unless each of its parts precedes the first scan exactly once,
    and the first part begins like a profile.
    """
    parts = []
    for marker, at, length in segments(content):
        if marker == SOS:
            break
        if marker == _APP2 and content[at : at + len(_ICC_PROFILE)] == _ICC_PROFILE:
            start, end = at + PART_HEADER_BYTES, at + length
            parts.append((tuple(content[start - 2 : min(start, end)]), (start, end - start)))
    parts.sort()
    numbers = [number for number, _ in parts]
    if not parts or numbers != [(number, len(parts)) for number in range(1, len(parts) + 1)]:
        return []
    at, length = parts[0][1]
    return [place for _, place in parts] if is_profile(content[at : at + length]) else []
