"""Uploads accept whole pictures of allowed formats, store them byte for byte and refuse others."""

import hashlib
import io
import itertools
import zipfile
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from config import Settings
from tests.support import pictures
from tests.support.pictures import PICTURES
from tests.support.uploads import count, on_sqlite, problem, serving, upload


def moving_webp() -> bytes:
    """Return an animated WebP file."""
    frames = [Image.new("RGB", (64, 48), colour) for colour in ("red", "green", "blue")]
    out = io.BytesIO()
    frames[0].save(out, "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    return out.getvalue()


def archive() -> bytes:
    """Return a ZIP file."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as opened:
        opened.writestr("a.png", pictures.png())
    return out.getvalue()


ACCEPTED = {
    **{f"still.{extension}": make(200, 150) for extension, make in PICTURES.items()},
    "moving.gif": pictures.gif(frames=5),
    "moving.webp": moving_webp(),
}
NO_PICTURES = {
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>',
    "HTML": b"<!doctype html><script>alert(1)</script>",
    "ZIP": archive(),
    "zeros": bytes(5000),
    "text": b"GIF is what this is not",
}
CUTS: dict[str, Callable[[bytes], bytes]] = {
    "99.9 %": lambda content: content[: len(content) * 999 // 1000],
    "60 %": lambda content: content[: len(content) * 6 // 10],
    "10 %": lambda content: content[: len(content) // 10],
    # Browsers show a GIF without its trailer.
    "last byte": lambda content: content.removesuffix(b";")[:-1],
}
both_inspections = pytest.mark.parametrize("inspection", ["full", "header"])


def test_byte_for_byte(client: TestClient) -> None:
    """Every allowed format is returned byte for byte, with correct metadata."""
    for filename, content in ACCEPTED.items():
        extension = filename.partition(".")[2]
        described = upload(client, content, filename, name=filename).raise_for_status().json()
        assert client.get(f"/images/{filename}").content == content
        assert client.get(f"/images/{filename}/metadata").json() == described
        assert described.pop("last_updated_at") == described.pop("created_at")
        with Image.open(io.BytesIO(content)) as picture:
            width, height = picture.size
        assert described == {
            "name": filename,
            "size_bytes": len(content),
            "extension": extension,
            "content_type": f"image/{'jpeg' if extension == 'jpg' else extension}",
            "sha256": hashlib.sha256(content).hexdigest(),
            "width": width,
            "height": height,
            "url": described["url"],
            "variants": described["variants"],
        }


def test_created_then_overwritten(client: TestClient, settings: Settings) -> None:
    """A new name is 201 with Location; the same name again is 200 and replaces the bytes."""
    first = upload(client, pictures.png(seed=1), "a b.png")
    assert (first.status_code, first.headers["Location"]) == (201, first.json()["url"])
    assert client.get(first.headers["Location"]).content == pictures.png(seed=1)
    second = upload(client, pictures.jpeg(seed=2), "other.jpg", name="a b")
    assert (second.status_code, second.headers.get("Location")) == (200, None)
    assert client.get("/images/a b").content == pictures.jpeg(seed=2)
    old, new = first.json(), second.json()
    assert new["created_at"] == old["created_at"] == old["last_updated_at"] < new["last_updated_at"]
    assert count(settings, "images") == 1
    assert count(settings, "pending_objects") == 0


@on_sqlite
def test_extension_case(client: TestClient) -> None:
    """Only the last extension counts, in any case; the rest of the file name is the name."""
    for filename in ("a.PNG", "b.Png", "c.php.png", "d.tar.pNg"):
        described = upload(client, pictures.png(), filename).raise_for_status().json()
        assert (described["name"], described["extension"]) == (filename[:-4], "png")


@on_sqlite
def test_extension_refused(client: TestClient) -> None:
    """A picture with any other extension, or none, is 400."""
    strange = ("a", "a.", "png", "a.png ", "a.png%00", "a.png.", "a.pn\uff47")
    for filename in ("a.png.php", "a.svg", "a.html", "a.zip", *strange):
        refused = upload(client, pictures.png(), filename, name="a")
        problem(refused, 400, "extension_not_allowed")


@on_sqlite
def test_extensions_are_a_setting(settings: Settings) -> None:
    """ALLOWED_EXTENSIONS restricts the accepted extensions."""
    with serving(settings, allowed_extensions=("png",)) as client:
        refused = problem(upload(client, pictures.gif(), "a.gif"), 400, "extension_not_allowed")
        assert refused["detail"].endswith(" png.")
        assert upload(client, pictures.png(), "a.png").status_code == 201


@on_sqlite
@both_inspections
def test_not_a_picture(settings: Settings, inspection: str) -> None:
    """Bytes that are no picture are 415, whatever the extension."""
    with serving(settings, inspection=inspection) as client:
        for extension in PICTURES:
            for content in NO_PICTURES.values():
                problem(upload(client, content, f"a.{extension}"), 415, "not_an_image")
    assert count(settings, "images") == 0


@on_sqlite
@both_inspections
def test_misnamed(settings: Settings, inspection: str) -> None:
    """A picture with the extension of another format is stored with its actual format."""
    kinds = {"jpg": "jpeg", "png": "png", "gif": "gif", "webp": "webp"}
    with serving(settings, inspection=inspection) as client:
        for kind, name in itertools.permutations(kinds, 2):
            content = PICTURES[kind]()
            stored = upload(client, content, f"{kind}.{name}").json()
            assert (stored["name"], stored["extension"]) == (kind, kind)
            assert stored["content_type"] == f"image/{kinds[kind]}"
            answer = client.get(f"/images/{kind}")
            assert answer.content == content
            assert f'filename="{kind}.{kind}"' in answer.headers["Content-Disposition"]
            again = upload(client, content, f"{kind}.{kind}")
            assert again.headers["Upload-Result"] == "unchanged"
            client.delete(f"/images/{kind}")


@on_sqlite
def test_misnamed_kind_is_not_allowed(settings: Settings) -> None:
    """A picture in a format that ALLOWED_EXTENSIONS excludes is 415 under any name."""
    with serving(settings, allowed_extensions=("png",)) as client:
        refused = problem(upload(client, pictures.jpeg(), "a.png"), 415, "not_an_image")
        assert "JPEG" in refused["detail"]


@on_sqlite
def test_other_extensions_of_jpeg(client: TestClient) -> None:
    """Extensions that browsers and Windows give JPEG files are accepted, and become jpg."""
    for extension in ("jfif", "JFIF", "jpe", "jif", "jfi", "pjpeg", "pjp"):
        stored = upload(client, pictures.jpeg(), f"a.{extension}").json()
        assert (stored["name"], stored["extension"]) == ("a", "jpg")
    assert upload(client, pictures.png(), "b.apng").json()["extension"] == "png"


@on_sqlite
@both_inspections
def test_cut(settings: Settings, inspection: str) -> None:
    """A truncated file is 415 with both kinds of inspection, even if one byte is missing."""
    with serving(settings, inspection=inspection) as client:
        for filename, content in ACCEPTED.items():
            for cut in CUTS.values():
                problem(upload(client, cut(content), filename), 415, "not_an_image")


@on_sqlite
@both_inspections
def test_cut_behind_a_thumbnail(settings: Settings, inspection: str) -> None:
    """A truncated JPEG is 415 even if its thumbnail has an end marker."""
    out, exif = io.BytesIO(), Image.Exif()
    exif[0x9286] = pictures.jpeg(16, 16)  # a JPEG in the APP1 segment, as cameras write it
    with Image.open(io.BytesIO(pictures.jpeg(200, 150))) as picture:
        picture.save(out, "JPEG", exif=exif)
    with serving(settings, inspection=inspection) as client:
        assert upload(client, out.getvalue(), "whole.jpg").status_code == 201
        for cut in CUTS.values():
            problem(upload(client, cut(out.getvalue()), "cut.jpg"), 415, "not_an_image")


@on_sqlite
def test_motion_photo(client: TestClient) -> None:
    """A motion photo, a JPEG followed by a video, is accepted."""
    content = pictures.jpeg() + bytes(300_000)
    assert upload(client, content, "phone.jpg").status_code == 201
    assert client.get("/images/phone").content == content


@on_sqlite
def test_corrupt(client: TestClient) -> None:
    """A file with a damaged header, or with pixels that are detectably damaged, is 415."""
    for extension, make in PICTURES.items():
        content = make(200, 150)
        middle = len(content) // 2
        damaged = [content[:4] + bytes(40) + content[44:]]
        if extension != "webp":  # lossy WebP has neither checksums nor markers
            damaged.append(content[: middle - 50] + b"\xff\xd8" * 50 + content[middle + 50 :])
        for bad in damaged:
            problem(upload(client, bad, f"a.{extension}"), 415, "not_an_image")


@on_sqlite
def test_empty(client: TestClient) -> None:
    """An empty file is 415, whatever its extension."""
    for extension in PICTURES:
        problem(upload(client, b"", f"a.{extension}"), 415, "not_an_image")


def test_refused_upload_changes_nothing(settings: Settings) -> None:
    """A refused overwrite leaves the old version and its row unchanged."""
    with serving(settings, max_pixels=64 * 48, max_upload_bytes=50_000) as client:
        old = upload(client, pictures.png(), "a.png").raise_for_status().json()
        problem(upload(client, archive(), "a.png"), 415, "not_an_image")
        problem(upload(client, pictures.png()[:-1], "a.png"), 415, "not_an_image")
        problem(upload(client, pictures.png(65, 48), "a.png"), 413, "too_many_pixels")
        problem(upload(client, bytes(50_001), "a.png"), 413, "image_too_large")
        problem(upload(client, pictures.png(seed=1), "a.svg"), 400, "extension_not_allowed")
        assert client.get("/images/a").content == pictures.png()
        assert client.get("/images/a/metadata").json() == old
    assert count(settings, "pending_objects") == 0
