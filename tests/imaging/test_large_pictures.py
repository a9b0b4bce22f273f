"""Pictures as large as the default settings allow are accepted within bounds."""

from collections.abc import Iterator

import pytest
from PIL import Image

from services.inspection import Inspector
from tests.support import pictures
from tests.support.inspections import inspecting, verdict

_PEAK_BYTES = 300 * 1024 * 1024


@pytest.fixture(scope="module")
def inspector() -> Iterator[Inspector]:
    """Return an inspector with a running decoder."""
    with inspecting() as inspector:
        verdict(inspector, pictures.jpeg(), "jpg")
        yield inspector


_LARGE = {
    "50 megapixels.jpg": ("JPEG", {"quality": 90}),
    "50 megapixels, progressive.jpg": ("JPEG", {"quality": 90, "progressive": True}),
    "50 megapixels.png": ("PNG", {"compress_level": 1}),
    "50 megapixels.gif": ("GIF", {}),
    "50 megapixels.webp": ("WEBP", {"quality": 80, "method": 0}),
    "50 megapixels, lossless.webp": ("WEBP", {"lossless": True, "quality": 0, "method": 0}),
}


@pytest.fixture(scope="module")
def large() -> Image.Image:
    """Return a picture of 50 megapixels, smooth enough for 50 MB in every format."""
    return pictures.picture(272, 184).resize((8640, 5787))


@pytest.mark.parametrize("name", _LARGE)
def test_large(inspector: Inspector, large: Image.Image, name: str) -> None:
    """A still picture of 50 megapixels is accepted within 300 MB and 2 s of CPU."""
    image_format, options = _LARGE[name]
    picture = large.quantize(64, method=2) if image_format == "GIF" else large
    content = pictures.encoded(picture, image_format, **options)
    found = verdict(inspector, content, name.rpartition(".")[2])
    assert found.verdict == "accepted", found.detail
    assert found.peak_bytes < _PEAK_BYTES
    assert found.cpu_seconds < 2
