"""PNG and APNG: the frames with palette and opacity, colours, resolution and orientation."""

import bisect
import struct

from imaging.containers.content import Content
from imaging.containers.exif import orientation_only
from imaging.containers.png import SIGNATURE, PngOutline, announced_frames, checksum, chunks
from imaging.containers.png_ancillary import chunk, counting_chunks, read_profile
from imaging.containers.png_pixels import inflate
from imaging.stripping.rewriting import Remains

_LENGTHS = {
    b"acTL": 8, b"cHRM": 32, b"cICP": 4, b"cLLI": 8, b"gAMA": 4, b"mDCV": 24, b"pHYs": 9, b"sRGB": 1
}  # fmt: skip
_GREY, _RGB, _PALETTE, _GREY_ALPHA, _RGB_ALPHA = 0, 2, 3, 4, 6  # colour types
_LENGTHS_BY_TYPE = {
    _GREY: {b"bKGD": 2, b"sBIT": 1},
    _RGB: {b"bKGD": 6, b"sBIT": 3},
    _PALETTE: {b"bKGD": 1, b"sBIT": 3},
    _GREY_ALPHA: {b"bKGD": 2, b"sBIT": 2},
    _RGB_ALPHA: {b"bKGD": 6, b"sBIT": 4},
}
_COLOUR_KEY_BYTES = {_GREY: 2, _RGB: 6}
_MOST_COLOURS = 256
_COUNTING = {*_LENGTHS, b"bKGD", b"eXIf", b"iCCP", b"PLTE", b"sBIT", b"tRNS"}
_FRAME_CONTROL_BYTES = 26
# A name is mandatory and free text. This is that of most writers.
_PROFILE_NAME = b"ICC Profile"


def remains(content: Content, outline: PngOutline) -> Remains:
    """Return what remains of a file that was walked.

    Raises MalformedImageError if its pixels are inflated here for the first time and are broken.
    """
    surplus = inflate(content, outline.header) if outline.surplus is None else outline.surplus
    found, announced, frames = Remains(content), announced_frames(content), 0
    found.keep(0, len(SIGNATURE))
    kinds = _COUNTING if announced else _COUNTING - {b"acTL"}
    counting = {at for at, _ in counting_chunks(content, kinds).values()}
    for kind, at, length in chunks(content):
        frames += kind == b"fcTL"
        is_shown = 0 < frames <= announced
        if kind == b"IHDR":
            found.keep(at - 8, at + length + 4)
        elif kind == b"IEND":
            found.replace(at - 8, chunk(kind, b""))
        elif kind == b"IDAT" or (kind == b"fdAT" and is_shown):
            _keep_data(found, kind, at, length, surplus)
        elif kind == b"fcTL" and is_shown:
            found.replace(at - 8, chunk(kind, content[at : at + _FRAME_CONTROL_BYTES]))
        elif at in counting and (standard := _standard(content, kind, at, length)):
            found.replace(at - 8, chunk(kind, standard))
    return found


def _keep_data(
    found: Remains, kind: bytes, at: int, length: int, surplus: list[tuple[int, int]]
) -> None:
    """Keep a chunk of pixels without what follows them in it."""
    content, end = found.content, at + length
    last = bisect.bisect_left(surplus, (end,)) - 1
    if last < 0 or end > surplus[last][1]:
        found.keep(at - 8, end + 4)
        return
    # An empty chunk remains of one without pixels, so that the sequence numbers stay complete.
    end = min(end, max(surplus[last][0], at + 4 if kind == b"fdAT" else at))
    found.replace(at - 8, struct.pack(">I", end - at))
    found.keep(at - 4, end)
    found.replace(end, struct.pack(">I", checksum(content, kind, at, end - at)))


def _standard(content: Content, kind: bytes, at: int, length: int) -> bytes:
    """Return the content of a chunk as the standard has it; no bytes if it has no effect."""
    depth, colour_type = content[24], content[25]
    lengths = _LENGTHS | _LENGTHS_BY_TYPE[colour_type]
    if kind in lengths:
        return content[at : at + length] if length == lengths[kind] else b""
    if kind == b"eXIf":
        return orientation_only(content[at : at + length])
    if kind == b"iCCP":
        return _standard_profile(content[at : at + length])
    most = 2**depth if colour_type == _PALETTE else _MOST_COLOURS
    if kind == b"PLTE":
        return content[at : at + 3 * min(length // 3, most)]
    if colour_type == _PALETTE:
        return content[at : at + min(length, most)]
    key = _COLOUR_KEY_BYTES.get(colour_type, 0)
    return content[at : at + key] if length >= key else b""


def _standard_profile(iccp: bytes) -> bytes:
    """Return an iCCP chunk with another name, and without what follows its compressed profile."""
    _, compressed = read_profile(iccp)
    if not compressed:
        return b""
    name = _PROFILE_NAME[: iccp.index(b"\0")].rstrip()  # no longer than the old one
    return name + b"\0\0" + compressed
