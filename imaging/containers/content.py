"""The bytes of a file as the walks read them, and how they refuse."""

import mmap

Content = bytes | mmap.mmap


class MalformedImageError(Exception):
    """The bytes break a rule of their format; the message says which, in a few words."""


def take(content: Content, at: int, count: int) -> bytes:
    """Return `count` bytes from the offset `at`; raises MalformedImageError at the end."""
    if at + count > len(content):
        raise MalformedImageError("it is cut short")
    return content[at : at + count]


def number(content: Content, at: int, count: int, order: str) -> int:
    """Return the unsigned integer of `count` bytes, `order` being "big" or "little"."""
    return int.from_bytes(take(content, at, count), order)  # type: ignore[arg-type]
