"""`scripts.import_images` on .zip, .tar and .tar.gz files, including hostile ones."""

import gzip
import io
import stat
import struct
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.pictures import jpeg, noise_png, png
from tests.support.uploads import on_sqlite
from tests.transfer.conftest import Deployment

pytestmark = on_sqlite

FILES = {
    "a.png": png(),
    "x/b.jpg": jpeg(),
    "x/Größe.png": png(seed=1),
    "big.png": noise_png(2_500_000),
}
DATE = datetime(2015, 6, 7, 8, 9, 10, tzinfo=UTC)


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    """Write a zip file."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("x")
        for name, content in files.items():
            local = DATE.astimezone()
            archive.writestr(zipfile.ZipInfo(name, local.timetuple()[:6]), content)
    return path


def member(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    """Return the header of a member of a tar file."""
    info = tarfile.TarInfo(name)
    info.size, info.type, info.mtime = size, kind, DATE.timestamp()
    return info


def tarred(path: Path, files: dict[str, bytes], mode: str = "w:gz") -> Path:
    """Write a tar file, as `tar -C folder .` does."""
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        archive.addfile(member(".", kind=tarfile.DIRTYPE))
        for name, content in files.items():
            archive.addfile(member(f"./{name}", len(content)), io.BytesIO(content))
    return path


ARCHIVES: dict[str, Callable[[Path, dict[str, bytes]], Path]] = {
    "a.zip": zipped,
    "a.tar": lambda path, files: tarred(path, files, "w"),
    "a.tar.gz": tarred,
    "a.tgz": tarred,
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_everything(here: Deployment, tmp_path: Path, name: str) -> None:
    """The members become images with their names, dates and bytes; a second run changes nothing."""
    archive = ARCHIVES[name](tmp_path / name, FILES)
    done = here.take(archive, "--names", "path:_", "--keep-dates")
    assert (done.status, done.outcomes) == (0, dict.fromkeys(FILES, "created"))
    assert {image: here.content(image) for image in here.images()} == {
        path.rpartition(".")[0].replace("/", "_"): content for path, content in FILES.items()
    }
    assert {image.created_at for image in here.images().values()} == {DATE}
    assert {*here.take(archive, "--names", "path:_").outcomes.values()} == {"unchanged"}


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
def test_paths_that_lead_out(here: Deployment, tmp_path: Path, name: str) -> None:
    """Members whose paths lead out of the archive are refused; nothing is ever unpacked."""
    outside = ["../up.png", "/rooted.png", "x/../../up.png"]
    files = {"good.png": png(), **{path: png(seed=i) for i, path in enumerate(outside, 1)}}
    if name == "a.zip":
        archive = zipped(tmp_path / name, files)
    else:
        archive = tmp_path / name
        with tarfile.open(archive, "w:gz") as opened:
            for path, content in files.items():
                opened.addfile(member(path, len(content)), io.BytesIO(content))
    done = here.take(archive)
    assert done.status == 1
    assert done.outcomes == {"good.png": "created", **dict.fromkeys(outside, "refused")}
    assert {done.reason(path) for path in outside} == {"Its path leads out of the archive."}


def test_odd_members_of_tar(here: Deployment, tmp_path: Path) -> None:
    """Links and devices are refused, and so are two members of one path and paths not in UTF-8."""
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w", encoding="latin-1", format=tarfile.GNU_FORMAT) as opened:
        for kind, path in (
            (tarfile.SYMTYPE, "soft.png"),
            (tarfile.LNKTYPE, "hard.png"),
            (tarfile.FIFOTYPE, "pipe.png"),
            (tarfile.CHRTYPE, "device.png"),
        ):
            link = member(path, kind=kind)
            link.linkname = "good.png"
            opened.addfile(link)
        for seed, path in enumerate(["good.png", "twice.png", "twice.png", "gr\xfcn.png"]):
            content = png(seed=seed)
            opened.addfile(member(path, len(content)), io.BytesIO(content))
    done = here.take(archive)
    assert (done.status, list(here.images())) == (1, ["good"])
    assert "link" in done.reason("soft.png")
    assert "link" in done.reason("hard.png")
    assert "not a regular file" in done.reason("pipe.png")
    assert "not a regular file" in done.reason("device.png")
    assert "not valid UTF-8" in done.reason("gr\ufffdn.png")
    assert [line["result"] for line in done.report if line["source"] == "twice.png"] == [
        *("refused", "refused"),
    ]


def test_odd_members_of_zip(here: Deployment, tmp_path: Path) -> None:
    """Encrypted and linked members are refused, and so are paths of unknown encoding."""
    archive = tmp_path / "a.zip"
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("good.png", png())
        opened.writestr("secret.png", png(seed=1))
        opened.writestr(link, "good.png")
        opened.writestr("utf8-\u00e9.png", png(seed=2))
        opened.writestr("latin-??.png", png(seed=3))
        opened.writestr("wrong-sum.png", png(seed=4))
    content = bytearray(archive.read_bytes())
    for signature, flags, name_at in ((b"PK\3\4", 6, 30), (b"PK\1\2", 8, 46)):
        at = -1
        while (at := content.find(signature, at + 1)) >= 0:
            name = content[at + name_at :]
            if name.startswith(b"secret"):
                content[at + flags] |= 1
            if name.startswith(b"utf8"):  # as macOS packs: in UTF-8, but without the flag
                struct.pack_into("<H", content, at + flags, 0)
            if name.startswith(b"latin"):
                content[at + name_at + 6 : at + name_at + 8] = b"\xe9\xff"
    at = content.find(png(seed=4)[:100])
    content[at + 60] ^= 1
    archive.write_bytes(content)
    done = here.take(archive)
    assert (done.status, set(here.images())) == (1, {"good", "utf8-\u00e9"})
    assert "encrypted" in done.reason("secret.png")
    assert "symbolic link" in done.reason("link.png")
    assert "CRC" in done.reason("wrong-sum.png")
    assert sum("not valid UTF-8" in line["reason"] for line in done.report) == 1


def test_unicode_paths_of_zip(here: Deployment, tmp_path: Path) -> None:
    """A path in UTF-8 beside one of another encoding counts, unless it is of another path."""
    archive = tmp_path / "a.zip"
    names = {"____.png": ("____.png", "\u65e5\u672c.png"), "new.png": ("old.png", "old \xe9.png")}
    with zipfile.ZipFile(archive, "w") as opened:
        for seed, (name, (checked, path)) in enumerate(names.items()):
            field = struct.pack("<BL", 1, zlib.crc32(checked.encode())) + path.encode()
            info = zipfile.ZipInfo(name)
            info.extra = struct.pack("<HHHH", 0xCAFE, 0, 0x7075, len(field)) + field
            opened.writestr(info, png(seed=seed))
    done = here.take(archive)
    assert (done.status, set(here.images())) == (0, {"\u65e5\u672c", "new"})


def cut(content: bytes, share: float) -> bytes:
    """Return the beginning of a file."""
    return content[: int(len(content) * share)]


def damaged_header(path: Path) -> bytes:
    """Return a tar file whose second header is damaged."""
    content = bytearray(tarred(path, {"a.png": png(), "b.png": png(seed=1)}, "w").read_bytes())
    content[content.index(b"./b.png")] ^= 1
    return bytes(content)


def long_header(path: Path) -> bytes:
    """Return a tar file that announces an extended header of 1 GB."""
    head = member("a", 2**30, tarfile.XHDTYPE).tobuf(tarfile.GNU_FORMAT)
    path.write_bytes(gzip.compress(head + bytes(10_000)))
    return path.read_bytes()


def without_end(path: Path) -> bytes:
    """Return a tar file that was truncated after its last member."""
    content = tarred(path, {"a.png": png()}, "w").read_bytes().rstrip(b"\0")
    return content + bytes(-len(content) % 512)


DAMAGED: dict[str, tuple[str, Callable[[Path], bytes]]] = {
    "cut zip": ("a.zip", lambda path: cut(zipped(path, FILES).read_bytes(), 0.9)),
    "no zip": ("a.zip", lambda _: b"hello"),
    "cut tar": ("a.tar", lambda path: cut(tarred(path, FILES, "w").read_bytes(), 0.5)),
    "tar without its end": ("a.tar", without_end),
    "damaged header": ("a.tar", damaged_header),
    "no tar": ("a.tar", lambda _: b"hello" * 1000),
    "cut gzip": ("a.tar.gz", lambda path: cut(tarred(path, FILES).read_bytes(), 0.9)),
    "wrong sum": ("a.tar.gz", lambda path: tarred(path, FILES).read_bytes()[:-8] + bytes(8)),
    "no gzip": ("a.tar.gz", lambda path: tarred(path, FILES, "w").read_bytes()),
    "long header": ("a.tar.gz", long_header),
    "empty": ("a.tar.gz", lambda _: b""),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged(here: Deployment, tmp_path: Path, damage: str) -> None:
    """A damaged archive is refused as a whole, in one sentence, before anything is stored."""
    name, make = DAMAGED[damage]
    archive = tmp_path / name
    archive.write_bytes(make(archive))
    done = here.take(archive)
    assert (done.status, done.out, here.images()) == (2, "", {})
    assert f"{name} is not a whole, valid " in done.err
    assert len(done.err.splitlines()) == 1


def test_bombs(here: Deployment, tmp_path: Path) -> None:
    """Members that unpack to more than MAX_UPLOAD_BYTES are refused without being unpacked."""
    here.settings = here.settings.model_copy(update={"max_upload_bytes": 1_000_000})
    zeros = bytes(100_000_000)
    files = {"good.png": png(), "bomb.png": zeros}
    lying = bytearray(zipped(tmp_path / "lying.zip", files).read_bytes())
    for signature, size_at in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
        at = lying.rindex(signature)
        struct.pack_into("<I", lying, at + size_at, 1000)
    (tmp_path / "lying.zip").write_bytes(lying)
    sources = [
        zipped(tmp_path / "a.zip", files),
        tarred(tmp_path / "a.tar.gz", files),
        tmp_path / "lying.zip",
    ]
    tracemalloc.start()
    try:
        for source in sources:
            done = here.take(source)
            assert done.outcomes["bomb.png"] == "refused"
            assert "good" in here.images()
        assert tracemalloc.get_traced_memory()[1] < len(zeros) / 2
    finally:
        tracemalloc.stop()
