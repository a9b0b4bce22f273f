"""WebP: the canvas, the ICC profile, and the frames with their opacity."""

import struct

from imaging.containers import webp
from imaging.containers.content import Content
from imaging.stripping.rewriting import Remains

_CHUNK_HEAD_BYTES = 8
_CANVAS_BYTES, _ANIMATION_BYTES = 10, 6
_FRAME_FLAGS = 0x03  # blending and disposal
_Chunk = tuple[bytes, int, int]


def remains(content: Content) -> Remains:
    """Return what remains of a file that was walked.

    Exif is removed with its orientation, which has no effect in WebP.
    """
    body, end = Remains(content), webp.riff_end(content)
    flags, has_loops, (profile, _) = 0, False, webp.find_profile(content)
    for kind, at, length in webp.read_chunks(content, webp.HEAD_BYTES, end):
        if kind == b"VP8X" and not body.pieces:
            known = webp.HAS_ANIMATION | webp.HAS_ALPHA | (webp.HAS_PROFILE if profile else 0)
            flags = content[at] & known
            size = content[at + 4 : at + _CANVAS_BYTES]
            body.replace(at - 8, b"VP8X" + struct.pack("<II", _CANVAS_BYTES, flags) + size)
        elif at == profile:
            _keep(body, (kind, at, length), end)
        elif kind == b"ANIM" and flags & webp.HAS_ANIMATION and not has_loops:
            has_loops = True
            body.replace(at - 8, b"ANIM" + struct.pack("<I", _ANIMATION_BYTES))
            body.keep(at, at + _ANIMATION_BYTES)
        elif kind == b"ANMF" and flags & webp.HAS_ANIMATION:
            _keep_frame(body, at, length)
        elif kind in {b"ALPH", *webp.BITSTREAMS} and not flags & webp.HAS_ANIMATION:
            _keep_picture(body, at - _CHUNK_HEAD_BYTES, end)
            break
    parts = Remains(content)
    parts.replace(0, b"RIFF" + struct.pack("<I", 4 + body.size) + b"WEBP")
    parts.append(body)
    return parts


def _keep_frame(body: Remains, at: int, length: int) -> None:
    """Keep a frame of an animation (section 2.7.1.1) without foreign chunks in it."""
    inner, content = Remains(body.content), body.content
    _keep_picture(inner, at + webp.FRAME_HEADER_BYTES, at + length)
    placement, flags = content[at : at + 15], content[at + 15] & _FRAME_FLAGS
    size = webp.FRAME_HEADER_BYTES + inner.size
    body.replace(at - 8, b"ANMF" + struct.pack("<I", size) + placement + bytes([flags]))
    body.append(inner)
    body.replace(at + length, bytes(size % 2))


def _keep_picture(parts: Remains, at: int, end: int) -> None:
    """Keep the bitstream between `at` and `end`, and the opacity that a lossy one may have."""
    alpha = list[_Chunk]()
    for chunk in webp.read_chunks(parts.content, at, end):
        if chunk[0] == b"ALPH":
            alpha = [chunk]
        elif chunk[0] in webp.BITSTREAMS:
            for part in [*(alpha if chunk[0] == b"VP8 " else []), chunk]:
                _keep(parts, part, end)
            return


def _keep(parts: Remains, chunk: _Chunk, end: int) -> None:
    """Keep a chunk and zero its padding, which the last chunk before `end` may lack."""
    _, at, length = chunk
    parts.keep(at - _CHUNK_HEAD_BYTES, at + length)
    parts.replace(at + length, bytes(min(length % 2, end - at - length)))
