"""The C interface (decode.h, demux.h) of the libwebp that Pillow includes.

Pillow's own decoder uses two canvases and copies twice, which takes 18 bytes per pixel. libwebp
takes 4 for lossless frames and hardly any for others, reports missing data, and scales.
"""

import ctypes
import mmap

from PIL import _webp

from imaging.containers.content import MalformedImageError
from imaging.containers.webp import Frame

Size = tuple[int, int]

_ABI_VERSION, _DEMUX_ABI_VERSION = 0x0200, 0x0100  # the first byte counts
_RGBA = 1
_OK, _OUT_OF_MEMORY = 0, 1


class _Bytes(ctypes.Structure):
    """WebPData."""

    _fields_ = (("bytes", ctypes.c_void_p), ("size", ctypes.c_size_t))


class _Features(ctypes.Structure):
    """WebPBitstreamFeatures."""

    _fields_ = (("ints", ctypes.c_int * 5), ("pad", ctypes.c_uint32 * 5))


class _Pixels(ctypes.Structure):
    """WebPRGBABuffer."""

    _fields_ = (("start", ctypes.c_void_p), ("stride", ctypes.c_int), ("size", ctypes.c_size_t))


class _Planes(ctypes.Structure):
    """WebPYUVABuffer."""

    _fields_ = (
        ("planes", ctypes.c_void_p * 4),
        ("strides", ctypes.c_int * 4),
        ("sizes", ctypes.c_size_t * 4),
    )


class _Buffer(ctypes.Union):
    _fields_ = (("pixels", _Pixels), ("planes", _Planes))


class _Output(ctypes.Structure):
    """WebPDecBuffer."""

    _fields_ = (
        ("colorspace", ctypes.c_int),
        ("size", ctypes.c_int * 2),
        ("is_external_memory", ctypes.c_int),
        ("buffer", _Buffer),
        ("pad", ctypes.c_uint32 * 4),
        ("private_memory", ctypes.c_void_p),
    )


class _Options(ctypes.Structure):
    """WebPDecoderOptions."""

    _fields_ = (
        ("bypass_filtering", ctypes.c_int),
        ("no_fancy_upsampling", ctypes.c_int),
        ("use_cropping", ctypes.c_int),
        ("crop_left", ctypes.c_int),
        ("crop_top", ctypes.c_int),
        ("crop_width", ctypes.c_int),
        ("crop_height", ctypes.c_int),
        ("use_scaling", ctypes.c_int),
        ("scaled_size", ctypes.c_int * 2),
        ("others", ctypes.c_int * 4),
        ("pad", ctypes.c_uint32 * 5),
    )


class _Config(ctypes.Structure):
    """WebPDecoderConfig."""

    _fields_ = (("input", _Features), ("output", _Output), ("options", _Options))


_library = ctypes.CDLL(_webp.__file__)  # gives access to libwebp, wherever that lies
_library.WebPDecode.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.POINTER(_Config))
_features_arguments = ctypes.c_char_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_int
_library.WebPGetFeaturesInternal.argtypes = _features_arguments
_library.WebPDemuxInternal.restype = ctypes.c_void_p
_library.WebPDemuxDelete.argtypes = (ctypes.c_void_p,)


def check_container(content: mmap.mmap) -> None:
    """Raise MalformedImageError unless libwebp, which browsers use, finds a whole file."""
    start = ctypes.c_char.from_buffer(content)
    data = _Bytes(ctypes.addressof(start), len(content))
    demuxer = _library.WebPDemuxInternal(ctypes.byref(data), 0, None, _DEMUX_ABI_VERSION)
    if not demuxer:
        raise MalformedImageError("its chunks are not those of the standard")
    _library.WebPDemuxDelete(demuxer)


def check_frame(content: mmap.mmap, frame: Frame) -> None:
    """Decode a frame of a file, which is mapped writable, and keep no pixel.

    Raises MalformedImageError or MemoryError.
    """
    config = _config()
    # A crop of the last corner, at even offsets, decodes all rows and outputs few.
    options = config.options
    options.bypass_filtering = options.use_cropping = 1
    options.crop_left, options.crop_top = (frame.width - 1) & ~1, (frame.height - 1) & ~1
    options.crop_width = frame.width - options.crop_left
    options.crop_height = frame.height - options.crop_top
    length = frame.end - frame.start
    data = (ctypes.c_char * length).from_buffer(content, frame.start)
    _decode(ctypes.addressof(data), length, config)


def decode(content: bytes, scaled: Size | None = None) -> tuple[Size, bytearray]:
    """Return the size and the pixels of a still as red, green, blue and opacity.

    They are averaged to the size `scaled`, if any, which ignores opacity and so suits only opaque
    pictures. Raises MalformedImageError or MemoryError.
    """
    config = _config()
    status = _library.WebPGetFeaturesInternal(
        content, len(content), ctypes.byref(config.input), _ABI_VERSION
    )
    if status != _OK:
        raise MalformedImageError("its pixels cannot be decoded")
    width, height = config.input.ints[:2]
    if scaled:
        width, height = scaled
        config.options.use_scaling = 1
        config.options.scaled_size[:] = scaled
    pixels = bytearray(4 * width * height)
    buffer = config.output.buffer.pixels
    buffer.start = ctypes.addressof(ctypes.c_char.from_buffer(pixels))
    buffer.stride, buffer.size = 4 * width, len(pixels)
    config.output.is_external_memory = 1
    _decode(content, len(content), config)
    return (width, height), pixels


def _config() -> _Config:
    config = _Config()
    if not _library.WebPInitDecoderConfigInternal(ctypes.byref(config), _ABI_VERSION):
        raise RuntimeError("libwebp has another version of this interface")
    config.output.colorspace = _RGBA  # opacity is decoded only on request
    return config


def _decode(data: bytes | int, length: int, config: _Config) -> None:
    status = _library.WebPDecode(data, length, ctypes.byref(config))
    _library.WebPFreeDecBuffer(ctypes.byref(config.output))
    if status == _OUT_OF_MEMORY:
        raise MemoryError
    if status != _OK:
        raise MalformedImageError("its pixels cannot be decoded")
