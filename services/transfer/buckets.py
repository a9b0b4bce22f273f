"""Buckets other than the service's own: their addresses and files."""

from collections.abc import Iterator
from contextlib import closing
from typing import IO, NamedTuple
from urllib.parse import urlsplit

from config import Settings
from errors import ObjectMissingError, StorageUnavailableError
from s3_client import Bucket, error_code
from services.transfer.failures import FileRefusedError, TransferError
from services.transfer.sources import Source, SourceFile, pieces, spool

_SCHEME = "s3://"
_PAGE = 1000  # objects that one request lists
# Error codes that say nothing about the object
_TEMPORARY = {"", "InternalError", "RequestTimeout", "ServiceUnavailable", "SlowDown"}


class Access(NamedTuple):
    """How to reach a bucket; None means the setting of the service."""

    endpoint: str | None = None
    region: str | None = None
    profile: str | None = None


def is_bucket(address: str) -> bool:
    """Return whether an address names a bucket."""
    return address.startswith(_SCHEME)


def open_bucket(address: str, settings: Settings, access: Access) -> tuple[Bucket, str]:
    """Return the bucket of `s3://bucket/prefix`, and the prefix with a slash at its end.

    Raises ConfigurationError, and TransferError for the bucket of the service.
    """
    name, _, prefix = address.removeprefix(_SCHEME).partition("/")
    endpoint = access.endpoint or settings.aws_endpoint_url_s3
    if not name:
        raise TransferError(f"{address} names no bucket.")
    own = settings.aws_s3_bucket, _store_at(settings.aws_endpoint_url_s3)
    if (name, _store_at(endpoint)) == own:
        raise TransferError(f"{address} is the service's own bucket; nothing else belongs there.")
    changes = {
        "aws_s3_bucket": name,
        "aws_endpoint_url_s3": endpoint,
        "aws_region": access.region or settings.aws_region,
    }
    bucket = Bucket(settings.model_copy(update=changes), access.profile)
    return bucket, f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""


def _store_at(endpoint: str | None) -> str:
    """Return host and unusual port of an endpoint, or "" for AWS, where bucket names are unique."""
    host = urlsplit(endpoint or "").netloc.lower().removesuffix(":443").removesuffix(":80")
    return "" if host.endswith((".amazonaws.com", ".amazonaws.com.cn")) else host


class BucketFolder(Source):
    """The objects of a bucket whose keys begin with a prefix."""

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        self._bucket, self._prefix = bucket, prefix
        self._listed = 0

    def files(self) -> Iterator[SourceFile]:
        """Yield every object except folder markers. Raises StorageUnavailableError."""
        listed = self._bucket.list_dated_objects(self._prefix)
        for position, (key, size, modified) in enumerate(listed):
            self._listed = position + 1
            if size or not key.endswith("/"):
                yield SourceFile(position, key.removeprefix(self._prefix), size, modified)

    def copy(self, file: SourceFile, max_bytes: int) -> IO[bytes]:
        """Download an object. Raises FileRefusedError or StorageUnavailableError."""
        try:
            with closing(self._bucket.download_any(self._prefix + file.path)) as body:
                return spool(pieces(body), max_bytes)
        except ObjectMissingError:
            raise FileRefusedError("It has been deleted meanwhile.") from None
        except StorageUnavailableError as exc:
            if reason := refusal_of(exc):
                raise FileRefusedError(f"It cannot be read: {reason}.") from exc
            raise

    def requests(self, files: int) -> str:
        """Describe the requests that listing everything and reading `files` objects takes."""
        return f"{1 + self._listed // _PAGE:,} LIST, {files:,} GET"


def refusal_of(error: StorageUnavailableError) -> str:
    """Return S3's reason to refuse this object; "" if the store is unavailable."""
    code = error_code(error.__cause__ or error)
    return "" if code in _TEMPORARY else code
