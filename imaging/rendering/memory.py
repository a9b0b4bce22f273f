"""Compute from the header how much memory rendering takes, so that one attempt is enough."""

import math

from imaging.rendering.sizes import Box, shown_region, target_size
from imaging.stills.still import Still

# The bytes that Pillow 13 takes for each pixel of a variant, measured with noise, which is the
# worst case, and rounded up.
_RESIZING = 20
_ENCODING = {"jpg": 16, "png": 16, "webp": 28, "avif": 40}
_ENCODING_TRANSPARENCY = 24
# Decoders that scale a large picture leave at most three times the size of the variant.
_LARGEST_FRACTION = 3 * 3
_DECODED_BYTES, _ROW_BYTES = 4, 1024


def rendering_bytes(source: Still, box: Box, encoding: str) -> int:
    """Return the maximum bytes that a variant of `source` takes, besides the file itself."""
    shown = source.shown
    left, top, right, bottom = shown_region(shown, box)
    pixels, part = math.prod(shown), (right - left) * (bottom - top)
    made = math.prod(target_size(shown, box))
    decoding = source.pixel_bytes * pixels + _RESIZING * made
    if source.scales:
        decoding += int(_DECODED_BYTES * pixels * min(1, _LARGEST_FRACTION * made / part))
        decoding += _ROW_BYTES * source.canvas[0]
    if source.at_once:
        decoding += 2 * source.size_bytes
    transparency = 0 if source.is_opaque else _ENCODING_TRANSPARENCY
    return max(decoding, (_ENCODING[encoding] + transparency) * made)
