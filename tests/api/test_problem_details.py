"""Every error is a problem document (RFC 9457) that reveals no internals."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import make_url

from config import Settings
from devstack.databases import through
from devstack.service_process import ServiceProcess
from tests.support import pictures
from tests.support.fault_proxy import FaultProxy, s3_error
from tests.support.uploads import FORM, on_sqlite, problem, serving, upload

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

on_servers = pytest.mark.parametrize("database_url", ["postgresql", "mariadb"], indirect=True)
REQUESTS = [
    ("GET", "/images/a"),
    ("DELETE", "/images/a"),
    ("GET", "/images/a/metadata"),
    ("GET", "/images/random/metadata"),
    ("GET", "/images"),
]
INTERNALS = [
    *("traceback", "select", "insert", "update ", "pending", "psycopg", "pymysql", "sqlalchemy"),
    *("sqlite", "boto", "urllib3", "s3", "bucket", "127.0.0.1", "localhost", "errno", ".py"),
    *("accesskey", "signature", "secret", "postgres", "mysql", "mariadb", "password"),
]


def test_client_errors(client: TestClient) -> None:
    """Every client error, including the framework's own, is a problem document with its code."""
    upload(client, pictures.png()).raise_for_status()
    expected = {
        ("GET", "/nothing"): (404, "not_found"),
        ("GET", "/images/"): (404, "not_found"),
        ("GET", "/images/a/b/c"): (404, "not_found"),
        ("GET", "/images/none"): (404, "image_not_found"),
        ("DELETE", "/images/none"): (404, "image_not_found"),
        ("GET", "/images/none/metadata"): (404, "image_not_found"),
        ("GET", "/images/%FF"): (400, "invalid_name"),
        ("GET", "/images?limit=0"): (422, "invalid_parameter"),
        ("GET", "/images?limit=none"): (422, "invalid_parameter"),
        ("GET", "/images/a?disposition=x"): (422, "invalid_parameter"),
        ("GET", "/images?cursor=x"): (400, "invalid_cursor"),
        ("POST", "/images"): (400, "invalid_multipart"),
        ("PUT", "/images/a"): (415, "not_an_image"),
        ("PATCH", "/images/a"): (405, "method_not_allowed"),
    }
    for (method, path), (status, code) in expected.items():
        document = problem(client.request(method, path), status, code)
        assert document["instance"] == path.partition("?")[0].replace("%FF", "%EF%BF%BD")
    problem(client.post("/images", content=b"", headers=FORM), 400, "invalid_multipart")
    problem(upload(client, b"", "a.svg"), 400, "extension_not_allowed")
    problem(upload(client, b"", "a.png"), 415, "not_an_image")


@on_sqlite
def test_parameters_are_named(client: TestClient) -> None:
    """The detail names every invalid parameter."""
    detail = problem(client.get("/images?limit=0&order=x"), 422, "invalid_parameter")["detail"]
    assert "limit" in detail
    assert "order" in detail


@on_sqlite
def test_allow(client: TestClient) -> None:
    """A 405 lists exactly the methods of the path in Allow."""
    expected = {
        "/images": "GET, HEAD, POST",
        "/images/a": "GET, HEAD, PUT, DELETE",
        "/images/a/metadata": "GET, HEAD",
        "/images/random/metadata": "GET, HEAD",
        "/health/live": "GET, HEAD",
        "/health/ready": "GET, HEAD",
    }
    for path, allowed in expected.items():
        for method in {"PUT", "PATCH", "POST", "DELETE"} - set(allowed.split(", ")):
            answer = client.request(method, path)
            problem(answer, 405, "method_not_allowed")
            assert answer.headers["Allow"] == allowed
        for method in allowed.split(", "):
            assert client.request(method, path).status_code != 405


def assert_no_internals(answer: httpx.Response) -> None:
    """Check that the response reveals nothing of database, storage or code."""
    shown = answer.text.lower() + str(answer.headers.multi_items()).lower()
    assert not [word for word in INTERNALS if word in shown], shown


@contextmanager
def before_database(settings: Settings) -> Iterator[tuple[FaultProxy, TestClient]]:
    """Run the application with a fault proxy before its database."""
    url = make_url(settings.db_url)
    assert url.host
    assert url.port
    with FaultProxy((url.host, url.port)) as proxy:
        changed = through(settings.db_url, proxy.address)
        timeouts = {"connect_timeout_seconds": 1.0, "db_statement_timeout_seconds": 1.0}
        with serving(settings, db_url=changed, **timeouts) as client:
            yield proxy, client


@contextmanager
def before_storage(settings: Settings) -> Iterator[tuple[FaultProxy, TestClient]]:
    """Run the application with a fault proxy before its object store."""
    port = int(str(settings.aws_endpoint_url_s3).rpartition(":")[2])
    with FaultProxy(("127.0.0.1", port)) as proxy:
        endpoint = f"http://127.0.0.1:{proxy.address[1]}"
        timeouts = {
            "s3_read_timeout_seconds": 0.5,
            "s3_put_timeout_seconds": 0.5,
            "s3_max_attempts": 1,
        }
        with serving(settings, aws_endpoint_url_s3=endpoint, **timeouts) as client:
            yield proxy, client


def assert_unavailable(answer: httpx.Response, code: str) -> None:
    """Check that the response is a 503 with this code and Retry-After, without internals."""
    problem(answer, 503, code)
    assert int(answer.headers["Retry-After"]) > 0
    assert_no_internals(answer)


@on_servers
def test_database_down(settings: Settings) -> None:
    """Without its database every request is 503; afterwards the service works again."""
    with before_database(settings) as (proxy, client):
        upload(client, pictures.png()).raise_for_status()
        proxy.refuse()
        proxy.close_connections()
        for method, path in REQUESTS:
            assert_unavailable(client.request(method, path), "database_unavailable")
        assert_unavailable(upload(client, pictures.png(seed=1)), "database_unavailable")
        proxy.heal()
        assert client.get("/images/a").content == pictures.png()


@on_servers
def test_database_silent(settings: Settings) -> None:
    """A database that accepts connections and never answers is 503."""
    with before_database(settings) as (proxy, client):
        proxy.hang()
        assert_unavailable(client.get("/images/a"), "database_unavailable")
        assert_unavailable(upload(client, pictures.png()), "database_unavailable")
        proxy.heal()


@on_servers
def test_tables_missing(settings: Settings) -> None:
    """A database error that quotes SQL is not shown to the client."""
    url = make_url(settings.db_url)
    empty = url.set(database="postgres" if "postgres" in url.drivername else "mysql")
    with serving(settings, db_url=empty.render_as_string(hide_password=False)) as client:
        for method, path in REQUESTS:
            assert_unavailable(client.request(method, path), "database_unavailable")
        assert_unavailable(upload(client, pictures.png()), "database_unavailable")


@on_sqlite
def test_storage_fails(settings: Settings) -> None:
    """Storage that is down, silent or denies access is 503, never 404."""
    with before_storage(settings) as (proxy, client):
        upload(client, pictures.png()).raise_for_status()
        for error in (s3_error(503, "SlowDown"), s3_error(403, "AccessDenied"), b"nonsense"):
            proxy.answer_with(error, when=b"HTTP/1.1", times=None)
            assert_unavailable(client.get("/images/a"), "storage_unavailable")
            assert_unavailable(upload(client, pictures.png(seed=1)), "storage_unavailable")
            proxy.heal()
        for fail in (proxy.refuse, proxy.hang):
            fail()
            proxy.close_connections()
            assert_unavailable(client.get("/images/a"), "storage_unavailable")
            assert_unavailable(upload(client, pictures.png(seed=1)), "storage_unavailable")
            proxy.heal()
        assert client.get("/images/a").content == pictures.png()


@on_sqlite
def test_storage_stalls(settings: Settings) -> None:
    """A PUT may pause for longer than CONNECT_TIMEOUT_SECONDS while it sends."""
    content = pictures.noise_png(12_000_000)  # more than fits into the sockets' buffers
    with before_storage(settings) as (proxy, _):
        endpoint = f"http://127.0.0.1:{proxy.address[1]}"
        proxy.delay(3, "request")
        with serving(settings, aws_endpoint_url_s3=endpoint, connect_timeout_seconds=0.5) as client:
            assert upload(client, content).status_code == 201


@on_sqlite
def test_bucket_missing(settings: Settings) -> None:
    """A missing bucket is 503, never 404."""
    with serving(settings) as client:
        upload(client, pictures.png()).raise_for_status()
    with serving(settings, aws_s3_bucket="no-such-bucket") as client:
        assert_unavailable(client.get("/images/a"), "storage_unavailable")
        assert_unavailable(upload(client, pictures.png(), "b.png"), "storage_unavailable")


@on_sqlite
@pytest.mark.planted_damage
def test_lost_object(
    client: TestClient, settings: Settings, s3: "S3Client", caplog: pytest.LogCaptureFixture
) -> None:
    """An image whose object is missing is 500, and the log has an alarm."""
    upload(client, pictures.png()).raise_for_status()
    (stored,) = s3.list_objects_v2(Bucket=settings.aws_s3_bucket)["Contents"]
    s3.delete_object(Bucket=settings.aws_s3_bucket, Key=stored["Key"])
    answer = client.get("/images/a")
    problem(answer, 500, "image_lost")
    assert_no_internals(answer)
    alarms = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert stored["Key"] in alarms[0].getMessage()


@on_sqlite
def test_unexpected_error(app: FastAPI, caplog: pytest.LogCaptureFixture) -> None:
    """An unexpected exception is a 500 without internals, and is logged."""

    @app.get("/bug")
    def bug() -> None:
        raise RuntimeError("SELECT secret")

    with TestClient(app, raise_server_exceptions=False) as client:
        answer = client.get("/bug", headers={"X-Request-ID": "mine"})
    assert problem(answer, 500, "internal_error")["request_id"] == "mine"
    assert_no_internals(answer)
    assert "SELECT secret" in caplog.text


@on_sqlite
def test_request_id(client: TestClient) -> None:
    """A valid X-Request-ID of the client is kept; any other is replaced by a new one."""
    for path in ("/health/live", "/images/none", "/none"):
        for identity in ("abc", "A-1_.z", "x" * 128):
            answer = client.get(path, headers={"X-Request-ID": identity})
            assert answer.headers.get_list("X-Request-ID") == [identity]
        generated = set()
        for identity in ("", "x" * 129, "a b", "a\tb", "<b>", "\xe9", '"'):
            answer = client.get(path, headers=[(b"X-Request-ID", identity.encode("latin-1"))])
            assert answer.headers["X-Request-ID"] != identity
            generated.add(answer.headers["X-Request-ID"])
        assert len(generated) == 7


@on_sqlite
def test_log(service_environment: dict[str, str]) -> None:
    """Errors are logged with cause, code and request id, even without the access log."""
    changed = {
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
        "S3_MAX_ATTEMPTS": "1",
        "ACCESS_LOG": "false",
    }
    with (
        ServiceProcess({**service_environment, **changed}) as service,
        httpx.Client(base_url=service.base_url, headers={"X-Request-ID": "traced-1"}) as client,
    ):
        assert_unavailable(upload(client, pictures.png()), "storage_unavailable")
        client.get("/images/none")
        client.get("/none")
        log = service.log()
    lines = [json.loads(line) for line in log.splitlines() if '"traced-1"' in line]
    refused, missing, unknown = (line for line in lines if line["logger"] == "image_api")
    assert refused["level"] == "ERROR"
    assert "storage_unavailable" in refused["message"]
    assert missing["level"] == "INFO"
    assert "image_not_found" in missing["message"]
    assert "GET /none: not_found" in unknown["message"]
    assert "obstore.exceptions.GenericError" in log
    for secret in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        assert service_environment[secret] not in log
