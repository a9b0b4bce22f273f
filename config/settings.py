"""Settings: every environment variable of the service, its default and its meaning."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, PositiveInt, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from config.api_keys import ApiKey, lines_of_file
from config.database_url import normalise_db_url
from config.variants import require_encodings, require_variants

KNOWN_EXTENSIONS = ("jpg", "jpeg", "png", "gif", "webp")

CommaSeparated = Annotated[tuple[str, ...], NoDecode]

_LONGEST_SECONDS = 10 * 365 * 24 * 3600
Seconds = Annotated[float, Field(gt=0, le=24 * 3600)]


class Settings(BaseSettings):
    """The configuration, read from the environment.

    The end of a name tells its unit: `_SECONDS`, `_BYTES`, `_PIXELS`; the others are plain numbers.
    AWS credentials are not here: boto3 finds them by its own chain (environment, profile,
    container or instance role).
    """

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    db_url: str = Field(description="`postgresql://`, `mysql://`, `mariadb://` or `sqlite:///` URL")
    db_iam_auth: bool = Field(
        default=False,
        description="sign in to RDS by IAM: a token instead of a password, for each new connection",
    )
    aws_region: str = Field(min_length=1, description="region of the bucket")
    aws_s3_bucket: str = Field(
        description="bucket of the images; nothing else should write into it",
    )
    aws_endpoint_url_s3: str | None = Field(
        default=None, pattern="^https?://", description="endpoint of an S3-compatible store"
    )
    s3_public_endpoint_url: str | None = Field(
        default=None,
        pattern="^https?://",
        description="endpoint in presigned URLs, where clients reach the store at another address "
        "than the service",
    )
    s3_checksum: bool = Field(
        default=True,
        description="send the SHA-256 of each PUT as a checksum, which S3 verifies and keeps",
    )

    allowed_extensions: CommaSeparated = Field(
        default=KNOWN_EXTENSIONS, description="accepted file extensions"
    )
    max_upload_bytes: PositiveInt = Field(
        default=50 * 1024 * 1024, description="largest image, in bytes"
    )
    max_pixels: PositiveInt = Field(
        default=51_000_000, description="most pixels (width x height) of one frame"
    )
    max_animation_pixels: PositiveInt = Field(
        default=250_000_000, description="most pixels of all frames together"
    )
    inspection: Literal["full", "header"] = Field(
        default="full",
        description="`header` checks header and structure only, for trusted uploaders",
    )
    inspection_cpu_seconds: Seconds = Field(
        default=1.5, description="most CPU time that inspecting one image may take, in seconds"
    )
    inspection_memory_bytes: PositiveInt = Field(
        default=200 * 1024 * 1024,
        description="most memory that inspecting one image may take beside its own bytes",
    )

    variants: Annotated[CommaSeparated, AfterValidator(require_variants)] = Field(
        default=("160", "320", "640", "1280", "2048", "320x320-crop"),
        description="smaller pictures that clients may ask for: `320` fits in a square of that "
        "side, `640x480` in that box, `320x320-crop` fills it; empty: none",
    )
    variant_formats: Annotated[CommaSeparated, AfterValidator(require_encodings)] = Field(
        default=("jpg", "png", "webp"), description="their formats: some of jpg, png, webp and avif"
    )

    cache_control: str = Field(
        default="no-cache",
        pattern=r"^[\x20-\x7e]+$",
        description="`Cache-Control` of images, variants, metadata and listings",
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
    cross_site_writes: Literal["refuse", "allow"] = Field(
        default="refuse",
        description="without API keys, uploads and deletions by pages of other web sites: `refuse` "
        "(but for `CORS_ALLOW_ORIGINS`) or `allow`",
    )

    api_keys: Annotated[tuple[ApiKey, ...], NoDecode] = Field(
        default=(),
        description="keys of clients, comma-separated, as `python -m scripts.keys` prints them: "
        "`name:read:sha256` or `name:write:sha256`; none: open to all who can reach the service",
    )
    api_keys_file: Path | None = Field(
        default=None, description="file with more of them, one on each line, for mounted secrets"
    )
    public_reads: bool = Field(
        default=True,
        description="with API keys: whether reading images needs none; writing always needs one",
    )

    metrics: bool = Field(
        default=True,
        description="`/metrics` for Prometheus; with API keys it needs one of either scope",
    )
    metrics_folder: Path | None = Field(
        default=None,
        description="folder shared with `scripts.sweep` and `scripts.verify`: they write their "
        "metrics there, as for node_exporter, and `/metrics` answers them",
    )
    prometheus_multiproc_dir: Path | None = Field(
        default=None,
        description="folder in which workers share their metrics; it must be empty before the "
        "start, and is needed only where another server than uvicorn starts the workers",
    )
    access_log: bool = Field(
        default=True, description="a line in the log for each request, instead of uvicorn's"
    )
    log_format: Literal["auto", "json", "text"] = Field(
        default="auto", description="`json`, `text`, or `auto`: text on a terminal"
    )

    concurrency: int = Field(
        default=16,
        ge=1,
        le=1000,
        description="requests that may need S3 and are worked on at once by one process; a quarter "
        "more threads, at least two, serve the others",
    )
    max_waiting_requests: PositiveInt = Field(
        default=512,
        description="requests that may wait for an answer in one process; while so many do, "
        "new ones are answered `503`",
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
        default=10, description="longest time S3 may send nothing, except after a PUT"
    )
    s3_put_timeout_seconds: Seconds = Field(
        default=60,
        description="longest time until an image is sent to S3, from its journal entry on, and "
        "again until S3 answers",
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

        While S3 hangs, the reserve serves the requests that need only the database. The connections
        to it are two more: adapters/engines.py.
        """
        return self.concurrency + max(2, self.concurrency // 4)

    @field_validator("db_url")
    @classmethod
    def _ship_driver(cls, value: str) -> str:
        return normalise_db_url(value).render_as_string(hide_password=False)

    @field_validator("aws_s3_bucket")
    @classmethod
    def _possible_bucket(cls, value: str) -> str:
        # AWS: "General purpose bucket naming rules".
        if (
            not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", value)
            or ".." in value
            or re.fullmatch(r"[\d.]+", value)
            or value.startswith(("xn--", "sthree-"))
            or value.endswith(("-s3alias", "--ol-s3", ".mrap", "--x-s3"))
        ):
            raise ValueError("is not a bucket name that S3 allows")
        return value

    @field_validator(
        "allowed_extensions", "cors_allow_origins", "variants", "variant_formats", mode="before"
    )
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

    @model_validator(mode="before")
    @classmethod
    def _ignore_empty(cls, values: dict[str, Any]) -> dict[str, Any]:
        # An empty variable counts as unset, except that `VARIANTS=` means none.
        return {key: value for key, value in values.items() if value != "" or key == "variants"}

    @model_validator(mode="before")
    @classmethod
    def _add_keys_of_file(cls, values: dict[str, Any]) -> dict[str, Any]:
        if not (file := values.get("api_keys_file")):
            return values
        keys = [values.get("api_keys", ""), *lines_of_file(file)]
        return values | {"api_keys": ",".join(filter(None, keys))}

    @field_validator("api_keys", mode="before")
    @classmethod
    def _parse_keys(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(ApiKey.parse(line) for line in value.split(",") if line.strip())
        return value

    @model_validator(mode="after")
    def _horizon_covers_puts(self) -> Self:
        # Otherwise a late PUT would land after the sweeper's last look, and stay for ever.
        if self.put_horizon_seconds <= self.s3_put_timeout_seconds:
            raise ValueError("PUT_HORIZON_SECONDS must be longer than S3_PUT_TIMEOUT_SECONDS")
        return self
