"""`scripts.export_images`, and the import of its exports."""

import hashlib
import json
import re
import shutil
import tarfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from config import Settings
from devstack.waiting import wait_until
from repositories.images import ImageRecord
from services.transfer.export_format import MANIFEST, UNFINISHED, file_name
from services.transfer.export_targets import FolderTarget
from tests.conftest import _empty_tables
from tests.support.fault_proxy import FaultProxy, s3_error
from tests.support.invariants import violations
from tests.support.pictures import PICTURES, jpeg, noise_png, png
from tests.support.uploads import on_sqlite
from tests.transfer.conftest import Deployment

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

NAMES = [
    *("plain", "with space", "Größe", "日本語", "dots.in.name", "UPPER", "upper", "a%2Fb", "CON"),
    *("con.txt", "trailing.", " ".join(["words"] * 30), "emoji 😀", "?", "*", '"quoted"', "-dash"),
    *("COM1.x", "a:b", "<tag>", "n" * 255, "cafe\u0301"),
]


def fill(deployment: Deployment) -> dict[str, bytes]:
    """Upload images of every format under many names, some twice; return the bytes by name."""
    kinds = list(PICTURES.items())
    stored = {}
    for seed, name in enumerate(NAMES):
        extension, make = kinds[seed % len(kinds)]
        deployment.put(name, png(), "png")
        content = make(seed=seed)
        image = deployment.put(name, content, extension)
        stored[image.name] = content
    stored["large"] = noise_png(3_000_000)
    deployment.put("large", stored["large"])
    stored["same bytes"] = stored["large"]
    deployment.put("same bytes", stored["large"])
    return stored


def public(images: dict[str, ImageRecord]) -> dict[str, dict[str, Any]]:
    """Return the metadata of images that an export keeps."""
    private = {"id", "s3_key"}
    return {
        name: {key: value for key, value in image._asdict().items() if key not in private}
        for name, image in images.items()
    }


def lines_of(manifest: Path) -> list[dict[str, Any]]:
    """Return the lines of a manifest."""
    return [json.loads(line) for line in manifest.read_text().splitlines()]


@pytest.fixture(params=["sqlite", "mariadb", "mysql"])
def there(
    request: pytest.FixtureRequest,
    here: Deployment,
    deploy: Callable[[Settings], Deployment],
    new_bucket: Callable[[], str],
    s3: "S3Client",
) -> Iterator[Deployment]:
    """Return another, empty deployment, whose invariants are checked at the end."""
    url = request.getfixturevalue(f"{request.param}_database")
    _empty_tables(url)
    settings = Settings(
        db_url=url,
        aws_region=here.settings.aws_region,
        aws_s3_bucket=new_bucket(),
        aws_endpoint_url_s3=here.settings.aws_endpoint_url_s3,
    )
    there = deploy(settings)
    yield there
    assert not violations(there.resources.engine, s3, settings.aws_s3_bucket)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("way", ["folder", "bucket", "tar.gz"])
def test_round_trip(
    here: Deployment,
    there: Deployment,
    new_bucket: Callable[[], str],
    tmp_path: Path,
    way: str,
) -> None:
    """An export becomes the same images in another database and bucket: bytes, metadata, dates."""
    stored = fill(here)
    # Two versions of one second get dates that are up to a second ahead, which imports do not keep.
    latest = max(image.last_updated_at for image in here.images().values())
    wait_until(lambda: datetime.now(UTC) > latest, timeout=5, what="the latest date")
    place: object = f"s3://{new_bucket()}/out" if way == "bucket" else tmp_path / "out"
    given = here.give(place)
    assert given.status == 0
    assert given.out.splitlines()[-1] == f"{len(stored)} images: {len(stored)} exported"
    if way == "tar.gz":
        place = tmp_path / "out.tar.gz"
        with tarfile.open(place, "w:gz") as archive:
            archive.add(tmp_path / "out", "out")
    taken = there.take(place)
    assert (taken.status, {*taken.outcomes.values()}) == (0, {"created"})
    assert public(there.images()) == public(here.images())
    assert {name: there.content(name) for name in there.images()} == stored
    assert {*there.take(place).outcomes.values()} == {"unchanged"}


@on_sqlite
def test_files(here: Deployment, tmp_path: Path) -> None:
    """Each file has the bytes of its image, and a name that is valid on every file system."""
    stored = fill(here)
    assert here.give(tmp_path / "out").status == 0
    head, *images, last = lines_of(tmp_path / "out" / MANIFEST)
    assert head == {"format": "image-api-export", "version": 1}
    assert last == {"images": len(stored), "left_out": 0}
    assert {line["name"] for line in images} == set(stored)
    for line in images:
        content = (tmp_path / "out" / line["file"]).read_bytes()
        assert content == stored[line["name"]]
        assert hashlib.sha256(content).hexdigest() == line["sha256"]
        assert re.fullmatch(r"images/[a-z0-9-]{1,60}-[0-9a-f]{32}\.[a-z]{3,4}", line["file"])
    found = {path.relative_to(tmp_path / "out").as_posix() for path in tmp_path.rglob("*.*")}
    assert found == {MANIFEST, *(line["file"] for line in images)}
    assert len({line["file"] for line in images}) == len(stored)


@on_sqlite
def test_nothing(here: Deployment, tmp_path: Path) -> None:
    """An export without images is complete and can be imported."""
    assert here.give(tmp_path).status == 0
    done = here.take(tmp_path)
    assert (done.status, done.report) == (0, [])
    assert "0 files: nothing to import" in done.out


class CrashError(Exception):
    """Ends an export as a crash would, but in this process."""


def interrupt(monkeypatch: pytest.MonkeyPatch, step: str, after: int = 0) -> None:
    """Let a step of the target raise after `after` calls."""
    original = getattr(FolderTarget, step)
    done = 0

    def interrupted(*arguments: object) -> object:
        nonlocal done
        done += 1
        if done > after:
            raise CrashError
        return original(*arguments)

    monkeypatch.setattr(FolderTarget, step, interrupted)


@on_sqlite
@pytest.mark.parametrize(("step", "after"), [("put", 0), ("put", 3), ("finish", 0)])
def test_interrupted(
    here: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, after: int
) -> None:
    """An interrupted export cannot be imported; the next run completes it."""
    for seed in range(6):
        here.put(f"image-{seed}", png(seed=seed))
    with monkeypatch.context() as patched:
        interrupt(patched, step, after)
        with pytest.raises(CrashError):
            here.give(tmp_path, "--jobs=1")
    assert (tmp_path / UNFINISHED).exists()
    assert not (tmp_path / MANIFEST).exists()
    refused = here.take(tmp_path)
    assert (refused.status, refused.report) == (2, [])
    assert "without its" in refused.err
    kept = len(list((tmp_path / "images").iterdir()))
    assert kept == (6 if step == "finish" else after)
    (tmp_path / "images" / "left.png.part").touch()
    done = here.give(tmp_path)
    assert done.status == 0
    exported = f"{6 - kept} exported" if kept < 6 else ""
    parts = [part for part in (exported, f"{kept} kept" if kept else "") if part]
    assert done.out.splitlines()[-1] == f"6 images: {', '.join(parts)}"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([MANIFEST, "images"])
    assert len(list((tmp_path / "images").iterdir())) == 6
    assert {*here.take(tmp_path).outcomes.values()} == {"unchanged"}


@on_sqlite
def test_altered_file(here: Deployment, tmp_path: Path) -> None:
    """A file that a crash of the host left with other bytes is copied again."""
    image = here.put("a", png())
    assert here.give(tmp_path).status == 0
    file = tmp_path / file_name(image)
    file.write_bytes(bytes(image.size_bytes))
    done = here.give(tmp_path)
    assert (done.status, done.out.splitlines()[-1]) == (0, "1 images: 1 exported")
    assert file.read_bytes() == png()


@on_sqlite
def test_lost_manifest(here: Deployment, tmp_path: Path) -> None:
    """An export without its manifest is refused; its files alone are imported."""
    here.put("a", png())
    assert here.give(tmp_path / "out").status == 0
    (tmp_path / "out" / MANIFEST).unlink()
    refused = here.take(tmp_path / "out")
    assert (refused.status, f"without its {MANIFEST}" in refused.err) == (2, True)
    assert here.take(tmp_path / "out" / "images").status == 0


DAMAGED: dict[str, tuple[Callable[[list[str]], list[str]], str]] = {
    "no last line": (lambda lines: lines[:-1], "cut short after line 3"),
    "a line less": (lambda lines: [*lines[:-2], lines[-1]], "cut short"),
    "no first line": (lambda lines: lines[1:], "Line 1"),
    "a line after the last": (lambda lines: [*lines, lines[1]], "Line 5"),
    "newer": (lambda lines: [lines[0].replace(": 1", ": 2"), *lines[1:]], "newer version"),
    "no JSON": (lambda lines: [lines[0], "{", *lines[2:]], "Line 2"),
    "no object": (lambda lines: [lines[0], "[]", *lines[2:]], "Line 2"),
    "no zone": (lambda lines: [lines[0], lines[1].replace("+00:00", ""), *lines[2:]], "zone"),
    "no sum": (lambda lines: [lines[0], lines[1].replace('"sha256"', '"x"'), *lines[2:]], "sha256"),
    "empty": (lambda _: [], "cut short after line 0"),
}


@on_sqlite
@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_manifest(here: Deployment, tmp_path: Path, damage: str) -> None:
    """A damaged or truncated manifest is refused with the number of the line."""
    here.put("a", png())
    here.put("b", png(seed=1))
    assert here.give(tmp_path).status == 0
    manifest = tmp_path / MANIFEST
    change, reason = DAMAGED[damage]
    lines = change(manifest.read_text().splitlines())
    manifest.write_text("".join(f"{line}\n" for line in lines))
    refused = here.take(tmp_path)
    assert (refused.status, refused.report, reason in refused.err) == (2, [], True), refused.err


@on_sqlite
def test_damaged_files(here: Deployment, tmp_path: Path) -> None:
    """Files that are missing or have other bytes are refused; others are skipped or imported."""
    images = {name: here.put(name, png(seed=i)) for i, name in enumerate(["a", "b", "c"])}
    assert here.give(tmp_path).status == 0
    files = {name: file_name(image) for name, image in images.items()}
    for name in images:
        here.delete(name)
    (tmp_path / files["a"]).write_bytes(png(seed=9))
    (tmp_path / files["b"]).unlink()
    (tmp_path / "images" / "stranger.png").write_bytes(png(seed=8))
    done = here.take(tmp_path)
    assert (done.status, list(here.images())) == (1, ["c"])
    assert done.reason(files["a"]) == "Its SHA-256 is not the one in the manifest."
    assert done.reason(files["b"]) == "The export lacks this file."
    assert done.outcomes["images/stranger.png"] == "skipped"
    again = here.take(tmp_path, "--names=stem")
    assert (again.status, "omit --names" in again.err) == (2, True)


@on_sqlite
def test_several_exports(here: Deployment, tmp_path: Path) -> None:
    """Two exports in one folder are refused; one in a deeper folder is found."""
    here.put("a", png())
    assert here.give(tmp_path / "deep" / "one").status == 0
    assert here.take(tmp_path).outcomes == {
        f"deep/one/{file_name(here.images()['a'])}": "unchanged"
    }
    shutil.copytree(tmp_path / "deep", tmp_path / "again")
    refused = here.take(tmp_path)
    assert (refused.status, "several exports" in refused.err) == (2, True)


@on_sqlite
def test_dates_of_a_clock_ahead(here: Deployment, tmp_path: Path) -> None:
    """Dates of an export that are in the future become the time of the import."""
    image = here.put("a", png())
    assert here.give(tmp_path).status == 0
    here.delete("a")
    manifest = tmp_path / MANIFEST
    year = str(image.created_at.year)
    manifest.write_text(manifest.read_text().replace(f'"{year}-', '"2999-'))
    assert here.take(tmp_path).status == 0
    again = here.images()["a"]
    assert image.last_updated_at < again.created_at == again.last_updated_at
    assert str(again.created_at.year) < "2999"


@on_sqlite
def test_foreign_target(
    here: Deployment, s3: "S3Client", new_bucket: Callable[[], str], tmp_path: Path
) -> None:
    """A folder or a prefix with other files is refused and remains unchanged."""
    here.put("a", png())
    (tmp_path / "mine.txt").write_text("mine")
    bucket = new_bucket()
    s3.put_object(Bucket=bucket, Key="mine.txt", Body=b"mine")
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path, f"s3://{bucket}"):
        refused = here.give(place)
        assert (refused.status, "is not empty and not an export" in refused.err) == (2, True)
    assert here.give(tmp_path / "file").status == 2
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["file", "mine.txt"]
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["mine.txt"]
    assert here.give(f"s3://{bucket}/beside").status == 0


@on_sqlite
@pytest.mark.planted_damage
def test_damaged_images(here: Deployment, s3: "S3Client", tmp_path: Path) -> None:
    """Lost and altered images are printed and left out, and the exit status is 1."""
    for seed, name in enumerate(["good", "lost", "altered", "short"]):
        here.put(name, jpeg(seed=seed), "jpg")
    images, bucket = here.images(), here.settings.aws_s3_bucket
    here.resources.bucket.delete_image(images["lost"].s3_key)
    altered = images["altered"]
    s3.put_object(Bucket=bucket, Key=altered.s3_key, Body=bytes(altered.size_bytes))
    s3.put_object(Bucket=bucket, Key=images["short"].s3_key, Body=b"short")
    done = here.give(tmp_path)
    assert done.status == 1
    assert {*done.out.splitlines()[:-1]} == {"lost 'lost'", "altered 'altered'", "lost 'short'"}
    assert done.out.splitlines()[-1] == "4 images: 1 altered, 1 exported, 2 lost"
    lines = lines_of(tmp_path / MANIFEST)
    assert [line.get("name") for line in lines] == [None, "good", None]
    assert lines[-1] == {"images": 1, "left_out": 3}


@on_sqlite
def test_unreadable_object(here: Deployment, tmp_path: Path) -> None:
    """An object that the store refuses is printed and left out; the others are exported."""
    here.put("a", png())
    here.put("b", png(seed=1))
    port = int(str(here.settings.aws_endpoint_url_s3).rpartition(":")[2])
    whole = here.settings
    with FaultProxy(("127.0.0.1", port)) as proxy:
        endpoint = f"http://127.0.0.1:{proxy.address[1]}"
        here.settings = whole.model_copy(update={"aws_endpoint_url_s3": endpoint})
        request = re.compile(rb"GET /[^ /]+/a-[0-9a-f]{32}")
        proxy.answer_with(s3_error(403, "AccessDenied"), when=request, times=None)
        done = here.give(tmp_path)
    here.settings = whole
    assert (done.status, done.out.splitlines()[0]) == (1, "unreadable 'a'")
    assert done.out.splitlines()[-1] == "2 images: 1 exported, 1 unreadable"


def test_writes_meanwhile(
    here: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An export stays consistent while images are replaced, deleted and created."""
    for seed in range(6):
        here.put(f"image-{seed}", png(seed=seed))
    old = public(here.images())
    original, writes = FolderTarget.put, [True]

    def put(*arguments: Any) -> None:
        if writes:
            writes.pop()
            here.put("image-4", jpeg(seed=7), "jpg")
            here.delete("image-5")
            here.put("new", png(seed=8))
        original(*arguments)

    monkeypatch.setattr(FolderTarget, "put", put)
    done = here.give(tmp_path, "--jobs=1")
    now = public(here.images())
    assert (done.status, done.out.splitlines()[-1]) == (0, "6 images: 1 deleted, 5 exported")
    for line in lines_of(tmp_path / MANIFEST)[1:-1]:
        version = now if line["name"] == "image-4" else old
        assert line["sha256"] == version[line["name"]]["sha256"]
        assert line["last_updated_at"] == version[line["name"]]["last_updated_at"].isoformat()
        content = (tmp_path / line["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == line["sha256"]
