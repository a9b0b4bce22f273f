"""A link for uploading stores one image, within its limits, even from pages of other sites."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi.testclient import TestClient

from config import Settings
from devstack.service_process import ServiceProcess
from tests.api.test_links import KEYS, PRIVATE, SECRET, ask, links, query, store
from tests.support.keys import bearer
from tests.support.pictures import noise_png, png
from tests.support.uploads import count, on_sqlite, problem, serving

GALLERY = "https://gallery.example"
PAGE = {"Sec-Fetch-Site": "cross-site", "Origin": GALLERY}


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    """Run the application with private reads and links."""
    with serving(settings, **PRIVATE) as client:
        yield client


def test_upload(client: TestClient) -> None:
    """A link creates its image; the same bytes are unchanged, and others need `replace`."""
    made = links(client, "a", allows="upload")
    assert made["variants"] is None
    problem(client.put("/images/a", content=png()), 401, "key_required")
    first = client.put(made["url"], content=png())
    assert (first.status_code, first.headers["Upload-Result"]) == (201, "created")
    assert first.headers["Referrer-Policy"] == "no-referrer"
    assert "sig=" not in first.text + str(first.headers)
    assert "created_by" not in first.json()
    again = client.put(made["url"], content=png())
    assert (again.status_code, again.headers["Upload-Result"]) == (200, "unchanged")
    problem(client.put(made["url"], content=png(9, 9)), 412, "precondition_failed")
    answer = client.put(made["url"], content=png(), headers={"If-None-Match": "*"})
    problem(answer, 412, "precondition_failed")
    replacing = links(client, "a", allows="upload", replace=True)["url"]
    answer = client.put(replacing, content=png(9, 9))
    assert (answer.status_code, answer.headers["Upload-Result"]) == (200, "replaced")
    answer = client.put(replacing, content=png(), headers={"If-None-Match": "*"})
    problem(answer, 412, "precondition_failed")
    described = client.get("/images/a/metadata", headers=bearer("all"))
    assert (described.json()["width"], described.json()["created_by"]) == (9, None)


@on_sqlite
def test_nothing_else(client: TestClient) -> None:
    """A link for uploading opens nothing else, and no other link allows an upload."""
    store(client, "a", png())
    signed = urlsplit(links(client, "a", allows="upload", replace=True)["url"]).query
    for method, path in [
        *(("GET", "/images/a"), ("HEAD", "/images/a"), ("DELETE", "/images/a")),
        *(("GET", "/images/a/metadata"), ("GET", "/images/a/variants/160"), ("PUT", "/images/ab")),
        *(("POST", "/images"), ("POST", "/images/a/links"), ("PUT", "/images/a/metadata")),
    ]:
        assert client.request(method, f"{path}?{signed}").status_code == 403
    for wrong in (
        query("a"),
        query("a", "variants"),
        query("b", "upload"),
        query("a", "upload", seconds=-1),
        f"{query('a', 'upload')}&replace=true",
        query("a", "upload", replace=True).replace("replace=true&", ""),
        query("a", "upload", max_bytes=9).replace("max_bytes=9", "max_bytes=99"),
    ):
        problem(client.put(f"/images/a?{wrong}", content=png(9, 9)), 403, "invalid_link")
    assert client.get("/images/a", headers=bearer("all")).content == png()


@on_sqlite
def test_max_bytes(client: TestClient) -> None:
    """A link limits the file to the byte, whether or not its length is announced."""
    content = noise_png(10_000)
    for most, status in ((len(content), 201), (len(content) - 1, 413), (1, 413)):
        url = links(client, f"a{most}", allows="upload", max_bytes=most)["url"]
        for body in (content, iter([content[:5000], content[5000:]])):
            answer = client.put(url, content=body)
            assert answer.status_code in {status, 200 if status == 201 else status}
            if status == 413:
                assert str(most) in problem(answer, 413, "image_too_large")["detail"]


@on_sqlite
def test_service_limit(settings: Settings) -> None:
    """A link does not lift the limit of the service."""
    with serving(settings, **PRIVATE, max_upload_bytes=100) as client:
        url = links(client, "a", allows="upload", max_bytes=10_000)["url"]
        problem(client.put(url, content=bytes(101)), 413, "image_too_large")


@on_sqlite
def test_key_and_link(client: TestClient) -> None:
    """With a key and a link either suffices, and a key that suffices is not limited by the link."""
    signed = query("a", "upload", max_bytes=10_000)
    answer = client.put(f"/images/a?{signed}", content=png(), headers=bearer("reader"))
    assert answer.status_code == 201
    answer = client.put(f"/images/a?{signed}", content=png(9, 9), headers=bearer("reader"))
    problem(answer, 412, "precondition_failed")
    answer = client.put(f"/images/a?{signed}", content=noise_png(20_000), headers=bearer("all"))
    assert answer.status_code == 200
    answer = client.put(
        f"/images/a?{query('b', 'upload')}", content=png(), headers=bearer("reader")
    )
    problem(answer, 403, "insufficient_scope")


def test_race(service_environment: dict[str, str]) -> None:
    """Of 20 clients with one link and different bytes, one stores its image."""
    environment = service_environment | {
        "API_KEYS": KEYS[0].line,
        "PUBLIC_READS": "false",
        "LINK_SECRETS": SECRET,
    }
    pictures = [png(10, 10 + i) for i in range(20)]
    with ServiceProcess(environment) as service, ThreadPoolExecutor(20) as pool:
        url = f"{service.base_url}/images/a?{query('a', 'upload')}"
        answers = list(pool.map(lambda picture: httpx.put(url, content=picture), pictures))
        assert sorted(answer.status_code for answer in answers) == [201, *[412] * 19]
        (won,) = (i for i, answer in enumerate(answers) if answer.status_code == 201)
        stored = httpx.get(f"{service.base_url}/images/a", headers=bearer("all"))
        assert stored.content == pictures[won]


@on_sqlite
def test_open_service(settings: Settings) -> None:
    """Without keys a link lets pages of other sites upload, within its limits."""
    with serving(settings, link_secrets=(SECRET,)) as client:
        answer = ask(client, "a", None, allows="upload", max_bytes=10_000)
        url = answer.json()["url"]
        problem(client.put("/images/a", content=png(), headers=PAGE), 403, "cross_site_request")
        for wrong in (f"{url}x", f"/images/b?{urlsplit(url).query}", f"/images/a?{query('a')}"):
            problem(client.put(wrong, content=png(), headers=PAGE), 403, "cross_site_request")
        answer = client.delete(f"/images/a?{urlsplit(url).query}", headers=PAGE)
        problem(answer, 403, "cross_site_request")
        assert client.put(url, content=png(), headers=PAGE).status_code == 201
        problem(client.put(url, content=png(9, 9), headers=PAGE), 412, "precondition_failed")
        problem(client.put(url, content=bytes(10_001), headers=PAGE), 413, "image_too_large")
        assert client.put("/images/a", content=png(9, 9)).status_code == 200
    assert count(settings, "images") == 1


@on_sqlite
@pytest.mark.parametrize("keys", [(), KEYS])
def test_cors(settings: Settings, keys: tuple[Any, ...]) -> None:
    """A browser asks whether it may PUT, and scripts of allowed origins read the answers."""
    changes = PRIVATE | {"api_keys": keys, "cors_allow_origins": (GALLERY,)}
    with serving(settings, **changes) as client:
        url = f"/images/a?{query('a', 'upload')}"
        asked = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "x-a"}
        preflight = client.options(url, headers=PAGE | asked)
        assert preflight.status_code == 200
        assert "PUT" in preflight.headers["Access-Control-Allow-Methods"]
        for address, status in ((url, 201), (f"{url}x", 403 if keys else 200)):
            answer = client.put(address, content=png(), headers=PAGE)
            assert answer.status_code == status
            assert answer.headers["Access-Control-Allow-Origin"] == GALLERY
