"""The first frame of a GIF file, with its colours."""

import struct

from imaging.containers import gif
from imaging.containers.content import Content, MalformedImageError, take
from imaging.stills.still import Piece, Still

_PIXEL_BYTES = 9  # one for its index, the rest for its copies on the canvas and after averaging
_HAS_TRANSPARENCY = 0x01


def still(content: Content) -> Still:
    """Return the first frame of a file. As in browsers, the screen around it is transparent."""
    flags = take(content, 10, 1)
    colours = content[gif.HEAD_BYTES : gif.HEAD_BYTES + gif.color_table_bytes(flags[0])]
    control = b""
    for introducer, at, end in gif.blocks(content):
        if introducer == gif.EXTENSION and content[at : at + 2] == gif.GRAPHIC_CONTROL:
            is_transparent = content[at + 2] & _HAS_TRANSPARENCY
            control = content[at - 1 : at + 6] + b"\0" if is_transparent else b""
        elif introducer == gif.IMAGE:
            left, top, width, height = struct.unpack("<4H", take(content, at, 8))
            canvas = gif.screen_with(content, at, gif.read_screen(content))
            head = b"GIF89a" + struct.pack("<HH", width, height) + flags + b"\0\0" + colours
            image = memoryview(content)[at + 4 : end]
            pieces: list[Piece] = [head + control + b",\0\0\0\0", image, gif.TRAILER]
            return Still(pieces, canvas, _PIXEL_BYTES, place=(left, top))
    raise MalformedImageError("it has no frame")
