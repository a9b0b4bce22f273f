"""Builders for the pieces of JPEG, PNG, GIF and WebP files, so that tests can break any rule."""

import struct
import zlib

_EMPTY_LZW = b"\x02\x02\x44\x01\x00"  # code size 2; clear, color 0, end


def chunk(kind: bytes, content: bytes) -> bytes:
    """Return one chunk of a PNG file."""
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def png_file(*chunks: bytes, width: int = 1, height: int = 1, form: bytes = b"\1\0") -> bytes:
    """Return a PNG file: IHDR, `chunks`, IEND. `form` is the bit depth and the color type."""
    header = chunk(b"IHDR", struct.pack(">II", width, height) + form + b"\0\0\0")
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


def zeros(count: int) -> bytes:
    """Return `count` zero bytes, compressed with deflate."""
    deflater = zlib.compressobj(9)
    blocks = [deflater.compress(bytes(min(2**20, count - at))) for at in range(0, count, 2**20)]
    return b"".join([*blocks, deflater.flush()])


def frame_control(
    number: int,
    size: tuple[int, int],
    at: tuple[int, int] = (0, 0),
    *,
    dispose: int = 0,
    blend: int = 0,
) -> bytes:
    """Return the fcTL chunk that starts a frame of an animated PNG."""
    return chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, *size, *at, 1, 10, dispose, blend))


def gif_frame(
    width: int, height: int, at: tuple[int, int] = (0, 0), data: bytes = _EMPTY_LZW
) -> bytes:
    """Return a frame of a GIF file without a local color table."""
    return b"," + struct.pack("<HHHHB", *at, width, height, 0) + data


def gif_file(*blocks: bytes, width: int = 1, height: int = 1) -> bytes:
    """Return a GIF file with a global table of two colors, followed by `blocks`."""
    screen = struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    return b"GIF89a" + screen + b"".join(blocks) + b";"


def gif_pixels(picture: bytes) -> bytes:
    """Return the LZW data of the first frame of a GIF file, including the code size."""
    start = picture.index(b",\0\0\0\0")
    flags = picture[start + 9]
    return picture[start + 10 + (3 << (flags & 7) + 1 if flags & 0x80 else 0) : -1]


def riff(kind: bytes, content: bytes) -> bytes:
    """Return one chunk of a WebP file."""
    return kind + struct.pack("<I", len(content)) + content + bytes(len(content) & 1)


def webp_file(*chunks: bytes) -> bytes:
    """Return a WebP file with these chunks."""
    return riff(b"RIFF", b"WEBP" + b"".join(chunks))


def uint24(value: int) -> bytes:
    """Return `value` as three bytes, little-endian."""
    return struct.pack("<I", value)[:3]


def webp_animation(width: int, height: int, *frames: bytes) -> bytes:
    """Return an animated WebP file with a canvas of this size."""
    canvas = b"\x02\0\0\0" + uint24(width - 1) + uint24(height - 1)
    return webp_file(riff(b"VP8X", canvas), riff(b"ANIM", bytes(6)), *frames)


def webp_frame(bitstream: bytes, width: int, height: int, at: tuple[int, int] = (0, 0)) -> bytes:
    """Return an ANMF frame around the chunk of a bitstream."""
    offset = uint24(at[0] // 2) + uint24(at[1] // 2)
    size = uint24(width - 1) + uint24(height - 1)
    return riff(b"ANMF", offset + size + uint24(40) + b"\0" + bitstream)


def segment(marker: int, content: bytes = b"") -> bytes:
    """Return one marker segment of a JPEG file."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def exif(orientation: int, order: str = "<") -> bytes:
    """Return Exif data that contains only the orientation."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    entry = struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0)
    return mark + struct.pack(f"{order}IH", 8, 1) + entry + bytes(4)
