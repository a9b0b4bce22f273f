"""Signed links: made with a key, used without one, and refused alike in all other cases."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest
from fastapi.testclient import TestClient

from config import Settings
from devstack.service_process import ServiceProcess
from schemas import Right
from tests.support.keys import api_key, bearer
from tests.support.pictures import jpeg, png
from tests.support.uploads import on_sqlite, problem, serving
from web.signed_links import SignedLink

pytestmark = on_sqlite
OLD, SECRET = "old-" + "o" * 28, "new-" + "n" * 28
KEYS = (
    api_key("backend:write", "all"),
    api_key("team:write:team-", "team"),
    api_key("reader:read", "reader"),
)
DIRECTIVES = "public, max-age=86400, s-maxage=9, stale-while-revalidate=5, immutable"
PRIVATE: dict[str, Any] = {
    "api_keys": KEYS,
    "public_reads": False,
    "link_secrets": (SECRET, OLD),
    "cache_control": DIRECTIVES,
}
CAFE = "caf\xe9"
PICTURE = png(300, 200)


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    """Run the application with private reads, links and three images."""
    with serving(settings, **PRIVATE) as client:
        client.follow_redirects = False
        for name in ("a", "ab", CAFE):
            store(client, name, PICTURE)
        yield client


def store(client: TestClient, name: str, content: bytes) -> None:
    """Upload an image with a key."""
    form: dict[str, Any] = {"files": {"file": ("x.png", content)}, "data": {"name": name}}
    client.post("/images", **form, headers=bearer("all")).raise_for_status()


def ask(client: TestClient, name: str, token: str | None, **wanted: Any) -> httpx.Response:
    """Ask for a link."""
    wanted = {"allows": "read", "expires_in": 3600} | wanted
    path = f"/images/{quote(name)}/links"
    answer: httpx.Response = client.post(path, json=wanted, headers=bearer(token))
    return answer


def links(client: TestClient, name: str, **wanted: Any) -> dict[str, Any]:
    """Make links with a key."""
    answer = ask(client, name, "all", **wanted)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    document: dict[str, Any] = answer.json()
    assert list(document) == ["url", "variants", "expires_at"]
    return document


def query(
    name: str, allows: Right = "read", secret: str = SECRET, seconds: float = 60, **more: Any
) -> str:
    """Return the parameters of a link that expires in so many seconds."""
    expires = datetime.now(UTC) + timedelta(seconds=seconds)
    return SignedLink(allows, name, int(1000 * expires.timestamp()), **more).query(secret)


def test_read(client: TestClient) -> None:
    """A link for reading opens the image, its metadata and its variants, and nothing else."""
    made = links(client, "a")
    assert client.get(made["url"]).content == PICTURE
    assert client.head(made["url"]).status_code == 200
    for address in made["variants"].values():
        assert client.get(address).status_code == 200
        assert client.head(address).status_code == 200
    signed = urlsplit(made["url"]).query.partition("&")[2]  # without the version
    described = client.get(f"/images/a/metadata?{signed}")
    assert described.json()["name"] == "a"
    assert "created_by" not in described.json()
    addresses = {name: described.json()[name] for name in ("url", "variants")}
    assert addresses == {name: made[name] for name in addresses}
    part = client.get(made["url"], headers={"Range": "bytes=0-0"})
    assert (part.status_code, part.content) == (206, PICTURE[:1])
    known = {"If-None-Match": part.headers["ETag"]}
    assert client.get(made["url"], headers=known).status_code == 304
    assert client.get(f"/images/a/variants/320.png?{signed}").status_code == 200
    for method, path in [
        *(("DELETE", "/images/a"), ("POST", "/images"), ("POST", "/images/a/links")),
        *(("GET", "/images"), ("GET", "/images/random/metadata"), ("GET", "/metrics")),
        *(("PUT", "/images/a"), ("GET", "/images/ab"), ("GET", "/images/ab/metadata")),
        *(("GET", "/images/ab/variants/320"), ("GET", "/nowhere"), ("GET", "/images/none")),
        *(("PATCH", "/images/a"), ("GET", "/images/%20"), ("GET", "/images/a%00")),
    ]:
        answer = client.request(method, f"{path}?{signed}")
        if path == "/images/a%00":
            problem(answer, 400, "invalid_name")
        else:
            problem(answer, 403, "invalid_link")
        assert client.request(method, path).status_code in {400, 401}


def test_variants(client: TestClient) -> None:
    """A link for variants opens the smaller pictures, but not the original or its metadata."""
    made = links(client, "a", allows="variants")
    assert made["url"] is None
    assert set(made["variants"]) == {"160", "320", "640", "1280", "2048", "320x320-crop"}
    for address in made["variants"].values():
        assert client.get(address).status_code == 200
        for path in ("/images/a", "/images/a/metadata", "/images/ab/variants/160"):
            problem(client.get(f"{path}?{urlsplit(address).query}"), 403, "invalid_link")


def wrong_queries(name: str) -> list[str]:
    """Return parameters that open no image called `name`."""
    right = query(name)
    return [
        query(name, seconds=-0.001),
        query(name, secret="another" * 9),
        query(f"{name}b"),
        query(name[:-1]),
        query(name, "variants"),
        query(name, "upload"),
        f"{right}&allows=read",
        f"{right}&max_bytes=",
        right.partition("&sig")[0],
        right.rpartition("&")[2],
        "sig=",
        f"{right}%C3%A9",
        f"{right}%FF",
    ]


def test_refusals_are_alike(client: TestClient) -> None:
    """All invalid links get the same refusal, whether or not the image exists."""
    told = set()
    for name, status in (("a", 200), ("none", 404)):
        assert client.get(f"/images/{name}?{query(name)}").status_code == status
        for parameters in wrong_queries(name):
            answer = client.get(f"/images/{name}?{parameters}")
            document = problem(answer, 403, "invalid_link")
            del document["request_id"], document["instance"]
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert answer.headers["Cache-Control"] == "no-store"
            told.add(json.dumps(document))
    assert len(told) == 1


def test_every_character(client: TestClient) -> None:
    """A link with any character changed is refused, or redirects to its version."""
    url = links(client, "a")["url"]
    assert client.get(url).status_code == 200
    version = re.search(r"\?v=\w*", url)  # without the question mark it has no parameters
    assert version
    for i, character in enumerate(url):
        for other in ("x", "A", "0", "&", "="):
            if other == character or version.start() <= i < version.end():
                continue
            answer = client.get(url[:i] + other + url[i + 1 :])
            assert answer.status_code == 403, answer.request.url
            assert answer.json()["code"] == "invalid_link"


def test_spellings(client: TestClient) -> None:
    """All spellings of a name share one link, which opens all of them."""
    made = {json.dumps(links(client, name)) for name in (CAFE, "cafe\u0301", f" {CAFE}\u00a0")}
    assert len(made) == 1
    signed = urlsplit(json.loads(made.pop())["url"]).query
    for name in (CAFE, "cafe\u0301", f"%20{CAFE}"):
        assert client.get(f"/images/{name}?{signed}").content == PICTURE
    problem(client.get(f"/images/cafe?{signed}"), 403, "invalid_link")


def test_of_the_name(client: TestClient) -> None:
    """A link survives overwrites, deletion and the return of its name."""
    signed = query("a")
    assert client.get(f"/images/a?{signed}").content == PICTURE
    client.delete("/images/a", headers=bearer("all")).raise_for_status()
    problem(client.get(f"/images/a?{signed}"), 404, "image_not_found")
    made = links(client, "a")
    assert client.get(made["url"]).status_code == 404
    store(client, "a", jpeg())
    assert client.get(f"/images/a?{signed}").content == jpeg()
    assert client.get(made["url"]).content == jpeg()


def test_versions(client: TestClient) -> None:
    """The addresses name the current version; older ones redirect to it and stay signed."""
    made = links(client, "a")
    for url in (made["url"], made["variants"]["160"]):
        (expires,) = parse_qs(urlsplit(url).query)["expires"]
        left = float(expires) - datetime.now(UTC).timestamp()
        answer = client.get(url)
        assert answer.status_code == 200
        kept = re.fullmatch(r"private, max-age=(\d+), immutable", answer.headers["Cache-Control"])
        assert kept
        assert 0 < int(kept[1]) <= left
    store(client, "a", png(200, 300))
    for url in (made["url"], made["variants"]["160"]):
        answer = client.get(url)
        assert answer.status_code == 302
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        location = answer.headers["Location"]
        assert urlsplit(location).query.partition("&")[2] == urlsplit(url).query.partition("&")[2]
        assert location != url
        assert client.get(location).status_code == 200
    problem(client.get(f"{made['url']}x"), 403, "invalid_link")


def test_equal(client: TestClient) -> None:
    """Links of one window are equal byte for byte; those with other lifetimes or rights differ."""
    wanted: list[dict[str, Any]] = [{}, {"expires_in": 604800}, {"allows": "variants"}]
    made = [[ask(client, "a", "all", **one).content for _ in range(3)] for one in wanted]
    # A window may end between two of the three.
    assert all(len(set(one)) <= 2 for one in made)
    assert len({one[0] for one in made}) == len(wanted)


def test_expires_at(client: TestClient) -> None:
    """The response contains the expiry that is signed."""
    for seconds in (1, 60, 604800):
        before = datetime.now(UTC)
        made = links(client, "a", expires_in=seconds)
        (expires,) = parse_qs(urlsplit(made["url"]).query)["expires"]
        told = datetime.fromisoformat(made["expires_at"])
        assert told.timestamp() == float(expires)
        assert told >= before + timedelta(seconds=seconds)


WRONG: list[Any] = [
    *({}, {"allows": "read"}, {"expires_in": 9}, {"allows": "delete", "expires_in": 9}),
    *(
        {"allows": "read", "expires_in": seconds}
        for seconds in (0, -1, 604801, 1.5, "9", True, None)
    ),
    {"allows": "read", "expires_in": 9, "replace": True},
    {"allows": "variants", "expires_in": 9, "max_bytes": 9},
    {"allows": "upload", "expires_in": 9, "max_bytes": 0},
    {"allows": "upload", "expires_in": 9, "replaces": True},
    *([], "read", None),
]


def test_wrong_requests(client: TestClient) -> None:
    """A request for a link with missing, additional or invalid members is refused."""
    for body in WRONG:
        answer = client.post("/images/a/links", json=body, headers=bearer("all"))
        problem(answer, 422, "invalid_parameter")
    for content in (b"", b"{", b"\xff", b'{"allows":"read","expires_in":9}{}'):
        answer = client.post("/images/a/links", content=content, headers=bearer("all"))
        problem(answer, 422, "invalid_parameter")
    answer = client.post("/images/a/links", content=b" " * 5000, headers=bearer("all"))
    problem(answer, 400, "invalid_request")
    problem(ask(client, "random", "all"), 400, "invalid_name")


def test_who_makes_links(client: TestClient, settings: Settings) -> None:
    """Only a key that may write the name can create links to it; without keys, anybody can."""
    problem(ask(client, "a", None), 401, "key_required")
    problem(ask(client, "a", "reader"), 403, "insufficient_scope")
    problem(ask(client, "a", "team"), 403, "insufficient_scope")
    problem(ask(client, "none", "team"), 403, "insufficient_scope")
    assert ask(client, "team-none", "team").status_code == 200
    with serving(settings, link_secrets=(SECRET,)) as open_service:
        assert ask(open_service, "a", None).status_code == 200


def test_not_configured(settings: Settings) -> None:
    """Without LINK_SECRETS no link is made, and none is valid."""
    with serving(settings, **PRIVATE | {"link_secrets": ()}) as client:
        problem(ask(client, "a", "all"), 404, "links_not_configured")
        problem(ask(client, "a", "reader"), 403, "insufficient_scope")
        for secret in (SECRET, ""):
            signed = query("a", secret=secret)
            problem(client.get(f"/images/a?{signed}"), 403, "invalid_link")


def test_rotation(client: TestClient, settings: Settings) -> None:
    """The first secret signs; removing a secret revokes its links."""
    url = links(client, "a")["url"]
    old, new = (f"/images/a?{query('a', secret=secret)}" for secret in (OLD, SECRET))
    assert {client.get(one).status_code for one in (url, old, new)} == {200}
    with serving(settings, **PRIVATE | {"link_secrets": (SECRET,)}) as rotated:
        assert rotated.get(url).status_code == 200
        assert rotated.get(new).status_code == 200
        problem(rotated.get(old), 403, "invalid_link")


@pytest.mark.parametrize("token", ["all", "team", "reader", "unknown", None])
def test_key_and_link(client: TestClient, token: str | None) -> None:
    """With a key and a link, either suffices."""
    suffices = token in {"all", "reader"}
    headers = bearer(token)
    assert client.get(f"/images/a?{query('a')}", headers=headers).status_code == 200
    for wrong in (query("ab"), query("a", seconds=-1), "sig=x", ""):
        answer = client.get(f"/images/a?{wrong}", headers=headers)
        assert (answer.status_code == 200) is suffices
        assert suffices or answer.status_code in {401, 403}


def test_public(settings: Settings) -> None:
    """Where reading is public, a link makes no difference, right or wrong."""
    for public in (True, "images"):
        with serving(settings, **PRIVATE | {"public_reads": public}) as client:
            store(client, "a", PICTURE)
            for signed in ("", query("a"), query("ab"), "sig=x&sig=y"):
                answer = client.get(f"/images/a?{signed}")
                assert answer.content == PICTURE
                assert answer.headers["Cache-Control"] == DIRECTIVES
                assert "Referrer-Policy" not in answer.headers
            answer = client.get(f"/images?{query('a')}")
            assert answer.status_code == (200 if public is True else 403)


def test_caching(client: TestClient) -> None:
    """Responses to links are private, kept no longer than the link, and send no Referer."""
    for seconds in (30, 1e6):
        signed = query("a", seconds=seconds)
        for path in ("/images/a", "/images/a/metadata", "/images/a/variants/160"):
            answer = client.get(f"{path}?{signed}")
            again = client.get(
                f"{path}?{signed}", headers={"If-None-Match": answer.headers["ETag"]}
            )
            assert (answer.status_code, again.status_code) == (200, 304)
            for one in (answer, again):
                found = re.fullmatch(
                    r"private, max-age=(\d+), immutable", one.headers["Cache-Control"]
                )
                assert found, one.headers["Cache-Control"]
                assert 0 < int(found[1]) <= min(seconds, 86400)
                assert one.headers["Referrer-Policy"] == "no-referrer"
    missing = client.get(f"/images/none?{query('none')}")
    assert missing.headers["Referrer-Policy"] == "no-referrer"
    assert missing.headers["Cache-Control"] == "no-store"
    assert "Referrer-Policy" not in client.get("/images/a", headers=bearer("all")).headers


def test_redirects(client: TestClient, settings: Settings) -> None:
    """A redirect to S3 expires no later than the link, and S3 does not see the signature."""
    for path in ("/images/a", "/images/a/variants/160"):
        client.get(f"{path}?{query('a')}").raise_for_status()  # makes the variant
        for seconds, most in ((30, 30), (1e6, settings.redirect_seconds)):
            signed = query("a", seconds=seconds)
            answer = client.get(f"{path}?{signed}&redirect=true")
            assert answer.status_code == 307
            location = answer.headers["Location"]
            (lives,) = parse_qs(urlsplit(location).query)["X-Amz-Expires"]
            assert 0 < int(lives) <= most
            assert signed.rpartition("=")[2] not in location
            sent = httpx.get(location)
            assert sent.status_code == 200
            kept = re.fullmatch(r"private, max-age=(\d+), immutable", sent.headers["Cache-Control"])
            assert kept
            assert int(lives) + int(kept[1]) <= seconds  # S3 may be asked at the last moment


def test_log(service_environment: dict[str, str]) -> None:
    """No log contains a signature: neither the service's own access log nor that of uvicorn."""
    for access_log in ("true", "false"):
        environment = service_environment | {
            "API_KEYS": ",".join(key.line for key in KEYS),
            "PUBLIC_READS": "false",
            "LINK_SECRETS": SECRET,
            "ACCESS_LOG": access_log,
        }
        with (
            ServiceProcess(environment, args=["--access-log"]) as service,
            httpx.Client(base_url=service.base_url) as client,
        ):
            made = client.post(
                "/images/a/links",
                json={"allows": "read", "expires_in": 60},
                headers=bearer("all"),
            )
            url = made.json()["url"]
            assert client.get(url).status_code == 404
            assert client.get(f"{url}&sig=x").status_code == 403
            metrics = client.get("/metrics", headers=bearer("all")).text
            service.terminate()
            log = service.log()
        signature = parse_qs(urlsplit(url).query)["sig"][0]
        assert "/links" in log
        assert "404" in log
        for hidden in (signature, SECRET):
            assert hidden not in log + metrics
