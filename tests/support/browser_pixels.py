"""Renders picture files in Chromium, the reference for colors."""

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, ImageChops, ImageStat
from playwright.sync_api import Page

from config import VariantSpec
from imaging.rendering.picture import render_picture
from tests.support.chromium import chromium

_LEVELS = 3
_READ_PIXELS = """async ([mediaType, content]) => {
    const bytes = Uint8Array.from(atob(content), char => char.charCodeAt(0));
    const image = new Image();
    image.src = URL.createObjectURL(new Blob([bytes], {type: mediaType}));
    await image.decode();
    const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
    const context = canvas.getContext('2d', {colorSpace: 'srgb'});
    context.drawImage(image, 0, 0);
    const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
    return [canvas.width, canvas.height, Array.from(pixels)];
}"""


class Browser:
    """An open page that decodes pictures."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def show(self, content: bytes, media_type: str) -> Image.Image:
        """Return the RGBA pixels of a picture as the browser renders it, or raise if it cannot."""
        encoded = base64.b64encode(content).decode()
        width, height, pixels = self._page.evaluate(_READ_PIXELS, [media_type, encoded])
        return Image.frombytes("RGBA", (width, height), bytes(pixels))


@contextmanager
def browser() -> Iterator[Browser]:
    """Start Chromium; skip the test without one, or fail it if REQUIRE_SERVICES is 1."""
    with chromium("--force-color-profile=srgb") as started:
        page = started.new_page()
        page.goto("about:blank")
        yield Browser(page)


def require_equal(reference: Browser, content: bytes, image_format: str) -> None:
    """Check that a lossless variant equals the browser's rendering on a colored page."""
    output = io.BytesIO()
    render_picture(content, image_format, VariantSpec(8192, 8192), "png", output)
    ours, theirs = (
        Image.alpha_composite(Image.new("RGBA", picture.size, (128, 0, 128)), picture)
        for picture in (
            Image.open(output).convert("RGBA"),
            reference.show(content, f"image/{image_format}"),
        )
    )
    assert ours.size == theirs.size
    difference = ImageStat.Stat(ImageChops.difference(ours, theirs).convert("RGB")).mean
    assert sum(difference) / 3 <= _LEVELS
