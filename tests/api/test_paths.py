"""No spelling of a path gets past a rule that looks at paths."""

import hashlib
import re
from collections.abc import Iterator

import pytest

from devstack.service_process import ServiceProcess
from tests.support.raw_http import Answer, ask
from tests.support.uploads import on_sqlite

TOKEN = "token-of-the-reader"
KEY = f"reader:read:{hashlib.sha256(TOKEN.encode()).hexdigest()}"
pytestmark = on_sqlite

CONTROLS = ["%00", "%09", "%0A", "%0a", "%0D", "%0D%0A", "%1B", "%1f", "%7F", "%C2%80", "%C2%85"]
ROUTES = [
    "/metrics", "/images", "/images/a", "/images/a/metadata", "/images/a/variants/160",
    "/images/random/metadata", "/health/live", "/health/ready", "/docs", "/openapi.json",
    "/nowhere",
]  # fmt: skip
NAMED = ["/images/{name}", "/images/{name}/metadata", "/images/{name}/variants/{variant}"]
SPELLINGS = [
    "{}", "{}%0A", "{}/", "/{}", "//{}", "{};x", "{}?x", "{}%20", "{}%09", "{}%2F",
    "{}%3F", "{}%23", "{}.", "/.{}", "/health/..{}", "/health/live/..{}",
    "/docs/..{}", "/static-offline-docs/..{}",
    "/health/%2e%2e{}", "/health%2F..{}", "/health/live%0A{}", "/%E2%80%8B{}", "http://x{}",
]  # fmt: skip


@pytest.fixture(params=["", "/pictures"], ids=["at the root", "below a prefix"])
def service(
    request: pytest.FixtureRequest, service_environment: dict[str, str]
) -> Iterator[ServiceProcess]:
    """Run the service with a key, which every read needs."""
    environment = service_environment | {"API_KEYS": KEY, "PUBLIC_READS": "false"}
    with ServiceProcess(environment, args=["--root-path", request.param]) as process:
        yield process


def get(service: ServiceProcess, target: str, *, key: bool = False) -> Answer:
    """Send a GET whose target is sent as it is."""
    authorization = f"Authorization: Bearer {TOKEN}\r\n" if key else ""
    head = f"GET {target} HTTP/1.1\r\nHost: x\r\n{authorization}Connection: close\r\n\r\n"
    return ask(service.port, head.encode())


def spelled(path: str) -> set[str]:
    """Return the path in other spellings that some program may take for the same."""
    escaped = "".join(c if c == "/" else f"%{ord(c):02x}" for c in path)
    first = f"{path[0]}%{ord(path[1]):02X}{path[2:]}"
    forms = {spelling.format(path) for spelling in SPELLINGS}
    return forms | {escaped, first, path.upper(), path.replace("m", "%6D")}


def test_control_characters(service: ServiceProcess) -> None:
    """A control character in any path is refused before any rule looks at it."""
    for route in ROUTES:
        for control in CONTROLS:
            for target in (route + control, control.join((route[:3], route[3:]))):
                answer = get(service, target)
                wanted = "invalid_name" if target.startswith("/images/") else "invalid_request"
                assert (answer.status, answer.code) == (400, wanted), target
    metrics = get(service, "/metrics", key=True).body.decode()
    counted = re.findall(r'image_api_requests_total\{.*route="([^"]*)".*status="400"', metrics)
    assert set(counted) <= {"unmatched", *NAMED}


def test_spellings(service: ServiceProcess) -> None:
    """Without a key, every spelling of a path that needs one is refused."""
    for path in ("/metrics", "/images", "/images/random/metadata"):
        assert get(service, path, key=True).status in {200, 404}
        for target in spelled(path):
            answer = get(service, target)
            assert answer.status in {400, 401, 404}, target
            assert b"image_api_requests" not in answer.body


def test_metrics_need_a_key_although_reads_are_public(service_environment: dict[str, str]) -> None:
    """With public reads, every spelling of `/metrics` still needs a key."""
    environment = service_environment | {"API_KEYS": KEY}
    with ServiceProcess(environment) as process:
        assert get(process, "/images").status == 200
        for target in spelled("/metrics"):
            answer = get(process, target)
            assert answer.status in {400, 401, 404}, target
            assert b"image_api_requests" not in answer.body
