"""How much memory rendering takes: computed from the header, so that enough is granted at once.

imaging/decoding/variant_maker.py bounds what one picture may be granted at all.
"""

import math

from imaging.containers.exif import SIDEWAYS
from imaging.rendering.sizes import Box, shown_region, target_size
from imaging.stills.still import Still

# What Pillow 13 takes for each pixel of a variant: of noise, the worst, and with room to spare.
_RESIZING = 20
_ENCODING = {"jpg": 16, "png": 16, "webp": 28, "avif": 40}
_ENCODING_TRANSPARENCY = 24
# Decoders that scale leave up to three times the variant's size, except of small pictures.
_LARGEST_FRACTION = 3 * 3
_DECODED_BYTES, _ROW_BYTES = 4, 1024


def rendering_bytes(source: Still, box: Box, encoding: str) -> int:
    """Return the most bytes of memory that a variant of `source` takes, beside the file itself."""
    shown = source.canvas[::-1] if source.orientation in SIDEWAYS else source.canvas
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
