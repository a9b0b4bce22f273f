"""The memory computed from the header suffices to render every picture in every encoding."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from PIL import Image

from devstack.service_process import ROOT
from imaging.decoding import pool
from tests.support.containers import chunk, png_file, zeros
from tests.support.pictures import encoded

_SIDE = 1200
_PROGRAM = """
import json, os, sys
from PIL import Image
from config import VariantSpec
from imaging.decoding import worker
from imaging.decoding.jobs import Job
from imaging.rendering.memory import rendering_bytes
from imaging.stills.formats import still
Image.init()
content = sys.stdin.buffer.read()
file = os.memfd_create("file")
os.write(file, content)
source = still(content, sys.argv[1])
at_rest = worker._address_space()
for spec in ("160", "1200", "320x320-crop"):
    for encoding in ("jpg", "png", "webp", "avif"):
        box = VariantSpec.parse(spec)
        memory = rendering_bytes(source, box, encoding)
        output = os.memfd_create("output")
        job = Job(
            *(sys.argv[1], 10**8, 10**8, memory, 60, 300, encoding, box.width, box.height, box.crop)
        )
        result = worker._examine(job, [os.dup(file), output], at_rest)
        print(json.dumps([spec, encoding, result]), flush=True)
"""


def _noise(mode: str) -> Image.Image:
    bands = [Image.effect_noise((_SIDE, _SIDE), 90) for _ in Image.getmodebands(mode) * "."]
    return Image.merge(mode, bands)


def _deep(colour_type: int, samples: int, transparency: bytes = b"") -> bytes:
    rows = zeros((1 + 2 * samples * _SIDE) * _SIDE)
    extra = chunk(b"tRNS", transparency) if transparency else b""
    form = bytes([16, colour_type])
    return png_file(extra, chunk(b"IDAT", rows), width=_SIDE, height=_SIDE, form=form)


_PICTURES: dict[str, Callable[[], bytes]] = {
    "grey.png": lambda: encoded(_noise("L"), "PNG", compress_level=1),
    "grey with opacity.png": lambda: encoded(_noise("LA"), "PNG", compress_level=1),
    "colours.png": lambda: encoded(_noise("RGB"), "PNG", compress_level=1),
    "colours with opacity.png": lambda: encoded(_noise("RGBA"), "PNG", compress_level=1),
    "palette.png": lambda: encoded(_noise("L").convert("P"), "PNG", compress_level=1),
    "transparent palette.png": lambda: encoded(
        _noise("L").convert("P"), "PNG", compress_level=1, transparency=bytes(range(256))
    ),
    "colour key.png": lambda: encoded(
        _noise("RGB"), "PNG", compress_level=1, transparency=(1, 2, 3)
    ),
    "16 bits of grey with a key.png": lambda: _deep(0, 1, bytes(2)),
    "16 bits of colours with a key.png": lambda: _deep(2, 3, bytes(6)),
    "16 bits of grey with opacity.png": lambda: _deep(4, 2),
    "16 bits with opacity.png": lambda: _deep(6, 4),
    "transparent.gif": lambda: encoded(_noise("L").convert("P"), "GIF", transparency=7),
    "baseline.jpeg": lambda: encoded(_noise("RGB"), "JPEG", quality=90),
    "progressive.jpeg": lambda: encoded(_noise("RGB"), "JPEG", progressive=True, subsampling=0),
    "four inks.jpeg": lambda: encoded(_noise("CMYK"), "JPEG", progressive=True, subsampling=0),
    "lossy.webp": lambda: encoded(_noise("RGB"), "WEBP", method=0),
    "lossy with opacity.webp": lambda: encoded(_noise("RGBA"), "WEBP", method=0),
    "opaque and lossless.webp": lambda: encoded(
        _noise("RGB"), "WEBP", lossless=True, method=0, quality=0
    ),
    "lossless.webp": lambda: encoded(_noise("RGBA"), "WEBP", lossless=True, method=0, quality=0),
}


@pytest.mark.parametrize("name", _PICTURES)
def test_suffices(name: str) -> None:
    """No decoder or encoder lacks memory when the kernel enforces the computed limit."""
    content = _PICTURES[name]()
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, name.rpartition(".")[2]],
        cwd=ROOT,
        env=os.environ | pool._MALLOC,
        input=content,
        capture_output=True,
        check=False,
    )
    results = [json.loads(line) for line in io.BytesIO(done.stdout)]
    assert len(results) == 12, (done.returncode, done.stderr)
    assert [result for result in results if result[2][0] != "decoded"] == []
