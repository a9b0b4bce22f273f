"""The first picture of a JPEG file: tables, frame header and scans."""

from collections.abc import Sequence
from itertools import pairwise

from imaging.containers import jpeg
from imaging.containers.content import Content, MalformedImageError, number
from imaging.containers.exif import read_orientation
from imaging.containers.jpeg_colours import colour_model, profile_parts
from imaging.stills.still import ColourSpace, Piece, Still

_COEFFICIENT_BYTES = 2  # stored until the last of several scans


def still(content: Content) -> Still:
    """Return the first picture of a file. Decoders stop after its last scan."""
    head, orientation = [b"\xff\xd8"], 0
    frame, components, size = 0, b"", (0, 0)
    for marker, at, length in jpeg.segments(content):
        segment = content[at : at + length]
        if marker == jpeg.SOS:
            pieces: list[Piece] = [b"".join(head), memoryview(content)[at - 4 :]]
            profile = profile_parts(content)
            count = len(components) // 3
            buffered = frame in jpeg.PROGRESSIVE or segment[:1] != bytes([count])
            return Still(
                pieces,
                size,
                _COEFFICIENT_BYTES * count if buffered else 0,
                orientation=orientation or 1,
                colours=ColourSpace(icc=b"".join(content[i : i + n] for i, n in profile)),
                at_once=frame in jpeg.ARITHMETIC,
                is_opaque=True,
                scales=True,
                coarse=_coarse(content, head, components) if frame in jpeg.PROGRESSIVE else (),
            )
        if marker in jpeg.TABLES or marker in jpeg.FRAMES:
            head.append(content[at - 4 : at + length])
            if marker in jpeg.FRAMES:
                frame, components = marker, segment[6:]
                size = number(segment, 3, 2, "big"), number(segment, 1, 2, "big")
        elif marker == jpeg.APP1 and not orientation and jpeg.is_exif(content, at, length):
            orientation = read_orientation(segment[6:])
        else:
            head.append(colour_model(marker, segment))
    raise MalformedImageError("it has no scan")


def _coarse(content: Content, head: Sequence[bytes], components: bytes) -> list[Piece]:
    """Return the pieces of a progressive picture that its decoder needs for an eighth of its size.

    Most pixels are then the mean of a block, which needs no scans of detail. The first such scan
    of each component stays: without one, libjpeg invents detail (jdcoefct.c, change_dc).
    """
    pieces: list[Piece] = [b"".join(head)]
    averaged, begun, view = _averaged(components), set[int](), memoryview(content)
    for (marker, at, length), (following, end, _) in pairwise(jpeg.segments(content)):
        if marker == jpeg.SOS:
            name, is_detail = content[at + 1], content[at + length - 3] > 0
            if is_detail and name in averaged & begun:
                continue
            begun |= {name} if is_detail else set()
        if marker == jpeg.SOS or len(pieces) > 1:
            pieces.append(view[at - 4 : end if following == jpeg.EOI else end - 4])
    return [*pieces, b"\xff\xd9"]


def _averaged(components: bytes) -> set[int]:
    """Return the names of components whose blocks become single pixels at an eighth of the size.

    The others have half as many samples in both directions: libjpeg decodes two by two pixels.
    """
    factors = [divmod(both, 16) for both in components[1::3]]
    across, down = map(max, zip(*factors, strict=True))
    named = zip(components[::3], factors, strict=True)
    return {name for name, (wide, high) in named if wide == across or high == down}
