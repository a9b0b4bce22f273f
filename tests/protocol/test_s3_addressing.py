"""What is sent to S3 is what boto3 would send, whatever the address of the bucket."""

import base64
import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlsplit

import boto3
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config

from config import Settings
from errors import ConfigurationError, StorageUnavailableError
from s3_client import Bucket
from tests.support.certificates import make_certificates
from tests.support.frozen_time import at
from tests.support.odd_keys import DOTS, EMPTY_SEGMENTS, FOLDERS, ODD_KEYS
from tests.support.recording_proxy import RecordedRequest, RecordingProxy

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

KEYS = ODD_KEYS + FOLDERS
MOMENT = datetime(2026, 11, 27, 12, 0, 0)  # noqa: DTZ001 - as botocore has it
BODY = b"0123456789"
DIGEST = hashlib.sha256(BODY)
NAME = "é b"
# The headers that mean something to S3.
MEANT = {
    *("host", "content-type", "range", "x-amz-meta-name", "x-amz-checksum-sha256"),
    *("x-amz-content-sha256", "x-amz-security-token"),
}
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
    "path style": Place("http://store.example:8333/images/", endpoint="http://store.example:8333"),
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


ELSEWHERE = "https://elsewhere.example"


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RecordingProxy]:
    """Return what answers in place of S3; boto3 has credentials."""
    hosts = {str(urlsplit(place.base).hostname) for place in PLACES.values()}
    hosts.add(str(urlsplit(ELSEWHERE).hostname))
    certificates = make_certificates(tmp_path_factory.mktemp("tls"), hosts=sorted(hosts))
    with pytest.MonkeyPatch.context() as patch, RecordingProxy(certificates) as proxy:
        patch.delenv("AWS_SESSION_TOKEN", raising=False)
        patch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret/+=")
        proxy.environment(patch)
        yield proxy


class Clients:
    """Our client of a bucket and boto3's."""

    def __init__(self, place: Place, stack: ExitStack, **changes: Any) -> None:
        self.place = place
        settings = Settings(
            db_url="sqlite:///unused.db",
            aws_region=place.region,
            aws_s3_bucket=place.bucket,
            aws_endpoint_url_s3=place.endpoint,
            s3_max_attempts=1,
            **changes,
        )
        self.ours = stack.enter_context(closing(Bucket(settings)))
        self.session = session = boto3.session.Session()
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
def clients(request: pytest.FixtureRequest, proxy: RecordingProxy) -> Iterator[Clients]:  # noqa: ARG001
    """Return both clients of a bucket in that place; nothing is connected."""
    place: Place = request.param
    with ExitStack() as stack, pytest.MonkeyPatch.context() as environment:
        for name, value in place.environment.items():
            environment.setenv(name, value)
        yield Clients(place, stack)


def recorded(proxy: RecordingProxy, ask: Callable[[], object]) -> RecordedRequest:
    """Return the only request that `ask` sends."""
    proxy.sent()
    ask()
    (sent,) = proxy.sent()
    return sent


def comparable(sent: RecordedRequest) -> RecordedRequest:
    """Return a request without the headers that depend on the time and the program."""
    return sent._replace(
        headers={name: value for name, value in sent.headers.items() if name in MEANT}
    )


def signature(sent: RecordedRequest, session: boto3.session.Session) -> tuple[str, str]:
    """Return a request's Authorization, and what botocore signs for the same request."""
    authorization = sent.headers["authorization"]
    signed = authorization.partition("SignedHeaders=")[2].partition(",")[0].split(";")
    request = AWSRequest(sent.method, sent.origin + sent.path)
    for name in signed:
        request.headers[name] = sent.headers[name]
    request.context["timestamp"] = sent.headers["x-amz-date"]
    region = authorization.split("/")[2]
    credentials = session.get_credentials()
    assert credentials
    signer = S3SigV4Auth(credentials, "s3", region)
    canonical = signer.canonical_request(request)
    right = signer.signature(signer.string_to_sign(request, canonical), request)
    return authorization.rpartition("Signature=")[2], right


def test_requests(clients: Clients, proxy: RecordingProxy) -> None:
    """Method, address and headers are boto3's, and so is the signature."""
    keys = KEYS if clients.place is PLACES["virtual host"] else KEYS[::12]
    for key in keys:
        for ours, theirs in clients.requests(key).values():
            sent = recorded(proxy, ours)
            assert comparable(sent) == comparable(recorded(proxy, theirs)), key
            assert clients.place.region == sent.headers["authorization"].split("/")[2]
            actual, expected = signature(sent, clients.session)
            assert actual == expected, key


def test_base(clients: Clients, proxy: RecordingProxy) -> None:
    """Requests and presigned URLs go to the region of the bucket, not to a global host."""
    sent = recorded(proxy, lambda: clients.ours.download_image("KEY").read_all())
    base = urlsplit(clients.place.base)
    assert (sent.origin, sent.path) == (f"{base.scheme}://{base.netloc}", f"{base.path}KEY")
    assert sent.headers["host"] == base.netloc
    presigned = clients.ours.presigned_url("GET", "KEY", {})
    assert presigned.partition("?")[0] == f"{clients.place.base}KEY"


@pytest.mark.parametrize("checksum", [True, False])
def test_checksum_header(proxy: RecordingProxy, checksum: bool) -> None:  # noqa: FBT001
    """S3_CHECKSUM decides whether the SHA-256 is sent; it is signed in any case."""
    with ExitStack() as stack:
        place = Clients(PLACES["virtual host"], stack, s3_checksum=checksum)
        sent = recorded(proxy, place.requests("key")["PUT"][0])
    assert sent.headers["x-amz-content-sha256"] == DIGEST.hexdigest()
    expected = base64.b64encode(DIGEST.digest()).decode() if checksum else None
    assert sent.headers.get("x-amz-checksum-sha256") == expected


def test_presigned(clients: Clients) -> None:
    """Presigned URLs are boto3's, once that is told not to use the global host."""
    for key in KEYS + DOTS + EMPTY_SEGMENTS:
        params = {
            "Bucket": clients.place.bucket,
            "Key": key,
            "ResponseContentType": OVERRIDES["Content-Type"],
            "ResponseContentDisposition": OVERRIDES["Content-Disposition"],
        }
        with at(MOMENT):
            theirs = urlsplit(clients.presigning.generate_presigned_url("get_object", params, 300))
            ours = urlsplit(clients.ours.presigned_url("GET", key, OVERRIDES))
        assert ours[:3] == theirs[:3]
        assert parse_qs(ours.query) == parse_qs(theirs.query), key


REDIRECT = b"HTTP/1.1 %s\r\nx-amz-bucket-region: us-west-2\r\nLocation: %s/a\r\n"
REFUSAL = b"Connection: close\r\nContent-Length: %d\r\n\r\n%s"
DOCUMENT = b"<Error><Code>AuthorizationHeaderMalformed</Code></Error>"


@pytest.mark.parametrize("status", [b"301 Moved", b"307 Temporary Redirect", b"400 Bad Request"])
def test_bucket_in_another_region(
    proxy: RecordingProxy, monkeypatch: pytest.MonkeyPatch, status: bytes
) -> None:
    """A bucket in another region is an error; neither bytes nor credentials go there."""
    refusal = REFUSAL % (len(DOCUMENT), DOCUMENT)
    answers = {
        PLACES["virtual host"].base.rstrip("/"): REDIRECT % (status, ELSEWHERE.encode()) + refusal,
        ELSEWHERE: b"HTTP/1.1 403 Forbidden\r\n" + refusal,
    }
    with ExitStack() as stack:
        clients = Clients(PLACES["virtual host"], stack)
        monkeypatch.setattr(proxy, "answers", answers)
        asks = [clients.ours.check, *(ours for ours, _ in clients.requests("a").values())]
        for ask in asks:
            proxy.sent()
            with pytest.raises(StorageUnavailableError):
                ask()
            first, *others = proxy.sent()
            assert first.origin != ELSEWHERE
            assert not [sent for sent in others if sent.origin != ELSEWHERE]
            assert not [sent for sent in others if "authorization" in sent.headers]
            assert not [sent for sent in others if sent.method == "PUT"]


def test_no_such_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where AWS has no FIPS endpoints, asking for one is an error of configuration."""
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "true")
    with ExitStack() as stack, pytest.raises(ConfigurationError, match="FIPS"):
        Clients(PLACES["China"], stack)


def test_untrusted(proxy: RecordingProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without AWS_CA_BUNDLE the certificates of a private authority are not trusted."""
    monkeypatch.delenv("AWS_CA_BUNDLE")
    with ExitStack() as stack, pytest.raises(StorageUnavailableError):
        Clients(PLACES["virtual host"], stack).ours.download_image("a")
    assert proxy.sent() == []


def test_no_ca_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    """An AWS_CA_BUNDLE that is not there is an error of configuration."""
    monkeypatch.setenv("AWS_CA_BUNDLE", "/nowhere/ca.pem")
    with ExitStack() as stack, pytest.raises(ConfigurationError, match=r"/nowhere/ca\.pem"):
        Clients(PLACES["virtual host"], stack)


def test_no_proxy(proxy: RecordingProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts that NO_PROXY names are reached without the proxy."""
    monkeypatch.setenv("no_proxy", "127.0.0.1,.internal")
    for endpoint, direct in {"http://127.0.0.1:1": True, "http://store.example": False}.items():
        with ExitStack() as stack:
            ours = Clients(Place("", endpoint=endpoint), stack).ours
            with suppress(StorageUnavailableError):
                ours.download_image("a")
        assert (proxy.sent() == []) == direct
