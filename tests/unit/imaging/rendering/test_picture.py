"""Variants look like their originals: upright, sharp, in the right colours, without metadata."""

import io
import math
import zlib
from statistics import fmean

import pytest
from PIL import ExifTags, Image, ImageOps, PngImagePlugin

from config import VariantSpec
from devstack.service_process import ROOT
from imaging.containers.content import MalformedImageError
from imaging.rendering.picture import render_picture
from tests.support.containers import chunk, gif_file, gif_frame, gif_pixels, png_file
from tests.support.icc_profiles import (
    ADOBE_RGB,
    DISPLAY_P3,
    RgbSpace,
    delta_e,
    grey_profile,
    linear_to_srgb,
)
from tests.support.pictures import encoded

PHOTO = ROOT / "docs" / "sunset.jpg"
FORMATS = {"jpeg": "JPEG", "png": "PNG", "gif": "GIF", "webp": "WEBP"}


def saved(image: Image.Image, image_format: str = "png", **options: object) -> io.BytesIO:
    """Return the encoded picture as a file."""
    file = io.BytesIO()
    image.save(file, FORMATS[image_format], **options)
    file.seek(0)
    return file


def variant(
    file: io.BytesIO, spec: str, image_format: str = "png", encoding: str = "png"
) -> Image.Image:
    """Render and decode a variant of a picture."""
    output = io.BytesIO()
    size = render_picture(file.getvalue(), image_format, VariantSpec.parse(spec), encoding, output)
    picture = Image.open(output)
    picture.load()
    assert picture.size == size
    return picture


def colour_of(image: Image.Image, mode: str = "RGB", at: tuple[int, int] = (9, 9)) -> list[int]:
    """Return the channels of one pixel in that mode."""
    return list(image.convert(mode).crop((*at, at[0] + 1, at[1] + 1)).tobytes())


def similarity(one: Image.Image, other: Image.Image, window: int = 8) -> float:
    """Return the mean SSIM of two pictures in grey (Wang et al. 2004)."""
    assert one.size == other.size
    found = []
    for left in range(0, one.width - window + 1, window):
        for top in range(0, one.height - window + 1, window):
            box = (left, top, left + window, top + window)
            x, y = (picture.convert("L").crop(box).tobytes() for picture in (one, other))
            mx, my = fmean(x), fmean(y)
            vx, vy = fmean((v - mx) ** 2 for v in x), fmean((v - my) ** 2 for v in y)
            both = fmean((v - mx) * (w - my) for v, w in zip(x, y, strict=True))
            same = (2 * mx * my + 6.5025) * (2 * both + 58.5225)
            found.append(same / ((mx * mx + my * my + 6.5025) * (vx + vy + 58.5225)))
    return fmean(found)


def photo() -> Image.Image:
    """Return a large picture with as much detail as a photograph."""
    with Image.open(PHOTO) as image:
        smooth = image.convert("RGB").resize((2400, 1500), Image.Resampling.BICUBIC)
    grain = Image.effect_noise(smooth.size, 40).convert("RGB")
    return Image.blend(smooth, grain, 0.15)


def zone_plate(side: int = 1200) -> Image.Image:
    """Return concentric rings, whose frequency rises to the limit of a picture of 320 pixels."""
    middle, scale = side / 2, math.pi * 0.2 / side
    rows = (
        bytes(
            round(127.5 + 127.5 * math.cos(scale * ((x - middle) ** 2 + (y - middle) ** 2)))
            for x in range(side)
        )
        for y in range(side)
    )
    return Image.frombytes("L", (side, side), b"".join(rows))


@pytest.mark.parametrize("image_format", ["png", "jpeg"])
def test_sharp(image_format: str) -> None:
    """A resized photograph is close to Lanczos resampling."""
    original = photo()
    options = {"quality": 95} if image_format == "jpeg" else {"compress_level": 1}
    file = saved(original, image_format, **options)
    reference = Image.open(file).convert("RGB").resize((320, 200), Image.Resampling.LANCZOS)
    assert similarity(variant(file, "320", image_format), reference) >= 0.995


def test_zone_plate() -> None:
    """Resizing fine rings causes no aliasing."""
    original = zone_plate()
    for image_format, options in (("png", {}), ("jpeg", {"quality": 95})):
        file = saved(original, image_format, **options)
        reference = original.resize((320, 320), Image.Resampling.LANCZOS)
        assert similarity(variant(file, "320", image_format), reference) >= 0.97


@pytest.mark.parametrize("image_format", ["jpeg", "png"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("spec", ["64", "64x32", "40x40-crop"])
def test_upright(orientation: int, spec: str, image_format: str) -> None:
    """A variant is upright for all eight Exif orientations."""
    corners = Image.new("RGB", (203, 101), "white")
    for corner, colour in {(0, 0): "red", (153, 0): "green", (0, 51): "blue"}.items():
        corners.paste(colour, (*corner, corner[0] + 50, corner[1] + 50))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    file = saved(corners, image_format, exif=exif, quality=95)
    upright = ImageOps.exif_transpose(Image.open(file))
    reference = variant(saved(upright), spec)
    picture = variant(file, spec, image_format)
    assert picture.size == reference.size
    assert similarity(picture, reference) > 0.99


@pytest.mark.parametrize("space", [ADOBE_RGB, DISPLAY_P3], ids=["Adobe RGB", "Display P3"])
@pytest.mark.parametrize("encoding", ["png", "jpg", "webp"])
def test_colours(space: RgbSpace, encoding: str) -> None:
    """Colours of other spaces are converted to sRGB."""
    for colour in [(128, 128, 128), (180, 120, 90), (90, 140, 110), (60, 70, 140), (230, 220, 200)]:
        file = saved(Image.new("RGB", (64, 64), colour), "png", icc_profile=space.profile())
        red, green, blue = colour_of(variant(file, "32", encoding=encoding))
        assert delta_e((red, green, blue), space.in_srgb(colour)) < 2


def test_broken_profile() -> None:
    """A malformed profile is ignored."""
    file = saved(Image.new("RGB", (64, 64), (10, 200, 30)), "png", icc_profile=b"nonsense" * 20)
    assert colour_of(variant(file, "32")) == [10, 200, 30]


def test_modes() -> None:
    """Palettes, grey, transparency, one bit, sixteen bits and CMYK keep their colours."""
    palette = Image.new("RGB", (64, 64), (200, 30, 40)).quantize(8)
    assert colour_of(variant(saved(palette), "32")) == [200, 30, 40]
    see_through = variant(saved(Image.new("LA", (64, 64), (90, 128))), "32")
    assert colour_of(see_through, "RGBA") == pytest.approx([90, 90, 90, 128], abs=1)
    stripes = Image.new("1", (64, 64))
    stripes.paste(1, (0, 0, 64, 32))
    grey = variant(saved(stripes), "16")
    assert (colour_of(grey, "L", (8, 2)), colour_of(grey, "L", (8, 13))) == ([255], [0])
    deep = Image.new("I;16", (64, 64), 0x8000)
    assert colour_of(variant(saved(deep), "32"), "L") == [128]
    ink = variant(saved(Image.new("CMYK", (64, 64), (0, 255, 255, 0)), "jpeg"), "32", "jpeg")
    red, green, blue = colour_of(ink)
    assert red > 200
    assert max(green, blue) < 60


def flat_png(form: bytes, pixel: bytes, *chunks: bytes) -> io.BytesIO:
    """Return a PNG of 64 x 64 pixels; `pixel` is one row's share of eight of them."""
    content = chunk(b"IDAT", zlib.compress((b"\0" + pixel * 8) * 64))
    return io.BytesIO(png_file(*chunks, content, width=64, height=64, form=form))


@pytest.mark.parametrize(
    ("form", "pixel", "transparent"),
    [
        (b"\1\0", b"\xff", b"\0\1"),
        (b"\2\0", b"\x55\x55", b"\0\1"),
        (b"\4\0", b"\x88" * 4, b"\0\x08"),
        (b"\x08\0", b"\x88" * 8, b"\0\x88"),
        (b"\x10\0", b"\x88\x01" * 8, b"\x88\x01"),
        (b"\x08\2", b"\x10\x20\x30" * 8, b"\0\x10\0\x20\0\x30"),
        (b"\x10\2", b"\1\x10\2\x20\3\x30" * 8, b"\1\x10\2\x20\3\x30"),
    ],
    ids=["1 bit", "2 bits", "4 bits", "8 bits", "16 bits", "RGB", "RGB of 16 bits"],
)
def test_transparent_colour(form: bytes, pixel: bytes, transparent: bytes) -> None:
    """The colour that tRNS declares transparent is transparent, at every bit depth."""
    file = flat_png(form, pixel, chunk(b"tRNS", transparent))
    assert colour_of(variant(file, "32"), "RGBA")[3] == 0
    other = bytes(len(transparent))
    assert colour_of(variant(flat_png(form, pixel, chunk(b"tRNS", other)), "32"), "RGBA")[3] == 255


def test_small_first_frame() -> None:
    """The area around a first frame that is smaller than the GIF's screen is transparent."""
    pixels = gif_pixels(encoded(Image.new("1", (32, 32), 1), "GIF"))
    file = io.BytesIO(gif_file(gif_frame(32, 32, (16, 16), pixels), width=64, height=64))
    picture = variant(file, "64", "gif")
    assert colour_of(picture, "RGBA", (8, 8))[3] == 0
    assert colour_of(picture, "RGBA", (30, 30))[3] == 255


MODES = {
    "jpeg": ["L", "RGB", "CMYK"],
    "png": ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"],
    "gif": ["1", "L", "P", "RGBA"],
    "webp": ["L", "RGB", "RGBA"],
}


@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("encoding", ["jpg", "png", "webp", "avif"])
@pytest.mark.parametrize("image_format", MODES)
def test_every_encoding(image_format: str, encoding: str, *, moving: bool) -> None:
    """Pictures of every mode have variants in every encoding, even where nothing is scaled."""
    for mode in MODES[image_format]:
        picture = Image.linear_gradient("L").resize((64, 64)).convert(mode)
        frames = [picture.transpose(Image.Transpose.ROTATE_90)]
        options = {"save_all": True, "append_images": frames}
        file = saved(picture, image_format, **options if moving and image_format != "jpeg" else {})
        for spec, side in (("64", 64), ("320", 64), ("16", 16)):
            assert variant(file, spec, image_format, encoding).size == (side, side), (mode, spec)


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_grey_profile(mode: str) -> None:
    """Grey with a profile is converted to grey in sRGB and keeps its transparency."""
    values: dict[str, int | tuple[int, int]] = {"L": 100, "LA": (100, 255), "I;16": 100 * 257}
    file = saved(
        Image.new(mode, (64, 64), values[mode]), icc_profile=grey_profile(lambda part: part)
    )
    picture = variant(file, "32")
    assert picture.mode == ("LA" if mode == "LA" else "L")
    assert colour_of(picture, "L") == pytest.approx([255 * linear_to_srgb(100 / 255)], abs=1)


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([chunk(b"gAMA", b"\0\x01\x86\xa0")], 255 * linear_to_srgb(100 / 255)),
        ([chunk(b"gAMA", b"\0\0\xb1\x8f")], 100),
        ([chunk(b"sRGB", b"\0"), chunk(b"gAMA", b"\0\x01\x86\xa0")], 100),
    ],
    ids=["linear", "1/2.2", "sRGB"],
)
def test_gamma(chunks: list[bytes], expected: float) -> None:
    """A PNG's gAMA is applied, except if it is that of sRGB or the PNG has an sRGB chunk."""
    picture = variant(flat_png(b"\x08\2", b"\x64\x64\x64" * 8, *chunks), "32")
    assert colour_of(picture) == pytest.approx([expected] * 3, abs=1)


def test_orientation_of_xmp() -> None:
    """The orientation in XMP is ignored, as in browsers and in the image's metadata."""
    xmp = (
        b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description'
        b' xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF>'
    )
    file = saved(Image.new("RGB", (64, 32)), "jpeg", xmp=xmp)
    assert variant(file, "32", "jpeg").size == (32, 16)


def test_transparent_as_jpeg() -> None:
    """Transparent pixels become white in a JPEG."""
    file = saved(Image.new("RGBA", (64, 64), (255, 0, 0, 0)))
    assert min(colour_of(variant(file, "32", encoding="jpg"))) > 250


@pytest.mark.parametrize("image_format", ["gif", "webp", "png"])
def test_first_frame(image_format: str) -> None:
    """A variant of an animation shows its first frame."""
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    file = saved(frames[0], image_format, save_all=True, append_images=frames[1:])
    assert colour_of(variant(file, "32", image_format))[0] > 250


@pytest.mark.parametrize("encoding", ["jpg", "png", "webp", "avif"])
def test_no_metadata(encoding: str) -> None:
    """A variant contains no Exif, profile, comment or text of its original."""
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "somebody"
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "somewhere")
    options = {"exif": exif, "icc_profile": DISPLAY_P3.profile(), "pnginfo": text}
    picture = variant(saved(Image.new("RGB", (64, 64)), "png", **options), "32", encoding=encoding)
    assert not dict(picture.getexif())
    assert not {"icc_profile", "comment", "Comment", "xmp", "exif"} & set(picture.info)


def test_same_bytes() -> None:
    """Rendering a file twice gives identical bytes."""
    file, outputs = saved(photo(), "jpeg"), []
    for _ in range(2):
        outputs.append(io.BytesIO())
        render_picture(file.getvalue(), "jpeg", VariantSpec.parse("320"), "webp", outputs[-1])
    assert outputs[0].getvalue() == outputs[1].getvalue()


def test_not_a_picture() -> None:
    """A file that cannot be decoded raises MalformedImageError."""
    for content in (b"\x89PNG\r\n\x1a\nnothing", b"", b"\x89PNG"):
        with pytest.raises(MalformedImageError):
            render_picture(content, "png", VariantSpec.parse("320"), "png", io.BytesIO())
