"""Takes JPEG, PNG, GIF and WebP files apart into the pieces that their formats have."""

import struct

from imaging.containers.gif import blocks


def jpeg_segments(content: bytes) -> tuple[bytes, ...]:
    """Return the segments of a JPEG; a scan and its data are one segment."""
    pieces, at = [content[:2]], 2
    while content[at : at + 2] != b"\xff\xd9":
        end = at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        if content[at + 1] == 0xDA:
            while content[end] != 0xFF or content[end + 1] in {0, *range(0xD0, 0xD8)}:
                end += 1
        pieces.append(content[at:end])
        at = end
    return (*pieces, b"\xff\xd9")


def png_chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    """Return the kind and content of each chunk of a PNG file."""
    found, at = [], 8
    while at < len(content):
        (length,) = struct.unpack_from(">I", content, at)
        found.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def gif_blocks(content: bytes) -> list[bytes]:
    """Return the head of a GIF file, its blocks and its trailer."""
    places = [(at - 1, end) for _, at, end in blocks(content)]
    pieces = [content[start:end] for start, end in places]
    return [content[: places[0][0]], *pieces, content[places[-1][1] :]]


def webp_chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    """Return the kind and content of each of the chunks that follow the head of a WebP file."""
    found, at = [], 0
    while at < len(content):
        (length,) = struct.unpack_from("<I", content, at + 4)
        found.append((content[at : at + 4], content[at + 8 : at + 8 + length]))
        at += 8 + length + length % 2
    return found
