"""GET /images/{name}/variants/{variant}: which variants exist, and their responses."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import httpx
import pytest
from fastapi.testclient import TestClient

from config import Settings, load_settings
from devstack.object_store import ObjectStore
from tests.support.containers import chunk, png_file
from tests.support.metered_service import metered_service
from tests.support.pictures import noise_png, png
from tests.support.uploads import count, on_sqlite, problem, serving, upload
from tests.support.variants import HIGH, WIDE, opened, resources

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@on_sqlite
@pytest.mark.parametrize(
    ("variant", "size", "kind"),
    [
        ("160", (160, 80), "JPEG"),
        ("1280", (800, 400), "JPEG"),
        ("320x320-crop", (320, 320), "JPEG"),
        ("320.png", (320, 160), "PNG"),
        ("320.webp", (320, 160), "WEBP"),
    ],
)
def test_offered(client: TestClient, variant: str, size: tuple[int, int], kind: str) -> None:
    """A variant has its size, never larger than the original, and its format."""
    upload(client, WIDE, "a.jpg")
    answer = client.get(f"/images/a/variants/{variant}")
    picture = opened(answer)
    assert (picture.size, picture.format) == (size, kind)
    assert answer.headers["Content-Type"] == f"image/{kind.lower()}"
    assert ("Accept" in answer.headers.get("Vary", "")) is ("." not in variant)


@on_sqlite
@pytest.mark.parametrize(
    "variant",
    ["321", "0320", "320x320", "320.gif", "320.avif", "320.", "320.jpg.png", "-1", "crop", "320X1"],
)
def test_not_offered(client: TestClient, settings: Settings, variant: str) -> None:
    """Any other variant is 404 and makes nothing."""
    upload(client, WIDE, "a.jpg")
    problem(client.get(f"/images/a/variants/{variant}"), 404, "variant_not_found")
    assert count(settings, "variants") == 0


@on_sqlite
def test_no_such_image(client: TestClient) -> None:
    """A variant of a missing image is 404."""
    problem(client.get("/images/none/variants/320"), 404, "image_not_found")


@on_sqlite
@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("image/webp,*/*", "image/webp"),
        ("text/html, image/webp;q=0.1", "image/webp"),
        ("image/webp;q=0, image/*", "image/png"),
        ("image/*", "image/png"),
        ("", "image/png"),
    ],
)
def test_accept(client: TestClient, accept: str, kind: str) -> None:
    """Clients that accept WebP get it, others the image's own format; Vary has Accept."""
    upload(client, noise_png(10_000), "a.png")
    answer = client.get("/images/a/variants/160", headers={"Accept": accept})
    assert answer.headers["Content-Type"] == kind
    again = {"Accept": accept, "If-None-Match": answer.headers["ETag"]}
    others = [
        (304, client.get("/images/a/variants/160", headers=again)),
        (200, client.head("/images/a/variants/160", headers={"Accept": accept})),
        (206, client.get("/images/a/variants/160", headers={"Range": "bytes=0-1"})),
        (416, client.get("/images/a/variants/160", headers={"Range": "bytes=99999999-"})),
        (412, client.get("/images/a/variants/160", headers={"If-Match": '"other"'})),
        (307, client.get("/images/a/variants/160?redirect=true", follow_redirects=False)),
        (404, client.get("/images/none/variants/160")),
    ]
    for status, other in others:
        assert other.status_code == status
        assert "Accept" in answer.headers["Vary"] == other.headers["Vary"]


@on_sqlite
def test_delivery(client: TestClient) -> None:
    """HEAD, ranges, conditions, file names and redirects work as for downloads."""
    upload(client, WIDE, "a.jpg")
    path = "/images/a/variants/320.webp"
    whole, head = client.get(path), client.head(path)
    assert head.content == b""
    assert {name: head.headers[name] for name in ("ETag", "Content-Length")} == {
        name: whole.headers[name] for name in ("ETag", "Content-Length")
    }
    part = client.get(path, headers={"Range": "bytes=4-9", "If-Range": whole.headers["ETag"]})
    assert (part.status_code, part.content) == (206, whole.content[4:10])
    assert client.get(path, headers={"If-Match": '"other"'}).status_code == 412
    inline = client.get(path, params={"disposition": "inline"})
    assert inline.headers["Content-Disposition"].startswith('inline; filename="a.webp"')
    there = client.get(path, params={"redirect": True}, follow_redirects=False)
    assert httpx.get(there.headers["Location"]).content == whole.content


@on_sqlite
def test_first_request(client: TestClient) -> None:
    """The request that makes a variant gets the same response as any other, including errors."""
    upload(client, WIDE, "a.jpg")
    path = "/images/a/variants/"
    head = client.head(f"{path}160.png")
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["Content-Length"]) == len(client.get(f"{path}160.png").content)
    others = [
        (206, client.get(f"{path}160", headers={"Range": "bytes=0-1"})),
        (304, client.get(f"{path}320", headers={"If-None-Match": "*"})),
        (412, client.get(f"{path}640", headers={"If-Match": '"other"'})),
        (416, client.get(f"{path}1280", headers={"Range": "bytes=99999999-"})),
        (307, client.get(f"{path}2048?redirect=true", follow_redirects=False)),
    ]
    for status, other in others:
        assert other.status_code == status
        assert "Accept" in other.headers["Vary"]
        assert other.headers["X-Request-ID"]


@on_sqlite
def test_listed(client: TestClient) -> None:
    """Metadata and listings contain the addresses of an image's variants."""
    upload(client, WIDE, "a.jpg", name="ä b")
    listed = client.get("/images").json()["images"][0]["variants"]
    assert listed == client.get("/images/%C3%A4%20b/metadata").json()["variants"]
    assert listed["320"].partition("?")[0] == "/images/%C3%A4%20b/variants/320"
    assert {client.get(path).status_code for path in listed.values()} == {200}


@on_sqlite
@pytest.mark.parametrize("value", ["", " ", ","])
def test_off(
    client: TestClient,
    settings: Settings,
    service_environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    value: str,
) -> None:
    """With empty VARIANTS there are none, and existing ones are deleted with their image."""
    assert upload(client, WIDE, "a.jpg").status_code == 201
    assert client.get("/images/a/variants/320").status_code == 200
    for name, setting in (service_environment | {"VARIANTS": value}).items():
        monkeypatch.setenv(name, setting)
    off = load_settings()
    with serving(off) as quiet:
        assert upload(quiet, HIGH, "b.jpg").json()["variants"] == {}
        for name in ("a", "b"):
            problem(quiet.get(f"/images/{name}/variants/320"), 404, "variant_not_found")
            assert quiet.delete(f"/images/{name}").status_code == 200
    with resources(off) as opened_ones:
        opened_ones.sweeper().sweep()
        assert list(opened_ones.bucket.list_objects()) == []
    assert count(settings, "variants") == count(settings, "pending_objects") == 0


@on_sqlite
@pytest.mark.parametrize(
    "variables", [{"variants": "320,none"}, {"variants": ",".join(map(str, range(1, 22)))}]
)
def test_settings(settings: Settings, variables: dict[str, str]) -> None:
    """An invalid spec, or more than 20 specs, stops the start."""
    known = settings.model_dump(include={"db_url", "aws_region", "aws_s3_bucket"})
    with pytest.raises(ValueError, match="variant"):
        Settings.model_validate(known | variables)


def test_failure_is_remembered(
    object_store: ObjectStore, s3: "S3Client", new_bucket: Callable[[], str]
) -> None:
    """A variant that cannot be made is tried only once per version of the image."""
    bucket = new_bucket()
    with metered_service(object_store, s3, bucket, INSPECTION="header") as service:
        upload(service.client, png_file(chunk(b"IDAT", b"no pixels")), "a.png").raise_for_status()
        service.meter.taken()
        for variant, requests in (("160", 1), ("160", 0), ("320", 1), ("160", 0)):
            answer = service.client.get(f"/images/a/variants/{variant}.png")
            problem(answer, 404, "variant_not_found")
            assert len(service.meter.taken()) == requests
        upload(service.client, png(40, 30), "a.png").raise_for_status()
        assert service.client.get("/images/a/variants/160.png").status_code == 200
