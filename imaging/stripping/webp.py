"""WebP: the canvas, the ICC profile, and the frames with their opacity."""

import struct

from imaging.containers.content import Content, number
from imaging.containers.webp import (
    BITSTREAMS,
    FRAME_HEADER_BYTES,
    HAS_ALPHA,
    HAS_ANIMATION,
    HAS_PROFILE,
    WebpOutline,
    find_profile,
    read_chunks,
)
from imaging.stripping.rewriting import Remains

_HEAD_BYTES, _CHUNK_HEAD_BYTES = 12, 8
_CANVAS_BYTES, _ANIMATION_BYTES = 10, 6
_FRAME_FLAGS = 0x03  # blending and disposal
_Chunk = tuple[bytes, int, int]


def remains(content: Content) -> Remains:
    """Return what remains of a file that was walked.

    Exif goes with its orientation, which has no effect in WebP.
    """
    end = 8 + number(content, 4, 4, "little")
    body, walked = Remains(content), WebpOutline()
    flags, has_loops, (profile, _) = 0, False, find_profile(content, end)
    for kind, at, length in read_chunks(content, _HEAD_BYTES, end, walked):
        if kind == b"VP8X" and not body.pieces:
            flags = content[at] & (HAS_ANIMATION | HAS_ALPHA | (HAS_PROFILE if profile else 0))
            size = content[at + 4 : at + _CANVAS_BYTES]
            body.replace(at - 8, b"VP8X" + struct.pack("<II", _CANVAS_BYTES, flags) + size)
        elif at == profile:
            _keep(body, (kind, at, length), end)
        elif kind == b"ANIM" and flags & HAS_ANIMATION and not has_loops:
            has_loops = True
            body.replace(at - 8, b"ANIM" + struct.pack("<I", _ANIMATION_BYTES))
            body.keep(at, at + _ANIMATION_BYTES)
        elif kind == b"ANMF" and flags & HAS_ANIMATION:
            _keep_frame(body, at, length, walked)
        elif kind in {b"ALPH", *BITSTREAMS} and not flags & HAS_ANIMATION:
            _keep_picture(body, at - _CHUNK_HEAD_BYTES, end, walked)
            break
    found = Remains(content)
    found.replace(0, b"RIFF" + struct.pack("<I", 4 + body.size) + b"WEBP")
    found.append(body)
    return found


def _keep_frame(body: Remains, at: int, length: int, walked: WebpOutline) -> None:
    """Keep a frame of an animation (section 2.7.1.1) without chunks that are not of the picture."""
    inner, content = Remains(body.content), body.content
    _keep_picture(inner, at + FRAME_HEADER_BYTES, at + length, walked)
    placement, flags = content[at : at + 15], content[at + 15] & _FRAME_FLAGS
    size = FRAME_HEADER_BYTES + inner.size
    body.replace(at - 8, b"ANMF" + struct.pack("<I", size) + placement + bytes([flags]))
    body.append(inner)
    body.replace(at + length, bytes(size % 2))


def _keep_picture(found: Remains, at: int, end: int, walked: WebpOutline) -> None:
    """Keep the bitstream between `at` and `end`, and the opacity that a lossy one may have."""
    alpha = list[_Chunk]()
    for chunk in read_chunks(found.content, at, end, walked):
        if chunk[0] == b"ALPH":
            alpha = [chunk]
        elif chunk[0] in BITSTREAMS:
            for part in [*(alpha if chunk[0] == b"VP8 " else []), chunk]:
                _keep(found, part, end)
            return


def _keep(found: Remains, chunk: _Chunk, end: int) -> None:
    """Keep a chunk with its padding, which is zero; the last one before `end` may have none."""
    _, at, length = chunk
    found.keep(at - _CHUNK_HEAD_BYTES, at + length)
    found.replace(at + length, bytes(min(length % 2, end - at - length)))
