"""Limits of pixels, frames and bytes are enforced as early as possible."""

import io
import itertools
import resource
import select
import socket
import struct
import zlib
from collections.abc import Iterator
from http.client import HTTPResponse

import httpx
import pytest
from PIL import Image

from config import Settings
from devstack.service_process import ServiceProcess
from tests.support import pictures
from tests.support.uploads import FORM, count, form, on_sqlite, problem, serving, upload

pytestmark = on_sqlite
FILE = 'name="file"; filename="a.png"'


def chunk(kind: bytes, content: bytes) -> bytes:
    """Return one chunk of a PNG file."""
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def png_claiming(width: int, height: int, pixels: bytes = b"") -> bytes:
    """Return a well-formed one-bit grey PNG of that size with `pixels` as its compressed data."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    body = chunk(b"IDAT", pixels) if pixels else b""
    return b"\x89PNG\r\n\x1a\n" + header + body + chunk(b"IEND", b"")


def jpeg_claiming(width: int, height: int) -> bytes:
    """Return a JPEG whose header claims that size."""
    content = pictures.jpeg()
    at = content.index(b"\xff\xc0") + 5
    return content[:at] + struct.pack(">HH", height, width) + content[at + 4 :]


def gif_claiming(width: int, height: int) -> bytes:
    """Return a GIF whose header claims that size."""
    content = pictures.gif()
    return content[:6] + struct.pack("<HH", width, height) + content[10:]


def webp_claiming(width: int, height: int) -> bytes:
    """Return an animated WebP whose header claims a canvas of that size."""
    content = moving("webp")
    at = content.index(b"VP8X") + 12
    size = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    return content[:at] + size + content[at + 6 :]


def moving(extension: str) -> bytes:
    """Return an animation of 6 frames of 40 x 30 pixels."""
    first, *rest = (Image.new("RGB", (40, 30), (40 * n, 0, 0)) for n in range(6))
    out = io.BytesIO()
    first.save(out, extension, save_all=True, append_images=rest, lossless=True)
    return out.getvalue()


@pytest.mark.parametrize("inspection", ["full", "header"])
def test_pixels(settings: Settings, inspection: str) -> None:
    """A header that claims too many pixels is 413, without decoding."""
    claims = {"png": png_claiming, "jpg": jpeg_claiming, "gif": gif_claiming}
    sizes = [(10_000, 6_000), (65_000, 65_000), (65_000, 800)]
    with serving(settings, inspection=inspection) as client:
        for (extension, make), size in itertools.product(claims.items(), sizes):
            problem(upload(client, make(*size), f"a.{extension}"), 413, "too_many_pixels")
        for content in (webp_claiming(16_000, 16_000), webp_claiming(16_000, 3200)):
            problem(upload(client, content, "a.webp"), 413, "too_many_pixels")
        assert upload(client, pictures.png(), "a.png").status_code == 201


def test_pixels_at_the_limit(settings: Settings) -> None:
    """Exactly MAX_PIXELS pixels are accepted in any aspect ratio; one row more is 413."""
    with serving(settings, max_pixels=1200) as client:
        for width, height in ((40, 30), (1200, 1)):
            assert upload(client, pictures.png(width, height), f"{width}.png").status_code == 201
        problem(upload(client, pictures.png(40, 31), "b.png"), 413, "too_many_pixels")


def test_more_pixels_than_pillow_likes(settings: Settings) -> None:
    """MAX_PIXELS may exceed Pillow's own limit."""
    with serving(settings, max_pixels=400_000_000, inspection="header") as client:
        assert upload(client, png_claiming(20_000, 20_000, b"x"), "a.png").status_code == 201


@pytest.mark.parametrize("extension", ["gif", "png", "webp"])
def test_animation(settings: Settings, extension: str) -> None:
    """All frames have at most five times MAX_PIXELS; a tiny frame counts as 50,000."""
    for limit, status in ((60_000, 201), (59_999, 413)):
        with serving(settings, max_pixels=limit) as client:
            answer = upload(client, moving(extension), f"a.{extension}")
            assert answer.status_code == status, answer.text
    problem(answer, 413, "too_many_pixels")


def test_many_tiny_frames(settings: Settings) -> None:
    """Thousands of one-pixel frames are 413, without decoding."""
    frame = b",\0\0\0\0\1\0\1\0\0\x02\x02\x44\x01\x00"
    content = pictures.gif(1, 1).removesuffix(b";") + frame * 6000 + b";"
    with serving(settings) as client:
        problem(upload(client, content, "a.gif"), 413, "too_many_pixels")


def test_a_later_frame(settings: Settings) -> None:
    """MAX_PIXELS applies to every frame of a GIF, even if a later one is larger than the first."""
    first, second = pictures.gif(10, 10), pictures.gif(200, 200)
    colours, frame = second[13:].split(b",\0\0\0\0", 1)
    colours = colours[: 3 << (second[10] & 7) + 1]
    local = b",\0\0\0\0" + frame[:4] + bytes([second[10] & 0x87]) + colours + frame[5:]
    grown = first.removesuffix(b";") + local
    with Image.open(io.BytesIO(grown)) as picture:
        assert picture.size == (10, 10)
        picture.seek(1)
        assert picture.size == (200, 200)
    with serving(settings, max_pixels=10_000) as client:
        problem(upload(client, grown, "a.gif"), 413, "too_many_pixels")


def test_header_inspection(settings: Settings) -> None:
    """INSPECTION=header accepts a whole file with undecodable pixels; `full` refuses it."""
    content = png_claiming(40, 30, b"no pixels")
    with serving(settings) as client:
        problem(upload(client, content), 415, "not_an_image")
    with serving(settings, inspection="header") as client:
        answer = upload(client, content).raise_for_status().json()
        assert (answer["width"], answer["height"]) == (40, 30)
        assert client.get("/images/a").content == content


def test_bytes(settings: Settings) -> None:
    """A file of exactly MAX_UPLOAD_BYTES is accepted; one byte more is 413."""
    content = pictures.png()
    with serving(settings, max_upload_bytes=len(content)) as client:
        assert upload(client, content, "a.png").status_code == 201
        problem(upload(client, content + b"x", "a.png"), 413, "image_too_large")


LIMIT = 3_000_000


@pytest.fixture
def limited(service_environment: dict[str, str]) -> Iterator[ServiceProcess]:
    """Run a service that accepts 3 MB, and lets the kernel refuse it longer files."""
    with ServiceProcess({**service_environment, "MAX_UPLOAD_BYTES": str(LIMIT)}) as service:
        resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (LIMIT, LIMIT))
        yield service


def stream(service: ServiceProcess, headers: str, blocks: Iterator[bytes]) -> httpx.Response:
    """Send a form's beginning, then blocks until a response arrives; return that response."""
    head = f"POST /images HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM['Content-Type']}\r\n{headers}"
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as raw:
        raw.sendall(head.encode() + b"\r\n\r\n")
        for block in blocks:
            if select.select([raw], [], [], 0)[0]:
                break
            raw.sendall(block)
        answer = HTTPResponse(raw)
        answer.begin()
        return httpx.Response(answer.status, headers=answer.getheaders(), content=answer.read())


def test_announced_bytes(limited: ServiceProcess, settings: Settings) -> None:
    """A Content-Length above the limit is 413 before the body is sent."""
    answer = stream(limited, f"Content-Length: {10**12}", iter(()))
    problem(answer, 413, "image_too_large")
    assert count(settings, "pending_objects") == 0


def test_unannounced_bytes(limited: ServiceProcess) -> None:
    """An endless chunked body is 413 at the limit, and nothing beyond it is written to disk."""
    beginning = form((FILE, b""), end=b"")[:-2]
    pieces = itertools.chain([beginning], itertools.repeat(bytes(100_000), 1000))
    answer = stream(
        limited, "Transfer-Encoding: chunked", (b"%x\r\n%b\r\n" % (len(p), p) for p in pieces)
    )
    problem(answer, 413, "image_too_large")
    with httpx.Client(base_url=limited.base_url) as client:
        assert upload(client, pictures.noise_png(LIMIT - 100_000)).status_code == 201
    assert "Traceback" not in limited.log()
