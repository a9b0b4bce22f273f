"""How the process logs: everything to standard error, libraries included, nothing filtered."""

import logging
import os

from config import Settings
from telemetry import logger
from telemetry.log_formats import JsonFormatter, LineHandler, TextFormatter, stderr_handler
from web.middleware.access_log import access_logger

__all__ = ["JsonFormatter", "LineHandler", "TextFormatter", "log_to_stderr", "replace_uvicorn_log"]


def replace_uvicorn_log() -> None:
    """Log in the format of the environment what uvicorn writes before the application starts.

    Its supervisor does not import the application, and needs `--log-config` for the same.
    """
    if logging.getLogger("uvicorn").handlers:
        _log_everything(os.environ.get("LOG_FORMAT", "auto"))


def log_to_stderr(settings: Settings) -> None:
    """Log with request ids, unless whoever runs the service has set up logging."""
    access_logger.disabled = not settings.access_log
    _log_everything(settings.log_format)
    if settings.access_log:
        # uvicorn's connections look for handlers when they begin.
        logging.getLogger("uvicorn.access").handlers.clear()
        logging.getLogger("uvicorn.access").propagate = False


def _log_everything(log_format: str) -> None:
    root, ours = logging.getLogger(), logger
    if not ours.handlers and all(isinstance(one, LineHandler) for one in root.handlers):
        root.handlers = [stderr_handler(log_format)]
        ours.setLevel(logging.INFO)
        for name in ("uvicorn", "uvicorn.access"):
            uvicorns = logging.getLogger(name)
            uvicorns.propagate = uvicorns.hasHandlers()  # it has none with --no-access-log
            uvicorns.handlers.clear()
