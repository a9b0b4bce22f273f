"""The format of a variant, and the spec under which it is stored."""

from dataclasses import dataclass

from config import FORMATS, VariantSpec
from imaging.rendering.encodings import REVISION
from services.image_store import ImageRecord

CURRENT_RENDERER = f"r{REVISION}/"
"""The prefix of the specs that this renderer stores; each revision has its own."""


@dataclass(frozen=True, slots=True)
class VariantChoice:
    """The variant that a request selects: a spec, and the acceptable encodings.

    The image's own encoding is preferred, else the first.
    """

    spec: VariantSpec
    encodings: tuple[str, ...]

    def specs(self) -> list[str]:
        """Return the specs, such as `r2/320.webp`, of all variants that may be selected."""
        return [self._stored_spec(encoding) for encoding in self.encodings]

    def spec_for(self, image: ImageRecord) -> str:
        """Return the spec, such as `r2/320.webp`, under which the variant of `image` is stored."""
        return self._stored_spec(self.encoding(image.extension))

    def encoding(self, extension: str) -> str:
        """Return the encoding for an image with this extension."""
        own = FORMATS[extension].variant
        return own if own in self.encodings else self.encodings[0]

    def _stored_spec(self, encoding: str) -> str:
        return f"{CURRENT_RENDERER}{self.spec}.{encoding}"
