"""Shared code of the API tests: upload forms, problem documents, the service in this process."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from config import Settings
from devstack.databases import connection
from main import create_app

BOUNDARY = "aXb"
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""Marks tests whose result does not depend on the database engine."""

_MEMBERS = ["type", "title", "status", "detail", "instance", "code", "request_id"]


def upload(
    client: httpx.Client, content: bytes, filename: str = "a.png", name: str | None = None
) -> httpx.Response:
    """Upload `content` with a multipart form."""
    fields = {} if name is None else {"name": name}
    return client.post("/images", files={"file": (filename, content)}, data=fields)


def form(*parts: tuple[str | bytes, bytes], end: bytes = f"--{BOUNDARY}--\r\n".encode()) -> bytes:
    """Return the body of a form for the header FORM.

    Each part is a pair of Content-Disposition parameters and content.
    """
    body = b""
    for parameters, content in parts:
        raw = parameters.encode() if isinstance(parameters, str) else parameters
        body += f"--{BOUNDARY}\r\nContent-Disposition: form-data; ".encode() + raw
        body += b"\r\n\r\n" + content + b"\r\n"
    return body + end


def problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Return the problem document of a response after checking status, code and form (RFC 9457)."""
    assert response.headers["Content-Type"] == "application/problem+json", response.text
    document: dict[str, Any] = response.json()
    assert (response.status_code, document["code"]) == (status, code), document
    assert list(document)[: len(_MEMBERS)] == _MEMBERS
    assert document["status"] == status
    assert document["type"].endswith(code)
    assert document["title"]
    assert document["detail"]
    assert document["request_id"] == response.headers["X-Request-ID"]
    return document


@contextmanager
def serving(settings: Settings, **changes: object) -> Iterator[TestClient]:
    """Run the application in this process with these changes to the settings."""
    app = create_app(settings.model_copy(update=changes))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def count(settings: Settings, table: str) -> int:
    """Count the rows of a table in the database."""
    with connection(settings.db_url) as db:
        return int(db.scalar(text(f"SELECT count(*) FROM {table}")) or 0)  # noqa: S608 - ours
