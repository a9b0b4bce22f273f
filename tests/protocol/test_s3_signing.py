"""Our signatures are those of botocore, for any key, header, credentials and time."""

from datetime import datetime
from urllib.parse import parse_qsl, quote, urlsplit

from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import given
from hypothesis import strategies as st

from adapters.s3_signing import Signer
from tests.support.frozen_time import at

_PRINTABLE = st.characters(min_codepoint=0x20, max_codepoint=0x7E)
_WORD = st.text(st.sampled_from("abcXYZ019+/="), min_size=1, max_size=40)
CREDENTIALS = st.builds(ReadOnlyCredentials, _WORD, _WORD, st.none() | _WORD)
KEYS = st.text(min_size=1, max_size=60).map(
    lambda key: quote(key.encode("utf-8", "replace").decode(), safe="/~")
)
HOSTS = st.sampled_from(
    [
        "https://images.s3.eu-central-1.amazonaws.com/",
        "http://127.0.0.1:8333/images/",
        "https://Store.example:443/images/",
        "http://store.example:80/images/",
        "https://images.s3.dualstack.us-west-2.amazonaws.com/",
    ]
)
HEADERS = st.dictionaries(
    st.sampled_from(["Content-Type", "Range", "x-amz-meta-name", "Content-Length", "X-Odd"]),
    st.text(_PRINTABLE, max_size=30),
)
REGIONS = st.sampled_from(["us-east-1", "eu-central-1", "cn-north-1"])
MOMENTS = st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2037, 1, 1))  # noqa: DTZ001
METHODS = st.sampled_from(["GET", "HEAD", "PUT", "DELETE"])


class _KnownPayload(auth.S3SigV4Auth):
    def payload(self, request: AWSRequest) -> str:  # noqa: ARG002
        return "0" * 64


@given(CREDENTIALS, REGIONS, METHODS, HOSTS, KEYS, HEADERS, MOMENTS)
def test_headers(  # noqa: PLR0913, PLR0917
    credentials: ReadOnlyCredentials,
    region: str,
    method: str,
    host: str,
    key: str,
    headers: dict[str, str],
    moment: datetime,
) -> None:
    """The Authorization header is the same."""
    request = AWSRequest(method, host + key, headers=headers)
    with at(moment):
        _KnownPayload(credentials, "s3", region).add_auth(request)
        ours = Signer(credentials, region).signed_headers(method, host + key, headers, "0" * 64)
    assert ours["Authorization"] == request.headers["Authorization"]
    assert {name.lower() for name in ours} == {name.lower() for name, _ in request.headers.items()}


@given(CREDENTIALS, REGIONS, HOSTS, KEYS, HEADERS, MOMENTS)
def test_presigned(
    credentials: ReadOnlyCredentials,
    region: str,
    host: str,
    key: str,
    query: dict[str, str],
    moment: datetime,
) -> None:
    """A presigned URL has the same parameters and the same signature."""
    rendered = "&".join(f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in query.items())
    request = AWSRequest("GET", f"{host}{key}?{rendered}")
    with at(moment):
        auth.S3SigV4QueryAuth(credentials, "s3", region, 300).add_auth(request)
        ours = Signer(credentials, region).presigned_url("GET", host + key, query, 300)
    theirs = urlsplit(str(request.url))
    assert sorted(parse_qsl(urlsplit(ours).query, keep_blank_values=True)) == sorted(
        parse_qsl(theirs.query, keep_blank_values=True)
    )
    assert urlsplit(ours).path == theirs.path
