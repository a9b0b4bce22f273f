"""Which names images may have. Different names are different images on every engine."""

import unicodedata
from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest
from fastapi.testclient import TestClient

from config import Settings
from devstack.service_process import ServiceProcess
from errors import InvalidNameError
from main import create_app
from services.names import normalise_name
from tests.support import pictures
from tests.support.uploads import count, on_sqlite, problem, upload

# MariaDB's default collations treat some names of each line as equal.
CONFUSABLE = [
    *("cat", "Cat", "CAT", "cAt", "c\u00e0t", "c\u00e1t", "c\u00e3t", "\u0107at", "ca\u0327t"),
    *("\U0001f600", "\U0001f601", "\U0001f9ff", "\U0001f600\U0001f600", "\u2764", "\u2764\ufe0f"),
    *("cat\u200b", "cat\u200d", "cat\ufeff", "ca\u00adt", "\u200bcat", "cat\u2060", "cat."),
    *("a b", "a  b", "a\u00a0b", "a\u2003b", "a_b", "a-b", "a+b", "a%20b", "a%b", "a&b", "a;b"),
    *("stra\u00dfe", "strasse", "STRASSE", "stra\u1e9ee", "\ufb01sh", "fish", "\uff46ish"),
    *("\u0131", "i", "I", "\u0130", "\u00e5", "\u00c5", "ae", "\u00e6", "\u0153", "oe", "\u0142"),
    *("\u03c3", "\u03c2", "\u03a3", "\u3042", "\u30a2", "\uff71", "\u0410", "A", "\u0391"),
    *("1", "01", "\u0661", "\uff11", "\u00b9", "1.0", "null", "None", "true", "metadata", "images"),
    *("'", '"', "`", "--", "' OR '1'='1", "%s", ":name", "{name}", "$1", "*", "?", "#", "a?b#c"),
    *("x.png", "x.png.png", ".x", "..x", "...", "~", "con", "<script>", "a:b", "\u202excod.png"),
]


@pytest.fixture
def remote(service: ServiceProcess) -> Iterator[httpx.Client]:
    """Return a client of a service process, because TestClient decodes `%` in a name twice."""
    with httpx.Client(base_url=service.base_url) as client:
        yield client


def test_confusable_names(remote: httpx.Client, settings: Settings) -> None:
    """Names that differ in a single byte, by case, accent or space, are different images."""
    content = {name: pictures.png(2, 2, seed) for seed, name in enumerate(CONFUSABLE)}
    assert len(set(content.values())) == len(content) == len(CONFUSABLE)
    for name, picture in content.items():
        answer = upload(remote, picture, name=name)
        assert (answer.status_code, answer.json()["name"]) == (201, name)
        assert answer.headers["Location"].partition("?")[0] == path(name)
        assert answer.headers["Location"] == answer.json()["url"]
    assert count(settings, "images") == len(CONFUSABLE)
    for name in ("cat", "\U0001f600", "a b", "A"):
        assert remote.delete(path(name)).json() == {"name": name, "deleted": True}
        del content[name]
    for name, picture in content.items():
        assert remote.get(path(name)).content == picture
        assert remote.get(f"{path(name)}/metadata").json()["name"] == name


def test_normal_form(client: TestClient) -> None:
    """A name is stored in NFC without outer white space, and found by any Unicode form."""
    composed = "\u00c9t\u00e9 \u1ec7"
    decomposed = unicodedata.normalize("NFD", composed)
    spelt = [decomposed, composed, f" {composed} ", f"{decomposed}\u3000", f"\u00a0{composed}\n"]
    for seed, name in enumerate(spelt):
        answer = upload(client, pictures.png(seed=seed), name=name)
        assert (answer.status_code, answer.json()["name"]) == (200 if seed else 201, composed)
        assert answer.json()["url"].partition("?")[0] == path(composed)
        assert answer.headers.get("Location") == (None if seed else answer.json()["url"])
        for other in spelt[:-1]:
            assert client.get(path(other)).content == pictures.png(seed=seed)
    # Compatibility forms are other names.
    assert upload(client, pictures.png(), name="\ufb01").json()["name"] == "\ufb01"


@on_sqlite
def test_refused_names(client: TestClient, settings: Settings) -> None:
    """Blank, too long and path-like names, and names with control characters, are 400."""
    blank = ["", " ", "\t\u3000"]
    paths = ["a/b", "/", "a\\b", "\\", ".", "..", " .. ", "random"]
    controls = ["a\0b", "\0", "a\x1fb", "a\x7fb", "a\x85b", "a\nb", "a\r\nb"]
    long = ["x" * 256, "\u00e9" * 128, "\U0001f600" * 64, "x" * 4000]
    for name in blank + paths + controls + long:
        problem(upload(client, pictures.png(), name=name), 400, "invalid_name")
    assert count(settings, "images") == count(settings, "pending_objects") == 0


@on_sqlite
def test_refused_file_names(client: TestClient) -> None:
    """A file name that becomes the image's name obeys the same rules."""
    for filename in (".png", " .png", "a/b.png", "a\\b.png", "...png", "random.png"):
        problem(upload(client, pictures.png(), filename), 400, "invalid_name")
    assert upload(client, pictures.png(), "a/b.png", name="c").json()["name"] == "c"


@on_sqlite
def test_refused_paths(client: TestClient) -> None:
    """A path with an invalid name is 400 for every method."""
    upload(client, pictures.png(), "a.png").raise_for_status()
    broken = ["%00", "a%00", "%ff", "a%FF", "a%C0%AE", "%ed%a0%80", "a%5Cb", "%2E%2E", "random"]
    for segment in [*broken, "%0a", "x%0Ab", quote("\u00e9" * 128), "%20", "a%2Fmetadata"]:
        problem(client.get(f"/images/{segment}"), 400, "invalid_name")
        if segment == "random":
            continue
        if "%2F" not in segment:
            problem(client.get(f"/images/{segment}/metadata"), 400, "invalid_name")
            problem(client.delete(f"/images/{segment}"), 400, "invalid_name")
    assert client.get("/images/a%2Fb").status_code in {400, 404}
    assert client.get("/images/a").content == pictures.png()


def test_longest_name(client: TestClient) -> None:
    """A name of 255 UTF-8 bytes is accepted, whatever its characters."""
    for name in (
        "x" * 255,
        "\u00e9" * 127 + "x",
        "\U0001f600" * 63 + "xyz",
        "-" * 255,
        "\u3042" * 85,
        unicodedata.normalize("NFD", "\uac01" * 85),  # 765 bytes before normalisation
        " " * 1000 + "y" * 255,
    ):
        normal = unicodedata.normalize("NFC", name).strip()
        assert upload(client, pictures.png(), name=name).json()["name"] == normal
        assert client.get(path(normal)).content == pictures.png()


def path(name: str) -> str:
    """Return the path of the image with this name."""
    return f"/images/{quote(name, safe='')}"


def test_paths_are_reserved() -> None:
    """No image can have a name that is a segment of a path of the API, such as `random`."""
    paths = [path.split("/") for path in create_app().openapi()["paths"]]
    segments = {path[2] for path in paths if path[1] == "images" and len(path) > 2}
    fixed = segments - {"{name}"}
    assert "random" in fixed
    for segment in fixed:
        with pytest.raises(InvalidNameError):
            normalise_name(segment)
