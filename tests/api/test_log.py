"""The log has one JSON line per request and contains no secrets."""

import base64
import hashlib
import json
import unicodedata
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import urllib3
from sqlalchemy import make_url

from config import Settings
from devstack.service_process import ServiceProcess
from devstack.waiting import wait_until
from tests.support import pictures
from tests.support.log_secrets import secrets_in
from tests.support.raw_http import ask
from tests.support.service_behind_proxies import ServiceBehindProxies
from tests.support.uploads import on_sqlite, serving, upload
from web.middleware.access_log import access_logger

FIELDS = {
    "time", "level", "logger", "request_id", "message", "method", "route", "status", "code",
    "bytes_in", "bytes_out", "duration_ms", "database_ms", "s3_ms", "key",
    "image",
}  # fmt: skip
NOISY = "tests.tools.noisy_service:app"
TOKEN, HIDDEN = "token-of-the-backend", "hidden-from-the-log"
PRINTING = r"""
import os, sys
if 'imaging.decoding.worker' in sys.orig_argv:
    print('output \x1b', flush=True)
    os.write(2, 'error \x9b\n'.encode() + b'not UTF-8 \xff\n')
"""
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


def lines_of(log: str) -> list[dict[str, Any]]:
    """Return the lines of a log, all of which are JSON."""
    return [json.loads(line) for line in log.splitlines()]


def requests_in(service: ServiceProcess, number: int) -> list[dict[str, Any]]:
    """Wait for the lines of `number` requests and return them, without the tests' own checks."""

    def logged() -> list[dict[str, Any]]:
        lines = lines_of(service.log())
        return [line for line in lines if line.get("route") not in {None, "/health/live"}]

    wait_until(lambda: len(logged()) >= number, timeout=10, what="the lines")
    return logged()


@on_sqlite
def test_line(service_environment: dict[str, str]) -> None:
    """Each request has one line with all documented fields."""
    key = f"backend:write:{hashlib.sha256(TOKEN.encode()).hexdigest()}"
    picture = pictures.png()
    with (
        ServiceProcess(service_environment | {"API_KEYS": key}) as service,
        httpx.Client(base_url=service.base_url, headers={"X-Request-ID": "request-1"}) as client,
    ):
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        stored = upload(client, picture, name="a")
        del client.headers["Authorization"]
        body = client.get("/images/a").content
        client.get("/images/b/metadata", params={"q": HIDDEN})
        posted, read, missing = requests_in(service, 3)
        log = service.log()
    assert set(posted) == FIELDS
    assert (posted["method"], posted["route"], posted["status"]) == ("POST", "/images", 201)
    assert (posted["key"], posted["request_id"], posted["code"]) == ("backend", "request-1", None)
    assert (posted["image"], read["image"]) == ("a", None)
    assert posted["bytes_in"] == int(stored.request.headers["Content-Length"])
    assert posted["bytes_out"] == len(stored.content)
    assert 0 < posted["database_ms"] < posted["duration_ms"]
    assert 0 < posted["s3_ms"] < posted["duration_ms"]
    assert (read["key"], read["bytes_in"], read["bytes_out"]) == ("-", 0, len(body))
    assert (missing["status"], missing["code"]) == (404, "image_not_found")
    assert missing["route"] == "/images/{name}/metadata"
    assert missing["s3_ms"] == 0
    assert HIDDEN not in log
    assert '" 200 OK' not in log  # uvicorn's own line


@on_sqlite
def test_settings(service_environment: dict[str, str]) -> None:
    """LOG_FORMAT=text logs plain text, without the line that uvicorn writes for a request."""
    with ServiceProcess(service_environment | {"LOG_FORMAT": "text"}) as service:
        httpx.get(f"{service.base_url}/images/none")
        wait_until(lambda: "code=image_not_found" in service.log(), timeout=10, what="the line")
        assert "GET /images/{name} 404" in service.log()
        assert not [line for line in service.log().splitlines() if line.startswith("{")]
        assert '"GET /images/none' not in service.log()


@on_sqlite
def test_last_lines(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """Buffered lines are written before the application ends."""
    with serving(settings) as client:
        client.get("/images/none")
        caplog.clear()
        client.get("/nowhere")
    lines = [record for record in caplog.records if record.name == access_logger.name]
    assert "GET unmatched 404" in [line.getMessage() for line in lines]


@on_sqlite
@pytest.mark.parametrize("workers", [1, 2])
def test_every_line_is_json(service_environment: dict[str, str], workers: int) -> None:
    """Every line is JSON: those of uvicorn, of libraries, of threads and of warnings too."""
    environment = service_environment | {"LOG_FORMAT": "json"}
    with ServiceProcess(environment, application=NOISY, workers=workers) as service:
        ask(service.port, b"\x00 no HTTP\r\n\r\n")
        service.terminate()
        lines = lines_of(service.log())
    loggers = {line["logger"] for line in lines}
    assert loggers >= {"a.library", "image_api", "uvicorn.error", "py.warnings", "asyncio"}
    assert sum("first line" in str(line) for line in lines) >= 8 * workers
    uncaught = [line for line in lines if line["message"] == "Uncaught exception"]
    assert len(uncaught) == 2 * workers  # of a thread, and of a destructor
    unfit = [line for line in lines if line["message"].startswith("wrong arguments")]
    assert ["not all arguments" in line["exception"] for line in unfit] == [True] * workers


@on_sqlite
@pytest.mark.parametrize("log_config", [True, False])
@pytest.mark.parametrize(
    ("access_log", "option", "logger"),
    [
        ("true", "--access-log", "image_api.access"),
        ("false", "--access-log", "uvicorn.access"),
        ("false", "--no-access-log", None),
    ],
)
def test_one_access_log(
    service_environment: dict[str, str],
    access_log: str,
    option: str,
    logger: str | None,
    *,
    log_config: bool,
) -> None:
    """Requests have our line, or uvicorn's with ACCESS_LOG=false; both are JSON."""
    environment = service_environment | {"LOG_FORMAT": "json", "ACCESS_LOG": access_log}
    with ServiceProcess(environment, args=[option], log_config=log_config) as service:
        httpx.get(f"{service.base_url}/nowhere")
        service.terminate()
        lines = lines_of(service.log())
    found = {line["logger"] for line in lines if line["message"].endswith(" 404")}
    assert found == ({logger} if logger else set())


@on_sqlite
@pytest.mark.parametrize("variables", [{"CONCURRENCY": "none"}, {"DB_URL": "oracle://none/x"}])
def test_failed_start(service_environment: dict[str, str], variables: dict[str, str]) -> None:
    """What the service logs if it cannot start is JSON."""
    environment = service_environment | {"LOG_FORMAT": "json"} | variables
    with pytest.raises(RuntimeError, match="stopped at once") as raised:
        ServiceProcess(environment).__enter__()
    assert "ERROR" in {line["level"] for line in lines_of("".join(raised.value.__notes__))}


@on_sqlite
def test_text_shows_no_control_characters(service_environment: dict[str, str]) -> None:
    """In the text format, nothing can forge a line or move the cursor."""
    environment = service_environment | {"LOG_FORMAT": "text"}
    with ServiceProcess(environment, application=NOISY) as service:
        service.terminate()
        log = service.log()
    assert "first line\\nsecond \\x1b[31mline\\x9b\\x7f" in log
    assert {character for character in log if unicodedata.category(character) == "Cc"} == {"\n"}
    assert not [line for line in log.splitlines() if line.startswith("second")]


@on_sqlite
def test_decoders(service_environment: dict[str, str], tmp_path: Path) -> None:
    """Output of a decoder process is also JSON, however its libraries print it."""
    (tmp_path / "sitecustomize.py").write_text(PRINTING)
    environment = service_environment | {"LOG_FORMAT": "json", "PYTHONPATH": str(tmp_path)}
    with ServiceProcess(environment) as service, httpx.Client(base_url=service.base_url) as client:
        assert upload(client, pictures.gif()).status_code == 201
        wait_until(lambda: service.log().count("printed") >= 3, timeout=10, what="the lines")
        lines = lines_of(service.log())
    printed = {line["message"] for line in lines if "printed" in line["message"]}
    ways = ("output \x1b", "error \x9b", "not UTF-8 \ufffd")
    assert printed == {f"A decoder process printed: {way}" for way in ways}


@on_postgresql
def test_no_secrets(service_environment: dict[str, str]) -> None:
    """No secret is logged on any route, with right or wrong keys, or while backends fail."""
    password = "password-of-the-database"
    url = make_url(service_environment["DB_URL"]).set(password=password)
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    secret = {
        "DB_URL": url.render_as_string(hide_password=False),
        "API_KEYS": f"backend:write:{digest}",
        "PUBLIC_READS": "false",
        "SWEEP_INTERVAL_SECONDS": "0.3",
        "AWS_SESSION_TOKEN": "",
        # Requests that hang end soon.
        "CONNECT_TIMEOUT_SECONDS": "0.5",
        "DB_STATEMENT_TIMEOUT_SECONDS": "0.5",
        "S3_READ_TIMEOUT_SECONDS": "0.5",
        "S3_PUT_TIMEOUT_SECONDS": "1",
    }
    basic = base64.b64encode(f"user:{HIDDEN}".encode()).decode()
    with ExitStack() as stack:
        proxied = ServiceBehindProxies(stack, service_environment | secret)
        signed = exercise(proxied, f"Bearer {TOKEN}")
        for wrong in (f"Bearer {HIDDEN}", f"Basic {basic}", HIDDEN):
            exercise(proxied, wrong)
        for proxy in (proxied.storage, proxied.database):
            for fault in ("refuse", "hang"):
                getattr(proxy, fault)()
                proxy.close_connections()
                exercise(proxied, f"Bearer {TOKEN}")
                proxy.heal()
        log = proxied.process.log()
        assert not secrets_in(log, proxied.process.environment)
        for hidden in (TOKEN, HIDDEN, basic, password, digest, *signed):
            assert hidden not in log
        assert {line["status"] for line in lines_of(log) if "status" in line} >= {
            200, 201, 307, 401, 404, 503,
        }  # fmt: skip


def exercise(proxied: ServiceBehindProxies, authorization: str) -> list[str]:
    """Request every route, with secrets in query and body; return presigned URLs' signatures."""
    signed = []
    picture = {"file": ("a.png", pictures.png() + HIDDEN.encode())}
    whole = {"file": ("a.png", pictures.png())}
    with urllib3.PoolManager(
        retries=False, timeout=30, headers={"Authorization": authorization, "Cookie": HIDDEN}
    ) as pool:
        for method, path, fields in [
            ("POST", "/images", picture),
            ("POST", "/images", whole),
            ("GET", f"/images?prefix={HIDDEN}&cursor={HIDDEN}", None),
            ("GET", "/images/a", None),
            ("GET", "/images/a?redirect=true", None),
            ("GET", f"/images/a/metadata?X-Amz-Signature={HIDDEN}", None),
            ("GET", "/images/random/metadata", None),
            ("GET", "/health/ready", None),
            ("GET", "/metrics", None),
            ("GET", f"/nowhere?{HIDDEN}", None),
            ("DELETE", "/images/none", None),
        ]:
            with suppress(urllib3.exceptions.HTTPError):
                answer = pool.request(method, proxied.url + path, fields=fields, redirect=False)
                location = answer.headers.get("Location", "")
                signed += [location.rpartition("=")[2]] if "X-Amz" in location else []
    return signed


def test_checker() -> None:
    """The check that every test applies to its service's log finds each kind of secret."""
    environment = {
        "AWS_SECRET_ACCESS_KEY": "0123456789abcdef",
        "DB_URL": "postgresql://user:pass-word@host/images",
    }
    assert not secrets_in("GET /images/{name} 200 user host 401 Bearer realm", environment)
    for leak in (
        "key 0123456789abcdef",
        "to postgresql://user:pass-word@host",
        "/key?X-Amz-Signature=00",
        "Authorization: AWS4 Signature=0123456789abcdef",
        "Bearer abcdef",
    ):
        assert secrets_in(leak, environment), leak


@on_sqlite
def test_every_service_is_checked(service_environment: dict[str, str], settings: Settings) -> None:
    """A test fails if its service logs a secret."""
    leaking = service_environment | {"CORS_ALLOW_ORIGINS": f"https://{settings.aws_s3_bucket}"}
    with pytest.raises(AssertionError, match="logged"), ServiceProcess(leaking) as service:
        (service.folder / "log").write_text(leaking["AWS_SECRET_ACCESS_KEY"])


@on_sqlite
def test_no_queries(service_environment: dict[str, str]) -> None:
    """Uvicorn's own lines contain no query, which could have the signature of a link."""
    environment = service_environment | {"ACCESS_LOG": "false", "LOG_FORMAT": "json"}
    with ServiceProcess(environment, args=["--access-log"]) as service:
        httpx.get(f"{service.base_url}/images/none?q={HIDDEN}")
        service.terminate()
        lines = lines_of(service.log())
    (line,) = [one for one in lines if "/images/none HTTP" in one["message"]]
    assert line["logger"] == "uvicorn.access"
    assert line["message"].endswith('"GET /images/none HTTP/1.1" 404')
