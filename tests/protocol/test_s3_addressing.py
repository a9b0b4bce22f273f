"""What we sign and send is what boto3 itself would send, wherever a bucket lies.

botocore's own headers about retries and clients are left out.
"""

import base64
import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlsplit

import boto3
import pytest
from botocore.config import Config

from config import Settings
from errors import ConfigurationError, StorageUnavailableError
from s3_client import Bucket
from tests.support.frozen_time import at
from tests.support.odd_keys import DOTS, EMPTY_SEGMENTS, FOLDERS, ODD_KEYS
from tests.support.wire import Sent, Wire

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

KEYS = ODD_KEYS + FOLDERS + DOTS + EMPTY_SEGMENTS
MOMENT = datetime(2026, 11, 27, 12, 0, 0)  # noqa: DTZ001 - as botocore has it
BODY = b"0123456789"
DIGEST = hashlib.sha256(BODY)
NAME = "é b"
BOTOCORES_OWN = {"user-agent", "amz-sdk-invocation-id", "amz-sdk-request", "expect"}
OVERRIDES = {"Content-Type": "image/png", "Content-Disposition": "inline; filename*=UTF-8''%C3%A9"}


@dataclass(frozen=True)
class Place:
    """Where a bucket lies, and the host and path by which it must be reached there."""

    base: str
    region: str = "eu-central-1"
    bucket: str = "images"
    endpoint: str | None = None
    environment: dict[str, str] = field(default_factory=dict)


DUALSTACK = {"AWS_USE_DUALSTACK_ENDPOINT": "true"}
FIPS = {"AWS_USE_FIPS_ENDPOINT": "true"}
PLACES = {
    "virtual host": Place("https://images.s3.eu-central-1.amazonaws.com/"),
    "us-east-1": Place("https://images.s3.amazonaws.com/", region="us-east-1"),
    "China": Place("https://images.s3.cn-north-1.amazonaws.com.cn/", region="cn-north-1"),
    "dots": Place("https://s3.eu-central-1.amazonaws.com/my.images/", bucket="my.images"),
    "dual-stack": Place(
        "https://images.s3.dualstack.eu-central-1.amazonaws.com/", environment=DUALSTACK
    ),
    "FIPS": Place("https://images.s3-fips.eu-central-1.amazonaws.com/", environment=FIPS),
    "FIPS, dual-stack, dots": Place(
        "https://s3-fips.dualstack.us-west-2.amazonaws.com/my.images/",
        region="us-west-2",
        bucket="my.images",
        environment=DUALSTACK | FIPS,
    ),
    "session token": Place(
        "https://images.s3.eu-central-1.amazonaws.com/",
        environment={"AWS_SESSION_TOKEN": "FwoGZXIvYXdzE+/token=="},
    ),
    "path style": Place("http://127.0.0.1:8333/images/", endpoint="http://127.0.0.1:8333"),
    "path style, TLS, dots, token": Place(
        "https://store.example/my.images/",
        bucket="my.images",
        endpoint="https://store.example",
        environment={"AWS_SESSION_TOKEN": "token"},
    ),
    "endpoint with a path": Place(
        "https://gate.example:9000/s3/images/", endpoint="https://gate.example:9000/s3"
    ),
}


@pytest.fixture(scope="module", autouse=True)
def wire() -> Iterator[Wire]:
    """Return what records requests instead of sending them; boto3 has credentials."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret/+=")
        yield Wire(patch)


@pytest.fixture(autouse=True)
def _moment() -> Iterator[None]:
    with at(MOMENT):
        yield


class Clients:
    """Our client of a bucket and boto3's."""

    def __init__(self, place: Place, stack: ExitStack) -> None:
        self.place = place
        settings = Settings(
            db_url="sqlite:///unused.db",
            aws_region=place.region,
            aws_s3_bucket=place.bucket,
            aws_endpoint_url_s3=place.endpoint,
        )
        self.ours = stack.enter_context(closing(Bucket(settings)))
        session = boto3.session.Session()
        style = "path" if place.endpoint else "auto"
        self.boto3 = stack.enter_context(closing(self._client(session, style)))
        # By "auto" it would presign for a global host.
        style = "path" if place.endpoint else "virtual"
        self.presigning = stack.enter_context(closing(self._client(session, style)))

    def _client(self, session: boto3.session.Session, style: Any) -> "S3Client":
        """Return a client of boto3; it signs what it sends, also over TLS, as we do."""
        config = Config(
            signature_version="s3v4",
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"payload_signing_enabled": True, "addressing_style": style},
        )
        return session.client(
            "s3", region_name=self.place.region, endpoint_url=self.place.endpoint, config=config
        )

    def requests(self, key: str) -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
        """Return for each method how we ask, and how boto3 does."""
        there: Any = {"Bucket": self.place.bucket, "Key": key}
        checksum = base64.b64encode(DIGEST.digest()).decode()
        return {
            "PUT": (
                lambda: self.ours.upload_image(
                    io.BytesIO(BODY), key, "image/png", sha256=DIGEST.hexdigest(), name=NAME
                ),
                lambda: self.boto3.put_object(
                    **there,
                    Body=BODY,
                    ContentLength=len(BODY),  # signed only if it is given
                    ContentType="image/png",
                    Metadata={"name": quote(NAME)},
                    ChecksumSHA256=checksum,
                ),
            ),
            "GET": (
                lambda: self.ours.download_image(key, (2, 5)).read_all(),
                lambda: self.boto3.get_object(**there, Range="bytes=2-5"),
            ),
            "HEAD": (
                lambda: self.ours.has_object(key, 0),
                lambda: self.boto3.head_object(**there),
            ),
            "DELETE": (
                lambda: self.ours.delete_image(key),
                lambda: self.boto3.delete_object(**there),
            ),
        }


@pytest.fixture(scope="module", params=PLACES.values(), ids=list(PLACES))
def clients(request: pytest.FixtureRequest) -> Iterator[Clients]:
    """Return both clients of a bucket that lies there; nothing is connected."""
    place: Place = request.param
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as environment:
            for name, value in place.environment.items():
                environment.setenv(name, value)
            clients = Clients(place, stack)
        yield clients


def heard(wire: Wire, ask: Callable[[], object]) -> Sent:
    """Return the only request that `ask` sends."""
    ask()
    (sent,) = wire.sent()
    headers = {k: v for k, v in sent.headers.items() if k not in BOTOCORES_OWN}
    if headers.get("content-length") == "0":  # means nothing without a body (RFC 9110 section 8.6)
        del headers["content-length"]
    return sent._replace(headers=headers)


def test_requests(clients: Clients, wire: Wire) -> None:
    """Address, method, path, headers and signature are boto3's, for every key and method."""
    for key in KEYS:
        for ours, theirs in clients.requests(key).values():
            sent = heard(wire, ours)
            assert sent == heard(wire, theirs), key


def test_base(clients: Clients, wire: Wire) -> None:
    """Requests and presigned URLs go to the region of the bucket, not to a global host."""
    sent = heard(wire, lambda: clients.ours.download_image("KEY").read_all())
    base = urlsplit(clients.place.base)
    assert (sent.line, sent.headers["host"]) == (f"GET {base.path}KEY HTTP/1.1", base.netloc)
    presigned = clients.ours.presigned_url("GET", "KEY", {})
    assert presigned.partition("?")[0] == f"{clients.place.base}KEY"


def test_presigned(clients: Clients) -> None:
    """Presigned URLs are boto3's, once that is told not to use the global host."""
    for key in KEYS:
        params = {
            "Bucket": clients.place.bucket,
            "Key": key,
            "ResponseContentType": OVERRIDES["Content-Type"],
            "ResponseContentDisposition": OVERRIDES["Content-Disposition"],
        }
        theirs = urlsplit(clients.presigning.generate_presigned_url("get_object", params, 300))
        ours = urlsplit(clients.ours.presigned_url("GET", key, OVERRIDES))
        assert ours[:3] == theirs[:3]
        assert parse_qs(ours.query) == parse_qs(theirs.query), key


ELSEWHERE = b"HTTP/1.1 %s\r\nx-amz-bucket-region: us-west-2\r\nLocation: https://example/\r\n"
ELSEWHERE += b"Connection: close\r\nContent-Length: %d\r\n\r\n%s"


@pytest.mark.parametrize("status", [b"301 Moved", b"307 Temporary Redirect", b"400 Bad Request"])
def test_bucket_in_another_region(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, status: bytes
) -> None:
    """What S3 says of a bucket elsewhere is an error at once: nothing is sent there."""
    document = b"<Error><Code>AuthorizationHeaderMalformed</Code></Error>"
    with ExitStack() as stack, monkeypatch.context() as patch:
        patch.setattr(wire, "answer", ELSEWHERE % (status, len(document), document))
        ours = Clients(PLACES["virtual host"], stack).ours
        for ask in (ours.check, lambda: ours.download_image("a"), lambda: ours.delete_image("a")):
            with pytest.raises(StorageUnavailableError):
                ask()
            assert len(wire.sent()) == 1


def test_no_such_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where AWS has no FIPS endpoints, asking for one is an error of configuration."""
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "true")
    with ExitStack() as stack, pytest.raises(ConfigurationError, match="FIPS"):
        Clients(PLACES["China"], stack)
