"""An error is a problem document that no cache stores (RFC 9457)."""

import json

from fastapi import Request

from errors import RangeNotSatisfiableError, ServiceError
from web.problem_details import problem

REQUEST = Request({"type": "http", "path": "/images/a b\u00e9", "headers": []})


def test_document() -> None:
    """The document has status, code and detail, and the encoded path of the request."""
    answer = problem(REQUEST, RangeNotSatisfiableError(7))
    document = json.loads(bytes(answer.body))
    assert (answer.status_code, document["status"]) == (416, 416)
    assert document["code"] == "range_not_satisfiable"
    assert document["type"] == "urn:image-api:problem:range_not_satisfiable"
    assert document["detail"] == "The image has 7 bytes."
    assert document["instance"] == "/images/a%20b%C3%A9"
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Content-Range"] == "bytes */7"
    assert answer.headers["Cache-Control"] == "no-store"


def test_members() -> None:
    """Members of an error extend the document (RFC 9457 section 3.2)."""
    document = json.loads(bytes(problem(REQUEST, ServiceError(limit=5)).body))
    assert document["limit"] == 5
    assert document["detail"] == document["title"] == "Internal error"
