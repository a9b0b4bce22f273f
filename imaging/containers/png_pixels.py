"""Inflate and check the compressed pixels of a PNG or APNG file without keeping them."""

import itertools
import zlib
from collections.abc import Iterator
from operator import itemgetter

from imaging.containers import png
from imaging.containers.content import Content, MalformedImageError

_FILTER_TYPES = bytes(range(5))
_Chunks = Iterator[tuple[bytes, int, int]]


def inflate(content: Content) -> list[tuple[int, int]]:
    """Inflate the pixels of every frame of a file that was walked.

    Return the start and end of each stretch that follows the compressed pixels of a frame in its
    chunks, which no decoder reads. Raises MalformedImageError unless every frame has all its
    scanlines, with known filters.
    """
    header = png.read_header(content)
    size = header.width, header.height
    kinds = png.OF_FRAMES if png.announced_frames(content) else {b"IDAT"}
    frames = (chunk for chunk in png.chunks(content) if chunk[0] in kinds)
    surplus = []
    for kind, group in itertools.groupby(frames, key=itemgetter(0)):
        if kind == b"fcTL":
            size = [png.frame_size(content, at, header) for _, at, _ in group][-1]
            continue
        stream = _Stream(content, group)
        _check_scanlines(stream.inflated(), header.passes(*size))
        surplus += stream.surplus()
    return surplus


class _Stream:
    """The compressed pixels of one frame."""

    def __init__(self, content: Content, chunks: _Chunks) -> None:
        self._content = content
        self._chunks = chunks
        self._inflater = zlib.decompressobj()
        self._read = self._end_of_chunk = 0

    def inflated(self) -> Iterator[bytes]:
        """Yield the inflated pixels in pieces, up to the end of the compressed data."""
        inflater = self._inflater
        try:
            for block in self._blocks():
                yield inflater.decompress(block, png.INFLATED_BYTES)
                while inflater.unconsumed_tail and not inflater.eof:
                    yield inflater.decompress(inflater.unconsumed_tail, png.INFLATED_BYTES)
                if inflater.eof:  # zlib would collect what follows
                    return
            while piece := inflater.decompress(b"", png.INFLATED_BYTES):
                yield piece
        except zlib.error:
            raise MalformedImageError("its pixels cannot be inflated") from None
        if not inflater.eof:
            raise MalformedImageError("its pixels are cut short")

    def surplus(self) -> list[tuple[int, int]]:
        """Return the start and end of what follows the compressed data; empty if nothing does."""
        if not self._inflater.eof:
            return []
        start, end = self._read - len(self._inflater.unused_data), self._end_of_chunk
        for _, at, length in self._chunks:
            end = at + length
        return [(start, end)] if start < end else []

    def _blocks(self) -> Iterator[bytes]:
        for kind, at, length in self._chunks:
            start = at + 4 if kind == b"fdAT" else at  # after the sequence number
            self._end_of_chunk = at + length
            for place in range(start, at + length, png.BLOCK_BYTES):
                self._read = min(place + png.BLOCK_BYTES, at + length)
                yield self._content[place : self._read]


def _check_scanlines(data: Iterator[bytes], passes: list[tuple[int, int]]) -> None:
    stride, remaining = 0, 0  # of the current pass: bytes of a scanline, and bytes to come
    waiting = list(reversed(passes))
    for block in data:
        at = 0
        while at < len(block):
            if not remaining:
                if not waiting:
                    return
                stride, rows = waiting.pop()
                remaining = stride * rows
            part = block[at : at + remaining]
            # Every scanline begins with its filter type.
            if part[remaining % stride :: stride].translate(None, _FILTER_TYPES):
                raise MalformedImageError("a scanline has an unknown filter")
            remaining -= len(part)
            at += len(part)
    if remaining or waiting:
        raise MalformedImageError("it has too few pixels")
