"""The first picture of a PNG or APNG file: header, palette, transparency and pixels."""

import struct

from imaging.containers.content import Content, MalformedImageError, number
from imaging.containers.exif import read_orientation
from imaging.containers.png import (
    SIGNATURE,
    announced_frames,
    chunks,
    frame_size,
    read_header,
)
from imaging.containers.png_ancillary import chunk, counting_chunks, read_profile
from imaging.stills.still import ColourSpace, Piece, Still

_KEPT = {b"eXIf", b"PLTE", b"tRNS", b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM"}
_GREY, _RGB, _PALETTE = 0, 2, 3  # colour types
_OPAQUE = {_GREY, _RGB, _PALETTE}
# Decoded and averaged, or an index and its colour; with transparency, or of 16 bits, in between.
_PLAIN_PIXEL_BYTES, _PIXEL_BYTES = 5, 12


def still(content: Content) -> Still:
    """Return the first picture of a file.

    For an animation it is the first frame: browsers never display a default image that is not part
    of the animation.
    """
    size, place, pixels = _pixels(content)
    about = _before_pixels(content)
    depth, colour_type = content[24], content[25]
    palette, transparency = about.get(b"PLTE", b""), about.get(b"tRNS", b"")
    header = struct.pack(">II", *size) + content[24:29]
    head = SIGNATURE + chunk(b"IHDR", header)
    if colour_type == _PALETTE:
        head += _palette(palette, transparency, 2**depth)
    whole = read_header(content)
    canvas = whole.width, whole.height
    is_plain = depth <= 8 and colour_type in _OPAQUE and not transparency and size == canvas
    return Still(
        [head, *pixels, chunk(b"IEND", b"")],
        canvas,
        _PLAIN_PIXEL_BYTES if is_plain else _PIXEL_BYTES,
        is_opaque=is_plain,
        place=place,
        orientation=read_orientation(about.get(b"eXIf", b"")),
        colour_key=_colour_key(colour_type, depth, transparency),
        colours=_colours(about),
    )


def _pixels(content: Content) -> tuple[tuple[int, int], tuple[int, int], list[Piece]]:
    """Return the size, the place and the IDAT chunks of the first picture."""
    header = read_header(content)
    animated = bool(announced_frames(content))
    size, place, begun = (header.width, header.height), (0, 0), not animated
    pixels: list[Piece] = []
    for kind, at, length in chunks(content):
        if kind == b"fcTL" and animated:
            if pixels:
                break
            size, begun = frame_size(content, at, header), True
            place = number(content, at + 12, 4, "big"), number(content, at + 16, 4, "big")
        elif kind == b"IDAT" and begun:
            pixels.append(memoryview(content)[at - 8 : at + length + 4])
        elif kind == b"fdAT" and begun:
            pixels += _frame_chunk(memoryview(content)[at + 4 : at + length])
    if not pixels:
        raise MalformedImageError("it has no pixels")
    return size, place, pixels


def _before_pixels(content: Content) -> dict[bytes, bytes]:
    """Return the content of the chunks that affect pixels, orientation and colours."""
    places = counting_chunks(content, _KEPT)
    return {kind: content[at : at + length] for kind, (at, length) in places.items()}


def _palette(palette: bytes, opacity: bytes, entries: int) -> bytes:
    """Return a palette of as many entries: as in browsers, the last one counts for the missing."""
    colours = len(palette) // 3
    missing = max(0, entries - colours)
    content = palette[: 3 * colours] + palette[3 * colours - 3 : 3 * colours] * missing
    if not opacity:
        return chunk(b"PLTE", content)
    last = opacity[colours - 1 : colours] or b"\xff"  # opaque
    return chunk(b"PLTE", content) + chunk(
        b"tRNS", opacity[:colours].ljust(colours, b"\xff") + last * missing
    )


def _frame_chunk(content: memoryview) -> list[Piece]:
    """Return the pixels of an fdAT chunk as an IDAT chunk. Decoders do not check its CRC."""
    return [struct.pack(">I", len(content)) + b"IDAT", content, bytes(4)]


def _colour_key(colour_type: int, depth: int, transparency: bytes) -> tuple[int, ...] | None:
    """Return the samples of the transparent colour as decoders do, with at least 8 bits."""
    samples = {_GREY: 1, _RGB: 3}.get(colour_type, 0)
    if not samples or len(transparency) < 2 * samples:
        return None
    values = struct.unpack_from(f">{samples}H", transparency)
    largest = (1 << depth) - 1  # higher bits of the values do not count
    return tuple((value & largest) * max(1, 255 // largest) for value in values)


def _colours(about: dict[bytes, bytes]) -> ColourSpace:
    """Read the colour space (PNG 3, section 11.3.2). Malformed chunks are ignored."""
    found = ColourSpace(is_srgb=len(about.get(b"sRGB", b"")) == 1)
    if len(cicp := about.get(b"cICP", b"")) == 4 and cicp[2:] == b"\0\1":  # RGB of full range
        found.cicp = cicp[0], cicp[1]
    if len(gamma := about.get(b"gAMA", b"")) == 4:
        found.gamma = int.from_bytes(gamma, "big") / 100_000 or None
    if len(chromaticities := about.get(b"cHRM", b"")) == 32:
        found.chromaticities = tuple(
            value / 100_000 for value in struct.unpack(">8I", chromaticities)
        )
    found.icc, _ = read_profile(about.get(b"iCCP", b""))
    return found
