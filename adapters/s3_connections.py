"""The set-up of boto3 and obstore for S3: addresses, time limits, retries, checksums, TLS."""

import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import obstore
from boto3.session import Session
from botocore import UNSIGNED
from botocore.awsrequest import AWSPreparedRequest
from botocore.config import Config
from botocore.httpsession import get_cert_path
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.store import MemoryStore, S3Store

from config import Settings

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config, S3Credential

# NAT gateways, load balancers and stores drop idle connections, some of them silently. A PUT, which
# has one attempt, would fail on such a connection.
_POOL_IDLE = timedelta(seconds=5)
# obstore asks for new credentials 5 minutes before these expire, so every minute. boto3 renews the
# credentials of a role 10 minutes before they expire.
_CREDENTIALS_TTL = timedelta(minutes=6)
# The longest pause of a store while it receives a file. urllib3 has one limit for this and for
# connecting.
_LONGEST_STALL_SECONDS = 10.0
_NO_LIMIT = timedelta(days=1)


def start_obstore() -> None:
    """Start obstore's threads, unless they run.

    If its first request cannot start them, obstore panics at this and every later request.
    """
    obstore.put(MemoryStore(), "started", b"", use_multipart=False)


def client(session: Session, settings: Settings) -> Any:
    """Build boto3's client for rare requests, which connects on first use."""
    return _client(session, settings, settings.s3_max_attempts, settings.s3_read_timeout_seconds)


def file_client(session: Session, settings: Settings) -> Any:
    """Build boto3's client for PUTs of files: one attempt over a new connection."""
    client = _client(session, settings, 1, settings.s3_put_timeout_seconds, _LONGEST_STALL_SECONDS)
    client.meta.events.register("before-send.s3.PutObject", _use_once)
    return client


def _client(
    session: Session, settings: Settings, attempts: int, read_timeout: float, stall: float = 0
) -> Any:
    config = Config(
        signature_version="s3v4",
        connect_timeout=max(settings.connect_timeout_seconds, stall),
        read_timeout=read_timeout,
        retries={"mode": "standard", "total_max_attempts": attempts},
        # boto3's default, a CRC32 trailer in an aws-chunked body, breaks some compatible stores.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={
            "addressing_style": _addressing_style(settings.aws_endpoint_url_s3),
            "payload_signing_enabled": not settings.s3_checksum,
        },
    )
    client = session.client("s3", endpoint_url=settings.aws_endpoint_url_s3, config=config)
    # boto3 would sign again for the region of the bucket, which obstore cannot.
    client.meta.events.register_last("before-parameter-build.s3", _stay_in_region)
    return client


def _stay_in_region(context: dict[str, Any], **_: object) -> None:
    context["s3_redirect"]["redirected"] = True


def _use_once(request: AWSPreparedRequest, **_: object) -> None:
    request.headers["Connection"] = "close"


def _addressing_style(endpoint: str | None) -> Literal["path", "virtual"]:
    """Choose paths for compatible stores, which rarely have a host name for each bucket.

    With "auto", botocore presigns for a global host, which redirects requests for new buckets and
    does not exist for FIPS outside us-east-1. A bucket with dots in its name gets a path anyway.
    """
    return "path" if endpoint else "virtual"


def base_url(session: Session, settings: Settings, endpoint: str | None) -> str:
    """Return the URL of the bucket with a slash at its end.

    boto3 knows the forms for regions, endpoints and path style, and reads
    AWS_USE_DUALSTACK_ENDPOINT and AWS_USE_FIPS_ENDPOINT.
    """
    config = Config(
        signature_version=UNSIGNED, s3={"addressing_style": _addressing_style(endpoint)}
    )
    client = session.client("s3", endpoint_url=endpoint, config=config)
    operation = {"Bucket": settings.aws_s3_bucket, "Key": "KEY"}
    url: str = client.generate_presigned_url("get_object", Params=operation)
    client.close()
    return url.removesuffix("KEY")


def read_store(session: Session, settings: Settings, base_url: str) -> S3Store:
    """Build the store for reads and deletes, which are retried."""
    timeout = timedelta(seconds=settings.s3_read_timeout_seconds)
    client: ClientConfig = {"timeout": _NO_LIMIT, "read_timeout": timeout}
    retries: RetryConfig = {
        "max_retries": settings.s3_max_attempts - 1,
        "retry_timeout": 1.5 * timeout,  # retries a request that timed out, once
    }
    return _store(session, settings, base_url, client, retries)


def put_store(session: Session, settings: Settings, base_url: str, seconds: float) -> S3Store:
    """Build a store for PUTs: one attempt that ends within `seconds`, response included.

    A PUT that is sent twice may land twice, and the write protocol allows one for each key.
    """
    client: ClientConfig = {"timeout": timedelta(seconds=seconds)}
    return _store(session, settings, base_url, client, {"max_retries": 0})


def _store(
    session: Session,
    settings: Settings,
    base_url: str,
    client_options: "ClientConfig",
    retry_config: "RetryConfig",
) -> S3Store:
    """Build a store, with values for everything that obstore would read from `AWS_*`."""

    def credentials() -> "S3Credential":
        return Boto3CredentialProvider(session, ttl=_CREDENTIALS_TTL)()

    certificates = os.environ.get("AWS_CA_BUNDLE") or str(get_cert_path(verify=True))
    config: S3Config = {
        "region": settings.aws_region,
        # It contains the bucket, as a virtual host does: obstore appends only the key.
        "aws_endpoint_url_s3": base_url.removesuffix("/"),
        "virtual_hosted_style_request": True,
        "unsigned_payload": False,
        # Some compatible stores do not know the bulk request.
        "disable_bulk_delete": True,
    }
    if settings.s3_checksum:
        config["checksum_algorithm"] = "SHA256"
    common: ClientConfig = {
        "allow_http": base_url.startswith("http:"),
        "connect_timeout": timedelta(seconds=settings.connect_timeout_seconds),
        "pool_idle_timeout": _POOL_IDLE,
        "pool_max_idle_per_host": str(2 * settings.threads),  # requests and their background work
        "root_certificate": Path(certificates).read_bytes(),
        "user_agent": "image-api",
    }
    return S3Store(
        settings.aws_s3_bucket,
        config=config,
        client_options=common | client_options,
        retry_config=retry_config,
        credential_provider=credentials,
    )
