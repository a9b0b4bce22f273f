"""Settings: every environment variable of the service, its default and its meaning."""

import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PositiveInt,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from config.api_keys import ApiKey, parse_keys, read_keys, require_distinct
from config.database_url import normalise_db_url
from config.formats import FORMATS, VARIANT_MEDIA_TYPES
from config.link_secrets import parse_secrets
from config.origins import normalise_host, normalise_origin
from config.variants import require_variants


def _read_text(parse: Callable[[str], object]) -> BeforeValidator:
    """Parse the text of a variable; keep a default, or a value of a caller, as it is."""
    return BeforeValidator(lambda value: parse(value) if isinstance(value, str) else value)


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _some_of(known: Iterable[str], values: tuple[str, ...]) -> tuple[str, ...]:
    chosen = tuple(dict.fromkeys(value.lower().lstrip(".") for value in values))
    if not chosen or not set(chosen) <= set(known):
        raise ValueError(f"must be some of {', '.join(known)}")
    return chosen


def _true_images_or_false(value: object, read: ValidatorFunctionWrapHandler) -> object:
    try:
        return read(value)
    except ValidationError:
        raise ValueError("must be true, images or false") from None


CommaSeparated = Annotated[tuple[str, ...], NoDecode, _read_text(_split)]
Extensions = Annotated[CommaSeparated, AfterValidator(partial(_some_of, FORMATS))]
VariantSpecs = Annotated[CommaSeparated, AfterValidator(require_variants)]
VariantFormats = Annotated[CommaSeparated, AfterValidator(partial(_some_of, VARIANT_MEDIA_TYPES))]
PublicReads = Annotated[bool | Literal["images"], WrapValidator(_true_images_or_false)]
ApiKeys = Annotated[tuple[ApiKey, ...], NoDecode, _read_text(parse_keys)]
ApiKeysFile = Annotated[tuple[ApiKey, ...], NoDecode, _read_text(read_keys)]
LinkSecrets = Annotated[tuple[str, ...], NoDecode, _read_text(parse_secrets)]
Endpoint = Annotated[str, Field(pattern="^https?://")]
Seconds = Annotated[float, Field(gt=0, le=24 * 3600)]
SecondsOrZero = Annotated[float, Field(ge=0, le=10 * 365 * 24 * 3600)]


class Settings(BaseSettings):
    """The configuration, read from the environment. docs/configuration.md repeats these texts.

    The end of a name states the unit: `_SECONDS`, `_BYTES`, `_PIXELS`. AWS credentials come from
    the default chain of boto3 (environment, profile, container role or instance role).
    """

    model_config = SettingsConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True)

    db_url: str
    """`postgresql://`, `mysql://`, `mariadb://` or `sqlite:///` URL"""
    db_iam_auth: bool = False
    """sign in to RDS with IAM: a token instead of a password, for each new connection"""
    connect_timeout_seconds: Seconds = 3
    """maximum time to connect to the database or to S3, or to wait for a free connection"""
    db_statement_timeout_seconds: Seconds = 10
    """maximum time of one statement; on MySQL and MariaDB of each wait for the server, on SQLite of
    waiting for a lock
    """

    aws_region: str = Field(min_length=1)
    """region of the bucket"""
    aws_s3_bucket: str
    """bucket of the images; nothing else should write to it"""
    aws_endpoint_url_s3: Endpoint | None = None
    """endpoint of an S3-compatible store"""
    s3_public_endpoint_url: Endpoint | None = None
    """endpoint in presigned URLs, if clients reach the store at another address than the service"""
    s3_checksum: bool = True
    """send the SHA-256 of each PUT as a checksum, which S3 verifies and stores"""
    s3_read_timeout_seconds: Seconds = 10
    """maximum time without data from S3, except after a PUT"""
    s3_put_timeout_seconds: Seconds = 60
    """maximum time from the journal entry of an image until it is sent to S3, and again until S3
    responds
    """
    s3_max_attempts: int = Field(3, ge=1, le=10)
    """maximum attempts of a read or delete in S3"""

    max_upload_bytes: PositiveInt = 50 * 1024 * 1024
    """maximum size of an image, in bytes"""
    max_pixels: PositiveInt = 51_000_000
    """maximum number of pixels (width x height) of one frame; all frames of an animation together
    may have five times as many
    """
    concurrency: int = Field(16, ge=1, le=1000)
    """requests that may need S3 and that one process serves at once; a quarter more threads, at
    least two, serve the others; 32 x `CONCURRENCY` requests may wait, and further ones get `503`
    """
    client_idle_seconds: Seconds = 30
    """maximum pause of a client that uploads, or that reads nothing of a download"""
    upload_timeout_seconds: Seconds = 300
    """maximum time to receive the body of an upload"""

    allowed_extensions: Extensions = tuple(FORMATS)
    """accepted file extensions"""
    inspection: Literal["full", "header"] = "full"
    """`full` decodes every pixel; `header` checks header and structure only, for trusted uploaders
    """
    strip_metadata: Literal["none", "all"] = "none"
    """`all` removes from each upload what its display does not need: places, serial numbers, texts,
    thumbnails; no pixel changes
    """
    variants: VariantSpecs = ("160", "320", "640", "1280", "2048", "320x320-crop")
    """smaller pictures that clients may request: `320` fits in a square of that side, `640x480` in
    that box, `320x320-crop` fills it; empty: none
    """
    variant_formats: VariantFormats = ("jpg", "png", "webp")
    """formats of variants: any of jpg, png, webp and avif"""

    api_keys_file: ApiKeysFile = ()
    """file with API keys, one on each line as `python -m scripts.keys` prints them:
    `name:read:sha256` or `name:write:sha256`; with `:prefix` at the end, the key is only for images
    whose names begin with that
    """
    api_keys: ApiKeys = ()
    """the same, comma-separated; if both are unset, the service is open to all who can reach it; if
    one is set but has no key, the service does not start
    """
    public_reads: PublicReads = True
    """with API keys: which reads need none: `true` (all), `images` (the bytes, variants and
    metadata of an image by its name, but neither listing nor random) or `false` (none); writing
    always needs one
    """
    link_secrets: LinkSecrets = ()
    """secrets of at least 32 bytes that sign links, comma-separated: the first one signs, all of
    them verify; unset: no links
    """
    allowed_hosts: CommaSeparated = ("*",)
    """hosts that requests may name in `Host`, comma-separated, without ports; `*.example.com` for
    all subdomains, `*` for any host (`make run`: those of this machine)
    """
    gallery: bool = True
    """a page at `/` to look at the pictures, which uses the API like any other client"""
    cors_allow_origins: CommaSeparated = ()
    """origins whose pages may use the API, comma-separated; `*` for all"""

    cache_control: str = Field("no-cache", pattern=r"^[\x20-\x7e]+$")
    """`Cache-Control` of metadata, listings, and images and variants requested without `v`"""
    redirects: Literal["off", "on_request", "default"] = "on_request"
    """redirect downloads to S3: `off`, `on_request` (with `?redirect=true`), `default` (unless
    `?redirect=false`)
    """
    redirect_seconds: int = Field(300, ge=1, le=604800)
    """how long a presigned URL is valid, at most"""
    shutdown_delay_seconds: float = Field(0, ge=0, le=3600)
    """how long `/health/ready` returns `503` after SIGTERM before the process stops accepting
    requests
    """

    metrics_folder: Path | None = None
    """folder shared with `scripts.sweep` and `scripts.verify`: they write their metrics there, as
    for node_exporter, and `/metrics` includes them
    """
    access_log: bool = True
    """log a line for each request, instead of uvicorn's"""
    log_format: Literal["auto", "json", "text"] = "auto"
    """`json`, `text`, or `auto`: text on a terminal"""

    sweep_interval_seconds: SecondsOrZero = 0
    """how often the service sweeps by itself; `0`: never (`make run`: 60)"""
    keep_deleted_seconds: SecondsOrZero = 0
    """how long the bytes of overwritten and deleted images stay in S3: at least as long as the
    oldest database backup that you would restore (`make run`: 300)
    """
    upload_grace_seconds: SecondsOrZero = 900
    """age at which the sweeper gives up an unfinished upload"""
    put_horizon_seconds: SecondsOrZero = 3600
    """time after which a PUT that was given up can no longer land in S3; longer than
    `S3_PUT_TIMEOUT_SECONDS`
    """

    @property
    def threads(self) -> int:
        """The number of threads that serve requests.

        `concurrency` of them serve requests that need S3. The others keep serving the requests that
        need only the database while S3 hangs.
        """
        return self.concurrency + max(2, self.concurrency // 4)

    @property
    def max_waiting_requests(self) -> int:
        """The maximum number of requests that wait for their response in one process."""
        return 32 * self.concurrency

    @property
    def max_animation_pixels(self) -> int:
        """The maximum number of pixels of all frames of an animation together."""
        return 5 * self.max_pixels

    @model_validator(mode="before")
    @classmethod
    def _unset_if_empty(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Treat an empty variable as unset, unless empty has a meaning or is a mistake."""
        kept = {"variants", "api_keys", "api_keys_file", "link_secrets"}
        return {name: value for name, value in values.items() if value != "" or name in kept}

    @field_validator("db_url")
    @classmethod
    def _ship_driver(cls, value: str) -> str:
        return normalise_db_url(value).render_as_string(hide_password=False)

    @field_validator("aws_s3_bucket")
    @classmethod
    def _possible_bucket(cls, value: str) -> str:
        # AWS, "General purpose bucket naming rules"
        if (
            not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", value)
            or ".." in value
            or re.fullmatch(r"[\d.]+", value)
            or value.startswith(("xn--", "sthree-"))
            or value.endswith(("-s3alias", "--ol-s3", ".mrap", "--x-s3"))
        ):
            raise ValueError("is not a bucket name that S3 allows")
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _normalise_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        if not hosts:
            raise ValueError("names no host")
        return tuple(map(normalise_host, hosts))

    @field_validator("cors_allow_origins")
    @classmethod
    def _normalise_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(one if one == "*" else normalise_origin(one) for one in origins)

    @field_validator("api_keys")
    @classmethod
    def _join_keys(cls, keys: tuple[ApiKey, ...], info: ValidationInfo) -> tuple[ApiKey, ...]:
        return require_distinct(tuple(dict.fromkeys((*keys, *info.data.get("api_keys_file", ())))))

    @model_validator(mode="after")
    def _horizon_covers_puts(self) -> Self:
        # Otherwise a late PUT could land after the sweeper's last check and stay in the bucket.
        if self.put_horizon_seconds <= self.s3_put_timeout_seconds:
            raise ValueError("PUT_HORIZON_SECONDS must be longer than S3_PUT_TIMEOUT_SECONDS")
        return self
