"""The first picture of a JPEG file: tables, frame header and scans."""

from imaging.containers.content import Content, MalformedImageError, number
from imaging.containers.exif import read_orientation
from imaging.containers.jpeg import (
    APP1,
    ARITHMETIC,
    FRAMES,
    PROGRESSIVE,
    SOS,
    TABLES,
    is_exif,
    segments,
)
from imaging.stills.still import ColourSpace, Piece, Still

_APP0, _APP2, _APP14 = 0xE0, 0xE2, 0xEE
_ICC_PROFILE = b"ICC_PROFILE\0"
_COEFFICIENT_BYTES = 2  # stored until the last of several scans


def still(content: Content) -> Still:
    """Return the first picture of a file. Decoders stop after its last scan."""
    head, profile, orientation = [b"\xff\xd8"], list[bytes](), 0
    frame, components, size = 0, 0, (0, 0)
    for marker, at, length in segments(content):
        segment = content[at : at + length]
        if marker == SOS:
            pieces: list[Piece] = [b"".join(head), memoryview(content)[at - 4 :]]
            buffered = frame in PROGRESSIVE or segment[:1] != bytes([components])
            return Still(
                pieces,
                size,
                _COEFFICIENT_BYTES * components if buffered else 0,
                orientation=orientation or 1,
                colours=ColourSpace(icc=_whole(profile)),
                at_once=frame in ARITHMETIC,
                is_opaque=True,
                scales=True,
            )
        if marker in TABLES or marker in FRAMES:
            head.append(content[at - 4 : at + length])
            if marker in FRAMES:
                frame, components = marker, segment[5]
                size = number(segment, 3, 2, "big"), number(segment, 1, 2, "big")
        elif marker == APP1 and not orientation and is_exif(content, at, length):
            orientation = read_orientation(segment[6:])
        elif marker == _APP2 and segment.startswith(_ICC_PROFILE):
            profile.append(segment[len(_ICC_PROFILE) :])
        else:
            head += _colour_model(marker, segment)
    raise MalformedImageError("it has no scan")


def _colour_model(marker: int, segment: bytes) -> list[bytes]:
    """Return the segment that selects the colour model, if any, at its standard length."""
    if marker == _APP0 and segment[:5] == b"JFIF\0" and len(segment) >= 14:
        return [b"\xff\xe0\0\x10" + segment[:12] + b"\0\0"]  # without its thumbnail
    if marker == _APP14 and segment[:5] == b"Adobe" and len(segment) >= 12:
        return [b"\xff\xee\0\x0e" + segment[:12]]
    return []


def _whole(parts: list[bytes]) -> bytes:
    """Join the parts of an ICC profile (ICC.1:2010 annex B.4).

    Return an empty profile unless every announced part exists exactly once.
    """
    parts = sorted(parts, key=lambda part: part[:1])
    numbers = [(number, len(parts)) for number in range(1, len(parts) + 1)]
    if [tuple(part[:2]) for part in parts] != numbers:
        return b""
    return b"".join(part[2:] for part in parts)
