"""Which format a variant of an image has, and the spec under which it is stored."""

from dataclasses import dataclass

from config import FORMATS, VariantSpec
from imaging.rendering.encodings import REVISION
from services.image_store import ImageRecord

CURRENT_RENDERER = f"r{REVISION}/"
"""The prefix of the specs of its variants; those of older renderers have another one."""


@dataclass(frozen=True, slots=True)
class VariantChoice:
    """Which variant a request asks for: a spec, and an encoding.

    With an empty `encoding_asked` the encoding is the image's own kind if that is one of
    `encodings`, else the first of them.
    """

    spec: VariantSpec
    encoding_asked: str
    encodings: tuple[str, ...]

    def specs(self) -> list[str]:
        """Return the specs, such as `r2/320.webp`, of all variants that may be the answer."""
        encodings = [self.encoding_asked] if self.encoding_asked else self.encodings
        return [self._stored_spec(encoding) for encoding in encodings]

    def spec_for(self, image: ImageRecord) -> str:
        """Return the spec, such as `r2/320.webp`, under which the variant of `image` is stored."""
        return self._stored_spec(self.encoding(image.extension))

    def encoding(self, extension: str) -> str:
        """Return the encoding for an image with that extension."""
        if self.encoding_asked:
            return self.encoding_asked
        own = FORMATS[extension].variant
        return own if own in self.encodings else self.encodings[0]

    def _stored_spec(self, encoding: str) -> str:
        return f"{CURRENT_RENDERER}{self.spec}.{encoding}"
