"""Profiles are reduced to what browsers read, and built from primaries."""

import io
import struct
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from config import VariantSpec
from imaging.decoding.variant_maker import VariantMaker
from imaging.rendering.profiles import (
    NAMED_PRIMARIES,
    SRGB_PRIMARIES,
    conversion,
    of_primaries,
    product,
    reduced,
)
from imaging.rendering.transfer_functions import srgb
from tests.support.colour_tables import profile
from tests.support.icc_profiles import ADOBE_RGB, grey_profile
from tests.support.pictures import encoded

_PICTURE = Image.new("RGB", (40, 30), (200, 60, 30))
_TEXT = b"text\0\0\0\0secret"


@pytest.mark.parametrize("number", NAMED_PRIMARIES)
def test_white_stays_white(number: int) -> None:
    """White of any primaries is white in all others, and so is each grey."""
    matrix = conversion(NAMED_PRIMARIES[number], SRGB_PRIMARIES)
    assert product(matrix, [0.5] * 3) == pytest.approx([0.5] * 3)


@pytest.mark.parametrize("number", NAMED_PRIMARIES)
def test_there_and_back(number: int) -> None:
    """A conversion to other primaries and back changes no colour."""
    primaries, colour = NAMED_PRIMARIES[number], [0.1, 0.5, 0.9]
    there = product(conversion(primaries, SRGB_PRIMARIES), colour)
    assert product(conversion(SRGB_PRIMARIES, primaries), there) == pytest.approx(colour)


def test_of_srgb() -> None:
    """A profile that is built from the primaries of sRGB changes no colour."""
    built = of_primaries(SRGB_PRIMARIES, srgb)
    assert built
    ours = ImageCms.ImageCmsProfile(io.BytesIO(built.content))
    theirs = ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(_PICTURE, ours, theirs)
    assert converted
    pixel = converted.getpixel((0, 0))
    assert pixel == pytest.approx((200, 60, 30), abs=1)


def test_no_primaries() -> None:
    """Primaries that span no colour space have no profile."""
    assert of_primaries((0.3, 0.3) * 4, srgb) is None


def test_reduced() -> None:
    """Tags that browsers do not read are removed, and the others keep their place."""
    found = reduced(profile((b"A2B0", b"a table"), (b"D2B0", b"floats"), (b"desc", _TEXT)))
    assert found
    assert found.space == b"RGB "
    (count,) = struct.unpack_from(">I", found.content, 128)
    names = [found.content[at : at + 4] for at in range(132, 132 + 12 * count, 12)]
    assert sorted(names) == [b"A2B0", b"wtpt"]


@pytest.mark.parametrize("whole", [ADOBE_RGB.profile(), grey_profile(lambda part: part)])
def test_needed_tags(whole: bytes) -> None:
    """A profile without the tags that its colour space needs is ignored."""
    assert reduced(whole)
    for tag in (b"rTRC", b"kTRC", b"gXYZ"):
        if tag in whole:
            assert reduced(whole.replace(tag, b"xxxx", 1)) is None


@given(st.dictionaries(st.integers(0, 300), st.integers(0, 255), max_size=5), st.integers(0, 600))
def test_damaged(changes: dict[int, int], length: int) -> None:
    """A damaged profile is ignored, or stays within its bytes."""
    content = bytearray(ADOBE_RGB.profile())
    for at, value in changes.items():
        content[at] = value
    for damaged in (bytes(content), bytes(content[:length])):
        found = reduced(damaged)
        assert found is None or len(found.content) <= len(damaged)


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
