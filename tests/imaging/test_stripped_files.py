"""An inspector that strips replaces the upload by the stripped file, within its bounds."""

import hashlib
import struct
import tempfile
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import IO

import pytest

from services.inspection import Inspector
from tests.support import pictures
from tests.support.containers import (
    chunk,
    exif,
    frame_control,
    gif_file,
    gif_frame,
    png_file,
    riff,
    segment,
    uint24,
    webp_file,
    zeros,
)
from tests.support.hostile_pictures import HOSTILE
from tests.support.inspections import inspecting, verdict

_CPU_SECONDS, _PEAK_BYTES = 2.0, 300 * 1024 * 1024
_SECRET = b"48.208174 N, 16.373819 E"
_EXIF = segment(0xE1, b"Exif\0\0" + exif(6) + _SECRET)


@pytest.fixture(scope="module", params=["full", "header"])
def inspector(request: pytest.FixtureRequest) -> Iterator[Inspector]:
    """Return an inspector that strips, for each kind of inspection."""
    with inspecting(strip_metadata="all", inspection=request.param) as inspector:
        verdict(inspector, pictures.jpeg(), "jpg")
        yield inspector


def _in_memory(content: bytes) -> IO[bytes]:
    return BytesIO(content)


def _on_disk(content: bytes) -> IO[bytes]:
    file = tempfile.SpooledTemporaryFile(max_size=1000)  # noqa: SIM115 - the tests close it
    file.write(content)
    return file


@pytest.mark.parametrize("spooled", [_in_memory, _on_disk])
@pytest.mark.parametrize("side", [60, 1000])  # below and above what is copied
def test_file(inspector: Inspector, spooled: Callable[[bytes], IO[bytes]], side: int) -> None:
    """The file, its size and its SHA-256 are those without metadata, however it was held."""
    plain = pictures.noise_png(3 * side * side)
    planted = plain[:33] + chunk(b"tEXt", b"Comment\0" + _SECRET * 1000) + plain[33:] + _SECRET
    with spooled(planted) as file:
        info = inspector.inspect(file, "png")
        file.seek(0)
        assert file.read() == plain
    assert (info.size_bytes, info.sha256) == (len(plain), hashlib.sha256(plain).hexdigest())


@pytest.mark.parametrize("spooled", [_in_memory, _on_disk])
def test_same_size(inspector: Inspector, spooled: Callable[[bytes], IO[bytes]]) -> None:
    """A change that keeps the size also reaches the file."""
    plain = webp_file(riff(b"VP8X", bytes(4) + uint24(63) + uint24(47)), pictures.webp()[12:])
    planted = plain[:21] + b"GPS" + plain[24:]
    with spooled(planted) as file:
        info = inspector.inspect(file, "webp")
        file.seek(0)
        assert file.read() == plain
    assert info.sha256 == hashlib.sha256(plain).hexdigest()


def test_orientation(inspector: Inspector) -> None:
    """Width and height respect the orientation, which remains."""
    jpeg = pictures.jpeg(64, 48)
    with BytesIO(jpeg[:2] + _EXIF + jpeg[2:]) as file:
        info = inspector.inspect(file, "jpg")
        assert (info.width, info.height) == (48, 64)
        assert _SECRET not in file.getvalue()
        assert exif(6) in file.getvalue()


def test_behind_the_pixels(inspector: Inspector) -> None:
    """Bytes after the compressed pixels of a frame are removed, inflated before or not."""
    controls = chunk(b"acTL", struct.pack(">II", 2, 0)), frame_control(0, (1, 1))
    pixels, plain = zeros(2), list[bytes]()
    for secret in (_SECRET, b""):
        first = chunk(b"IDAT", pixels + secret), chunk(b"IDAT", secret)
        frames = chunk(b"fdAT", struct.pack(">I", 2) + pixels + secret)
        plain.append(png_file(*controls, *first, frame_control(1, (1, 1)), frames))
    with BytesIO(plain[0]) as file:
        inspector.inspect(file, "png")
        assert file.getvalue() == plain[1]


def _between_frames(count: int) -> bytes:
    """Return an APNG of this many chunks, with text between them."""
    pieces = [chunk(b"acTL", struct.pack(">II", 2, 0)), frame_control(0, (1, 1))]
    pieces += [chunk(b"IDAT", zeros(2)), frame_control(1, (1, 1))]
    for number in range(2, count // 2):
        data = zeros(2) if number == 2 else b""
        pieces += [chunk(b"fdAT", struct.pack(">I", number) + data), chunk(b"teXt", b"")]
    return png_file(*pieces)


_MANY = {
    "9,000 segments.jpg": lambda: (
        pictures.jpeg()[:2] + (_EXIF + segment(0xEE, b"Adobe" + bytes(7))) * 4500
        + pictures.jpeg()[2:]),
    "99,000 chunks.png": lambda: _between_frames(99_000),
    "99,000 blocks.gif": lambda: gif_file(
        gif_frame(1, 1), *[b"!\xff\x0bNETSCAPE2.0\3\1\0\0\0!\xfe\0"] * 49_000),
    "49,000 chunks.webp": lambda: webp_file(
        riff(b"VP8X", bytes(4) + uint24(63) + uint24(47)), *[riff(b"prIv", b"")] * 49_000,
        pictures.webp()[12:]),
}  # fmt: skip


@pytest.mark.parametrize("name", _MANY)
def test_many_pieces(inspector: Inspector, name: str) -> None:
    """A file with the maximum number of pieces is stripped within 2 s of CPU and 300 MB."""
    found = verdict(inspector, _MANY[name](), name.rpartition(".")[2])
    assert found.verdict == "accepted", found.detail
    assert found.cpu_seconds < _CPU_SECONDS
    assert found.peak_bytes < _PEAK_BYTES


@pytest.mark.parametrize(
    "name", [name for name, (_, said) in HOSTILE.items() if said == "accepted"]
)
def test_hostile(inspector: Inspector, name: str) -> None:
    """Stripping accepts the same hostile files, within the same bounds."""
    found = verdict(inspector, HOSTILE[name][0](), name.rpartition(".")[2])
    assert found.verdict == "accepted", found.detail
    assert found.cpu_seconds < _CPU_SECONDS + 0.2
    assert found.peak_bytes < _PEAK_BYTES
