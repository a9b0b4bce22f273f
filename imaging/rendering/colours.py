"""Pictures of any colour model as grey or RGB, with or without transparency, in sRGB."""

import io
from typing import Any

from PIL import Image, ImageCms, ImageFile

_SRGB = ImageCms.createProfile("sRGB")
_AS_IT_IS = {"L", "LA", "RGB", "RGBA", "CMYK"}
_EIGHT_BITS_OF_SIXTEEN = [(value + 128) // 257 for value in range(65536)]
# Grey of two and four bits is decoded to eight.
_STEPS = {"L;2": 85, "L;4": 17}
_USUAL_GAMMA = 0.45455


def transparent_colour(image: ImageFile.ImageFile) -> Any:
    """Return what Pillow's `info` calls transparency, None where nothing is transparent.

    As the decoded pixels have it: Pillow leaves a PNG's colour as deep as it is in the file (its
    tRNS chunk). To be asked before the pixels are decoded.
    """
    colour = image.info.get("transparency")
    stored = image.tile[0].args if image.tile else ""
    if colour is not None and stored in _STEPS:
        return colour * _STEPS[stored]
    if isinstance(colour, tuple) and stored == "RGB;16B":
        return tuple(value >> 8 for value in colour)
    return colour


def resizable(image: Image.Image, transparent: Any) -> Image.Image:
    """Return the picture in a mode whose pixels may be averaged: eight bits, and no palette."""
    if image.mode.startswith("I"):
        image = image.convert("I")
        grey = image.point(_EIGHT_BITS_OF_SIXTEEN, "L")
        if transparent is not None:
            opacity = [255] * 65536
            opacity[transparent] = 0
            grey.putalpha(image.point(opacity, "L"))
        return grey
    if transparent is not None:
        image.info["transparency"] = transparent
        return image.convert("LA" if image.mode in {"1", "L"} else "RGBA")
    if image.mode in _AS_IT_IS:
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def to_srgb(image: Image.Image, info: dict[Any, Any]) -> Image.Image:
    """Return a picture of `resizable`'s modes in sRGB; grey and transparency stay.

    `info` is Pillow's of the file. A profile (ICC.1:2010) that is broken, or of another colour
    model, counts as none; without one and without an sRGB chunk a PNG's gAMA counts.
    """
    if image.mode in {"LA", "RGBA"}:
        colours = to_srgb(image.convert(image.mode[:-1]), info)
        colours.putalpha(image.getchannel("A"))
        return colours
    if profile := info.get("icc_profile"):
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, _SRGB, outputMode="RGB")
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass
        else:
            return (converted or image).convert("L" if image.mode == "L" else "RGB")
    elif "srgb" not in info and abs(info.get("gamma", _USUAL_GAMMA) - _USUAL_GAMMA) > 0.01:
        return image.point(_from_gamma(info["gamma"]) * len(image.getbands()))
    return image.convert("RGB") if image.mode == "CMYK" else image


def _from_gamma(gamma: float) -> list[int]:
    """Return what each value of a picture of that gamma (PNG, 11.3.2.2) is in sRGB."""
    if gamma <= 0:
        return list(range(256))
    light = [(value / 255) ** (1 / gamma) for value in range(256)]
    # IEC 61966-2-1
    return [
        round(255 * (12.92 * part if part <= 0.0031308 else 1.055 * part ** (1 / 2.4) - 0.055))
        for part in light
    ]


def on_white(image: Image.Image) -> Image.Image:
    """Return the picture without transparency, as on a white page."""
    if image.mode not in {"LA", "RGBA"}:
        return image
    page = Image.new(image.mode[:-1], image.size, "white")
    page.paste(image.convert(image.mode[:-1]), mask=image.getchannel("A"))
    return page
