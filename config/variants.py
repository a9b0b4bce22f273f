"""The variants that the setting VARIANTS names."""

import re
from dataclasses import dataclass
from typing import Self

_MAX_SIDE = 8192
_SPEC = re.compile(r"([1-9][0-9]{0,3})(?:x([1-9][0-9]{0,3})(-crop)?)?", re.ASCII)
_MAX_VARIANTS = 20


@dataclass(frozen=True, slots=True)
class VariantSpec:
    """A box in pixels. The picture is scaled to fit in it or, with `crop`, to fill it, centred."""

    width: int
    height: int
    crop: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `320`, `640x480` or `320x320-crop`; `320` is short for the box `320x320`.

        Each spec has exactly one spelling, which `str` returns. Raises ValueError for any other.
        """
        match = _SPEC.fullmatch(text)
        if match is None:
            raise ValueError(f"A variant looks like 320, 640x480 or 320x320-crop, not {text!r}.")
        width, height = int(match[1]), int(match[2] or match[1])
        if max(width, height) > _MAX_SIDE:
            raise ValueError(f"A side of a variant may have at most {_MAX_SIDE} pixels.")
        spec = cls(width, height, crop=bool(match[3]))
        if str(spec) != text:
            raise ValueError(f"The variant {text} is written {spec}.")
        return spec

    def __str__(self) -> str:
        if self.crop:
            return f"{self.width}x{self.height}-crop"
        return str(self.width) if self.width == self.height else f"{self.width}x{self.height}"


def require_variants(specs: tuple[str, ...]) -> tuple[str, ...]:
    """Return the specs without duplicates. Raises ValueError for a malformed one or too many."""
    if len(specs) > _MAX_VARIANTS:
        raise ValueError(f"There may be at most {_MAX_VARIANTS} variants.")
    for spec in specs:
        VariantSpec.parse(spec)
    return tuple(dict.fromkeys(specs))
