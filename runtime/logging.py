"""How the process logs: everything to standard error, libraries included, but no queries."""

import logging
import os

from config import Settings
from telemetry import logger
from telemetry.log_formats import JsonFormatter, LineHandler, TextFormatter, stderr_handler
from web.middleware.access_log import access_logger

__all__ = ["JsonFormatter", "LineHandler", "TextFormatter", "log_to_stderr", "replace_uvicorn_log"]


_PATH_ARGUMENT = 2  # of uvicorn's lines: client, method, path with query, version, status


def replace_uvicorn_log() -> None:
    """Log in the format of the environment what uvicorn writes before the application starts.

    Its supervisor does not import the application, and needs `--log-config` for the same.
    """
    if logging.getLogger("uvicorn").handlers:
        _log_everything(os.environ.get("LOG_FORMAT", "auto"))


def log_to_stderr(settings: Settings) -> None:
    """Log with request ids, unless whoever runs the service has set up logging."""
    access_logger.disabled = not settings.access_log
    logging.getLogger("uvicorn.access").addFilter(_without_query)
    _log_everything(settings.log_format)
    if settings.access_log:
        # uvicorn's connections look for handlers when they begin.
        logging.getLogger("uvicorn.access").handlers.clear()
        logging.getLogger("uvicorn.access").propagate = False


def _without_query(record: logging.LogRecord) -> bool:
    """Leave the query out of a line of uvicorn's, because it may have the signature of a link."""
    if isinstance(record.args, tuple) and len(record.args) > _PATH_ARGUMENT:
        path = str(record.args[_PATH_ARGUMENT]).partition("?")[0]
        before, after = record.args[:_PATH_ARGUMENT], record.args[_PATH_ARGUMENT + 1 :]
        record.args = (*before, path, *after)
    return True


def _log_everything(log_format: str) -> None:
    root, ours = logging.getLogger(), logger
    if not ours.handlers and all(isinstance(one, LineHandler) for one in root.handlers):
        root.handlers = [stderr_handler(log_format)]
        ours.setLevel(logging.INFO)
        for name in ("uvicorn", "uvicorn.access"):
            uvicorns = logging.getLogger(name)
            uvicorns.propagate = uvicorns.hasHandlers()  # it has none with --no-access-log
            uvicorns.handlers.clear()
