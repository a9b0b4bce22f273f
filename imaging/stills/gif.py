"""The first frame of a GIF file, with its colours."""

import struct

from imaging.containers.content import Content, MalformedImageError, take
from imaging.containers.gif import (
    EXTENSION,
    IMAGE,
    blocks,
    color_table_bytes,
    read_screen,
    screen_with,
)
from imaging.stills.still import Piece, Still

_PIXEL_BYTES = 9  # its index, on its canvas, and averaged
_GRAPHIC_CONTROL, _HAS_TRANSPARENCY = b"\xf9\4", 0x01


def still(content: Content) -> Still:
    """Return the first frame of a file. As in browsers, the screen around it is transparent."""
    flags = take(content, 10, 1)
    colours = content[13 : 13 + color_table_bytes(flags[0])]
    control = b""
    for introducer, at, end in blocks(content):
        if introducer == EXTENSION and content[at : at + 2] == _GRAPHIC_CONTROL:
            control = (
                content[at - 1 : at + 6] + b"\0" if content[at + 2] & _HAS_TRANSPARENCY else b""
            )
        elif introducer == IMAGE:
            left, top, width, height = struct.unpack("<4H", take(content, at, 8))
            canvas = screen_with(content, at, read_screen(content))
            head = b"GIF89a" + struct.pack("<HH", width, height) + flags + b"\0\0" + colours
            image = memoryview(content)[at + 4 : end]
            pieces: list[Piece] = [head + control + b",\0\0\0\0", image, b";"]
            return Still(pieces, canvas, _PIXEL_BYTES, place=(left, top))
    raise MalformedImageError("it has no frame")
