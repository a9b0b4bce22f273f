"""Each log record is one line, whatever it contains."""

import contextlib
import io
import json
import logging
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.log import ACCESS_LOGGER, JsonFormatter, LineHandler, TextFormatter


def test_formats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every record is one line of JSON, including line breaks and tracebacks."""
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    handler = LineHandler()
    handler.setFormatter(JsonFormatter())
    try:
        raise ValueError('a "quoted"\nreason')
    except ValueError:
        record = logging.LogRecord(
            "image_api", logging.ERROR, "", 0, "two\nlines %s", ("\x1b[31m",), sys.exc_info()
        )
    handler.emit(record)
    kept = logging.makeLogRecord({"name": ACCESS_LOGGER, "msg": "kept"})
    handler.emit(kept)
    assert written.getvalue().count("\n") == 1
    handler.flush()
    first, second = map(json.loads, written.getvalue().splitlines())
    assert first["message"] == "two\nlines \x1b[31m"
    assert 'ValueError: a "quoted"' in first["exception"]
    assert second["message"] == "kept"
    assert "\x1b" not in written.getvalue()
    record.request_id = kept.request_id = "r"
    assert "Traceback" in TextFormatter().format(record)


@given(st.text())
def test_no_forged_line(text: str) -> None:
    """Whatever a message contains, it is one line, in either format."""
    record = logging.makeLogRecord({"msg": "name %s", "args": (text,), "request_id": "r"})
    line = TextFormatter().format(record)
    assert line.splitlines() == [line]
    assert not [char for char in line if unicodedata.category(char) == "Cc"]
    document = JsonFormatter().format(record)
    assert document.isascii()
    assert document.isprintable()
    assert json.loads(document)["message"] == f"name {text}"


def test_fields() -> None:
    """JSON has all fields of a record; text omits empty ones and those that its message has."""
    fields = {"code": "image_lost", "s3_ms": 0, "route": "/images", "new": 1}
    record = logging.makeLogRecord({"msg": "GET", "fields": fields})
    assert json.loads(JsonFormatter().format(record)).items() >= fields.items()
    line = TextFormatter().format(record)
    assert line.endswith("GET code=image_lost new=1")


def test_unfitting_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that does not fit its arguments is logged without them, with the error."""
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    handler = LineHandler()
    handler.setFormatter(JsonFormatter())
    handler.handle(logging.makeLogRecord({"msg": "%d images", "args": ("many",)}))
    document = json.loads(written.getvalue())
    assert document["message"] == "%d images"
    assert "TypeError" in document["exception"]


def test_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flush that fails raises nothing, like any other line that cannot be written."""
    with open("/dev/full", "w", buffering=1) as full:  # noqa: PTH123 - line by line, as stderr
        monkeypatch.setattr(sys, "stderr", full)
        handler = LineHandler()
        handler.handle(logging.makeLogRecord({"name": ACCESS_LOGGER, "msg": "kept"}))
        handler.flush()
        with contextlib.suppress(OSError):
            full.close()
