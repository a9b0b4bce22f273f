"""Convert pictures of any colour model to grey or RGB in sRGB, with or without transparency.

Chromium is the reference.
"""

import functools
import io

from PIL import Image, ImageChops, ImageCms

from imaging.rendering import hdr, profiles, transfer_functions
from imaging.rendering.profiles import SRGB_PRIMARIES, Chromaticities, Profile
from imaging.rendering.transfer_functions import Transfer
from imaging.stills.still import ColourSpace

_SRGB = ImageCms.createProfile("sRGB")
# A grey picture may have an RGB profile, which then defines its greys.
_SPACES = {"L": {b"GRAY", b"RGB "}, "RGB": {b"RGB "}, "CMYK": {b"CMYK"}}
_USUAL_GAMMA = 0.45455
_GREY_LEVELS = 2  # by which rounding may separate the bands of a grey
_CACHED_PROFILE_BYTES = 16 * 1024
_EIGHT_BITS_OF_SIXTEEN = [(value + 128) // 257 for value in range(65536)]


def averageable(image: Image.Image, key: tuple[int, ...] | None) -> Image.Image:
    """Return a decoded picture in a mode that can be averaged: eight bits, no palette.

    `key` is the transparent colour, if any, at the depth of the picture.
    """
    if image.mode.startswith("I"):
        return _of_deep_grey(image.convert("I"), key)
    if image.mode == "1":
        image = image.convert("L")
    if key is not None:
        image.info["transparency"] = key if len(key) > 1 else key[0]
    if "transparency" in image.info:
        return image.convert("LA" if image.mode == "L" else "RGBA")
    return image.convert("RGB") if image.mode == "P" else image


def _of_deep_grey(image: Image.Image, key: tuple[int, ...] | None) -> Image.Image:
    grey = image.point(_EIGHT_BITS_OF_SIXTEEN, "L")
    if key is not None:
        opacity = [255] * 65536
        opacity[key[0]] = 0
        grey.putalpha(image.point(opacity, "L"))
    return grey


def to_srgb(image: Image.Image, colours: ColourSpace) -> Image.Image:
    """Return a picture in a mode of `averageable` in sRGB; grey and transparency stay.

    The precedence is that of PNG 3 (section 13.14): cICP, profile, sRGB, gAMA with cHRM. Unknown or
    broken colour spaces, and those of another colour model, are ignored.
    """
    if image.mode in {"LA", "RGBA"}:
        opaque = to_srgb(image.convert(image.mode[:-1]), colours)
        opaque.putalpha(image.getchannel("A"))
        return opaque
    if coded := _from_cicp(image, colours.cicp):
        return coded
    profile = profiles.reduced(colours.icc)
    if profile and profile.space in _SPACES[image.mode]:
        return _from_cicp(image, profile.cicp) or _from_profile(image, profile)
    if colours.gamma and not (profile or _is_srgb(colours)):
        power = transfer_functions.power(1 / colours.gamma)
        return _from_primaries(image, colours.chromaticities or SRGB_PRIMARIES, power)
    return image.convert("RGB") if image.mode == "CMYK" else image


def _from_cicp(image: Image.Image, cicp: tuple[int, int] | None) -> Image.Image | None:
    """Convert from primaries and a transfer function of ITU-T H.273; None if they are unknown."""
    primaries, transfer = cicp or (0, 0)
    if primaries not in profiles.NAMED_PRIMARIES or image.mode == "CMYK":
        return None
    if transfer in hdr.TRANSFERS:
        return hdr.to_srgb(image, primaries, transfer)
    function = transfer_functions.NAMED.get(transfer)
    named = profiles.NAMED_PRIMARIES[primaries]
    return _from_primaries(image, named, function) if function else None


def _is_srgb(colours: ColourSpace) -> bool:
    """Whether a file without a profile declares sRGB, or its gamma without other primaries."""
    usual = abs((colours.gamma or 0) - _USUAL_GAMMA) < 0.01 and not colours.chromaticities
    return colours.is_srgb or usual


def _from_primaries(
    image: Image.Image, chromaticities: Chromaticities, transfer: Transfer
) -> Image.Image:
    if image.mode == "RGB" and tuple(chromaticities) != SRGB_PRIMARIES:
        profile = profiles.of_primaries(chromaticities, transfer)
        return _from_profile(image, profile) if profile else image
    samples = transfer_functions.samples_in_srgb(transfer)
    return image.point(samples * len(image.getbands()))


def _from_profile(image: Image.Image, profile: Profile) -> Image.Image:
    """Apply a profile. A profile that littlecms cannot use counts as sRGB."""
    source = image.convert("RGB") if profile.space == b"RGB " else image
    try:
        is_small = len(profile.content) <= _CACHED_PROFILE_BYTES
        transform = (_cached_transform if is_small else _transform)(profile.content, source.mode)
        result = transform.apply(source)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image.convert("RGB") if image.mode == "CMYK" else image
    return result.convert("L") if image.mode == "L" and _is_grey(result) else result


def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(io.BytesIO(profile), _SRGB, mode, "RGB")


# Building one takes 3 ms, and all photos of one kind of phone have the same profile. The limit of
# the next job includes the memory of cached transforms, which is small for small profiles.
_cached_transform = functools.lru_cache(maxsize=4)(_transform)


def _is_grey(image: Image.Image) -> bool:
    """Whether an RGB picture has only greys. Some profiles tint the greys of a picture."""
    red, green, blue = image.split()
    differences = (ImageChops.difference(green, band).histogram() for band in (red, blue))
    return not any(any(levels[_GREY_LEVELS + 1 :]) for levels in differences)


def on_white(image: Image.Image) -> Image.Image:
    """Return the picture without transparency, as it looks on a white page."""
    if image.mode not in {"LA", "RGBA"}:
        return image
    page = Image.new(image.mode[:-1], image.size, "white")
    page.paste(image.convert(image.mode[:-1]), mask=image.getchannel("A"))
    return page
