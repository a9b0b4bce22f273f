"""Decode every pixel of a file whose container was walked, and keep none.

Each format is decoded in the cheapest way that still detects missing data: PNG by inflating, GIF
frame by frame, WebP down to the last row, JPEG at an eighth of its size and in grey.
"""

import mmap

from PIL import Image

from imaging.codecs import libwebp
from imaging.containers.content import MalformedImageError
from imaging.containers.gif import GifOutline
from imaging.containers.jpeg import ARITHMETIC, JpegOutline
from imaging.containers.outline import Outline
from imaging.containers.png import PngOutline
from imaging.containers.png_pixels import inflate
from imaging.containers.webp import WebpOutline
from imaging.stills.still import open_pieces

# Bits that are not a Huffman code. A decoder reads up to eight bytes ahead.
_NO_CODES = b"\xff\x00" * 9
_END_OF_IMAGE = b"\xff\xd9"


def decode(content: mmap.mmap, outline: Outline) -> None:
    """Decode every pixel of the file with that outline.

    Raises MalformedImageError or MemoryError.
    """
    try:
        match outline:
            case JpegOutline():
                _decode_jpeg(content, outline)
            case PngOutline():
                outline.surplus = inflate(content)
            case GifOutline():
                _decode_gif(content, outline)
            case WebpOutline():
                _decode_webp(content, outline)
            case _:
                raise MalformedImageError("its format has no decoder")
    except (MalformedImageError, MemoryError):
        raise
    # Pillow's parsers raise SyntaxError, OSError, struct.error and others.
    except Exception as exc:
        raise MalformedImageError("its pixels cannot be decoded") from exc


def _decode_jpeg(content: mmap.mmap, outline: JpegOutline) -> None:
    """Decode the first picture, without the segments that its pixels do not need.

    If data is missing before the End Of Image marker, libjpeg fills the picture with grey and only
    warns. Without the marker, a decoder that has not finished a picture of one scan asks for more
    data. Decoding at an eighth of the size takes a third of the time (34 ms instead
    of 92-105 ms for 12 megapixels) and still reads all codes; decoding to grey saves a tenth more.
    """
    end = _NO_CODES if outline.is_plain else _END_OF_IMAGE
    with memoryview(content)[outline.start : outline.end] as scans:
        pieces = b"".join(outline.tables), scans, end
        with Image.open(open_pieces(*pieces), formats=["JPEG"]) as image:
            if outline.frame in ARITHMETIC:  # libjpeg cannot suspend in arithmetic codes
                image.decodermaxblock = sum(map(len, pieces))
            image.draft("L", (image.width // 8 or 1, image.height // 8 or 1))
            image.load()


def _decode_gif(content: mmap.mmap, outline: GifOutline) -> None:
    """Decode each frame separately, without composing them."""
    for frame in outline.frames:
        size, arguments = (frame.width, frame.height), (frame.code_bits, frame.interlaced, -1)
        Image.frombytes("P", size, content[frame.start : frame.end], "gif", *arguments)


def _decode_webp(content: mmap.mmap, outline: WebpOutline) -> None:
    libwebp.check_container(content)
    for frame in outline.frames:
        libwebp.check_frame(content, frame)
