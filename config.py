"""Settings: every environment variable of the service, its default and its meaning."""

from pathlib import Path
from typing import Annotated, Literal

from dotenv import load_dotenv
from pydantic import Field, PositiveFloat, PositiveInt, ValidationError, field_validator
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


class Settings(BaseSettings):
    """The configuration, read from the environment.

    Durations are seconds, sizes are bytes. AWS credentials are not here: boto3 finds them by its
    own chain (environment, profile, container or instance role).
    """

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    db_url: str = Field(description="SQLAlchemy URL of PostgreSQL, MySQL/MariaDB or SQLite.")
    aws_region: str = Field(min_length=1, description="Region of the bucket.")
    aws_s3_bucket: str = Field(min_length=3, max_length=63, description="Bucket of the images.")
    aws_endpoint_url_s3: str | None = Field(
        default=None, pattern="^https?://", description="Endpoint of an S3-compatible store."
    )

    allowed_extensions: CommaSeparated = Field(
        default=KNOWN_EXTENSIONS, description="Accepted file extensions."
    )
    max_upload_bytes: PositiveInt = Field(
        default=50 * 1024 * 1024, description="Largest image accepted."
    )
    max_pixels: PositiveInt = Field(
        default=50_000_000, description="Most pixels (width x height) of one frame."
    )
    max_animation_pixels: PositiveInt = Field(
        default=250_000_000, description="Most pixels of all frames of an animation together."
    )
    inspection: Literal["full", "header"] = Field(
        default="full",
        description="full decodes every pixel; header checks header and structure only, "
        "for trusted uploaders.",
    )
    upload_idle_timeout: PositiveFloat = Field(
        default=20, description="Longest pause of a client in the middle of an upload."
    )
    upload_timeout: PositiveFloat = Field(
        default=300, description="Longest time for the whole body of an upload to arrive."
    )
    download_idle_timeout: PositiveFloat = Field(
        default=60, description="Longest time that a client may take no byte of a download."
    )

    concurrency: int = Field(
        default=16,
        ge=1,
        le=1000,
        description="Requests worked on at once by one process: its threads, database "
        "connections and pooled S3 sockets.",
    )
    max_waiting: PositiveInt = Field(
        default=512,
        description="Requests that may wait for an answer in one process; more are answered 503.",
    )
    cpu_affinity: bool = Field(
        default=True, description="Keep the threads of each process on one CPU (Linux)."
    )
    shutdown_delay: float = Field(
        default=0,
        ge=0,
        description="How long /health/ready says 503 after SIGTERM before the process stops "
        "accepting requests.",
    )
    db_connect_timeout: PositiveFloat = Field(
        default=3, description="Time to connect to the database, or to wait for a free connection."
    )
    db_statement_timeout: PositiveFloat = Field(
        default=10, description="Longest time one statement may take."
    )
    s3_connect_timeout: PositiveFloat = Field(default=3, description="Time to connect to S3.")
    s3_read_timeout: PositiveFloat = Field(
        default=10, description="Longest time S3 may send nothing."
    )
    s3_max_attempts: PositiveInt = Field(
        default=3, description="Attempts of an S3 read or delete. A PUT is attempted once."
    )
    s3_put_timeout: PositiveFloat = Field(
        default=60, description="Longest time for the bytes of one image to go to S3."
    )
    s3_checksum: bool = Field(
        default=True, description="Send SHA-256 with each PUT so that S3 verifies the bytes."
    )
    ready_timeout: PositiveFloat = Field(
        default=2, description="Time for database and bucket to answer /health/ready."
    )

    cache_control: str = Field(
        default="no-cache",
        pattern=r"^[\x20-\x7e]+$",
        description="Cache-Control of images and metadata.",
    )
    redirects: Literal["off", "on_request", "default"] = Field(
        default="on_request",
        description="Downloads as redirects to presigned S3 URLs: never, with ?redirect=true, or "
        "unless ?redirect=false.",
    )
    redirect_seconds: int = Field(
        default=300, ge=1, le=604800, description="How long a presigned URL is valid."
    )
    s3_public_endpoint_url: str | None = Field(
        default=None,
        pattern="^https?://",
        description="Endpoint in presigned URLs, where clients reach the store under another one.",
    )
    cors_allow_origins: CommaSeparated = Field(
        default=(), description="Origins whose pages may use the API; * for all."
    )

    sweep_interval_seconds: float = Field(
        default=0,
        ge=0,
        description="How often the service sweeps by itself; 0: never, `scripts.sweep` does it.",
    )
    upload_grace_seconds: float = Field(
        default=900, ge=0, description="Age at which the sweeper gives up an unfinished upload."
    )
    put_horizon_seconds: float = Field(
        default=3600,
        ge=0,
        description="Longest time after which a PUT that was given up may still land in S3.",
    )
    keep_overwritten_seconds: float = Field(
        default=0,
        ge=0,
        description="How long the bytes of an overwritten image stay for slow readers before the "
        "sweeper takes them. 0 deletes them right after the answer.",
    )

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
    try:
        return Settings()
    except ValidationError as exc:
        faults = [
            f"{str(error['loc'][0]).upper()} "
            + (
                "is missing"
                if error["type"] == "missing"
                else error["msg"].removeprefix("Value error, ")
            )
            for error in exc.errors(include_input=False)
        ]
        raise ConfigurationError("Configuration: " + "; ".join(faults) + ".") from None
