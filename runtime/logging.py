"""How the process logs: everything to standard error, libraries included.

Nothing is filtered here: `tests/support/log_secrets.py` looks for secrets in the log of every
service that the tests run.
"""

import logging
import os

from config import Settings
from telemetry.log_lines import JsonFormatter, LineHandler, TextFormatter, stderr_handler
from web.middleware.observation import access_logger

__all__ = ["JsonFormatter", "LineHandler", "TextFormatter", "log_to_stderr", "replace_uvicorn_log"]


def replace_uvicorn_log() -> None:
    """Log what uvicorn writes before the application starts in the format of the environment.

    Its supervisor does not import the application: `--log-config runtime/log_config.json` does the
    same there. Does nothing where uvicorn does not run.
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
    root, ours = logging.getLogger(), logging.getLogger("image_api")
    if not ours.handlers and all(isinstance(one, LineHandler) for one in root.handlers):
        root.handlers = [stderr_handler(log_format)]
        ours.setLevel(logging.INFO)
        logging.getLogger("uvicorn").handlers.clear()
        logging.getLogger("uvicorn").propagate = True
