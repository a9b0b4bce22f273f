"""The first picture of a PNG or APNG file: header, palette, transparency and pixels."""

import struct

from imaging.containers import png
from imaging.containers.content import Content, MalformedImageError, number
from imaging.containers.exif import read_orientation
from imaging.containers.png_ancillary import chunk, counting_chunks, read_profile
from imaging.stills.still import ColourSpace, Piece, Still

_KEPT = {b"eXIf", b"PLTE", b"tRNS", b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM"}
# A pixel decoded and averaged, or an index and its colour; with transparency or 16 bits, also the
# steps between.
_PLAIN_PIXEL_BYTES, _PIXEL_BYTES = 5, 12


def still(content: Content) -> Still:
    """Return the first picture of a file.

    For an animation it is the first frame, because browsers never display a default image that is
    not part of the animation.
    """
    header = png.read_header(content)
    size, place, pixels = _pixels(content, header)
    places = counting_chunks(content, _KEPT)
    about = {kind: content[at : at + length] for kind, (at, length) in places.items()}
    depth, colour_type = content[24], content[25]
    palette, transparency = about.get(b"PLTE", b""), about.get(b"tRNS", b"")
    head = png.SIGNATURE + chunk(b"IHDR", struct.pack(">II", *size) + content[24:29])
    if colour_type == png.PALETTE:
        head += _palette(palette, transparency, 2**depth)
    canvas = header.width, header.height
    opaque = {png.GREY, png.RGB, png.PALETTE}
    is_plain = depth <= 8 and colour_type in opaque and not transparency and size == canvas
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


def _pixels(
    content: Content, header: png.Header
) -> tuple[tuple[int, int], tuple[int, int], list[Piece]]:
    """Return the size, the place and the IDAT chunks of the first picture."""
    animated = bool(png.announced_frames(content))
    size, place, begun = (header.width, header.height), (0, 0), not animated
    pixels: list[Piece] = []
    for kind, at, length in png.chunks(content):
        if kind == b"fcTL" and animated:
            if pixels:
                break
            size, begun = png.frame_size(content, at, header), True
            place = number(content, at + 12, 4, "big"), number(content, at + 16, 4, "big")
        elif kind == b"IDAT" and begun:
            pixels.append(memoryview(content)[at - 8 : at + length + 4])
        elif kind == b"fdAT" and begun:
            # It becomes an IDAT chunk, whose CRC decoders do not check.
            data = memoryview(content)[at + 4 : at + length]
            pixels += [struct.pack(">I", len(data)) + b"IDAT", data, bytes(4)]
    if not pixels:
        raise MalformedImageError("it has no pixels")
    return size, place, pixels


def _palette(palette: bytes, opacity: bytes, entries: int) -> bytes:
    """Return a palette with all `entries`: as in browsers, the last entry replaces missing ones."""
    colours = len(palette) // 3
    missing = max(0, entries - colours)
    content = palette[: 3 * colours] + palette[3 * colours - 3 : 3 * colours] * missing
    if not opacity:
        return chunk(b"PLTE", content)
    last = opacity[colours - 1 : colours] or b"\xff"  # opaque
    return chunk(b"PLTE", content) + chunk(
        b"tRNS", opacity[:colours].ljust(colours, b"\xff") + last * missing
    )


def _colour_key(colour_type: int, depth: int, transparency: bytes) -> tuple[int, ...] | None:
    """Return the samples of the transparent colour as decoders read them, with at least 8 bits."""
    samples = {png.GREY: 1, png.RGB: 3}.get(colour_type, 0)
    if not samples or len(transparency) < 2 * samples:
        return None
    values = struct.unpack_from(f">{samples}H", transparency)
    largest = (1 << depth) - 1  # higher bits of the values do not count
    return tuple((value & largest) * max(1, 255 // largest) for value in values)


def _colours(about: dict[bytes, bytes]) -> ColourSpace:
    """Read the colour space (PNG 3, section 11.3.2). Malformed chunks are ignored."""
    colours = ColourSpace(is_srgb=len(about.get(b"sRGB", b"")) == 1)
    if len(cicp := about.get(b"cICP", b"")) == 4 and cicp[2:] == b"\0\1":  # RGB of full range
        colours.cicp = cicp[0], cicp[1]
    if len(gamma := about.get(b"gAMA", b"")) == 4:
        colours.gamma = int.from_bytes(gamma, "big") / 100_000 or None
    if len(chromaticities := about.get(b"cHRM", b"")) == 32:
        colours.chromaticities = tuple(
            value / 100_000 for value in struct.unpack(">8I", chromaticities)
        )
    colours.icc, _ = read_profile(about.get(b"iCCP", b""))
    return colours
