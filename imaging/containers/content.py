"""Reading the bytes of a file, and the error of malformed ones."""

import mmap

Content = bytes | mmap.mmap


class MalformedImageError(Exception):
    """The bytes violate their format; the message names the rule in a few words."""


def take(content: Content, at: int, count: int) -> bytes:
    """Return `count` bytes at the offset `at`. Raises MalformedImageError if there are fewer."""
    if at + count > len(content):
        raise MalformedImageError("it is cut short")
    return content[at : at + count]


def number(content: Content, at: int, count: int, order: str) -> int:
    """Return the unsigned integer in `count` bytes; `order` is "big" or "little"."""
    return int.from_bytes(take(content, at, count), order)  # type: ignore[arg-type]
