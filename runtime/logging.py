"""How the process logs: one line of JSON for each event, or text for people.

Nothing is filtered here: `tests/support/log_secrets.py` looks for secrets in the log of every
service that the tests run. The line of a request is made in web/middleware/observation.py.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from config import Settings
from telemetry.request_id import RequestIdFilter
from web.middleware.observation import access_logger


def log_to_stderr(settings: Settings) -> None:
    """Log with request ids, unless whoever runs us has set up logging."""
    logger = logging.getLogger("image_api")
    access_logger.disabled = not settings.access_log
    if settings.access_log:
        _silence_uvicorn()
    if logging.getLogger().handlers or logger.handlers:
        return
    handler = LineHandler()
    handler.addFilter(RequestIdFilter())
    text = settings.log_format == "text" or (settings.log_format == "auto" and sys.stderr.isatty())
    handler.setFormatter(TextFormatter() if text else JsonFormatter())
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    if not text:
        for other in logging.getLogger("uvicorn").handlers:
            other.setFormatter(JsonFormatter())


def _silence_uvicorn() -> None:
    """Leave access lines to us. uvicorn's connections look for handlers when they begin."""
    theirs = logging.getLogger("uvicorn.access")
    theirs.handlers.clear()
    theirs.propagate = False


class TextFormatter(logging.Formatter):
    """Lines for people."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s [%(request_id)s] %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Render the line, after it the fields that have something to say."""
        fields: dict[str, Any] = getattr(record, "fields", {})
        told = [
            f"{name}={value}" for name, value in fields.items() if value and name in _FOR_PEOPLE
        ]
        return " ".join([super().formatMessage(record), *told])


_FOR_PEOPLE = {"code", "bytes_in", "bytes_out", "duration_ms", "database_ms", "s3_ms", "key"}


class JsonFormatter(logging.Formatter):
    """Lines for machines: a JSON object each, whatever the message holds."""

    def format(self, record: logging.LogRecord) -> str:
        """Render the line."""
        moment = datetime.fromtimestamp(record.created, UTC)
        document = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "request_id": getattr(record, "request_id", None),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document, separators=(",", ":"))


class LineHandler(logging.StreamHandler[Any]):
    """Writes to standard error: lines of requests when it is flushed, others at once.

    Each write hands the GIL over, which would cost a metadata request as much as its query.
    """

    def __init__(self) -> None:
        super().__init__()
        self._late: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, or keep it for a moment."""
        if record.name == access_logger.name:
            self._late.append(self.format(record) + self.terminator)
        else:
            super().emit(record)

    def flush(self) -> None:
        """Write what was kept."""
        late, self._late = self._late, []
        if late:
            self.stream.write("".join(late))
        super().flush()
