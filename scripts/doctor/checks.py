"""What the checks of `scripts.doctor` share: their declaration, outcomes and subject."""

import io
from base64 import b64encode
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Any, NamedTuple

from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import BotoCoreError, ClientError

from errors import StorageUnavailableError
from resources import Resources
from s3_client import generate_s3_key

PROBE = b"A probe of scripts.doctor; it can be deleted."

_TOLERATED_SKEW = timedelta(seconds=5)  # S3 refuses requests at 15 minutes


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "FAILED"


class CheckFailed(Exception):
    """An assumption does not hold. `fix`, if given, replaces the fix of the check."""

    status = Status.FAILED

    def __init__(self, seen: str, fix: str | None = None) -> None:
        super().__init__(seen)
        self.fix = fix


class CheckWarning(CheckFailed):
    """The service works, but an assumption holds only partly."""

    status = Status.WARNING


class Subject:
    """The settings, database and bucket to check.

    `key` is the key of the probe, and `headers` are the headers of S3's response to a HEAD of it.
    """

    def __init__(self, resources: Resources) -> None:
        self.settings = resources.settings
        self.engine = resources.engine
        self.on_sqlite = resources.engine.dialect.name == "sqlite"
        self.sessions = resources.sessions
        self.bucket = resources.bucket
        self.key = generate_s3_key("doctor", "txt")
        self.headers: Mapping[str, str] = {}
        self._put: set[str] = set()

    def put(self) -> None:
        """Put the probe."""
        self._put.add(self.key)
        digest = sha256(PROBE).hexdigest()
        self.bucket.upload_image(io.BytesIO(PROBE), self.key, "text/plain", sha256=digest)

    def put_altered(self) -> None:
        """Put bytes that are altered in transit, after checksum and signature are computed."""
        key = generate_s3_key("doctor", "txt")
        self._put.add(key)
        events = self.bucket.client.meta.events
        events.register("before-send.s3.PutObject", _alter)
        try:
            digest = b64encode(sha256(PROBE).digest()).decode()
            self.call("put_object", Key=key, Body=PROBE, ChecksumSHA256=digest)
        finally:
            events.unregister("before-send.s3.PutObject", _alter)

    def call(self, operation: str, **parameters: object) -> Any:
        """Call an operation of boto3 on the bucket. Raises StorageUnavailableError."""
        try:
            method = getattr(self.bucket.client, operation)
            return method(Bucket=self.settings.aws_s3_bucket, **parameters)
        except (BotoCoreError, ClientError) as exc:
            raise StorageUnavailableError from exc

    def delete(self, key: str) -> None:
        """Delete the probe under `key`."""
        self.bucket.delete_image(key)
        self._put.discard(key)

    def close(self) -> None:
        """Delete the remaining probes, if that is allowed."""
        for key in set(self._put):
            with suppress(StorageUnavailableError):
                self.delete(key)


def _alter(request: AWSPreparedRequest, **_: object) -> None:
    request.body = PROBE.swapcase()


class Check(NamedTuple):
    """A check: its title in the report, the function that runs it, and the fix if it fails.

    `run` returns what it saw, or raises. The check is skipped if the check that it `needs` failed.
    """

    title: str
    run: Callable[[Subject], str]
    fix: str
    needs: str = ""


def check(title: str, fix: str, needs: str = "") -> Callable[[Callable[[Subject], str]], Check]:
    """Return a decorator that turns a function into a `Check`."""
    return lambda run: Check(title, run, fix, needs)


def compare_clock(theirs: datetime) -> str:
    """Return the offset of a clock from ours. Raises CheckWarning if it is too large."""
    skew = theirs - datetime.now(UTC)
    seen = f"{skew.total_seconds():+.1f} s from ours"
    if abs(skew) > _TOLERATED_SKEW:
        raise CheckWarning(seen)
    return seen
