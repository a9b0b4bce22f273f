"""`scripts.import_images` on a folder: names, refusals, dates, the report and the status."""

import io
import os
import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.image_store import Uploader
from services.origin import Origin
from tests.support.pictures import encoded, gif, jpeg, noise_png, picture, png, webp
from tests.support.uploads import on_sqlite
from tests.transfer.conftest import Deployment

pytestmark = on_sqlite


def write(root: Path, files: dict[str, bytes]) -> Path:
    """Write files below a folder."""
    for path, content in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return root


def test_everything(here: Deployment, tmp_path: Path) -> None:
    """Every format and size becomes an image with the bytes of its file, named by its stem."""
    files = {
        "a.jpg": jpeg(),
        "folder/b.JPEG": jpeg(seed=1),
        "folder/deeper/c.png": png(),
        "d.gif": gif(frames=3),
        "e.webp": webp(),
        "Größe 1.5.png": noise_png(3_000_000),
        "no-extension": webp(seed=2),
    }
    done = here.take(write(tmp_path, files))
    assert (done.status, set(done.outcomes.values())) == (0, {"created"})
    stored = {name: here.content(name) for name in here.images()}
    assert stored == {
        "a": files["a.jpg"],
        "b": files["folder/b.JPEG"],
        "c": files["folder/deeper/c.png"],
        "d": files["d.gif"],
        "e": files["e.webp"],
        "Größe 1.5": files["Größe 1.5.png"],
        "no-extension": files["no-extension"],
    }
    assert {image.extension for image in here.images().values()} == {
        *("jpg", "jpeg", "png", "gif", "webp"),
    }
    assert f"7 files: 7 created; {sum(map(len, files.values())):,} bytes stored" in done.out


def test_refusals(here: Deployment, tmp_path: Path) -> None:
    """Files that cannot become images are refused with a reason; the others are imported."""
    write(
        tmp_path,
        {
            "good.png": png(),
            "text.txt": b"hello",
            "text.png": b"hello",
            "cut.png": png()[:-20],
            "empty.jpg": b"",
            "no-extension": b"hello",
            "random.png": png(seed=1),
            "two\nlines.png": png(seed=2),
            "x" * 251 + ".png": png(seed=3),
        },
    )
    (tmp_path / "link.png").symlink_to(tmp_path / "good.png")
    (tmp_path / "folder").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path / "folder")
    os.mkfifo(tmp_path / "pipe.png")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s.png"))
    (tmp_path / os.fsdecode(b"latin-\xe9.png")).write_bytes(png(seed=4))
    done = here.take(tmp_path)
    assert done.status == 1
    assert {path for path, outcome in done.outcomes.items() if outcome == "created"} == {
        "good.png",
        "x" * 251 + ".png",
    }
    reasons = {line["source"]: line["reason"] for line in done.report if line["reason"]}
    expected = {
        "text.txt": "extension",
        "text.png": "not a whole, valid png",
        "cut.png": "not a whole, valid png",
        "empty.jpg": "empty",
        "no-extension": "does not begin like",
        "random.png": "reserved",
        "two\nlines.png": "control character",
        "link.png": "symbolic link",
        "linked": "symbolic link",
        "pipe.png": "not a regular file",
        "s.png": "not a regular file",
        "latin-\ufffd.png": "not valid UTF-8",
    }
    assert set(reasons) == set(expected)
    assert not {path for path, part in expected.items() if part not in reasons[path]}
    assert len(done.out.splitlines()) == len(expected) + 1
    assert "refused 'text.txt': The file name must end in" in done.out


def test_unreadable_folder(here: Deployment, tmp_path: Path) -> None:
    """A folder whose path is too long to be read is refused; the others are imported."""
    write(tmp_path, {"a.png": png()})
    deep = os.open(tmp_path, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=deep)
        upper, deep = deep, os.open("d" * 250, os.O_RDONLY, dir_fd=deep)
        os.close(upper)
    os.close(deep)
    done = here.take(tmp_path)
    assert (done.status, list(here.images())) == (1, ["a"])
    (reason,) = {line["reason"] for line in done.report if line["result"] == "refused"}
    assert "cannot be read" in reason


def test_hidden_files(here: Deployment, tmp_path: Path) -> None:
    """Files that macOS and Windows leave behind are skipped and do not change the status."""
    hidden = [
        "a/.DS_Store",
        "._a.png",
        "__MACOSX/a.png",
        "Thumbs.db",
        "b/desktop.ini",
        ".git/a.png",
    ]
    write(tmp_path, {"a.png": png(), **dict.fromkeys(hidden, b"x")})
    done = here.take(tmp_path)
    assert (done.status, list(here.images())) == (0, ["a"])
    assert {path for path, outcome in done.outcomes.items() if outcome == "skipped"} == {*hidden}
    assert "1 created, 6 skipped" in done.out


def test_clashes(here: Deployment, tmp_path: Path) -> None:
    """All files that would get the same name are refused before anything is stored."""
    nfc, nfd = "caf\u00e9", "cafe\u0301"
    write(
        tmp_path,
        {
            "a.png": png(),
            "x/a.jpg": jpeg(),
            "a.txt": b"not an image, so no clash",
            f"{nfc}.png": png(seed=1),
            f"{nfd}.png": png(seed=2),
            "b.png": png(seed=3),
        },
    )
    done = here.take(tmp_path)
    assert (done.status, list(here.images())) == (1, ["b"])
    assert done.reason("a.png") == "'x/a.jpg' has the same name."
    assert done.reason("x/a.jpg") == "'a.png' has the same name."
    assert nfd in done.reason(f"{nfc}.png")
    results = [line["result"] for line in done.report]
    assert results == ["refused"] * 5 + ["created"]


def test_path_names(here: Deployment, tmp_path: Path) -> None:
    """`path:` names an image by its whole path."""
    write(tmp_path, {"a.png": png(), "x/a.png": png(seed=1), "x/y.z/a": png(seed=2)})
    assert here.take(tmp_path, "--names", "path:-").status == 0
    assert set(here.images()) == {"a", "x-a", "x-y.z-a"}
    assert here.take(tmp_path, "--names", "path: / ").status == 1
    assert set(here.images()) == {"a", "x-a", "x-y.z-a"}


def test_names_in_csv(here: Deployment, tmp_path: Path) -> None:
    """`csv:` names the listed files, skips others, and reports what the source lacks."""
    root = write(
        tmp_path / "in",
        {"k1": png(), "ab/k2.png": png(seed=1), "other.png": png(seed=2), "k3": png(seed=3)},
    )
    names = tmp_path / "names.csv"
    names.write_text(
        "\ufeffid,source,name\r\n"
        '1,k1,"Sunset, at sea"\r\n2,ab/k2.png,Größe\r\n3,gone.png,gone\r\n'
        "4,k3,one\r\n5,k3,two\r\n"
    )
    done = here.take(root, f"--names=csv:{names}")
    assert (done.status, set(here.images())) == (1, {"Sunset, at sea", "Größe"})
    assert done.outcomes == {
        "k1": "created",
        "ab/k2.png": "created",
        "other.png": "skipped",
        "gone.png": "refused",
        "k3": "refused",
    }
    assert "several names" in done.reason("k3")


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("stems", "--names must be"),
        ("path:", "--names must be"),
        ("csv:/nowhere/names.csv", "No such file"),
        ("csv:LATIN", "cannot be read"),
        ("csv:COLUMNS", "`source` and `name`"),
        ("csv:SHORT", "line 3 has no source or no name"),
    ],
)
def test_unusable_names(here: Deployment, tmp_path: Path, rule: str, reason: str) -> None:
    """A rule that cannot be used ends the command before it reads a file."""
    files = {
        "LATIN": "source,name\na,\xe9\n".encode("latin-1"),
        "COLUMNS": b"file,name\na,b\n",
        "SHORT": b"source,name\na,b\nc\n",
    }
    write(tmp_path, files)
    for name in files:
        rule = rule.replace(name, str(tmp_path / name))
    done = here.take(write(tmp_path / "in", {"a.png": png()}), "--names", rule)
    assert (done.status, done.out, here.images()) == (2, "", {})
    assert reason in done.err


def test_again(here: Deployment, tmp_path: Path) -> None:
    """A second run changes nothing; other bytes are refused, or stored with --replace."""
    write(tmp_path, {"a.png": png(), "b.png": png(seed=1)})
    assert here.take(tmp_path).outcomes == {"a.png": "created", "b.png": "created"}
    before = here.images()
    again = here.take(tmp_path)
    assert (again.status, {*again.outcomes.values()}) == (0, {"unchanged"})
    assert here.images() == before
    write(tmp_path, {"b.png": png(seed=2)})
    other = here.take(tmp_path)
    assert (other.status, other.outcomes) == (1, {"a.png": "unchanged", "b.png": "refused"})
    assert other.reason("b.png") == "An image of this name has other bytes."
    assert here.images() == before
    replaced = here.take(tmp_path, "--replace", "--keep-dates")
    assert (replaced.status, replaced.outcomes) == (0, {"a.png": "unchanged", "b.png": "replaced"})
    now = here.images()["b"]
    assert now.created_at == before["b"].created_at
    assert now.last_updated_at > before["b"].last_updated_at
    objects = {key for key, _ in here.resources.bucket.list_objects()}
    assert objects == {image.s3_key for image in here.images().values()}


def test_other_extension(here: Deployment, tmp_path: Path) -> None:
    """Equal bytes are unchanged, even with another extension of the format."""
    here.put("a", jpeg(), "jpg")
    done = here.take(write(tmp_path, {"a.jpeg": jpeg()}))
    assert done.outcomes == {"a.jpeg": "unchanged"}
    assert here.images()["a"].extension == "jpg"


@pytest.mark.planted_damage
def test_lost_object(here: Deployment, tmp_path: Path) -> None:
    """An image whose object is lost is stored again, although its row has the bytes."""
    here.resources.bucket.delete_image(here.put("a", png()).s3_key)
    done = here.take(write(tmp_path, {"a.png": png()}))
    assert done.outcomes == {"a.png": "replaced"}
    assert here.content("a") == png()


def test_dates(here: Deployment, tmp_path: Path) -> None:
    """--keep-dates makes the date of a file `created_at`, unless it is in the future."""
    write(tmp_path, {"old.png": png(), "future.png": png(seed=1), "ancient.png": png(seed=2)})
    old, ancient = datetime(2011, 5, 6, 7, 8, 9, 123456, UTC), datetime(1961, 1, 2, tzinfo=UTC)
    began = datetime.now(UTC)
    os.utime(tmp_path / "old.png", ns=(0, round(old.timestamp() * 1_000_000) * 1000))
    os.utime(tmp_path / "ancient.png", (0, ancient.timestamp()))
    os.utime(tmp_path / "future.png", (0, began.timestamp() + 1e6))
    assert here.take(tmp_path, "--keep-dates").status == 0
    images = here.images()
    assert (images["old"].created_at, images["ancient"].created_at) == (old, ancient)
    for image in images.values():
        assert began <= image.last_updated_at <= datetime.now(UTC)
    assert images["future"].created_at == images["future"].last_updated_at


@pytest.mark.parametrize("year", [1, 999, 1899])
def test_impossible_dates(here: Deployment, year: int) -> None:
    """Dates that some databases cannot store become the year 1900."""
    origin = Origin(datetime(year, 1, 1, tzinfo=UTC), datetime(year, 1, 2, tzinfo=UTC))
    store = here.resources.store(here.resources.sessions())
    image = store.upload(
        io.BytesIO(png()), "a", "png", lambda _: None, by=Uploader(origin=origin)
    ).image
    assert (image.created_at.year, image.last_updated_at.year) == (1900, 1900)
    assert here.images()["a"].created_at == image.created_at


def test_dates_of_today(here: Deployment, tmp_path: Path) -> None:
    """Without --keep-dates, an image is created when it is imported."""
    began = datetime.now(UTC)
    write(tmp_path, {"a.png": png()})
    os.utime(tmp_path / "a.png", (0, 0))
    assert here.take(tmp_path).status == 0
    assert here.images()["a"].created_at >= began


def test_dry_run(here: Deployment, tmp_path: Path) -> None:
    """A dry run stores nothing, and predicts the report and the exit status of the real run."""
    here.put("same", png())
    here.put("taken", png(seed=1))
    root = write(
        tmp_path,
        {
            "same.png": png(),
            "taken.png": png(seed=2),
            "new.png": png(seed=3),
            "big.png": noise_png(2_000_000),
            "cut.png": png()[:-20],
            "x/y.png": png(seed=4),
            "y.png": png(seed=5),
        },
    )
    before = here.images()
    for options in ((), ("--replace",)):
        foreseen = here.take(root, "--dry-run", *options)
        assert here.images() == before
        done = here.take(root, *options)
        assert (foreseen.status, foreseen.report) == (done.status, done.report)
        summary = foreseen.out.splitlines()[-2].removeprefix("Would be: ")
        assert summary.replace("to store", "stored") == done.out.splitlines()[-1]
        before = here.images()
    assert foreseen.out.splitlines()[-1] == "requests to S3: 1 PUT, 3 HEAD, 1 DELETE"
    assert list(here.resources.bucket.list_objects())


def test_dry_run_of_a_clash(here: Deployment, tmp_path: Path) -> None:
    """A dry run whose only findings are clashes of names has the status of the real run."""
    root = write(tmp_path, {"a.png": png(), "x/a.png": png()})
    assert here.take(root, "--dry-run").status == here.take(root).status == 1


def test_report_as_csv(here: Deployment, tmp_path: Path) -> None:
    """A report whose name ends in .csv has one line for each file, below its columns."""
    root = write(tmp_path, {"a, b.png": png(), "c.txt": b"x"})
    lines = here.take(root, report="report.csv").report
    assert list(lines[0]) == ["source", "name", "result", "reason"]
    assert {line["source"]: line["result"] for line in lines} == {
        "a, b.png": "created",
        "c.txt": "refused",
    }
    assert {line["name"] for line in lines} == {"a, b", ""}


def test_stripped(here: Deployment, tmp_path: Path) -> None:
    """With STRIP_METADATA a file loses its metadata, and a second run changes nothing."""
    content = encoded(picture(64, 48), "JPEG", comment=b"secret")
    write(tmp_path, {"a.jpg": content})
    here.settings = here.settings.model_copy(update={"strip_metadata": "all"})
    done = here.take(tmp_path)
    stored = here.content("a")
    assert b"secret" in content
    assert b"secret" not in stored
    assert f"1 created; {len(stored):,} bytes stored" in done.out
    before = here.images()
    assert here.take(tmp_path).outcomes == {"a.jpg": "unchanged"}
    assert here.images() == before


def test_too_large(here: Deployment, tmp_path: Path) -> None:
    """A file beyond MAX_UPLOAD_BYTES is refused like an upload."""
    limited = here.settings.model_copy(update={"max_upload_bytes": 1_000_000})
    root = write(tmp_path, {"a.png": noise_png(1_100_000), "b.png": png()})
    here.settings = limited
    done = here.take(root)
    assert done.outcomes == {"a.png": "refused", "b.png": "created"}
    assert done.reason("a.png") == "An image may have at most 1000000 bytes."


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("/nowhere", "neither a folder nor"),
        ("/nowhere/a.zip", "not a whole, valid zip file"),
        ("/nowhere/a.tar.gz", "not a whole, valid tar file"),
        (__file__, "neither a folder nor"),
        ("s3://", "names no bucket"),
        ("s3://no-such-bucket/folder", "NoSuchBucket"),
    ],
)
def test_unusable_source(here: Deployment, source: str, reason: str) -> None:
    """A source that cannot be opened ends the command with status 2 and one sentence."""
    done = here.take(source)
    assert (done.status, done.out, done.report) == (2, "", [])
    assert reason in done.err


def test_own_bucket(here: Deployment) -> None:
    """The service's own bucket is refused as source and as target."""
    address = f"s3://{here.settings.aws_s3_bucket}/folder"
    for done in (here.take(address), here.give(address)):
        assert done.status == 2
        assert "the service's own bucket" in done.err
