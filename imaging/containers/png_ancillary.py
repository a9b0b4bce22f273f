"""The chunks of a PNG file besides its pixels: which of them count, and how to write one."""

import struct
import zlib
from collections.abc import Set as AbstractSet

from imaging.containers.content import Content
from imaging.containers.icc import is_profile
from imaging.containers.png import chunks, is_intact, read_header

_MAX_NAME_BYTES = 79
_MAX_PROFILE_BYTES = 4 * 1024 * 1024


def counting_chunks(content: Content, kinds: AbstractSet[bytes]) -> dict[bytes, tuple[int, int]]:
    """Return the offset and length of the content of the chunks of these kinds that count.

    They must precede the pixels. The transparency of a palette must follow the palette, and cICP
    must precede it.
    """
    palette_first = read_header(content).needs_palette
    places: dict[bytes, tuple[int, int]] = {}
    has_palette = False
    for kind, at, length in chunks(content):
        if kind == b"IDAT":
            break
        misplaced = {b"cICP": has_palette, b"tRNS": palette_first and not has_palette}
        has_palette |= kind == b"PLTE"
        if kind not in kinds or misplaced.get(kind) or not is_intact(content, kind, at, length):
            continue
        places.setdefault(kind, (at, length))  # the first one counts
    return places


def chunk(kind: bytes, content: bytes) -> bytes:
    """Return a chunk with its length and CRC."""
    crc = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)


def read_profile(iccp: bytes) -> tuple[bytes, bytes]:
    """Return the inflated profile of an iCCP chunk, and its compressed bytes alone.

    Both are empty if the chunk has no valid name, or if the profile is truncated, too long,
    compressed by an unknown method, or not a profile.
    """
    name, _, compressed = iccp.partition(b"\0")
    if not 1 <= len(name) <= _MAX_NAME_BYTES or compressed[:1] != b"\0":  # the only method
        return b"", b""
    inflater = zlib.decompressobj()
    try:
        profile = inflater.decompress(compressed[1:], _MAX_PROFILE_BYTES)
    except zlib.error:
        return b"", b""
    if not (inflater.eof and is_profile(profile)):
        return b"", b""
    return profile, compressed[1 : len(compressed) - len(inflater.unused_data)]
