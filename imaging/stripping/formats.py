"""Remove the metadata of a file of any format."""

from typing import IO

from imaging.containers.content import Content, MalformedImageError
from imaging.containers.gif import GifOutline
from imaging.containers.jpeg import JpegOutline
from imaging.containers.outline import Outline
from imaging.containers.png import PngOutline
from imaging.containers.webp import WebpOutline
from imaging.stripping import gif, jpeg, png, webp


def strip(content: Content, outline: Outline, file: IO[bytes]) -> bool:
    """Remove the metadata of `file`, which has this content and outline.

    Return whether it had any. Raises MalformedImageError, before anything changes, if the pixels
    of a PNG file are broken.
    """
    match outline:
        case JpegOutline():
            parts = jpeg.remains(content)
        case PngOutline():
            parts = png.remains(content, outline)
        case GifOutline():
            parts = gif.remains(content)
        case WebpOutline():
            parts = webp.remains(content)
        case _:
            raise MalformedImageError("metadata of its format cannot be removed")
    if parts.is_everything:
        return False
    parts.rewrite(file)
    return True
