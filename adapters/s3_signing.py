"""AWS Signature Version 4 for S3 (AWS: "Authenticating Requests: Using the Authorization Header").

Our own, because botocore derives the signing key anew for every request and renders each twice: a
presigned URL costs 0.02 ms of CPU instead of 0.06, a request 0.01 instead of 0.05. A property test
holds it against botocore's.
"""

import functools
import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from botocore.credentials import ReadOnlyCredentials

_ALGORITHM = "AWS4-HMAC-SHA256"
_UNRESERVED = "-_.~"


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs requests to S3 in one region with the credentials of this moment."""

    credentials: ReadOnlyCredentials
    region: str

    def signed_headers(
        self, method: str, url: str, headers: Mapping[str, str], payload_sha256: str
    ) -> dict[str, str]:
        """Return `headers` and those that authorise the request; all of them are signed.

        `url` has no query and a percent-encoded path; `payload_sha256` is hexadecimal.
        """
        moment = _now()
        ours = {"X-Amz-Date": moment, "X-Amz-Content-SHA256": payload_sha256}
        if self.credentials.token:
            ours["X-Amz-Security-Token"] = self.credentials.token
        complete = {**headers, **ours}
        host, path = _place(url)
        values = {name.lower(): " ".join(value.split()) for name, value in complete.items()}
        lines = sorted((values | {"host": host}).items())
        canonical_headers = "".join(f"{name}:{value}\n" for name, value in lines)
        names = ";".join(name for name, _ in lines)
        canonical = f"{method}\n{path}\n\n{canonical_headers}\n{names}\n{payload_sha256}"
        complete["Authorization"] = (
            f"{_ALGORITHM} Credential={self.credentials.access_key}/{self._scope(moment)}, "
            f"SignedHeaders={names}, Signature={self._signature(canonical, moment)}"
        )
        return complete

    def presigned_url(self, method: str, url: str, query: Mapping[str, str], expires: int) -> str:
        """Return `url` with `query`, signed for whoever has it, for `expires` seconds.

        How long an image's is valid is said by `Bucket.presigned_url` (s3_client.py).
        AWS: "Authenticating Requests: Using Query Parameters".
        """
        moment = _now()
        ours = {
            "X-Amz-Algorithm": _ALGORITHM,
            "X-Amz-Credential": f"{self.credentials.access_key}/{self._scope(moment)}",
            "X-Amz-Date": moment,
            "X-Amz-Expires": str(expires),
            "X-Amz-SignedHeaders": "host",
        }
        if self.credentials.token:
            ours["X-Amz-Security-Token"] = self.credentials.token
        pairs = sorted((_encoded(k), _encoded(v)) for k, v in {**query, **ours}.items())
        rendered = "&".join(f"{name}={value}" for name, value in pairs)
        host, path = _place(url)
        canonical = f"{method}\n{path}\n{rendered}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
        return f"{url}?{rendered}&X-Amz-Signature={self._signature(canonical, moment)}"

    def _scope(self, moment: str) -> str:
        return f"{moment[:8]}/{self.region}/s3/aws4_request"

    def _signature(self, canonical: str, moment: str) -> str:
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        to_sign = f"{_ALGORITHM}\n{moment}\n{self._scope(moment)}\n{digest}"
        key = _signing_key(str(self.credentials.secret_key), moment[:8], self.region)
        return hmac.digest(key, to_sign.encode(), "sha256").hex()


@functools.lru_cache(maxsize=8)
def _signing_key(secret_key: str, day: str, region: str) -> bytes:
    """Derive the key of one day (AWS: "Create a signed AWS API request", step 4)."""
    key = f"AWS4{secret_key}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _now() -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())


@functools.lru_cache(maxsize=8)
def _origin(scheme: str, netloc: str) -> str:
    """Return the Host header that clients send: without the scheme's own port."""
    default = {"http": ":80", "https": ":443"}[scheme]
    return netloc.lower().rpartition("@")[2].removesuffix(default)


def _place(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return _origin(parts.scheme, parts.netloc), parts.path or "/"


def _encoded(text: str) -> str:
    return quote(text, safe=_UNRESERVED)
