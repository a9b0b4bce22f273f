"""Interrupted and resumed downloads return one whole version, even during overwrites.

A body that S3 cuts short never looks complete to the client.
"""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Event

import httpx
import pytest

from devstack.waiting import wait_until
from tests.support.metered_service import Fields, MeteredService, S3Request
from tests.support.pictures import noise_png, png

# The service reads up to 1 MB whole and streams what is larger.
PICTURES = {"whole": png(seed=1), "streamed": noise_png(1_500_000, seed=1)}
OTHERS = {"whole": png(seed=2), "streamed": noise_png(1_500_000, seed=2)}


@pytest.fixture(autouse=True)
def _settled(metered: MeteredService) -> None:
    """Exclude the requests of earlier tests from the count."""
    metered.settle()


@pytest.fixture(scope="module")
def paths(metered: MeteredService) -> dict[str, str]:
    """Return the paths of images that no test changes."""
    return {kind: metered.image(picture) for kind, picture in PICTURES.items()}


CUTS: list[tuple[str, Fields]] = [
    ("whole", []),
    ("streamed", []),
    ("whole", [("Range", "bytes=9-")]),
    ("streamed", [("Range", "bytes=9-")]),
]


@pytest.mark.parametrize(("kind", "part"), CUTS)
def test_cut_by_s3(metered: MeteredService, paths: dict[str, str], kind: str, part: Fields) -> None:
    """A body that S3 cuts short each time is a 503 or a broken connection, never complete."""
    cut = metered.meter.cut_response_after(len(PICTURES[kind]) // 5, when=b"GET /", times=None)
    try:
        status = metered.send("GET", paths[kind], part).status_code
    except httpx.RemoteProtocolError:
        status = 0
    finally:
        metered.meter.heal()
    assert status == (503 if kind == "whole" else 0)
    assert cut.fired
    assert metered.send("GET", paths[kind]).content == PICTURES[kind]


@pytest.mark.parametrize(("kind", "part"), CUTS)
def test_cut_once(metered: MeteredService, paths: dict[str, str], kind: str, part: Fields) -> None:
    """The rest of a body that S3 cuts short once is requested, and the response is complete."""
    cut = metered.meter.cut_response_after(len(PICTURES[kind]) * 2 // 3, when=b"GET /")
    answer = metered.send("GET", paths[kind], part)
    assert cut.fired
    assert answer.content == PICTURES[kind][9 if part else 0 :]
    assert len(metered.meter.taken()) == 2


@pytest.mark.parametrize("part", [[], [("Range", "bytes=9-99")]], ids=["whole", "part"])
@pytest.mark.parametrize("length", [0, 10, 90, 92, 9_999_999])
def test_wrong_length(
    metered: MeteredService, paths: dict[str, str], part: Fields, length: int
) -> None:
    """A body from S3 whose length differs from the row's is never sent to the client."""
    head = f"HTTP/1.1 {206 if part else 200} OK\r\nContent-Length: {length}\r\n\r\n"
    wrong = metered.meter.answer_with(head.encode() + bytes(length), when=b"GET /", times=None)
    answer = metered.send("GET", paths["whole"], part)
    metered.meter.heal()
    assert answer.status_code in {500, 503}
    assert wrong.fired
    assert metered.send("GET", paths["whole"]).content == PICTURES["whole"]


def curl(metered: MeteredService, path: str, file: Path, *options: str) -> int:
    """Let curl continue the download into `file`; return its exit status."""
    program = shutil.which("curl")
    if program is None and os.environ.get("REQUIRE_SERVICES") != "1":
        pytest.skip("curl is not installed")
    assert program, "curl is not installed"
    url = f"{metered.process.base_url}{path}"
    command = [program, "--silent", "-C", "-", "-o", str(file), *options, url]
    return subprocess.run(command, check=False, timeout=60).returncode


def test_curl_resumes(metered: MeteredService, paths: dict[str, str], tmp_path: Path) -> None:
    """`curl -C -` completes a broken download and requests only the missing bytes."""
    file, whole = tmp_path / "picture", PICTURES["streamed"]
    metered.meter.cut_response_after(400_000, when=b"GET /", times=None)
    assert curl(metered, paths["streamed"], file) == 18  # CURLE_PARTIAL_FILE
    metered.meter.heal()
    had = len(file.read_bytes())
    assert 0 < had < len(whole)
    metered.meter.taken()
    assert curl(metered, paths["streamed"], file) == 0
    assert file.read_bytes() == whole
    assert metered.meter.taken() == [S3Request("GET", f"bytes={had}-{len(whole) - 1}")]


def test_curl_does_not_mix(metered: MeteredService, tmp_path: Path) -> None:
    """With If-Range curl never gets the rest of another version."""
    path = metered.image(PICTURES["streamed"])
    etag = metered.send("HEAD", path).headers["etag"]
    file = tmp_path / "picture"
    file.write_bytes(PICTURES["streamed"][:500_000])
    metered.upload(path.rpartition("/")[2], OTHERS["streamed"])
    assert curl(metered, path, file, "-H", f"If-Range: {etag}") == 33  # CURLE_RANGE_ERROR
    assert file.read_bytes() == PICTURES["streamed"][:500_000]
    file.unlink()
    assert curl(metered, path, file) == 0
    assert file.read_bytes() == OTHERS["streamed"]


@contextmanager
def overwriting(metered: MeteredService, path: str, versions: list[bytes]) -> Iterator[list[int]]:
    """Overwrite the image with these versions in turn; yield the list of statuses so far."""
    stop, statuses = Event(), list[int]()
    name = {"name": path.rpartition("/")[2]}

    def overwrite() -> None:
        with httpx.Client(base_url=metered.process.base_url, timeout=30) as client:
            while not stop.is_set():
                files = {"file": ("f.png", versions[len(statuses) % len(versions)])}
                statuses.append(client.post("/images", files=files, data=name).status_code)

    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(overwrite)
        try:
            yield statuses
        finally:
            stop.set()
        writer.result()


def seek_through(metered: MeteredService, path: str) -> bytes:
    """Assemble an image from ranges: the end first, then from the start."""
    tail = metered.send("GET", path, [("Range", "bytes=-1000")])
    assert tail.status_code == 206
    etag = tail.headers["etag"]
    tail_start = int(tail.headers["content-range"].split()[1].split("-")[0])
    parts = []
    for start in range(0, tail_start, 400_000):
        part = f"bytes={start}-{min(start + 400_000, tail_start) - 1}"
        answer = metered.send("GET", path, [("Range", part), ("If-Range", etag)])
        if answer.status_code == 200:  # another version, returned whole
            return answer.content
        assert (answer.status_code, answer.headers["etag"]) == (206, etag)
        parts.append(answer.content)
    return b"".join([*parts, tail.content])


def read_whole(metered: MeteredService, path: str) -> bytes:
    """Return the body of a plain GET."""
    answer = metered.send("GET", path)
    assert answer.status_code == 200
    assert answer.headers["etag"] == f'"{hashlib.sha256(answer.content).hexdigest()}"'
    return answer.content


@pytest.mark.parametrize("kind", PICTURES)
@pytest.mark.parametrize("read", [read_whole, seek_through])
def test_while_overwritten(
    metered: MeteredService, kind: str, read: Callable[[MeteredService, str], bytes]
) -> None:
    """During overwrites a reader gets one whole version or a broken connection."""
    versions = [OTHERS[kind], PICTURES[kind]]
    path = metered.image(PICTURES[kind])
    whole = 0
    with overwriting(metered, path, versions) as statuses:
        for round_ in range(10):
            wait_until(partial(is_longer, statuses, round_), timeout=20, what="a write")
            with suppress(httpx.RemoteProtocolError):
                assert read(metered, path) in versions
                whole += 1
    assert set(statuses) == {200}
    assert whole > 0


def is_longer(statuses: list[int], length: int) -> bool:
    """Return whether there are more than `length` statuses."""
    return len(statuses) > length
