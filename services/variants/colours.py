"""Pictures of any colour model as grey, RGB or RGBA, in sRGB."""

import io

from PIL import Image, ImageCms

_SRGB = ImageCms.createProfile("sRGB")
_AS_IT_IS = {"L", "RGB", "RGBA", "CMYK"}
_SIXTEEN_BITS = ("I", "I;16", "I;16L", "I;16B", "I;16N")


def resizable(image: Image.Image) -> Image.Image:
    """Return the picture in a mode whose pixels may be averaged: eight bits, and no palette."""
    if image.mode in _SIXTEEN_BITS:
        return image.convert("I").point(lambda value: value * (1 / 257) + 0.5).convert("L")
    if image.mode in _AS_IT_IS and "transparency" not in image.info:
        return image
    if "transparency" in image.info or "A" in image.mode or "a" in image.mode:
        return image.convert("RGBA")
    return image.convert("L" if image.mode in {"1", "F"} else "RGB")


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return a picture of `resizable`'s modes in sRGB; grey and transparency stay.

    A profile (ICC.1:2010) that is broken, or of another colour model, counts as none.
    """
    if profile:
        mode = "RGBA" if image.mode == "RGBA" else "RGB"
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, _SRGB, outputMode=mode)
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass
        else:
            return converted or image
    return image.convert("RGB") if image.mode == "CMYK" else image


def on_white(image: Image.Image) -> Image.Image:
    """Return the picture without transparency, as on a white page."""
    if image.mode != "RGBA":
        return image
    page = Image.new("RGB", image.size, "white")
    page.paste(image, mask=image.getchannel("A"))
    return page
