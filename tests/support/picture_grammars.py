"""A generator of random picture files that mostly follow their format and break single rules."""

import struct
import zlib
from functools import cache
from random import Random

from tests.support import pictures
from tests.support.containers import (
    chunk,
    exif,
    gif_frame,
    riff,
    segment,
    uint24,
    webp_frame,
)
from tests.support.taken_apart import jpeg_segments

_SIDES = [0, 1, 2, 3, 7, 8, 9, 16, 17, 40, 64, 255, 256, 1000, 4096, 16_383, 16_384, 40_000, 65_535]
_BYTES = [0, 1, 2, 7, 8, 9, 63, 64, 127, 128, 254, 255]


def generate(seed: int) -> tuple[str, bytes]:
    """Return an extension and a file; the same seed gives the same file."""
    random = Random(seed)
    extension = random.choice(["jpg", "png", "gif", "webp"])
    content = {"jpg": _jpeg, "png": _png, "gif": _gif, "webp": _webp}[extension](random)
    return extension, _damaged(random, content) if random.random() < 0.3 else content


def _damaged(random: Random, content: bytes) -> bytes:
    """Overwrite, delete, repeat or insert some bytes."""
    out = bytearray(content)
    for _ in range(random.choice([1, 1, 2, 5])):
        at, count = random.randrange(len(out) + 1), random.choice([1, 1, 2, 4, 50])
        match random.randrange(5):
            case 0:
                out[at : at + count] = bytes(random.choice(_BYTES) for _ in range(count))
            case 1:
                del out[at : at + count]
            case 2:
                out[at:at] = out[at : at + count] * random.choice([1, 2, 1000])
            case 3:
                del out[at:]
            case _:
                out[at:at] = random.randbytes(count)
    return bytes(out)


def _size(random: Random) -> tuple[int, int]:
    """Return width and height: mostly small, sometimes close to the limits."""
    if random.random() < 0.7:
        return random.randint(1, 80), random.randint(1, 80)
    if random.random() < 0.3:
        width = random.randint(3500, 14_000)
        return width, 50_000_000 // width + random.choice([-1, 0, 1])
    return random.choice(_SIDES), random.choice(_SIDES)


def _some(random: Random, most: int) -> int:
    return random.choice([0, 0, 1, 1, 2, 3, most])


# --- JPEG -----------------------------------------------------------------------------------------

_JPEG_OPTIONS: list[dict[str, object]] = [
    {},
    {"progressive": True},
    {"subsampling": 0},
    {"restart_marker_blocks": 2},
    {"progressive": True, "subsampling": 0},
    {"optimize": True},
]


@cache
def _jpeg_segments(kind: int, mode: str) -> tuple[bytes, ...]:
    picture = pictures.picture(64, 48, kind).convert(mode)
    return jpeg_segments(pictures.encoded(picture, "JPEG", **_JPEG_OPTIONS[kind]))


def _jpeg(random: Random) -> bytes:
    kind, mode = random.randrange(len(_JPEG_OPTIONS)), random.choice(["RGB", "RGB", "L", "CMYK"])
    pieces = list(_jpeg_segments(kind, mode))
    for _ in range(_some(random, 6)):
        at = random.randrange(1, len(pieces))
        match random.randrange(8):
            case 0:
                pieces.insert(at, segment(random.randrange(0xC0, 0xFF), random.randbytes(20)))
            case 1:
                pieces.insert(at, b"\xff" * random.choice([1, 3, 5000]))
            case 2:
                pieces.insert(at, random.randbytes(random.choice([1, 5, 300])))
            case 3:
                pieces[at:at] = [random.choice(pieces)] * random.choice([1, 2, 60, 120])
            case 4:
                del pieces[at]
            case 5:
                pieces.insert(at, segment(0xE1, b"Exif\0\0" + exif(random.randrange(10))))
            case 6:
                pieces[at] = _damaged(random, pieces[at])
            case _:
                pieces = [_resized(random, piece) for piece in pieces]
    return b"".join(pieces)


def _resized(random: Random, piece: bytes) -> bytes:
    """Return a frame header with another size or sampling; return other segments unchanged."""
    if len(piece) < 12 or piece[1] not in {0xC0, 0xC1, 0xC2}:
        return piece
    width, height = _size(random)
    changed = bytearray(piece[:5] + struct.pack(">HH", height & 65535, width & 65535) + piece[9:])
    if random.random() < 0.3:
        changed[11] = random.choice([0x11, 0x21, 0x12, 0x22, 0x41, 0x44, 0x14, 0x00, 0x55])
    if random.random() < 0.2:
        changed[1] = random.choice(range(0xC0, 0xD0))
    return bytes(changed)


# --- PNG ------------------------------------------------------------------------------------------

_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def _png(random: Random) -> bytes:
    width, height = _size(random)
    colour, depth = random.choice([0, 2, 2, 3, 4, 6, 6]), random.choice([1, 2, 4, 8, 8, 8, 16])
    bits, interlace = depth * _SAMPLES[colour], int(random.random() < 0.1)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    frames = _some(random, 12) if random.random() < 0.4 else 0
    pieces = [chunk(b"IHDR", header)]
    if frames:
        pieces += [chunk(b"acTL", struct.pack(">II", frames, 0)), _fctl(0, width, height)]
    pieces += [chunk(b"PLTE", bytes(768))] * (colour == 3 or random.random() < 0.1)
    pieces += _idat(random, _scanlines(random, width, height, bits))
    for number in range(1, frames):
        w, h = (width, height) if random.random() < 0.4 else _size(random)
        data = struct.pack(">I", 2 * number) + _scanlines(random, w, h, bits)
        pieces += [_fctl(2 * number - 1, w, h, random.choice(_BYTES[:4])), chunk(b"fdAT", data)]
    for _ in range(_some(random, 4)):
        kind = random.choice(
            [b"tEXt", b"zTXt", b"iCCP", b"eXIf", b"ABCD", b"IDAT", b"acTL", b"IEND"]
        )
        at = random.randrange(len(pieces) + 1)
        data = random.choice(
            [b"", exif(6), random.randbytes(40), b"a\0\0" + zlib.compress(bytes(9**6))]
        )
        pieces[at:at] = [chunk(kind, data)] * random.choice([1, 1, 50])
    if random.random() < 0.1:
        random.shuffle(pieces)
    return b"\x89PNG\r\n\x1a\n" + b"".join(pieces) + chunk(b"IEND", b"")


def _fctl(number: int, width: int, height: int, at: int = 0) -> bytes:
    return chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, width, height, at, at, 1, 10, 0, 0))


def _scanlines(random: Random, width: int, height: int, bits: int) -> bytes:
    """Return compressed scanlines for this size, sometimes too few, too many or invalid."""
    stride = 1 + (width * bits + 7) // 8
    count = max(
        0, stride * min(height, 400_000_000 // stride) + random.choice([0, 0, 0, 0, -1, 1, 9])
    )
    if count > 3_000_000:
        return _zeros(count)
    raw = bytearray(count)
    if random.random() < 0.5 and count < 100_000:
        raw = bytearray(random.randbytes(count))
        raw[::stride] = bytes(random.choice([0, 1, 2, 3, 4]) for _ in raw[::stride])
        if raw and random.random() < 0.1:
            raw[0] = 9
    return zlib.compress(bytes(raw), random.choice([0, 1, 9]))


@cache
def _zeros(count: int) -> bytes:
    deflater = zlib.compressobj(1)
    parts = [deflater.compress(bytes(min(2**20, count - at))) for at in range(0, count, 2**20)]
    return b"".join([*parts, deflater.flush()])


def _idat(random: Random, data: bytes) -> list[bytes]:
    step = random.choice([len(data) or 1, 8192, 100, 1]) if len(data) < 5000 else len(data)
    return [chunk(b"IDAT", data[at : at + step]) for at in range(0, len(data), step)]


# --- GIF ------------------------------------------------------------------------------------------


@cache
def _gif_data(width: int, height: int, seed: int) -> bytes:
    content = pictures.gif(width, height, seed)
    start = content.index(b",\0\0\0\0") + 10
    flags = content[start - 1]
    return content[start + (3 << (flags & 7) + 1 if flags & 0x80 else 0) : -1]


def _gif(random: Random) -> bytes:
    width, height = _size(random)
    screen = struct.pack("<HHBBB", width, height, random.choice([0, 0x80, 0xF7]), 0, 0)
    colours = bytes(3 << ((screen[4] & 7) + 1)) if screen[4] & 0x80 else b""
    count = random.choice([0, 1, 1, 1, 2, 5, 200])
    blocks = [_gif_block(random, width, height) for _ in range(count)]
    return b"GIF89a" + screen + colours + b"".join(blocks) + b";" * (random.random() < 0.95)


def _gif_block(random: Random, width: int, height: int) -> bytes:
    match random.randrange(8):
        case 0:
            return b"!\xfe" + b"\1x" * random.choice([1, 100, 5000]) + b"\0"
        case 1:
            return b"!\xf9\4" + bytes([random.choice([0, 4, 8, 12, 1]), 1, 0, 0]) + b"\0"
        case 2:
            return random.choice([b"\0", b"\0\0", b"!\xff\0", b"x", b"!\1\0"])
        case 3:
            return gif_frame(*_size(random), at=(random.choice(_BYTES), 0))
        case 4:
            return gif_frame(width, height, data=_damaged(random, _gif_data(20, 20, 1)))
        case _:
            w, h = min(width, 60), min(height, 60)
            return gif_frame(w, h, data=_gif_data(w or 1, h or 1, random.randrange(3)))


# --- WebP -----------------------------------------------------------------------------------------


@cache
def _bitstream(width: int, height: int, kind: int) -> bytes:
    """Return the chunks of a still WebP: lossy, lossless, or lossy with an alpha channel."""
    picture = pictures.picture(width, height, kind)
    picture = picture.convert("RGBA").rotate(20) if kind == 2 else picture
    content = pictures.encoded(picture, "WEBP", lossless=kind == 1)
    return content[30:] if kind == 2 else content[12:]


def _webp(random: Random) -> bytes:
    width, height = _size(random)
    small = random.randint(1, 80), random.randint(1, 80)
    bitstream = _bitstream(*small, random.randrange(3))
    if random.random() < 0.3:
        bitstream = _webp_resized(random, bitstream, *_size(random))
    if random.random() < 0.2:
        bitstream = _damaged(random, bitstream)
    if random.random() < 0.3:
        pieces = [bitstream]
    else:
        flags = random.choice([0, 2, 2, 2, 0x10, 0x12])
        canvas = small if random.random() < 0.6 else (width or 1, height or 1)
        size = uint24(max(0, canvas[0] - 1)) + uint24(max(0, canvas[1] - 1))
        frames = [webp_frame(bitstream, *small, at=(random.choice([0, 0, 0, 2, 40]), 0))]
        moving = [riff(b"ANIM", bytes(6)), *frames * random.choice([1, 2, 5, 300])]
        pieces = [riff(b"VP8X", bytes([flags, 0, 0, 0]) + size)]
        pieces += moving if flags & 2 else [bitstream]
    for _ in range(_some(random, 3)):
        kind = random.choice([b"EXIF", b"XMP ", b"ICCP", b"ALPH", b"TEST", b"ANMF", b"VP8 "])
        at = random.randrange(len(pieces) + 1)
        pieces[at:at] = [riff(kind, random.randbytes(random.randrange(40)))] * random.choice(
            [1, 50]
        )
    body = b"WEBP" + b"".join(pieces)
    return (
        b"RIFF"
        + struct.pack("<I", max(0, len(body) + random.choice([0, 0, 0, 0, 0, 1, -1, -8])))
        + body
    )


def _webp_resized(random: Random, bitstream: bytes, width: int, height: int) -> bytes:
    """Return a bitstream whose header states another size."""
    out, wide, high = bytearray(bitstream), width & 0x3FFF, height & 0x3FFF
    at = out.find(b"VP8 ")
    if at >= 0 and len(out) > at + 18:
        out[at + 14 : at + 18] = struct.pack("<HH", wide, high)
    elif len(out) > 13:
        bits = max(0, wide - 1) | max(0, high - 1) << 14 | random.randrange(2) << 28
        out[9:13] = struct.pack("<I", bits)
    return bytes(out)
