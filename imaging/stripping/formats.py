"""Files of any format without metadata."""

from typing import IO

from imaging.containers.content import Content, MalformedImageError
from imaging.containers.gif import GifOutline
from imaging.containers.jpeg import JpegOutline
from imaging.containers.outline import Outline
from imaging.containers.png import PngOutline
from imaging.containers.webp import WebpOutline
from imaging.stripping import gif, jpeg, png, webp
from imaging.stripping.rewriting import Remains


def strip(content: Content, outline: Outline, file: IO[bytes]) -> bool:
    """Remove the metadata of `file`, which has the content of that outline.

    Return whether it had any. Raises MalformedImageError, before anything changes, if the pixels
    of a PNG file are broken.
    """
    found = _remains(content, outline)
    if found.is_everything:
        return False
    found.rewrite(file)
    return True


def _remains(content: Content, outline: Outline) -> Remains:
    match outline:
        case JpegOutline():
            return jpeg.remains(content)
        case PngOutline():
            return png.remains(content, outline)
        case GifOutline():
            return gif.remains(content)
        case WebpOutline():
            return webp.remains(content)
        case _:
            raise MalformedImageError("metadata of its format cannot be removed")
