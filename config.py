"""Settings: every environment variable of the service, its default and its meaning."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from dotenv import load_dotenv
from pydantic import Field, PositiveInt, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from errors import ConfigurationError

KNOWN_EXTENSIONS = ("jpg", "jpeg", "png", "gif", "webp")

# A plain "postgresql://" means psycopg 3 to SQLAlchemy 2.1 and "mysql://" means mysqlclient;
# these are the drivers that we ship.
_SHIPPED_DRIVERS = {
    "postgres": "postgresql+psycopg2",
    "postgresql": "postgresql+psycopg2",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
    "sqlite": "sqlite",
}

CommaSeparated = Annotated[tuple[str, ...], NoDecode]

_LONGEST_SECONDS = 10 * 365 * 24 * 3600
Seconds = Annotated[float, Field(gt=0, le=24 * 3600)]

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


class Settings(BaseSettings):
    """The configuration, read from the environment.

    The end of a name tells its unit: `_SECONDS`, `_BYTES`, `_PIXELS`; the others are plain numbers.
    AWS credentials are not here: boto3 finds them by its own chain (environment, profile,
    container or instance role).
    """

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    db_url: str = Field(description="`postgresql://`, `mysql://`, `mariadb://` or `sqlite:///` URL")
    aws_region: str = Field(min_length=1, description="region of the bucket")
    aws_s3_bucket: str = Field(
        pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$",
        description="bucket of the images; nothing else should write into it",
    )
    aws_endpoint_url_s3: str | None = Field(
        default=None, pattern="^https?://", description="endpoint of an S3-compatible store"
    )
    s3_public_endpoint_url: str | None = Field(
        default=None,
        pattern="^https?://",
        description="endpoint in presigned URLs, where clients reach the store under another one",
    )
    s3_checksum: bool = Field(
        default=True, description="send SHA-256 with each PUT so that S3 verifies the bytes"
    )

    allowed_extensions: CommaSeparated = Field(
        default=KNOWN_EXTENSIONS, description="accepted file extensions"
    )
    max_upload_bytes: PositiveInt = Field(
        default=50 * 1024 * 1024, description="largest image, in bytes"
    )
    max_pixels: PositiveInt = Field(
        default=50_000_000, description="most pixels (width x height) of one frame"
    )
    max_animation_pixels: PositiveInt = Field(
        default=250_000_000, description="most pixels of all frames together"
    )
    inspection: Literal["full", "header"] = Field(
        default="full",
        description="`header` checks header and structure only, for trusted uploaders",
    )
    inspection_cpu_seconds: Seconds = Field(
        default=1.5, description="most CPU time that decoding one image may take, in seconds"
    )
    inspection_memory_bytes: PositiveInt = Field(
        default=200 * 1024 * 1024, description="most memory that decoding one image may take"
    )

    cache_control: str = Field(
        default="no-cache",
        pattern=r"^[\x20-\x7e]+$",
        description="`Cache-Control` of images, metadata and listings",
    )
    redirects: Literal["off", "on_request", "default"] = Field(
        default="on_request",
        description="downloads as redirects to S3: `off`, `on_request` (`?redirect=true`), "
        "`default` (unless `?redirect=false`)",
    )
    redirect_seconds: int = Field(
        default=300, ge=1, le=604800, description="how long a presigned URL is valid"
    )
    cors_allow_origins: CommaSeparated = Field(
        default=(),
        description="origins whose pages may use the API, comma-separated; `*` for all",
    )

    concurrency: int = Field(
        default=16,
        ge=1,
        le=1000,
        description="requests to S3 worked on at once by one process; a quarter more threads and "
        "database connections serve the requests that need only the database",
    )
    max_waiting_requests: PositiveInt = Field(
        default=512,
        description="requests that may wait for an answer in one process; more are answered `503`",
    )
    cpu_affinity: bool = Field(
        default=False,
        description="keep each worker's threads on one CPU; for a Linux host of its own only",
    )
    shutdown_delay_seconds: float = Field(
        default=0,
        ge=0,
        le=3600,
        description="how long `/health/ready` says `503` after SIGTERM before the process stops "
        "accepting requests",
    )

    client_idle_seconds: Seconds = Field(
        default=30,
        description="longest pause of a client while it uploads, or while it takes no byte of a "
        "download",
    )
    upload_timeout_seconds: Seconds = Field(
        default=300, description="longest time for the whole body of an upload to arrive"
    )
    connect_timeout_seconds: Seconds = Field(
        default=3,
        description="time to connect to the database or to S3, or to wait for a free connection",
    )
    db_statement_timeout_seconds: Seconds = Field(
        default=10, description="longest time one statement may take"
    )
    s3_read_timeout_seconds: Seconds = Field(
        default=10, description="longest time S3 may send nothing"
    )
    s3_put_timeout_seconds: Seconds = Field(
        default=60, description="longest time for the bytes of one image to go to S3"
    )
    s3_max_attempts: int = Field(
        default=3, ge=1, le=10, description="attempts of an S3 read or delete"
    )

    sweep_interval_seconds: float = Field(
        default=0,
        ge=0,
        le=_LONGEST_SECONDS,
        description="how often the service sweeps by itself; `0`: never (`make run`: 60)",
    )
    keep_deleted_seconds: float = Field(
        default=0,
        ge=0,
        le=_LONGEST_SECONDS,
        description="how long the bytes of overwritten and deleted images stay in S3: at least as "
        "long as the oldest database backup that you would restore (`make run`: 300)",
    )
    upload_grace_seconds: float = Field(
        default=900,
        ge=0,
        le=_LONGEST_SECONDS,
        description="age at which the sweeper gives up an unfinished upload",
    )
    put_horizon_seconds: float = Field(
        default=3600,
        ge=0,
        le=_LONGEST_SECONDS,
        description="time after which a PUT that was given up can no longer land in S3; longer "
        "than `S3_PUT_TIMEOUT_SECONDS`",
    )

    @property
    def threads(self) -> int:
        """How many threads serve requests: `concurrency` for those that need S3, and a reserve.

        While S3 hangs, the reserve serves the requests that need only the database.
        """
        return self.concurrency + max(2, self.concurrency // 4)

    @field_validator("db_url")
    @classmethod
    def _ship_driver(cls, value: str) -> str:
        return normalise_db_url(value).render_as_string(hide_password=False)

    @field_validator("allowed_extensions", "cors_allow_origins", mode="before")
    @classmethod
    def _split_list(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("allowed_extensions")
    @classmethod
    def _known_extensions(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        extensions = tuple(extension.lower().lstrip(".") for extension in value)
        if not extensions or not set(extensions) <= set(KNOWN_EXTENSIONS):
            raise ValueError(f"must be some of {', '.join(KNOWN_EXTENSIONS)}")
        return extensions

    @model_validator(mode="after")
    def _horizon_covers_puts(self) -> Self:
        # Otherwise a late PUT would land after the sweeper's last look, and stay for ever.
        if self.put_horizon_seconds <= self.s3_put_timeout_seconds:
            raise ValueError("PUT_HORIZON_SECONDS must be longer than S3_PUT_TIMEOUT_SECONDS")
        return self


def normalise_db_url(url: str) -> URL:
    """Return `url` with the driver that we ship where it names none.

    Raises ValueError when the URL cannot be read or its database is not one that we serve.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # The URL may hold a password, so it is not repeated.
        raise ValueError("is not a database URL such as postgresql://user@host/name") from None
    backend, _, driver = parsed.drivername.partition("+")
    if backend not in _SHIPPED_DRIVERS:
        raise ValueError(f"names {backend}; use postgresql, mysql, mariadb or sqlite")
    if backend == "sqlite" and parsed.database in {None, "", ":memory:"}:
        raise ValueError("names a database in memory; use a file, such as sqlite:///images.db")
    return parsed if driver else parsed.set(drivername=_SHIPPED_DRIVERS[backend])


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
