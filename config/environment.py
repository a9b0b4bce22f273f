"""Reading the settings from the environment and `.env`."""

from pathlib import Path

from dotenv import load_dotenv
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from config.settings import Settings
from errors import ConfigurationError


def load_settings() -> Settings:
    """Read environment and `.env`. Raises ConfigurationError, which names every wrong variable."""
    try:
        # Loaded into the environment, because boto3 reads its credentials from there.
        load_dotenv(Path(".env"))
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"Configuration: .env cannot be read: {exc}.") from None
    try:
        return Settings()
    except ValidationError as exc:
        faults = [_fault(error) for error in exc.errors(include_input=False)]
        raise ConfigurationError("Configuration: " + "; ".join(faults) + ".") from None


def _fault(error: ErrorDetails) -> str:
    """Describe what is wrong with one variable, or between two."""
    message = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        return message
    problem = "is missing" if error["type"] == "missing" else message
    return f"{str(error['loc'][0]).upper()} {problem}"
