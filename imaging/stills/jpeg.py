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
from imaging.containers.jpeg_colours import colour_model, profile_parts
from imaging.stills.still import ColourSpace, Piece, Still

_COEFFICIENT_BYTES = 2  # stored until the last of several scans


def still(content: Content) -> Still:
    """Return the first picture of a file. Decoders stop after its last scan."""
    head, orientation = [b"\xff\xd8"], 0
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
                colours=ColourSpace(icc=_profile(content)),
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
        else:
            head.append(colour_model(marker, segment))
    raise MalformedImageError("it has no scan")


def _profile(content: Content) -> bytes:
    return b"".join(content[at : at + length] for at, length in profile_parts(content))
