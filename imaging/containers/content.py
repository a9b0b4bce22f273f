"""Read the bytes of a file, and report malformed ones."""

import mmap
from typing import Literal

Content = bytes | mmap.mmap


class MalformedImageError(Exception):
    """The bytes violate their format; the message names the rule in a few words."""


def take(content: Content, at: int, count: int) -> bytes:
    """Return `count` bytes at the offset `at`. Raises MalformedImageError if there are fewer."""
    if at + count > len(content):
        raise MalformedImageError("it is cut short")
    return content[at : at + count]


def number(content: Content, at: int, count: int, order: Literal["big", "little"]) -> int:
    """Return the unsigned integer in `count` bytes. Raises the errors of `take`."""
    return int.from_bytes(take(content, at, count), order)
