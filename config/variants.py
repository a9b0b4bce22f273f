"""How the settings VARIANTS and VARIANT_FORMATS are read; settings.py declares them."""

import re
from dataclasses import dataclass
from typing import Self

FORMATS = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp", "avif": "image/avif"}
"""The content type of each format that variants come in, by the ending of their URL."""

_LARGEST_SIDE = 8192
_SPEC = re.compile(r"([1-9][0-9]{0,3})(?:x([1-9][0-9]{0,3})(-crop)?)?", re.ASCII)
_MOST_VARIANTS = 20


@dataclass(frozen=True, slots=True)
class VariantSpec:
    """A box of pixels that the picture is made to fit in, or with `crop` to fill, centred."""

    width: int
    height: int
    crop: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `320`, `640x480` or `320x320-crop`; `320` stands for a square to fit in.

        Each spec has one spelling, which `str` gives back. Raises ValueError for all else.
        """
        match = _SPEC.fullmatch(text)
        if match is None:
            raise ValueError(f"A variant looks like 320, 640x480 or 320x320-crop, not {text!r}.")
        width, height = int(match[1]), int(match[2] or match[1])
        if max(width, height) > _LARGEST_SIDE:
            raise ValueError(f"A side of a variant may have at most {_LARGEST_SIDE} pixels.")
        spec = cls(width, height, crop=bool(match[3]))
        if str(spec) != text:
            raise ValueError(f"The variant {text} is written {spec}.")
        return spec

    def __str__(self) -> str:
        if self.crop:
            return f"{self.width}x{self.height}-crop"
        return str(self.width) if self.width == self.height else f"{self.width}x{self.height}"


def require_variants(specs: tuple[str, ...]) -> tuple[str, ...]:
    """Return the specs. Raises ValueError where one is malformed, or where they are too many."""
    if len(specs) > _MOST_VARIANTS:
        raise ValueError(f"There may be at most {_MOST_VARIANTS} variants.")
    for spec in specs:
        VariantSpec.parse(spec)
    return tuple(dict.fromkeys(specs))


def require_encodings(encodings: tuple[str, ...]) -> tuple[str, ...]:
    """Return the encodings in lower case. Raises ValueError where one is unknown."""
    known = tuple(dict.fromkeys(encoding.lower().lstrip(".") for encoding in encodings))
    if not known or not set(known) <= set(FORMATS):
        raise ValueError(f"must be some of {', '.join(FORMATS)}")
    return known
