"""Addresses name their version: caches keep it forever, and it never becomes another."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from fastapi.testclient import TestClient

from config import ApiKey, Settings
from imaging.rendering.encodings import REVISION
from main import create_app
from s3_client import Bucket, ObjectBody
from services import tags
from tests.support.metered_service import MeteredService
from tests.support.pictures import jpeg, png
from tests.support.uploads import on_sqlite, problem, serving, upload
from tests.support.variants import HIGH, WIDE, opened

FOR_EVER = "public, max-age=31536000, immutable"
KEY = "key-of-the-backend"
KEYS = {
    "api_keys": (ApiKey("backend", "write", hashlib.sha256(KEY.encode()).hexdigest()),),
    "public_reads": False,
}


def version(address: str) -> str:
    """Return the tag in an address."""
    (tag,) = parse_qs(urlsplit(address).query)["v"]
    return tag


def addresses(document: dict[str, Any]) -> list[str]:
    """Return the addresses in a metadata document."""
    return [document["url"], *document["variants"].values()]


@on_sqlite
def test_tags(client: TestClient) -> None:
    """The tag of an image is the beginning of its SHA-256; that of its variants is another."""
    stored = upload(client, png(), name="ä b")
    document = stored.json()
    assert document["url"] == f"/images/%C3%A4%20b?v={document['sha256'][:16]}"
    assert stored.headers["Location"] == document["url"]
    assert document["variants"].keys() == {"160", "320", "640", "1280", "2048", "320x320-crop"}
    (tag,) = {version(address) for address in document["variants"].values()}
    assert tag != version(document["url"])
    assert document["variants"]["320"] == f"/images/%C3%A4%20b/variants/320?v={tag}"
    others = [upload(client, png(seed=1), name="ä b"), upload(client, png(seed=1), name="c")]
    assert others[0].headers.get("Location") is None
    found = {version(address) for other in others for address in addresses(other.json())}
    assert len(found) == 2
    assert not found & {tag, version(document["url"])}


@on_sqlite
def test_tag_of_variants(
    client: TestClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tag of variants depends on the renderer's revision and VARIANT_FORMATS, not on sizes."""
    before = upload(client, WIDE).json()
    seen = {version(before["variants"]["320"])}
    with serving(settings, variants=("320",)) as other:
        assert version(other.get("/images/a/metadata").json()["variants"]["320"]) in seen
    for formats in (("jpg", "png"), ("png", "jpg")):
        with serving(settings, variant_formats=formats) as other:
            document = other.get("/images/a/metadata").json()
            assert document["url"] == before["url"]
            seen.add(version(document["variants"]["320"]))
            moved = other.get(before["variants"]["320"], follow_redirects=False)
            assert (moved.status_code, moved.headers["Location"]) == (
                302,
                document["variants"]["320"],
            )
    monkeypatch.setattr(tags, "REVISION", REVISION + 1)
    seen.add(version(client.get("/images/a/metadata").json()["variants"]["320"]))
    assert len(seen) == 4


@on_sqlite
def test_current(client: TestClient) -> None:
    """The response at a current address may be kept forever, whatever its status."""
    document = upload(client, png(200, 100)).json()
    for address in addresses(document):
        whole = client.get(address)
        etag = whole.headers["ETag"]
        answers = [
            (200, whole),
            (200, client.head(address)),
            (206, client.get(address, headers={"Range": "bytes=0-9"})),
            (304, client.get(address, headers={"If-None-Match": etag})),
            (304, client.head(address, headers={"If-None-Match": etag})),
        ]
        for status, answer in answers:
            assert (answer.status_code, answer.headers["Cache-Control"]) == (status, FOR_EVER)
            assert ("Accept" in answer.headers.get("Vary", "")) == ("/variants/" in address)
        refused = client.get(address, headers={"If-Match": '"other"'})
        assert (refused.status_code, refused.headers["Cache-Control"]) == (412, "no-store")


@on_sqlite
def test_negotiated(client: TestClient) -> None:
    """All formats of a variant have one tag; without a file extension they vary by Accept."""
    document = upload(client, WIDE).json()
    path, _, query = document["variants"]["320"].partition("?")
    kinds = [("", "image/webp"), ("", "*/*"), (".webp", ""), (".jpg", ""), (".png", "")]
    for ending, accept in kinds:
        answer = client.get(f"{path}{ending}?{query}", headers={"Accept": accept})
        assert answer.headers["Cache-Control"] == FOR_EVER
        assert ("Accept" in answer.headers.get("Vary", "")) == (not ending)
        assert (answer.headers["Content-Type"] == "image/webp") == ("webp" in ending + accept)


@on_sqlite
@pytest.mark.parametrize("suffix", ["", "/variants/160.png"])
def test_without_a_version(client: TestClient, suffix: str) -> None:
    """Without a version, or with an empty one, the response is revalidated."""
    upload(client, png()).raise_for_status()
    for query in ("", "?v", "?v=", "?v=&v="):
        answer = client.get(f"/images/a{suffix}{query}")
        assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-cache")


OTHER = ["0123456789abcdef", "{tag}0", "{TAG}", "%20{tag}", "%00", "%FF", "%C3%A4", "x" * 4000]
CONDITIONS: list[list[tuple[str, str]]] = [
    [],
    [("If-None-Match", "*")],
    [("If-Match", '"other"')],
    [("If-Unmodified-Since", "Thu, 01 Jan 1970 00:00:00 GMT")],
    [("Range", "bytes=0-9")],
    [("Range", "bytes=99999-")],
]


@pytest.mark.parametrize("suffix", ["", "/variants/160", "/variants/320.webp"])
@pytest.mark.parametrize("stored", [True, False])
def test_another_version(metered: MeteredService, suffix: str, *, stored: bool) -> None:
    """Another version is redirected before conditions and ranges, without S3."""
    path = metered.image(jpeg(400, 300), "jpg") + suffix
    document = metered.send("GET", f"{path.removesuffix(suffix)}/metadata").json()
    current = document["variants"]["160"] if suffix else document["url"]
    tag, stranger = version(current), document["url" if suffix else "variants"]
    others = [other.format(tag=tag, TAG=tag.upper()) for other in OTHER]
    others.append(version(stranger if suffix else stranger["160"]))
    if stored:
        metered.send("GET", path)
    metered.settle()
    for method in ("GET", "HEAD"):
        for other in others:
            for fields in CONDITIONS if other == others[0] else [[]]:
                moved = metered.send(method, f"{path}?v={other}", fields)
                assert moved.headers.get("Location") == f"{path}?v={tag}"
                assert (moved.status_code, moved.content) == (302, b"")
                assert moved.headers["Cache-Control"] == "no-cache"
    assert metered.meter.taken() == []


def test_other_parameters(metered: MeteredService) -> None:
    """The redirect keeps all other parameters unchanged, and has one version."""
    path = metered.image(png())
    tag = version(metered.send("GET", f"{path}/metadata").json()["url"])
    queries = {
        "v=0&disposition=inline": "disposition=inline",
        "disposition=inline&v=0&redirect=true": "disposition=inline&redirect=true",
        "a=%7e%41+b&&v=0&%76=1&a=&c": "a=%7e%41+b&a=&c",
        f"v={tag}&v=0": None,
        "vv=1&v=0&V=2": "vv=1&V=2",
    }
    for query, kept in queries.items():
        moved = metered.send("GET", f"{path}?{query}")
        assert moved.status_code == 302
        assert moved.headers["Location"] == f"{path}?v={tag}" + (f"&{kept}" if kept else "")
        assert metered.send("GET", moved.headers["Location"]).status_code in {200, 307}


@on_sqlite
def test_overwritten(client: TestClient) -> None:
    """An old address redirects to the new picture and its address."""
    old = upload(client, WIDE, "a.jpg").json()
    for address in addresses(old):
        assert client.get(address).is_success
    new = upload(client, HIGH, "a.jpg").json()
    for before, after in zip(addresses(old), addresses(new), strict=True):
        answer = client.get(before)
        assert [step.status_code for step in answer.history] == [302]
        assert answer.url.raw_path.decode() == after
        assert answer.content == client.get(after.partition("?")[0]).content
        assert answer.headers["Cache-Control"] == FOR_EVER
    # The same bytes have the same address again.
    assert addresses(upload(client, WIDE, "a.jpg").json()) == addresses(old)
    assert opened(client.get(old["url"], follow_redirects=False)).size == (800, 400)


@on_sqlite
def test_missing(client: TestClient) -> None:
    """A missing image is 404 with any version, and caches do not keep that."""
    document = upload(client, WIDE, "a.jpg").json()
    tag = version(document["variants"]["160"])
    unknown = f"/images/a/variants/161?v={tag}"
    client.delete("/images/a").raise_for_status()
    for address in [*addresses(document), unknown]:
        missing = client.get(address)
        problem(missing, 404, "variant_not_found" if address == unknown else "image_not_found")
        assert missing.headers["Cache-Control"] == "no-store"


@on_sqlite
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (KEYS, "private, max-age=31536000, immutable"),
        (KEYS | {"public_reads": True}, FOR_EVER),
        ({"cache_control": "max-age=60"}, FOR_EVER),
        ({"cache_control": "public, max-age=60"}, FOR_EVER),
        ({"cache_control": "Private, max-age=60"}, "private, max-age=31536000, immutable"),
        ({"cache_control": "no-store"}, "no-store"),
        (KEYS | {"cache_control": "no-store"}, "private, no-store"),
    ],
)
def test_who_may_keep_it(settings: Settings, changes: dict[str, Any], expected: str) -> None:
    """Shared caches keep only public reads, and CACHE_CONTROL can forbid more."""
    with serving(settings, **changes) as client:
        client.headers["Authorization"] = f"Bearer {KEY}"
        document = upload(client, png()).json()
        for address in (document["url"], document["variants"]["160"]):
            assert client.get(address).headers["Cache-Control"] == expected
            moved = client.get(f"{address}0", follow_redirects=False)
            assert (moved.status_code, moved.headers["Cache-Control"]) == (302, "no-cache")


@on_sqlite
def test_redirect_to_s3(client: TestClient) -> None:
    """Caches do not keep a redirect to S3; other versions are redirected before it."""
    document = upload(client, WIDE, "a.jpg").json()
    client.get(document["variants"]["160"]).raise_for_status()
    for address in (document["url"], document["variants"]["160"]):
        current, other = (
            client.get(f"{address}{more}&redirect=true", follow_redirects=False)
            for more in ("", "0")
        )
        assert (current.status_code, current.headers["Cache-Control"]) == (307, "no-store")
        assert httpx.get(current.headers["Location"]).headers["Cache-Control"] == FOR_EVER
        assert (other.status_code, other.headers["Location"]) == (302, f"{address}&redirect=true")


@on_sqlite
def test_below_a_prefix(settings: Settings) -> None:
    """Behind a proxy that serves the service below a prefix, all addresses begin with it."""
    with TestClient(create_app(settings), root_path="/photos") as client:
        stored = upload(client, png())
        assert stored.headers["Location"] == stored.json()["url"]
        for address in addresses(stored.json()):
            assert address.startswith("/photos/images/a")
            assert client.get(address).headers["Cache-Control"] == FOR_EVER
            moved = client.get(f"{address}0", follow_redirects=False)
            assert (moved.status_code, moved.headers["Location"]) == (302, address)


@on_sqlite
def test_metadata_under_other_settings(settings: Settings) -> None:
    """A date does not identify a document that other settings have since changed."""
    with serving(settings) as client:
        assert upload(client, png()).is_success
        seen = client.get("/images/a/metadata")
        by_date = {"If-Modified-Since": seen.headers["Last-Modified"]}
        by_tag = {"If-None-Match": seen.headers["ETag"]}
        assert client.get("/images/a/metadata", headers=by_date).status_code == 304
    with serving(settings, variant_formats=("jpg",)) as changed:
        for conditions in (by_date, by_tag, by_date | by_tag):
            answer = changed.get("/images/a/metadata", headers=conditions)
            assert (answer.status_code, answer.json()["sha256"]) == (200, seen.json()["sha256"])
            assert answer.content != seen.content
    with serving(settings) as client:
        assert client.get("/images/a/metadata", headers=by_tag).status_code == 304


class InterruptedBucket(Bucket):
    """A bucket that acts once before it opens an object."""

    before_get: Callable[[], object] | None = None

    def download_image(self, key: str, part: tuple[int, int] | None = None) -> ObjectBody:
        """Act, then open the object."""
        act, self.before_get = self.before_get, None
        if act:
            act()
        return super().download_image(key, part)


@on_sqlite
@pytest.mark.parametrize("kind", ["image", "variant"])
def test_replaced_meanwhile(client: TestClient, kind: str) -> None:
    """If an image is replaced before its object is opened, the old tag leads to the new one."""
    document = upload(client, WIDE, "a.jpg").json()
    address = document["url"] if kind == "image" else document["variants"]["160"]
    resources = client.app_state["resources"]
    bucket = InterruptedBucket(resources.settings)
    client.app_state["resources"] = replace(resources, bucket=bucket)
    bucket.before_get = lambda: upload(client, HIGH, "a.jpg").raise_for_status()
    answer = client.get(address)
    bucket.close()
    (moved,) = answer.history
    assert (moved.status_code, moved.headers["Cache-Control"]) == (302, "no-cache")
    assert version(str(answer.url)) != version(address)
    assert opened(answer).width < opened(answer).height
