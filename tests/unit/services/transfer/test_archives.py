"""Archives list their members without unpacking them, and refuse damaged files."""

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from services.transfer.archives import Tar, Zip
from services.transfer.failures import FileRefusedError, TransferError


def tarred(path: Path, **files: bytes) -> Path:
    """Write a .tar.gz file."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def test_tar(tmp_path: Path) -> None:
    """One pass over the file copies the selected members."""
    tar = Tar(tarred(tmp_path / "a.tar.gz", a=b"1", b=b"22", c=b"333"), gzipped=True)
    files = list(tar.files())
    assert [(file.path, file.size) for file in files] == [("a", 1), ("b", 2), ("c", 3)]
    copied = {}
    for file, fetch in tar.contents([files[2], files[0]], 10):
        with fetch() as copy:
            copy.seek(0)
            copied[file.path] = copy.read()
    assert copied == {"a": b"1", "c": b"333"}
    assert tar.requests(3) == ""


def test_changed_tar(tmp_path: Path) -> None:
    """A tar file that changes between the two passes is refused."""
    path = tarred(tmp_path / "a.tar.gz", a=b"1")
    tar = Tar(path, gzipped=True)
    files = list(tar.files())
    tarred(path, b=b"1")
    with pytest.raises(TransferError, match="changed meanwhile"):
        list(tar.contents(files, 10))


@pytest.mark.parametrize("end", [-1, -8, -20, 30, 0])
def test_cut_gzip(tmp_path: Path, end: int) -> None:
    """A truncated file is refused, wherever it ends."""
    path = tarred(tmp_path / "a.tar.gz", a=b"1" * 5000)
    path.write_bytes(path.read_bytes()[:end])
    with pytest.raises(TransferError, match="not a whole, valid tar file"):
        list(Tar(path, gzipped=True).files())


def test_cut_tar(tmp_path: Path) -> None:
    """A tar file without the block of zeros that ends it is refused at every length."""
    whole = gzip.decompress(tarred(tmp_path / "a.tar.gz", a=b"1" * 600, b=b"2").read_bytes())
    path = tmp_path / "a.tar"
    for length in range(0, len(whole.rstrip(b"\0")) + 511, 256):
        path.write_bytes(whole[:length])
        with pytest.raises(TransferError):
            list(Tar(path, gzipped=False).files())
    path.write_bytes(whole)
    assert len(list(Tar(path, gzipped=False).files())) == 2


def header(size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """Return the header of a member of a tar file, in the format of GNU."""
    info = tarfile.TarInfo("a")
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    "content",
    [
        header(2**60) + bytes(2048),
        header(-512) + bytes(2048),
        header(-1024, tarfile.GNUTYPE_LONGNAME) + bytes(2048),
        (header(2, tarfile.GNUTYPE_LONGNAME) + bytes(512)) * 3000 + bytes(1024),
    ],
    ids=["huge", "negative", "negative name", "chained names"],
)
def test_hostile_tar(tmp_path: Path, content: bytes) -> None:
    """A tar file whose headers would cost endless time or memory is refused at once."""
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(content))
    with pytest.raises(TransferError, match="not a whole, valid tar file"):
        for _ in zip(Tar(path, gzipped=True).files(), range(9), strict=False):
            pass
    path.write_bytes(content)
    with pytest.raises(TransferError, match="not a whole, valid tar file"):
        for _ in zip(Tar(path, gzipped=False).files(), range(9), strict=False):
            pass


def test_zip(tmp_path: Path) -> None:
    """Members of a zip file are copied in any order; only damaged ones are refused."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.mkdir("x")
        archive.writestr("x/a", b"first")
        archive.writestr("b", b"second")
    path.write_bytes(path.read_bytes().replace(b"second", b"secind"))
    members = Zip(path)
    files = list(members.files())
    assert [file.path for file in files] == ["x/a", "b"]
    fetches = [fetch for _, fetch in members.contents(reversed(files), 10)]
    with pytest.raises(FileRefusedError, match="CRC"):
        fetches[0]()
    with fetches[1]() as copy:
        copy.seek(0)
        assert copy.read() == b"first"
    members.close()
    assert members.requests(1) == ""
