"""Lines of the log: one for each record, whatever it contains."""

import io
import json
import logging
import sys

import pytest

from telemetry.log_formats import ACCESS_LOGGER, JsonFormatter, LineHandler, TextFormatter


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
