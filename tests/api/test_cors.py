"""CORS is off by default. CORS_ALLOW_ORIGINS lets scripts of its origins read every response."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx
import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError

from config import Settings
from tests.support.pictures import png

OURS = "https://gallery.example"
THEIRS = "https://elsewhere.example"
PICTURE = png()
START = "access-control-"
SAFELISTED = {"cache-control", "content-language", "content-length", "content-type"}
SAFELISTED |= {"expires", "last-modified", "pragma"}  # always readable by the Fetch standard
Start = Callable[[str], TestClient]

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def start(settings: Settings) -> Iterator[Start]:
    """Return a function that runs the application with given CORS_ALLOW_ORIGINS and one image."""
    from main import create_app  # noqa: PLC0415 - only tests of the application need it

    with ExitStack() as ends:

        def run(origins: str) -> TestClient:
            values = settings.model_dump() | {"cors_allow_origins": origins}
            client = ends.enter_context(TestClient(create_app(Settings(**values))))
            client.post("/images", files={"file": ("a.png", PICTURE)}).raise_for_status()
            return client

        yield run


def cors(answer: httpx.Response) -> dict[str, str]:
    """Return the CORS header fields of a response without their common prefix."""
    fields = answer.headers.items()
    return {name.removeprefix(START): value for name, value in fields if name.startswith(START)}


def preflight(client: TestClient, path: str, origin: str, method: str) -> httpx.Response:
    """Send the preflight that a browser sends before a request that is not simple."""
    fields = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "content-digest, if-match, if-none-match, range",
    }
    answer: httpx.Response = client.options(path, headers=fields)
    return answer


def answers(client: TestClient, **headers: str) -> list[httpx.Response]:
    """Return one response of every kind."""
    last = client.head("/images/a").headers["last-modified"]
    return [
        client.get("/images/a", headers=headers),
        client.head("/images/a", headers=headers),
        client.get("/images/a", headers=headers | {"Range": "bytes=0-9"}),
        client.get("/images/a", headers=headers | {"Range": "bytes=99999-"}),
        client.get("/images/a", headers=headers | {"If-Modified-Since": last}),
        client.get("/images/a", headers=headers | {"If-Match": '"other"'}),
        client.get("/images/a/metadata", headers=headers),
        client.get("/images", headers=headers),
        client.get("/images?limit=0", headers=headers),
        client.get("/images/none", headers=headers),
        client.get("/images/random/metadata", headers=headers),
        client.post("/images", files={"file": ("a.png", PICTURE)}, headers=headers),
        client.post("/images", headers=headers),
        client.put("/images/a", content=PICTURE, headers=headers),
    ]


def test_off_by_default(start: Start) -> None:
    """Without the setting no response has a CORS header, and a preflight is 405."""
    client = start("")
    for answer in answers(client, Origin=OURS):
        assert cors(answer) == {}
    refused = preflight(client, "/images/a", OURS, "DELETE")
    assert (refused.status_code, cors(refused)) == (405, {})


@pytest.mark.parametrize("origins", [OURS, f"https://one.example, {OURS}"])
def test_allowed_origin(start: Start, origins: str) -> None:
    """An allowed origin may read every response, including errors, with all header fields."""
    for answer in answers(start(origins), Origin=OURS):
        assert cors(answer)["allow-origin"] == OURS
        assert "Origin" in answer.headers["vary"]
        exposed = {name.strip().lower() for name in cors(answer)["expose-headers"].split(",")}
        ours = {name for name in answer.headers if not name.startswith((START, "vary"))}
        assert ours - SAFELISTED - {"x-content-type-options", "allow"} <= exposed


SPELLINGS = [
    *("HTTPS://Gallery.Example", f"{OURS}/", f"{OURS}:443", f"{OURS}:443/", f" {OURS} ,"),
    *("http://[0:0:0:0:0:0:0:1]:3000", "https://XN--bcher-kva.example"),
    *(
        "http://localhost:3000",
        "http://[::1]:3000",
        "capacitor://localhost",
        "chrome-extension://abc",
    ),
]


@pytest.mark.parametrize("origins", SPELLINGS)
def test_spellings(start: Start, origins: str) -> None:
    """Origins may be configured in other spellings than the one that browsers send."""
    sent = OURS if "gallery" in origins.lower() else origins.lower()
    sent = sent.replace("[0:0:0:0:0:0:0:1]", "[::1]")
    client = start(origins)
    assert cors(client.get("/images", headers={"Origin": sent}))["allow-origin"] == sent
    assert preflight(client, "/images", sent, "POST").status_code == 200


NO_ORIGINS = [
    *("gallery.example", "https://gallery.example/page", "https://*.example", "https://", "null"),
    *(
        "https://user@gallery.example",
        "https://gallery.example:port",
        "https://b\u00fccher.example",
    ),
    *(f"{OURS}?query", f"{OURS} {THEIRS}", "//gallery.example", f"{OURS}:443443"),
    "http://[:::]",
]


@pytest.mark.parametrize("origins", NO_ORIGINS)
def test_no_origin(settings: Settings, origins: str) -> None:
    """A value that no browser sends as an origin stops the start."""
    values = settings.model_dump() | {"cors_allow_origins": f"{OURS},{origins}"}
    with pytest.raises(ValidationError, match=r"needs (origins such as|hosts)"):
        Settings(**values)


@pytest.mark.parametrize("origins", [OURS, "*"])
def test_private_network(start: Start, origins: str) -> None:
    """A public page of an allowed origin may reach the service in a private network."""
    client = start(origins)
    fields = {
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Private-Network": "true",
    }
    answer = client.options("/images/a", headers=fields | {"Origin": OURS})
    assert answer.status_code == 200
    assert cors(answer)["allow-private-network"] == "true"
    assert "allow-private-network" not in cors(preflight(client, "/images/a", OURS, "GET"))
    if origins != "*":
        refused = client.options("/images/a", headers=fields | {"Origin": THEIRS})
        assert (refused.status_code, "allow-origin" in cors(refused)) == (400, False)


def test_other_origin(start: Start) -> None:
    """An origin that is not allowed may read nothing, and its preflight is refused."""
    client = start(OURS)
    for answer in answers(client, Origin=THEIRS):
        assert "allow-origin" not in cors(answer)
    refused = preflight(client, "/images/a", THEIRS, "DELETE")
    assert refused.status_code == 400
    assert "allow-origin" not in cors(refused)


def test_all_origins(start: Start) -> None:
    """`*` lets every origin read, without credentials."""
    for answer in answers(start("*"), Origin=THEIRS):
        assert cors(answer)["allow-origin"] == "*"
        assert "allow-credentials" not in cors(answer)


@pytest.mark.parametrize(
    ("path", "method"), [("/images", "POST"), ("/images/a", "PUT"), ("/images/a", "DELETE")]
)
def test_preflight(start: Start, path: str, method: str) -> None:
    """A preflight allows the methods and the conditional, range and digest header fields."""
    answer = preflight(start(OURS), path, OURS, method)
    assert answer.status_code == 200
    allowed = cors(answer)
    assert allowed["allow-origin"] == OURS
    assert set(allowed["allow-methods"].split(", ")) == {"GET", "HEAD", "POST", "PUT", "DELETE"}
    headers = {name.strip() for name in allowed["allow-headers"].lower().split(",")}
    assert {"content-digest", "if-match", "if-none-match", "range"} <= headers


def test_vary_without_origin(start: Start) -> None:
    """Responses without Origin also vary by it, so caches never serve them to scripts."""
    for answer in answers(start(OURS)):
        assert "Origin" in answer.headers.get("vary", "")
