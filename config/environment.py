"""Reading the settings from the environment and `.env`."""

import os
from pathlib import Path
from typing import Any

from dotenv import load_dotenv
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from config.settings import Settings
from errors import ConfigurationError

# Names of earlier versions, still understood where the new one is not set.
FORMER_NAMES = {
    "KEEP_OVERWRITTEN_SECONDS": "KEEP_DELETED_SECONDS",
    "MAX_WAITING": "MAX_WAITING_REQUESTS",
    "SHUTDOWN_DELAY": "SHUTDOWN_DELAY_SECONDS",
    "UPLOAD_TIMEOUT": "UPLOAD_TIMEOUT_SECONDS",
    "UPLOAD_IDLE_TIMEOUT": "CLIENT_IDLE_SECONDS",
    "DOWNLOAD_IDLE_TIMEOUT": "CLIENT_IDLE_SECONDS",
    "DB_CONNECT_TIMEOUT": "CONNECT_TIMEOUT_SECONDS",
    "DB_STATEMENT_TIMEOUT": "DB_STATEMENT_TIMEOUT_SECONDS",
    "S3_CONNECT_TIMEOUT": "CONNECT_TIMEOUT_SECONDS",
    "S3_READ_TIMEOUT": "S3_READ_TIMEOUT_SECONDS",
    "S3_PUT_TIMEOUT": "S3_PUT_TIMEOUT_SECONDS",
}


def load_settings() -> Settings:
    """Read the settings from the environment and `.env`; the environment wins.

    Raises ConfigurationError with one sentence that names every missing or wrong variable.
    """
    # Into the environment rather than into Settings: boto3 looks for its credentials there.
    load_dotenv(Path(".env"))
    former: dict[str, Any] = {
        name.lower(): os.environ[old]
        for old, name in FORMER_NAMES.items()
        if old in os.environ and name not in os.environ
    }
    try:
        return Settings(**former)
    except ValidationError as exc:
        faults = [_fault(error) for error in exc.errors(include_input=False)]
        raise ConfigurationError("Configuration: " + "; ".join(faults) + ".") from None


def _fault(error: ErrorDetails) -> str:
    """Say what is wrong with one variable, or between two."""
    message = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        return message
    return f"{str(error['loc'][0]).upper()} " + (
        "is missing" if error["type"] == "missing" else message
    )
