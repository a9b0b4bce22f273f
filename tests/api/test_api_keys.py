"""API keys decide who may read and who may write, on every route."""

import hashlib
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from config import ApiKey, Settings, load_settings
from devstack.service_process import ServiceProcess
from errors import ConfigurationError
from scripts import keys
from services.names import normalise_name
from tests.support import pictures
from tests.support.keys import api_key, bearer
from tests.support.uploads import on_sqlite, problem, serving, upload

MINIMAL = {"DB_URL": "sqlite:///i.db", "AWS_REGION": "r", "AWS_S3_BUCKET": "images"}
READER, WRITER = "reader-token", "writer-token"
TOKENS = {"none": None, "wrong": "guessed", "read": READER, "write": WRITER}
KEYS = (api_key("web:read", READER), api_key("backend:write", WRITER))
# The forms of a read request. READS lists their statuses for a client that may read, in this order.
READ_FORMS: list[tuple[str, str, dict[str, str]]] = [
    ("GET", "", {}),
    ("HEAD", "", {}),
    ("GET", "", {"If-None-Match": "*"}),
    ("GET", "", {"Range": "bytes=0-0"}),
    ("GET", "?redirect=true", {}),
    ("HEAD", "?redirect=true", {}),
]
READS: dict[str, tuple[int, ...]] = {
    "/images/a": (200, 200, 304, 206, 307, 307),
    "/images/absent": (404, 404, 404, 404, 404, 404),
    "/images/a/metadata": (200, 200, 304, 200, 200, 200),
    "/images/absent/metadata": (404, 404, 404, 404, 404, 404),
    "/images/a/variants/160": (200, 200, 304, 206, 307, 307),
    "/images/absent/variants/160": (404, 404, 404, 404, 404, 404),
    "/images/random/metadata": (200, 200, 200, 200, 200, 200),
    "/images": (200, 200, 200, 200, 200, 200),
    "/metrics": (200, 200, 200, 200, 200, 200),
    "/nowhere": (404, 404, 404, 404, 404, 404),
}
WRITES: list[tuple[str, str, dict[str, str], int]] = [
    ("DELETE", "/images/absent", {}, 404),
    ("DELETE", "/images/a", {"If-Match": '"other"'}, 412),
    ("POST", "/images", {}, 400),
    ("POST", "/images", {"If-None-Match": "*"}, 400),
    ("PUT", "/images/a", {}, 415),
    ("PUT", "/images/absent", {}, 415),
    ("PATCH", "/images/a", {}, 405),
    ("POST", "/nowhere", {}, 404),
    ("POST", "/images/a/links", {}, 422),
    ("POST", "/images/absent/links", {}, 422),
]
TABLE = [
    (method, path + query, headers, status)
    for path, statuses in READS.items()
    for (method, query, headers), status in zip(READ_FORMS, statuses, strict=True)
] + WRITES
OPEN = ["/health/live", "/health/ready", "/docs", "/openapi.json"]


@pytest.fixture(params=[True, False], ids=["public", "private"])
def guarded(settings: Settings, request: pytest.FixtureRequest) -> Iterator[TestClient]:
    """Run the application with keys and one image, with public and with private reads."""
    changes: dict[str, Any] = {"api_keys": KEYS, "public_reads": request.param}
    with serving(settings, **changes, cache_control="public, max-age=60") as client:
        client.headers.update(bearer(WRITER))
        assert upload(client, pictures.png(), "a.png").is_success
        client.headers.pop("Authorization")
        client.follow_redirects = False
        yield client


@on_sqlite
@pytest.mark.parametrize("kind", TOKENS)
def test_table(guarded: TestClient, kind: str) -> None:
    """A request without sufficient rights gets 401 or 403, which reveals nothing of the image."""
    public = guarded.app_state["resources"].settings.public_reads
    refusals: dict[str, set[str]] = {}
    for method, path, headers, expected in TABLE:
        reads = method in {"GET", "HEAD"}
        answer = guarded.request(method, path, headers=headers | bearer(TOKENS[kind]))
        if kind == "wrong" or (
            kind == "none" and not (reads and public and path.partition("?")[0] != "/metrics")
        ):
            refused, code = 401, "invalid_key" if kind == "wrong" else "key_required"
        elif kind == "read" and not reads:
            refused, code = 403, "insufficient_scope"
        else:
            assert answer.status_code == expected, (method, path, headers)
            continue
        assert answer.headers["WWW-Authenticate"].startswith("Bearer realm=")
        assert answer.status_code == refused, (method, path)
        assert method == "HEAD" or problem(answer, refused, code)
        refusals.setdefault(method, set()).add(_without_request(answer))
    # Refusals are the same for paths that exist and paths that do not.
    assert all(len(distinct) == 1 for distinct in refusals.values()), refusals


def _without_request(answer: httpx.Response) -> str:
    """Return headers and body of a response, without the parts that identify the request."""
    own = {"x-request-id", "date", "content-length"}
    fields = sorted((name, value) for name, value in answer.headers.items() if name not in own)
    body = answer.json() if answer.content else {}
    return repr((fields, {k: v for k, v in body.items() if k not in {"instance", "request_id"}}))


@on_sqlite
def test_table_is_complete(guarded: TestClient) -> None:
    """Every method of every route is in the table or is open."""
    tested = {(method, path.partition("?")[0]) for method, path, _, _ in TABLE}
    for path, operations in guarded.get("/openapi.json").json()["paths"].items():
        for method in operations:
            of_size = path.replace("{variant}", "160")
            names = {of_size.replace("{name}", name) for name in ("a", "absent")}
            assert path in OPEN or tested & {(method.upper(), name) for name in names}, path


@on_sqlite
def test_refused_upload_is_not_read(service_environment: dict[str, str]) -> None:
    """An upload without a key is refused before its body is read."""
    lines = ",".join(key.line for key in KEYS)
    head = "POST /images HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n"
    form = "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
    with (
        ServiceProcess(service_environment | {"API_KEYS": lines}) as service,
        socket.create_connection(("127.0.0.1", service.port), timeout=10) as client,
    ):
        client.sendall((head + form).encode())
        assert client.recv(65536).startswith(b"HTTP/1.1 401 ")


@on_sqlite
def test_below_a_prefix(service_environment: dict[str, str]) -> None:
    """Below a root path the same routes are open and the same are guarded."""
    environment = service_environment | {"API_KEYS": ",".join(key.line for key in KEYS)}
    for public in ("true", "false"):
        changed = environment | {"PUBLIC_READS": public}
        with (
            ServiceProcess(changed, args=["--root-path", "/pictures"]) as service,
            httpx.Client(base_url=service.base_url) as client,
        ):
            problem(client.get("/metrics"), 401, "key_required")
            metrics = client.get("/metrics", headers=bearer(READER))
            assert 'route="/metrics",status="401"' in metrics.text
            assert {client.get(path).status_code for path in OPEN} <= {200, 503}
            assert client.get("/images").status_code == (200 if public == "true" else 401)


@on_sqlite
def test_open_paths(guarded: TestClient) -> None:
    """Health and documentation need no key and ignore a wrong one."""
    for path in OPEN:
        for token in TOKENS.values():
            assert guarded.get(path, headers=bearer(token)).status_code == 200, path


@on_sqlite
def test_cache_control(guarded: TestClient) -> None:
    """Responses to reads that need a key are `private`, including those from S3.

    Metadata for the holder of a key is private too, because it contains more.
    """
    private = not guarded.app_state["resources"].settings.public_reads
    for path in ("/images/a", "/images/a/metadata", "/images"):
        answer = guarded.get(path, headers=bearer(READER))
        scope = "public" if path == "/images/a" and not private else "private"
        assert answer.headers["Cache-Control"] == f"{scope}, max-age=60"
    location = guarded.get("/images/a?redirect=true", headers=bearer(READER)).headers["Location"]
    assert ("private" in location) == private


@on_sqlite
def test_no_keys(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """Without configured keys every request is allowed, whatever key it sends."""
    assert upload(client, pictures.png(), "a.png").is_success
    assert client.get("/images/a", headers=bearer("anything")).status_code == 200
    assert "401" not in caplog.text


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    """`scripts.keys` prints a key and the configuration line that accepts it."""
    assert keys.main(["web", "read"]) == 0
    found = re.fullmatch(r"key   (\S+)\nline  (\S+)\n", capsys.readouterr().out)
    assert found
    key = ApiKey.parse(found[2])
    assert key == ("web", "read", hashlib.sha256(found[1].encode()).hexdigest(), "")
    assert keys.main(["no spaces", "read"]) == 1
    assert "letters" in capsys.readouterr().err
    assert keys.main(["web", "write", "--prefix", "cafe\u0301, "]) == 1
    assert "prefix" in capsys.readouterr().err
    assert keys.main(["web", "write", "--prefix", "cafe\u0301, 2"]) == 0
    line = capsys.readouterr().out.partition("line  ")[2].removesuffix("\n")
    assert ApiKey.parse(line).prefix == "caf\xe9, 2"


PREFIXES = ["a", "caf\xe9-", "a b", "user:42:", "#", "\u6771", "x" * 255, "\U0010ffff"]
NO_PREFIXES = [
    *(
        "",
        " ",
        "a ",
        " a",
        "a/b",
        "/",
        "a\\",
        "a\n",
        "\x7f",
        "\x85",
        "\ud800",
        "\xe9" * 128,
        "x" * 256,
    )
]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefix(prefix: str) -> None:
    """A valid prefix is one that names of images can have; its line contains it unchanged."""
    key = api_key(f"web:read:{prefix}", READER)
    assert key.prefix == prefix
    assert ApiKey.parse(key.line) == key
    assert key.covers(normalise_name(prefix if len(prefix) > 99 else f"{prefix}x"))
    assert not key.covers(normalise_name(f"y{prefix}"[:99]))


@pytest.mark.parametrize("prefix", NO_PREFIXES)
def test_wrong_prefix(prefix: str) -> None:
    """A prefix that no name can have, or whose end is invisible, is refused."""
    with pytest.raises(ValueError, match=r"needs a prefix .* for the key web"):
        api_key(f"web:read:{prefix}", READER)


@pytest.mark.usefixtures("minimal")
def test_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    """A prefix may contain a comma in the file, which has one key per line, unlike the variable."""
    with_comma = api_key("web:read:a, b:c", READER)
    Path("keys").write_text(f"{with_comma.line}\n{KEYS[1].line}\n")
    monkeypatch.setenv("API_KEYS_FILE", "keys")
    monkeypatch.setenv("API_KEYS", api_key("other:write:a:b", "third").line)
    assert [key.prefix for key in load_settings().api_keys] == ["a:b", "a, b:c", ""]
    Path("keys").write_text(f"{KEYS[0].line},{KEYS[1].line}\n")
    with pytest.raises(ConfigurationError, match="API_KEYS_FILE needs a SHA-256"):
        load_settings()


@pytest.mark.usefixtures("minimal")
@pytest.mark.parametrize("other", ["web:write", "web:read:a", "b:read:a"])
def test_one_key_for_two_things(monkeypatch: pytest.MonkeyPatch, other: str) -> None:
    """Two lines with the same SHA-256 must allow the same, wherever they are."""
    again = api_key(other, READER)
    Path("keys").write_text(f"{KEYS[0].line}\n{again.line}\n")
    monkeypatch.setenv("API_KEYS_FILE", "keys")
    with pytest.raises(ConfigurationError, match="API_KEYS_FILE gives one key different rights"):
        load_settings()
    Path("keys").write_text(KEYS[0].line)
    monkeypatch.setenv("API_KEYS", again.line)
    with pytest.raises(
        ConfigurationError, match="API_KEYS gives one key different rights"
    ) as refused:
        load_settings()
    assert not re.search("[0-9a-f]{64}", str(refused.value))
    monkeypatch.setenv("API_KEYS", api_key("renamed:read", READER).line)
    assert len(load_settings().api_keys) == 2


@pytest.fixture
def minimal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Set the required settings, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    for name, value in MINIMAL.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("minimal")
@pytest.mark.parametrize(
    "line",
    [
        *("web", "web:read:abc", "web:admin:" + "0" * 64, ":read:" + "0" * 64),
        "web:read:" + hashlib.sha256(b"").hexdigest(),
    ],
)
def test_wrong_line(monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    """An invalid line stops the start with a sentence that does not repeat the digest."""
    monkeypatch.setenv("API_KEYS", line)
    with pytest.raises(
        ConfigurationError, match=r"^Configuration: API_KEYS (needs|has) "
    ) as refused:
        load_settings()
    assert not re.search("[0-9a-f]{64}", str(refused.value))


EMPTY = ["", ",", " ", "\t", " , ,", "\n", "\u00a0"]
EMPTY_FILES = [
    "",
    "\n\n",
    "# web:read:0\n",
    "  # indented\r\n \r\n",
    "\ufeff",
    "\ufeff# x\n",
]


@pytest.mark.usefixtures("minimal")
@pytest.mark.parametrize("value", EMPTY)
@pytest.mark.parametrize("other", [False, True])
def test_variable_without_keys(monkeypatch: pytest.MonkeyPatch, value: str, *, other: bool) -> None:
    """API_KEYS without a key stops the start, even if the file has one."""
    if other:
        Path("keys").write_text(KEYS[0].line)
        monkeypatch.setenv("API_KEYS_FILE", "keys")
    monkeypatch.setenv("API_KEYS", value)
    with pytest.raises(ConfigurationError, match=r"^Configuration: API_KEYS has no key; [^\n]*\.$"):
        load_settings()


@pytest.mark.usefixtures("minimal")
@pytest.mark.parametrize("content", EMPTY_FILES)
@pytest.mark.parametrize("other", [False, True])
def test_file_without_keys(monkeypatch: pytest.MonkeyPatch, content: str, *, other: bool) -> None:
    """A file without a key stops the start, even if the variable has one."""
    Path("keys").write_text(content)
    if other:
        monkeypatch.setenv("API_KEYS", KEYS[0].line)
    monkeypatch.setenv("API_KEYS_FILE", "keys")
    with pytest.raises(ConfigurationError, match=r"^Configuration: API_KEYS_FILE has no key; "):
        load_settings()


@pytest.mark.usefixtures("minimal")
@pytest.mark.parametrize("file", ["", ".", "/dev/null", "missing"])
def test_file_that_is_none(monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    """API_KEYS_FILE that names no file with keys stops the start."""
    monkeypatch.setenv("API_KEYS_FILE", file)
    with pytest.raises(ConfigurationError, match=r"^Configuration: API_KEYS_FILE (has|cannot) "):
        load_settings()


@on_sqlite
def test_server_without_keys(service_environment: dict[str, str]) -> None:
    """The server exits with the sentence instead of serving without the configured keys."""
    environment = service_environment | {"API_KEYS": ",", "PUBLIC_READS": "false"}
    with pytest.raises(RuntimeError) as failed, ServiceProcess(environment):
        pass
    (log,) = failed.value.__notes__
    assert "Configuration: API_KEYS has no key" in log
    assert "Traceback" not in log


@pytest.mark.usefixtures("minimal")
def test_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keys in the file add to those in the variable; a missing file stops the start."""
    file = tmp_path / "keys"
    file.write_text("\ufeff# ours\r\n  # theirs\r\n" + KEYS[1].line + "\r\n\r\n")
    monkeypatch.setenv("API_KEYS", KEYS[0].line)
    monkeypatch.setenv("API_KEYS_FILE", str(file))
    assert load_settings().api_keys == KEYS
    file.unlink()
    with pytest.raises(ConfigurationError, match=r"API_KEYS_FILE cannot be read"):
        load_settings()
