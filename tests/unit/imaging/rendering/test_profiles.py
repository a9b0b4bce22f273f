"""Profiles are reduced to what browsers read, and built from primaries."""

import io
import struct
import tempfile

from PIL import Image

from config import VariantSpec
from imaging.decoding.variant_maker import VariantMaker
from tests.support.colour_tables import profile
from tests.support.pictures import encoded

_PICTURE = Image.new("RGB", (40, 30), (200, 60, 30))


def test_burning_profile() -> None:
    """A profile that lists thousands of matrices costs little CPU, because the list is ignored."""
    matrix = (
        b"matf" + bytes(4) + b"\0\3\0\3" + struct.pack(">12f", 1, 0, 0, 0, 1, 0, 0, 0, 1, *[0] * 3)
    )
    places = struct.pack(">II", 16 + 8 * 20_000, len(matrix)) * 20_000
    matrices = b"mpet" + bytes(4) + struct.pack(">HHI", 3, 3, 20_000) + places + matrix
    icc = profile((b"D2B0", matrices), pcs=b"XYZ ", version=0x04300000)
    maker = VariantMaker(max_pixels=10**6, max_animation_pixels=10**6, cpu_seconds=2)
    with tempfile.TemporaryFile() as file:
        file.write(encoded(_PICTURE, "PNG", icc_profile=icc))
        file.flush()
        made = maker.make(file, "png", 64 * 64, VariantSpec(32, 32), "png")
    maker.close()
    assert Image.open(io.BytesIO(made.content)).getpixel((9, 9)) == (200, 60, 30)
