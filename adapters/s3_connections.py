"""How boto3 and urllib3 are set up for S3: time limits, retries, checksums, addresses.

What a PUT may take is said by `Bucket.upload_image` (s3_client.py).
"""

import os
import time
import urllib.request
from typing import Any, Literal
from urllib.parse import urlsplit

import boto3
import urllib3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.httpsession import get_cert_path

from config import Settings

# NAT gateways, load balancers and stores forget connections that were silent for a while, some
# without a word: a PUT, which is attempted once, would fail on them.
_LONGEST_SILENCE_SECONDS = 5.0
# The longest pause of a store that takes the bytes of an object.
_LONGEST_STALL_SECONDS = 10.0


def client(session: boto3.session.Session, settings: Settings) -> Any:
    """Build a boto3 client; it connects when it is used."""
    config = Config(
        signature_version="s3v4",
        connect_timeout=settings.connect_timeout_seconds,
        read_timeout=settings.s3_read_timeout_seconds,
        retries={"mode": "standard", "total_max_attempts": settings.s3_max_attempts},
        # Rendering botocore's own for every request is a tenth of a small PUT.
        user_agent="image-api",
        max_pool_connections=settings.concurrency,
        # boto3's default, a CRC32 trailer in an aws-chunked body, corrupts objects on some
        # compatible stores; we send a plain SHA-256 header instead, which also makes signing
        # the payload over TLS superfluous.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={
            "addressing_style": _addressing_style(settings.aws_endpoint_url_s3),
            "payload_signing_enabled": not settings.s3_checksum,
        },
    )
    return session.client("s3", endpoint_url=settings.aws_endpoint_url_s3, config=config)


def _addressing_style(endpoint: str | None) -> Literal["path", "virtual"]:
    """Compatible stores rarely have a host name for each bucket.

    With "auto" botocore presigns for a global host, which redirects requests to new buckets, and
    has none for FIPS outside us-east-1. A bucket whose name has dots gets a path all the same.
    """
    return "path" if endpoint else "virtual"


def base_url(session: boto3.session.Session, settings: Settings, endpoint: str | None) -> str:
    """Where the objects lie: boto3 knows the forms for regions, endpoints and path style.

    It reads AWS_USE_DUALSTACK_ENDPOINT and AWS_USE_FIPS_ENDPOINT by itself.
    """
    config = Config(
        signature_version=UNSIGNED, s3={"addressing_style": _addressing_style(endpoint)}
    )
    client = session.client("s3", endpoint_url=endpoint, config=config)
    operation = {"Bucket": settings.aws_s3_bucket, "Key": "KEY"}
    url: str = client.generate_presigned_url("get_object", Params=operation)
    client.close()
    return url.removesuffix("KEY")


def http_pool(base_url: str, settings: Settings) -> tuple[urllib3.HTTPConnectionPool, str]:
    """Build the pool of connections to where the objects lie; through the proxy, if there is one.

    Returns also what comes before the key in the target of a request (RFC 9112 section 3.2).
    """
    options: dict[str, Any] = {
        "maxsize": 2 * settings.threads,  # handlers, and what follows their answers
        "timeout": urllib3.Timeout(
            connect=settings.connect_timeout_seconds, read=settings.s3_read_timeout_seconds
        ),
        # urllib3 reads a file to be sent in pieces of 16 KB otherwise, each with a turn of the GIL.
        "blocksize": 256 * 1024,
        "ca_certs": os.environ.get("AWS_CA_BUNDLE") or get_cert_path(verify=True),
    }
    url = urlsplit(base_url)
    proxy = urllib.request.getproxies().get(url.scheme)
    if proxy and not urllib.request.proxy_bypass(url.netloc):
        manager: urllib3.PoolManager = urllib3.ProxyManager(proxy, **options)
        target = base_url if url.scheme == "http" else url.path
    else:
        manager, target = urllib3.PoolManager(**options), url.path
    pool = manager.connection_from_url(base_url)
    pool.ConnectionCls = _SecureS3Connection if url.scheme == "https" else _S3Connection
    return pool, target


class _S3Connection(urllib3.connection.HTTPConnection):
    """Bounds each wait while it sends, and is not used again after a silence."""

    _used = 0.0

    @property
    def is_connected(self) -> bool:
        """Whether the pool may use it again."""
        silent = time.monotonic() - self._used
        return silent < _LONGEST_SILENCE_SECONDS and super().is_connected

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Send a request; connect first, within the time to connect."""
        if self.is_closed:
            self.connect()
        # Otherwise urllib3 would bound each wait while sending by the time to connect.
        self.timeout = _LONGEST_STALL_SECONDS
        self._used = time.monotonic()
        super().request(*args, **kwargs)


class _SecureS3Connection(_S3Connection, urllib3.connection.HTTPSConnection):
    """The same over TLS."""
