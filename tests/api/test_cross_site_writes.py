"""Pages of other sites cannot write, unless a setting allows it. Programs are unaffected."""

import hashlib

import httpx
import pytest
from fastapi.testclient import TestClient

from config import ApiKey, Settings
from tests.support.pictures import png
from tests.support.uploads import on_sqlite, problem, serving

pytestmark = on_sqlite
HOST = "images.example:8000"
OURS = f"http://{HOST}"
GALLERY = "https://gallery.example"

# Header fields of requests that may write.
OWN: list[dict[str, str]] = [
    {},  # curl, another service
    {"Sec-Fetch-Site": "same-origin", "Origin": OURS},  # /docs
    {"Sec-Fetch-Site": "none"},  # typed into the address bar
    {"Sec-Fetch-Site": "same-origin", "Origin": "https://outside.example"},  # proxy rewrites Host
    {"Origin": OURS},  # plain http: browsers send no Sec-Fetch-Site
    {"Origin": OURS.upper().replace("HTTP", "http")},
    {"Host": "nas:80", "Origin": "http://nas"},
    {"Host": "nas", "Origin": "http://nas:80"},
    {"Host": "NAS:80", "Origin": "http://nas"},
    {"Host": "nas", "Origin": "http://nas/"},
    {"Host": "[::1]:80", "Origin": "http://[::1]"},
    {"Host": "[::1]:8000", "Origin": "http://[::1]:8000"},
    {"Host": "localhost.:8000", "Origin": "http://localhost.:8000"},
    {"Host": "nas", "Origin": "https://nas"},  # a proxy in front ends TLS
    {"Host": "nas:443", "Origin": "https://nas"},
]
OTHER: list[dict[str, str]] = [
    {"Sec-Fetch-Site": "cross-site", "Origin": GALLERY},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": OURS},
    {"Sec-Fetch-Site": "same-site", "Origin": "https://other.images.example"},
    {"Sec-Fetch-Site": "nonsense"},
    {"Origin": GALLERY},
    {"Origin": "http://images.example"},  # another port
    {"Origin": "null"},  # a sandboxed frame
    {"Origin": ""},
    {"Origin": "http://[images"},
    {"Host": "nas", "Origin": "http://nas:443"},
    {"Host": "nas:443", "Origin": "http://nas"},
    {"Host": "nas:80", "Origin": "https://nas"},
    {"Host": "nas:80", "Origin": "http://nas:8080"},
    {"Host": "nas:80", "Origin": "http://nas.evil.example"},
    {"Host": "nas:80", "Origin": "http://evil.example/http://nas"},
    {"Host": "nas:80", "Origin": "http://nas@evil.example"},
    {"Host": "nas:80", "Origin": "http://nas, http://evil.example"},
    {"Host": "nas", "Origin": "capacitor://nas"},
    {"Host": "nas", "Origin": "nas"},
    {"Host": "nas", "Origin": GALLERY, "X-Forwarded-Host": "gallery.example"},
    {"Host": "", "Origin": "http://"},
    {"Host": "nas", "Origin": "http://"},
    {"Host": "nas", "Origin": "http://nas:99999999"},
]


def write(client: TestClient, headers: dict[str, str]) -> list[httpx.Response]:
    """Send one write of each kind."""
    headers = {"Host": HOST, **headers}
    return [
        client.post("/images", files={"file": ("a.png", png())}, headers=headers),
        client.put("/images/b", content=png(), headers=headers),
        client.delete("/images/a", headers=headers),
    ]


@pytest.mark.parametrize("headers", OWN)
def test_own_writes(settings: Settings, headers: dict[str, str]) -> None:
    """Programs and the service's own pages may upload and delete."""
    with serving(settings) as client:
        assert [answer.status_code for answer in write(client, headers)] == [201, 201, 200]


@pytest.mark.parametrize("headers", OTHER)
def test_foreign_writes(settings: Settings, headers: dict[str, str]) -> None:
    """Pages of other sites may read, but not write."""
    with serving(settings) as client:
        client.post("/images", files={"file": ("a.png", png())}).raise_for_status()
        for answer in write(client, headers):
            problem(answer, 403, "cross_site_request")
        assert client.get("/images/a", headers={"Host": HOST, **headers}).content == png()


def test_plain_page_of_a_secure_service(settings: Settings) -> None:
    """A page of the same host over plain HTTP is foreign to a service over HTTPS."""
    with serving(settings) as client:
        client.base_url = httpx.URL("https://nas")
        assert write(client, {"Host": "nas", "Origin": "https://nas"})[0].status_code == 201
        for answer in write(client, {"Host": "nas", "Origin": "http://nas"}):
            problem(answer, 403, "cross_site_request")


@pytest.mark.parametrize("origins", [(GALLERY,), ("*",)])
def test_allowed_origin(settings: Settings, origins: tuple[str, ...]) -> None:
    """Pages of origins in CORS_ALLOW_ORIGINS may write; pages of other origins may not."""
    headers = {"Sec-Fetch-Site": "cross-site", "Origin": GALLERY}
    with serving(settings, cors_allow_origins=origins) as client:
        assert [answer.status_code for answer in write(client, headers)] == [201, 201, 200]
        others = write(client, headers | {"Origin": "https://elsewhere.example"})
        assert [answer.status_code == 403 for answer in others] == [origins != ("*",)] * 3


def test_with_keys(settings: Settings) -> None:
    """With API keys the key decides, because browsers do not add it themselves."""
    key = ApiKey("w", "write", hashlib.sha256(b"secret").hexdigest())
    headers = {"Sec-Fetch-Site": "cross-site", "Origin": GALLERY}
    with serving(settings, api_keys=(key,)) as client:
        assert [answer.status_code for answer in write(client, headers)] == [401, 401, 401]
        headers["Authorization"] = "Bearer secret"
        assert [answer.status_code for answer in write(client, headers)] == [201, 201, 200]


def test_refused_before_the_body(settings: Settings) -> None:
    """An upload is refused before its body is read."""
    with serving(settings) as client:
        answer = client.post("/images", content=b"x", headers={"Sec-Fetch-Site": "cross-site"})
        problem(answer, 403, "cross_site_request")
