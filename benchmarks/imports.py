"""`python -m benchmarks.imports`: the CPU of an import, as a share of that of HTTP uploads.

Both store the same pictures in the same database and bucket, in turn (ABBA), eight at once. CPU is
that of all processes of the service, or of the command, and of their decoders, which the command
starts anew. That of the HTTP client does not count. What the start of the command takes is
measured with two pictures, and shown apart.
"""

import argparse
import io
import math
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import cycle, islice
from pathlib import Path
from statistics import mean, median

import urllib3
from PIL import Image

from benchmarks import ROOT
from benchmarks.photos import KB, MB, photo
from benchmarks.stack import Setting, Stack, cpu_seconds, settle
from devstack.server_process import ServerProcess

_AT_ONCE = 8
_DISTINCT = 90
_SMALLEST, _LARGEST = 20 * KB, 2 * MB
_KINDS = ("jpg", "jpg", "png", "jpg", "jpg", "webp", "jpg", "jpg", "gif")
_PIXELS_PER_BYTE = {"png": 0.6, "webp": 4, "gif": 1.2}  # of the photograph, about

_Pictures = Mapping[str, bytes]


def main() -> int:
    """Measure and print; return the exit status."""
    options = _parse_arguments()
    made = _make_pictures()
    pictures = {f"{i:05}-{name}": made[name] for i, name in _numbered(made, options.images)}
    sizes = sorted(map(len, pictures.values()))
    print(f"{len(sizes)} pictures of {sizes[0]:,} to {sizes[-1]:,} bytes, {mean(sizes):,.0f} each")
    with ExitStack() as ends:
        folder = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="imports-")))
        stack = Stack(ends)
        bucket, url = ends.enter_context(stack.bucket()), stack.database("postgresql", 0)
        setting = Setting(images=0, inspection=options.inspection)
        service = ends.enter_context(stack.service(url, bucket, setting))
        _measure(service, folder, pictures, options.passes)
    return 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.imports", description=__doc__)
    parser.add_argument("--images", type=int, default=450, help="in each pass (default: 450)")
    parser.add_argument("--passes", type=int, default=6, help="of each kind (default: 6)")
    parser.add_argument("--inspection", choices=["full", "header"], default="full")
    return parser.parse_args()


def _make_pictures() -> _Pictures:
    """Return pictures by file name, their sizes evenly spread on a logarithmic scale."""
    made = {}
    for number, size in enumerate(_sizes()):
        kind = _KINDS[number % len(_KINDS)]
        jpeg = b"".join(part if isinstance(part, bytes) else bytes(16) for part in photo(size))
        made[f"{number:02}.{kind}"] = jpeg if kind == "jpg" else _convert(jpeg, size, kind)
    return made


def _sizes() -> list[int]:
    step = (_LARGEST / _SMALLEST) ** (1 / (_DISTINCT - 1))
    sizes = [int(_SMALLEST * step**number) for number in range(_DISTINCT)]
    random.Random(0).shuffle(sizes)  # noqa: S311
    return sizes


def _convert(jpeg: bytes, size: int, kind: str) -> bytes:
    """Return a picture in another format, in about `size` bytes."""
    with Image.open(io.BytesIO(jpeg)) as picture:
        scale = math.sqrt(_PIXELS_PER_BYTE[kind] * size / (picture.width * picture.height))
        file = io.BytesIO()
        picture.resize((int(picture.width * scale), int(picture.height * scale))).save(file, kind)
    return file.getvalue()


def _numbered(made: _Pictures, number: int) -> list[tuple[int, str]]:
    return list(enumerate(islice(cycle(made), number)))


def _measure(service: ServerProcess, folder: Path, pictures: _Pictures, passes: int) -> None:
    smallest = dict(sorted(pictures.items(), key=lambda item: len(item[1]))[:2])
    ratios, starts = [], []
    for number in range(passes):
        start = _import(service, folder / f"start{number}", smallest)
        order = (_upload, _import) if number % 2 == 0 else (_import, _upload)
        cpu = {kind: kind(service, folder / f"pass{number}", pictures) for kind in order}
        starts.append(start)
        ratios.append((cpu[_import] - start) / cpu[_upload])
        upload, rest = (1000 * s / len(pictures) for s in (cpu[_upload], cpu[_import] - start))
        print(f"upload {upload:.2f} ms, import {rest:.2f} ms: {rest / upload:.2f}", flush=True)
    print(f"median {median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f}")
    print(f"start of the command: {1000 * median(starts):.0f} ms")


def _upload(service: ServerProcess, folder: Path, pictures: _Pictures) -> float:
    """Upload pictures as forms; return the CPU seconds of the service."""
    with urllib3.PoolManager(maxsize=_AT_ONCE) as http, ThreadPoolExecutor(_AT_ONCE) as clients:

        def send(file: tuple[str, bytes]) -> None:
            fields: dict[str, str | tuple[str, bytes]] = {"file": file}
            fields["name"] = f"uploaded-{folder.name}-{file[0]}"
            answer = http.request("POST", f"{service.base_url}/images", fields=fields)
            if answer.status != 201:
                raise RuntimeError(f"{file[0]}: {answer.status} {answer.data!r}")

        first = list(pictures.items())[: 2 * _AT_ONCE]
        list(clients.map(send, ((f"first-{name}", body) for name, body in first)))  # as decoders
        settle(service)
        before = cpu_seconds(service)
        list(clients.map(send, pictures.items()))
        settle(service)
        return cpu_seconds(service) - before


def _import(service: ServerProcess, folder: Path, pictures: _Pictures) -> float:
    """Import pictures from a folder; return the CPU seconds of the command and its decoders."""
    folder.mkdir()
    for name, body in pictures.items():
        (folder / f"{folder.name}-{name}").write_bytes(body)
    command = [sys.executable, "-m", "scripts.import_images", str(folder)]
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [*command, "--jobs", str(_AT_ONCE)],
            cwd=ROOT,
            env=service.environment,
            stdout=output,
            stderr=subprocess.DEVNULL,
        )
        _, status, usage = os.wait4(process.pid, 0)  # includes decoders, which the command awaits
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        if process.returncode or f"{len(pictures):,} created;" not in (printed := output.read()):
            raise RuntimeError(printed)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    sys.exit(main())
