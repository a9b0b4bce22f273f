"""Sends the lines of uvicorn and of other libraries to the same log, without queries."""

import logging
import os

from config import Settings
from telemetry import logger
from telemetry.log import LineHandler, stderr_handler
from web.middleware.access_log import access_logger

_PATH_ARGUMENT = 2  # of uvicorn's lines: client, method, path with query, version, status


def replace_uvicorn_log() -> None:
    """Log what uvicorn writes before the application starts in the format of LOG_FORMAT.

    uvicorn's supervisor does not import the application, and needs `--log-config` for this.
    """
    if logging.getLogger("uvicorn").handlers:
        _log_everything(os.environ.get("LOG_FORMAT", "auto"))


def log_to_stderr(settings: Settings) -> None:
    """Log with request ids, unless logging is already configured."""
    access_logger.disabled = not settings.access_log
    logging.getLogger("uvicorn.access").addFilter(_without_query)
    _log_everything(settings.log_format)
    if settings.access_log:
        # uvicorn looks for handlers when a connection opens.
        logging.getLogger("uvicorn.access").handlers.clear()
        logging.getLogger("uvicorn.access").propagate = False


def _without_query(record: logging.LogRecord) -> bool:
    """Remove the query, which may have a link's signature, from uvicorn's line; keep the line."""
    if isinstance(record.args, tuple) and len(record.args) > _PATH_ARGUMENT:
        path = str(record.args[_PATH_ARGUMENT]).partition("?")[0]
        before, after = record.args[:_PATH_ARGUMENT], record.args[_PATH_ARGUMENT + 1 :]
        record.args = (*before, path, *after)
    return True


def _log_everything(log_format: str) -> None:
    root = logging.getLogger()
    if not logger.handlers and all(isinstance(one, LineHandler) for one in root.handlers):
        root.handlers = [stderr_handler(log_format)]
        logger.setLevel(logging.INFO)
        for name in ("uvicorn", "uvicorn.access"):
            uvicorns = logging.getLogger(name)
            uvicorns.propagate = uvicorns.hasHandlers()  # none with --no-access-log
            uvicorns.handlers.clear()
