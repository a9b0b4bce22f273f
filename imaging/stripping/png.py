"""PNG and APNG: the frames with palette and opacity, colours, resolution and orientation."""

import bisect
import struct

from imaging.containers import png
from imaging.containers.content import Content
from imaging.containers.exif import orientation_only
from imaging.containers.png_ancillary import chunk, counting_chunks, read_profile
from imaging.containers.png_pixels import inflate
from imaging.stripping.rewriting import Remains

_LENGTHS = {
    b"acTL": 8, b"cHRM": 32, b"cICP": 4, b"cLLI": 8, b"gAMA": 4, b"mDCV": 24, b"pHYs": 9, b"sRGB": 1
}  # fmt: skip
_LENGTHS_BY_TYPE = {
    png.GREY: {b"bKGD": 2, b"sBIT": 1},
    png.RGB: {b"bKGD": 6, b"sBIT": 3},
    png.PALETTE: {b"bKGD": 1, b"sBIT": 3},
    png.GREY_ALPHA: {b"bKGD": 2, b"sBIT": 2},
    png.RGB_ALPHA: {b"bKGD": 6, b"sBIT": 4},
}
_COLOUR_KEY_BYTES = {png.GREY: 2, png.RGB: 6}
_COUNTING = {*_LENGTHS, b"bKGD", b"eXIf", b"iCCP", b"PLTE", b"sBIT", b"tRNS"}
# The name is mandatory and free text. Most writers use this one.
_PROFILE_NAME = b"ICC Profile"


def remains(content: Content, outline: png.PngOutline) -> Remains:
    """Return what remains of a file that was walked.

    Raises MalformedImageError if its pixels are inflated here for the first time and are broken.
    """
    surplus = inflate(content) if outline.surplus is None else outline.surplus
    parts, announced, frames = Remains(content), png.announced_frames(content), 0
    parts.keep(0, len(png.SIGNATURE))
    kinds = _COUNTING if announced else _COUNTING - {b"acTL"}
    counting = {at for at, _ in counting_chunks(content, kinds).values()}
    for kind, at, length in png.chunks(content):
        frames += kind == b"fcTL"
        is_shown = 0 < frames <= announced
        if kind == b"IHDR":
            parts.keep(at - 8, at + length + 4)
        elif kind == b"IEND":
            parts.replace(at - 8, chunk(kind, b""))
        elif kind == b"IDAT" or (kind == b"fdAT" and is_shown):
            _keep_data(parts, kind, at, length, surplus)
        elif kind == b"fcTL" and is_shown:
            parts.replace(at - 8, chunk(kind, content[at : at + png.FRAME_CONTROL_BYTES]))
        elif at in counting and (standard := _standard(content, kind, at, length)):
            parts.replace(at - 8, chunk(kind, standard))
    return parts


def _keep_data(
    parts: Remains, kind: bytes, at: int, length: int, surplus: list[tuple[int, int]]
) -> None:
    """Keep a chunk of pixels without the bytes that follow its pixels."""
    content, end = parts.content, at + length
    last = bisect.bisect_left(surplus, (end,)) - 1
    if last < 0 or end > surplus[last][1]:
        parts.keep(at - 8, end + 4)
        return
    # A chunk without pixels stays as an empty one, so that the sequence numbers stay complete.
    end = min(end, max(surplus[last][0], at + 4 if kind == b"fdAT" else at))
    parts.replace(at - 8, struct.pack(">I", end - at))
    parts.keep(at - 4, end)
    parts.replace(end, struct.pack(">I", png.checksum(content, kind, at, end - at)))


def _standard(content: Content, kind: bytes, at: int, length: int) -> bytes:
    """Return the content of a chunk cut to its standard length; no bytes if it has no effect."""
    depth, colour_type = content[24], content[25]
    lengths = _LENGTHS | _LENGTHS_BY_TYPE[colour_type]
    if kind in lengths:
        return content[at : at + length] if length == lengths[kind] else b""
    if kind == b"eXIf":
        return orientation_only(content[at : at + length])
    if kind == b"iCCP":
        return _standard_profile(content[at : at + length])
    max_colours = 2**depth if colour_type == png.PALETTE else png.MAX_COLOURS
    if kind == b"PLTE":
        return content[at : at + 3 * min(length // 3, max_colours)]
    if colour_type == png.PALETTE:
        return content[at : at + min(length, max_colours)]
    key = _COLOUR_KEY_BYTES.get(colour_type, 0)
    return content[at : at + key] if length >= key else b""


def _standard_profile(iccp: bytes) -> bytes:
    """Replace the name of an iCCP chunk, and drop what follows its compressed profile."""
    _, compressed = read_profile(iccp)
    if not compressed:
        return b""
    name = _PROFILE_NAME[: iccp.index(b"\0")].rstrip()  # no longer than the old one
    return name + b"\0\0" + compressed
