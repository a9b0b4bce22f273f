"""The formats of pictures: those that uploads may have, and those of variants."""

from typing import NamedTuple


class Format(NamedTuple):
    """A format of uploads: its name, and the extension of its variants by default."""

    name: str
    variant: str

    @property
    def media_type(self) -> str:
        """The media type of files in this format."""
        return f"image/{self.name}"


_JPEG = Format("jpeg", "jpg")
FORMATS = {
    "jpg": _JPEG,
    "jpeg": _JPEG,
    "png": Format("png", "png"),
    "gif": Format("gif", "png"),  # keeps the first frame without loss
    "webp": Format("webp", "webp"),
}
"""By the extensions that the setting ALLOWED_EXTENSIONS may list"""

ALIASES = {
    **dict.fromkeys(("jfif", "jpe", "jif", "jfi", "pjpeg", "pjp"), "jpg"),
    "apng": "png",
}
"""Other extensions of these formats in browsers and operating systems"""

VARIANT_MEDIA_TYPES = {
    "jpg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "avif": "image/avif",
}
"""By the extensions that the setting VARIANT_FORMATS may list"""
