"""The log on standard error: JSON for machines, or text on a terminal (LOG_FORMAT).

uvicorn's supervisor imports this module through `runtime/log_config.json`, so it imports little.
"""

import json
import logging
import os
import re
import sys
import threading
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from telemetry import logger
from telemetry.request_id import add_request_id

ACCESS_LOGGER = "image_api.access"
# Fields that the text format leaves out, because the message of the access log has them
_IN_MESSAGE = {"method", "route", "status"}
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def stderr_handler(log_format: str | None = None) -> logging.Handler:
    """Return a handler for the root logger; let warnings and uncaught exceptions reach it.

    `log_format` is a value of LOG_FORMAT, by default the one in the environment.
    """
    log_format = log_format or os.environ.get("LOG_FORMAT", "auto")
    text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    handler = LineHandler()
    handler.addFilter(add_request_id)
    handler.setFormatter(TextFormatter() if text else JsonFormatter())
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_uncaught
    sys.unraisablehook = lambda unraisable: _log_uncaught(
        unraisable.exc_type, unraisable.exc_value, unraisable.exc_traceback
    )
    threading.excepthook = lambda args: _log_uncaught(
        args.exc_type, args.exc_value, args.exc_traceback
    )
    return handler


def _log_uncaught(
    kind: type[BaseException], error: BaseException | None, traceback: TracebackType | None
) -> None:
    if not issubclass(kind, (KeyboardInterrupt, SystemExit)):
        exc_info = (kind, error or kind(), traceback)
        logger.critical("Uncaught exception", exc_info=exc_info)


class TextFormatter(logging.Formatter):
    """Lines for people. Control characters are escaped, and tracebacks are indented.

    No client can make the service log a forged line, or characters that move the cursor.
    """

    def __init__(self) -> None:
        line = "%(asctime)s %(levelname)s [%(request_id)s] %(message)s"
        super().__init__(line, defaults={"request_id": "-"})

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Append the fields that are neither empty nor in the message of the access log."""
        fields: dict[str, Any] = getattr(record, "fields", {})
        shown = [
            f"{name}={_quoted(fields[name])}"
            for name in fields
            if fields[name] and name not in _IN_MESSAGE
        ]
        return _escape(" ".join([super().formatMessage(record), *shown]))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        """Indent and escape a traceback."""
        lines = super().formatException(ei).split("\n")
        return "\n".join(f"    {_escape(line)}" for line in lines)


def _quoted(value: object) -> str:
    """Quote a value that would read as two fields, such as the name of an image."""
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if re.search(r'[\s"]', text) else text


def _escape(text: str) -> str:
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


class JsonFormatter(logging.Formatter):
    """Lines for machines, each a JSON object.

    python-json-logger was tried: it takes 15 us a line instead of 9, and as much code.
    """

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
        return json.dumps(document, separators=(",", ":"), default=str)


class LineHandler(logging.StreamHandler[Any]):
    """Writes to standard error: lines of requests when it is flushed, others at once.

    Each write releases the GIL, which takes a metadata request as long as its query.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kept: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, or keep it until the next flush."""
        if record.name == ACCESS_LOGGER:
            self._kept.append(self.format(record) + self.terminator)
        else:
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Log a message that does not fit its arguments, without them. logging prints no JSON."""
        if record.args:
            record.args, record.exc_info = (), sys.exc_info()
            self.emit(record)

    def flush(self) -> None:
        """Write the lines that were kept."""
        lines, self._kept = self._kept, []
        with suppress(OSError):  # as `emit`: a full disk stops nothing but the log
            self.stream.write("".join(lines))
            super().flush()
