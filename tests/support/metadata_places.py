"""Files without metadata, and the places that their formats have for it."""

import struct
import zlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from imaging.containers.png import SIGNATURE
from tests.support import pictures
from tests.support.containers import chunk, exif, frame_control, riff, segment, webp_file
from tests.support.icc_profiles import ADOBE_RGB
from tests.support.taken_apart import gif_blocks, jpeg_segments, png_chunks, webp_chunks

PLACE, SERIAL = b"48.208174 N, 16.373819 E", b"serial number 4711-0815"
THUMBNAIL = pictures.jpeg(8, 8, seed=99)
SECRETS = (PLACE, SERIAL, THUMBNAIL)
_SECRET = b"".join(SECRETS)
_PROFILE = ADOBE_RGB.profile()
_ARITHMETIC = Path(__file__).parent / "files" / "arithmetic.jpg"
Pieces = Sequence[bytes]


class PlantedFormat(NamedTuple):
    """How secrets get into a format.

    `plain` returns the pieces of files without metadata, and `join` makes a file of them. `plants`
    are further pieces, which may follow as many as `first` says. `changes` put secrets into the
    pieces that a file has. Any of `ends` may follow, of which the first belongs to the file.
    """

    plain: Callable[[], Sequence[Pieces]]
    join: Callable[[Pieces], bytes]
    first: Callable[[Pieces], int]
    plants: Sequence[bytes]
    changes: Sequence[Callable[[Pieces], Pieces]]
    ends: Sequence[bytes]


def _moving() -> dict[str, object]:
    rest = [pictures.picture(64, 48, seed) for seed in (1, 2)]
    return {"save_all": True, "append_images": rest, "duration": [40, 70, 100], "loop": 3}


# --- JPEG -----------------------------------------------------------------------------------------


@cache
def _jpegs() -> Sequence[Pieces]:
    picture = pictures.picture(64, 48)
    options: list[dict[str, object]] = [
        {},
        {"progressive": True, "icc_profile": _PROFILE, "dpi": (300, 300)},
        {"restart_marker_blocks": 2, "subsampling": 0},
        {"icc_profile": _PROFILE + bytes(70_000)},  # in two segments
    ]
    files = [pictures.encoded(picture, "JPEG", **chosen) for chosen in options]
    files += [pictures.encoded(picture.convert(mode), "JPEG") for mode in ("L", "CMYK")]
    return [jpeg_segments(content)[:-1] for content in [*files, _ARITHMETIC.read_bytes()]]


_JPEG_PLANTS = [
    *(
        segment(0xE1, b"Exif\0\0" + exif(orientation, order) + _SECRET)
        for orientation in range(10)
        for order in "<>"
    ),
    segment(0xE1, b"Exif\0" + b"x" + exif(6) + _SECRET),
    segment(0xE1, b"Exif\0\0" + _SECRET),
    segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + _SECRET),
    segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + _SECRET),
    segment(0xE0, b"JFIF\0\1\2\1\0\x48\0\x48\x10\x10" + _SECRET),
    segment(0xE0, b"JFXX\0\x10" + _SECRET),
    segment(0xE0, b"AVI1" + _SECRET),
    segment(0xE2, b"MPF\0" + _SECRET),
    segment(0xE2, b"ICC_PROFILE\0\1\2" + bytes(36) + b"acsp" + _SECRET),
    segment(0xE2, b"urn:iso:std:iso:ts:21496:-1\0" + _SECRET),
    *(segment(marker, _SECRET) for marker in range(0xE0, 0xF0)),
    segment(0xEB, b"JP\0\1\0\0\0\1" + struct.pack(">I", 8 + len(_SECRET)) + b"jumb" + _SECRET),
    segment(0xED, b"Photoshop 3.0\0" + _SECRET),
    *(segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([kind]) + _SECRET) for kind in range(3)),
    segment(0xFE, _SECRET),
    segment(0xDC, b"\0\x30" + _SECRET),
    segment(0xFE) + b"\0stray" + PLACE + SERIAL,  # behind a segment, lest it be part of a scan
    segment(0xFE) + b"\xff\x01" + PLACE + b"\xff\xd0" + SERIAL,
]
_END_OF_IMAGE = b"\xff\xd9"


# --- PNG ------------------------------------------------------------------------------------------


@cache
def _pngs() -> Sequence[Pieces]:
    picture = pictures.picture(64, 48)
    files = [
        *(pictures.encoded(picture.convert(mode), "PNG") for mode in ("1", "LA", "RGBA", "I;16")),
        pictures.encoded(picture, "PNG", icc_profile=_PROFILE, dpi=(300, 300)),
        pictures.encoded(picture.convert("L"), "PNG", transparency=9),
        pictures.encoded(picture, "PNG", transparency=(1, 2, 3)),
        pictures.encoded(picture.quantize(16), "PNG", transparency=bytes(range(16))),
        pictures.encoded(picture, "PNG", **_moving()),
        pictures.encoded(picture, "PNG", **_moving(), default_image=True),
    ]
    return [_png_pieces(png_chunks(content)) for content in files]


_Chunks = list[tuple[bytes, bytes]]


def _png_pieces(chunks: _Chunks) -> Pieces:
    """Return the chunks as bytes; those of IDAT are one piece, because they must be adjacent."""
    pieces, last = list[bytes](), b""
    for kind, content in chunks:
        if kind == last == b"IDAT":
            pieces[-1] += chunk(kind, content)
        else:
            pieces.append(chunk(kind, content))
        last = kind
    return pieces


def _png_file(pieces: Pieces) -> bytes:
    return SIGNATURE + b"".join(pieces)


def _with_wrong_crc(kind: bytes, content: bytes) -> bytes:
    return chunk(kind, content)[:-4] + b"\1\2\3\4"


_DEFLATED = zlib.compress(_SECRET)
_PNG_PLANTS = [
    *(chunk(b"eXIf", exif(orientation, order) + _SECRET)
      for orientation in range(10) for order in "<>"),
    chunk(b"eXIf", _SECRET),
    chunk(b"tEXt", b"Comment\0" + _SECRET),
    chunk(b"zTXt", b"Comment\0\0" + _DEFLATED),
    chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + _SECRET),
    chunk(b"tIME", _SECRET[:7]),
    *(chunk(kind, _SECRET) for kind in (
        b"prIv", b"caBX", b"sPLT", b"hIST", b"iDOT", b"oFFs", b"pCAL", b"sCAL", b"sTER", b"gIFg",
        b"gIFx", b"acTl", b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI", b"pHYs", b"sBIT",
        b"bKGD", b"fdAt")),
    *(_with_wrong_crc(kind, _SECRET[:length]) for kind, length in (
        (b"gAMA", 4), (b"cHRM", 32), (b"pHYs", 9), (b"tEXt", 70), (b"mDCV", 24))),
    chunk(b"iCCP", PLACE + b"\0\0" + zlib.compress(_PROFILE)),
    chunk(b"iCCP", b"a name\0\0" + zlib.compress(_PROFILE) + _SECRET),
    chunk(b"iCCP", b"no profile\0\0" + _DEFLATED),
    chunk(b"iCCP", SERIAL * 4 + b"\0\0" + zlib.compress(_PROFILE)),
    chunk(b"gAMA", struct.pack(">I", 45455)),
    chunk(b"cHRM", struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)),
    chunk(b"cICP", bytes([12, 13, 0, 1])),
    chunk(b"sRGB", b"\0"),
    chunk(b"pHYs", struct.pack(">IIB", 3000, 3000, 1)),
]  # fmt: skip


def _of_chunks(change: Callable[[_Chunks], _Chunks]) -> Callable[[Pieces], Pieces]:
    return lambda pieces: _png_pieces(change(png_chunks(_png_file(pieces))))


@_of_chunks
def _behind_the_pixels(chunks: _Chunks) -> _Chunks:
    kinds = [kind for kind, _ in chunks]
    last = [len(kinds) - 1 - kinds[::-1].index(kind) for kind in {b"IDAT", b"fdAT"} & {*kinds}]
    return [(k, c + _SECRET if at in last else c) for at, (k, c) in enumerate(chunks)]


@_of_chunks
def _in_more_pixels(chunks: _Chunks) -> _Chunks:
    last = max(at for at, (kind, _) in enumerate(chunks) if kind == b"IDAT")
    return [*chunks[: last + 1], (b"IDAT", _SECRET), (b"IDAT", b""), *chunks[last + 1 :]]


@_of_chunks
def _in_long_chunks(chunks: _Chunks) -> _Chunks:
    longer = {b"PLTE", b"tRNS", b"fcTL", b"IEND"}
    return [(kind, content + PLACE if kind in longer else content) for kind, content in chunks]


@_of_chunks
def _in_needless_frames(chunks: _Chunks) -> _Chunks:
    """Add a frame that is not announced, or to a still picture one without an announcement."""
    sequence = sum(kind in {b"fcTL", b"fdAT"} for kind, _ in chunks)
    control = png_chunks(SIGNATURE + frame_control(sequence, (1, 1)))
    pixels = struct.pack(">I", sequence + 1) + zlib.compress(bytes(4)) + _SECRET
    return [*chunks[:-1], *control, (b"fdAT", pixels), chunks[-1]]


# --- GIF ------------------------------------------------------------------------------------------


@cache
def _gifs() -> Sequence[Pieces]:
    picture = pictures.picture(64, 48)
    files = [
        pictures.encoded(picture, "GIF"),
        pictures.encoded(picture, "GIF", interlace=0, transparency=5),
        pictures.encoded(picture, "GIF", **_moving(), disposal=2),
        pictures.encoded(picture, "GIF", **_moving(), transparency=3),
    ]
    return [gif_blocks(content)[:-1] for content in files]


def _sub_blocks(content: bytes) -> bytes:
    parts = [content[at : at + 255] for at in range(0, len(content), 255)]
    return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


_HIDDEN = _sub_blocks(_SECRET)
_GIF_PLANTS = [
    b"!\xfe" + _HIDDEN,
    b"!\xff\x0bXMP DataXMP" + _HIDDEN,
    b"!\xff\x0bICCRGBG1012" + _HIDDEN,
    b"!\xff\x0bNETSCAPE2.0" + _HIDDEN,
    b"!\xff\x0bNETSCAPE2.0\3\1\7\0" + _HIDDEN,
    b"!\xff\x0bANIMEXTS1.0\3\1\7\0" + _HIDDEN,
    b"!\xff\x0bNETSCAPE2.0\5\2\0\0\0\0" + _HIDDEN,
    b"!\1\x0c" + bytes(12) + _HIDDEN,
    b"!\xf9\4\0\7\0\0\0!\1\x0c" + bytes(12) + _HIDDEN,
    b"!\x99" + _HIDDEN,
    b"\0\0",
]


# --- WebP -----------------------------------------------------------------------------------------


@cache
def _webps() -> Sequence[Pieces]:
    picture = pictures.picture(64, 48)
    files = [
        pictures.encoded(picture, "WEBP"),
        pictures.encoded(picture, "WEBP", lossless=True),
        pictures.encoded(picture.convert("RGBA").rotate(20), "WEBP", icc_profile=_PROFILE),
        pictures.encoded(picture, "WEBP", icc_profile=_PROFILE, lossless=True),
        pictures.encoded(picture, "WEBP", **_moving()),
        pictures.encoded(picture.convert("RGBA").rotate(20), "WEBP", **_moving()),
    ]
    return [[riff(*one) for one in webp_chunks(content[12:])] for content in files]


def _is_extended(pieces: Pieces) -> bool:
    return pieces[0].startswith(b"VP8X")


_WEBP_PLANTS = [
    riff(b"EXIF", exif(6) + _SECRET),
    riff(b"EXIF", b"Exif\0\0" + exif(6) + _SECRET),
    riff(b"XMP ", _SECRET),
    riff(b"ICCP", _SECRET),
    riff(b"C2PA", _SECRET),
    riff(b"prIv", _SECRET + b"x"),
    riff(b"prIv", b"x")[:-1] + SERIAL[:1],  # not a zero as padding
]


def _in_long_webp_chunks(pieces: Pieces) -> Pieces:
    longer = {b"VP8X": _SECRET, b"ANIM": _SECRET, b"ANMF": riff(b"prIv", _SECRET)}
    chunks = webp_chunks(b"".join(pieces))
    return [riff(kind, content + longer.get(kind, b"")) for kind, content in chunks]


def _in_reserved_bits(pieces: Pieces) -> Pieces:
    """Set the flags of metadata and those without a meaning."""
    out = []
    for kind, content in webp_chunks(b"".join(pieces)):
        reserved = bytearray(content)
        if kind == b"VP8X":
            reserved[:4] = bytes([content[0] | 0xCD]) + b"GPS"
        elif kind == b"ANMF":
            reserved[15] |= 0xFC
        out.append(riff(kind, bytes(reserved)))
    return out


PLANTED_FORMATS = {
    "jpeg": PlantedFormat(
        _jpegs, b"".join, lambda _: 1, _JPEG_PLANTS, [],
        [_END_OF_IMAGE + behind for behind in (b"", _SECRET, _END_OF_IMAGE + _SECRET)],
    ),
    "png": PlantedFormat(
        _pngs, _png_file, lambda _: 1, _PNG_PLANTS,
        [_behind_the_pixels, _in_more_pixels, _in_long_chunks, _in_needless_frames], [b"", _SECRET],
    ),
    # Pillow looks for frames behind an unknown introducer, and finds none in a serial number.
    "gif": PlantedFormat(
        _gifs, b"".join, lambda _: 1, _GIF_PLANTS, [],
        [b";", b"", b";" + _SECRET, b"x" + SERIAL],
    ),
    "webp": PlantedFormat(
        _webps, lambda pieces: webp_file(*pieces),
        lambda pieces: 1 if _is_extended(pieces) else len(pieces), _WEBP_PLANTS,
        [_in_long_webp_chunks, _in_reserved_bits], [b"", _SECRET],
    ),
}  # fmt: skip
