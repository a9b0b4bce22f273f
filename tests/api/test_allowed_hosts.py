"""ALLOWED_HOSTS: requests for other hosts are refused, so that no page can rebind its own name."""

from collections.abc import Iterator

import httpx
import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError

from config import Settings
from tests.support.pictures import png
from tests.support.uploads import on_sqlite, problem, serving

pytestmark = on_sqlite
ALLOWED = "localhost, 127.0.0.1,::1,*.Example.com,NAS"
OWN = [
    *("localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]", "[::1]:8000"),
    *("a.example.com", "a.b.EXAMPLE.com:443", "nas", "Nas:80"),
]
OTHER = [
    *("evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.nip.io"),
    *("localhost.", "example.com", "notexample.com", "[::2]", "[::ffff:127.0.0.1]", "10.0.0.7"),
    *("2130706433", "::1", "localhost:x", "", "user@localhost", "localhost, evil.example", "[::1"),
]
REQUESTS = [
    *(("GET", "/images"), ("HEAD", "/images/a"), ("GET", "/images/a"), ("DELETE", "/images/a")),
    *(("POST", "/images"), ("OPTIONS", "/images"), ("GET", "/docs"), ("GET", "/openapi.json")),
    *(("GET", "/metrics"), ("GET", "/nowhere"), ("GET", "/healthy"), ("GET", "/")),
]


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    """Return a client of a service with the hosts in ALLOWED and one image."""
    values = settings.model_dump() | {"allowed_hosts": ALLOWED}
    with serving(Settings(**values)) as client:
        own = {"Host": "nas"}
        client.post("/images", files={"file": ("a.png", png())}, headers=own).raise_for_status()
        yield client


def test_own(client: TestClient) -> None:
    """Allowed hosts are served, in any case and with any port."""
    for host in OWN:
        assert client.get("/images/a", headers={"Host": host}).content == png(), host
        answer = client.delete("/images/absent", headers={"Host": host})
        problem(answer, 404, "image_not_found")


@pytest.mark.parametrize("site", ["none", "same-origin", None])
def test_other(client: TestClient, site: str | None) -> None:
    """Requests for other hosts are refused, whatever the browser says of the page."""
    for host in OTHER:
        headers = {"Host": host, "X-Forwarded-Host": "nas", "Forwarded": "host=nas"}
        headers |= {"Sec-Fetch-Site": site} if site else {}
        problem(client.get("/images/a", headers=headers), 400, "host_not_allowed")


def test_every_path(client: TestClient) -> None:
    """For other hosts every request is refused, and changes nothing."""
    for method, path in REQUESTS:
        answer = client.request(method, path, headers={"Host": "evil.example"})
        assert answer.status_code == 400, path
        if method != "HEAD":
            problem(answer, 400, "host_not_allowed")
    assert client.get("/images/a", headers={"Host": "nas"}).content == png()


def test_no_host(client: TestClient) -> None:
    """A request without Host, which HTTP/1.0 allows, is refused."""
    request = client.build_request("GET", "/images")
    del request.headers["host"]
    problem(client.send(request), 400, "host_not_allowed")


def test_health_checks(client: TestClient) -> None:
    """Load balancers name the address of the process, so health checks answer to any host."""
    for path in ("/health/live", "/health/ready"):
        assert client.get(path, headers={"Host": "10.0.0.7:8000"}).status_code == 200


def test_any_by_default(settings: Settings) -> None:
    """Without the setting every host is served."""
    with serving(settings) as client:
        for host in (*OWN, *OTHER):
            assert client.get("/images", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "hosts",
    [
        ",",
        "http://nas",
        "nas:8000",
        "nas/",
        "*nas",
        "a.*.b",
        "*.*",
        "[::1]:80",
        "b\u00fccher.example",
    ],
)
def test_no_hosts(settings: Settings, hosts: str) -> None:
    """A value that no Host can match stops the start."""
    with pytest.raises(ValidationError, match=r"(needs|names no) hosts?"):
        Settings(**settings.model_dump() | {"allowed_hosts": hosts})


def test_problem_has_a_request_id(client: TestClient) -> None:
    """The refusal carries the id that a proxy sent."""
    headers = httpx.Headers({"Host": "evil.example", "X-Request-ID": "of-the-proxy"})
    answer = problem(client.get("/images", headers=headers), 400, "host_not_allowed")
    assert answer["request_id"] == "of-the-proxy"
