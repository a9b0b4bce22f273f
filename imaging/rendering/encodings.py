"""How variants are encoded."""

from typing import Any

# Raise it with every change of the pixels or bytes of variants, so that stored ones are made anew.
REVISION = 4
ENCODINGS: dict[str, dict[str, Any]] = {
    "jpg": {"format": "JPEG", "quality": 80, "optimize": True},
    "png": {"format": "PNG"},
    # With transparency, method 4 takes 1.4 times the CPU for a file of the same size.
    "webp": {"format": "WEBP", "quality": 75, "method": 3},
    # Speed 8 takes four times the CPU for a file that is at most 7 % smaller.
    "avif": {"format": "AVIF", "quality": 50, "speed": 9, "max_threads": 1},
}
