"""JPEG: the first picture with its colour model, ICC profile, resolution and orientation.

Gain maps, which are second pictures, and Content Credentials (C2PA) are removed.
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
    end. Tables after the last scan are removed.
    """
    parts, head = Remains(content), dict(_head(content))
    parts.keep(0, 2)  # Start Of Image
    scan, tables = 0, list[tuple[int, int]]()
    for marker, at, length in segments(content):
        start, end = (at, at + 2) if marker == EOI else (at - 4, at + length)
        if scan:
            parts.keep(scan, start)
            scan = 0
        if marker in TABLES:
            tables.append((start, end))
        elif at in head or marker in FRAMES or marker in {SOS, EOI}:
            for table in tables if marker != EOI else ():
                parts.keep(*table)
            tables.clear()
            if at in head:
                parts.replace(start, head[at])
            else:
                parts.keep(start, end)
            scan = end if marker == SOS else 0
    return parts


def _head(content: Content) -> Iterator[tuple[int, bytes]]:
    """Yield the offset of each application segment before the first scan and what remains of it."""
    has_exif = False
    profile = {at - PART_HEADER_BYTES for at, _ in profile_parts(content)}
    for marker, at, length in segments(content):
        segment = content[at : at + length]
        if marker == SOS:
            return
        if marker == APP1 and not has_exif and is_exif(content, at, length):
            has_exif = True
            if tiff := orientation_only(segment[len(_EXIF) :]):
                exif = _EXIF + tiff
                yield at, struct.pack(">BBH", 0xFF, APP1, 2 + len(exif)) + exif
        elif at in profile:
            yield at, content[at - 4 : at + length]
        elif model := colour_model(marker, segment):
            yield at, model
