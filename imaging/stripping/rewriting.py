"""List what remains of a file, and rewrite the file in place."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, NamedTuple, Self

from imaging.containers.content import Content, MalformedImageError

_BLOCK_BYTES = 256 * 1024


class _Piece(NamedTuple):
    """A stretch of the file, or its replacement, which is never longer."""

    start: int
    end: int
    replacement: bytes | None = None


@dataclass(slots=True)
class Remains:
    """The pieces of a file that remain, in order."""

    content: Content
    pieces: list[_Piece] = field(default_factory=list)

    def keep(self, start: int, end: int) -> None:
        """Keep the bytes from `start` to `end`."""
        self._add(_Piece(start, end))

    def replace(self, start: int, replacement: bytes) -> None:
        """Overwrite the file from `start` with `replacement`, which ends within the file."""
        end = start + len(replacement)
        is_same = self.content[start:end] == replacement
        self._add(_Piece(start, end, None if is_same else replacement))

    def append(self, other: Self) -> None:
        """Add the pieces of `other`, which follow all of these in the same file."""
        for piece in other.pieces:
            self._add(piece)

    def _add(self, piece: _Piece) -> None:
        last = self.pieces[-1] if self.pieces else _Piece(0, 0)
        if piece.start < last.end:
            raise MalformedImageError("its parts overlap")
        if piece.start == last.end and piece.replacement is last.replacement is None:
            self.pieces[-1:] = [_Piece(last.start, piece.end)]
        elif piece.start < piece.end:
            self.pieces.append(piece)

    @property
    def size(self) -> int:
        """The bytes of all pieces together."""
        return sum(piece.end - piece.start for piece in self.pieces)

    @property
    def is_everything(self) -> bool:
        """Whether the file remains as it is."""
        return self.pieces == [_Piece(0, len(self.content))]

    def rewrite(self, file: IO[bytes]) -> None:
        """Remove everything else from `file`, of which `content` may be a mapping.

        No piece moves towards the end of the file, so each is read before another overwrites it.
        """
        first, *others = self.pieces
        is_in_place = first.start == 0 and first.replacement is None
        file.seek(first.end if is_in_place else 0)
        try:
            for block in self._blocks(others if is_in_place else self.pieces):
                file.write(block)
        except MemoryError:  # a retry would find a file of which half is written
            raise OSError("There is no memory to rewrite a file") from None
        file.truncate()
        file.flush()

    def _blocks(self, pieces: list[_Piece]) -> Iterator[bytes]:
        block = bytearray()
        for start, end, replacement in pieces:
            source, base = (self.content, start) if replacement is None else (replacement, 0)
            for at in range(base, base + end - start, _BLOCK_BYTES):
                block += source[at : min(at + _BLOCK_BYTES, base + end - start)]
                if len(block) >= _BLOCK_BYTES:
                    yield bytes(block)
                    block.clear()
        yield bytes(block)
