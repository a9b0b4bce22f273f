"""JPEG: the first picture with its colour model, ICC profile, resolution and orientation.

Gain maps, which are second pictures, and Content Credentials (C2PA) are not among these.
"""

import struct
from collections.abc import Iterator

from imaging.containers.content import Content
from imaging.containers.exif import orientation_only
from imaging.containers.jpeg import APP1, EOI, FRAMES, SOS, TABLES, is_exif, segments
from imaging.containers.jpeg_colours import PART_HEADER_BYTES, colour_model, profile_parts
from imaging.stripping.rewriting import Remains

_EXIF = b"Exif\0\0"


def remains(content: Content) -> Remains:
    """Return what remains of a file that was walked.

    The data of a scan extends to the next segment, because only a decoder knows where its codes
    end. Tables behind the last scan go.
    """
    found, head = Remains(content), dict(_head(content))
    found.keep(0, 2)  # Start Of Image
    scan, tables = 0, list[tuple[int, int]]()
    for marker, at, length in segments(content):
        start, end = (at, at + 2) if marker == EOI else (at - 4, at + length)
        if scan:
            found.keep(scan, start)
            scan = 0
        if marker in TABLES:
            tables.append((start, end))
        elif at in head or marker in FRAMES or marker in {SOS, EOI}:
            for table in tables if marker != EOI else ():
                found.keep(*table)
            tables.clear()
            if at in head:
                found.replace(start, head[at])
            else:
                found.keep(start, end)
            scan = end if marker == SOS else 0
    return found


def _head(content: Content) -> Iterator[tuple[int, bytes]]:
    """Yield what remains of the application segments before the first scan, and their offsets."""
    has_exif = False
    profile = {at - PART_HEADER_BYTES for at, _ in profile_parts(content)}
    for marker, at, length in segments(content):
        segment = content[at : at + length]
        if marker == SOS:
            return
        if marker == APP1 and not has_exif and is_exif(content, at, length):
            has_exif = True
            if tiff := orientation_only(segment[len(_EXIF) :]):
                yield at, _segment(APP1, _EXIF + tiff)
        elif at in profile:
            yield at, content[at - 4 : at + length]
        elif model := colour_model(marker, segment):
            yield at, model


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(content)) + content
