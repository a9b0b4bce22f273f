"""Buckets that are not the service's own: which one an address means, and the files in it."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import NamedTuple

from config import Settings
from errors import ObjectMissingError, StorageUnavailableError
from s3_client import Bucket, error_code
from services.transfer.failures import FileRefusedError, TransferError
from services.transfer.sources import Fetch, Source, SourceFile, Spooled, one_by_one, pieces

_SCHEME = "s3://"
_PAGE = 1000  # objects that one request lists
# S3 answers so when it is overloaded, not because of the object.
_TEMPORARY = {"", "InternalError", "RequestTimeout", "ServiceUnavailable", "SlowDown"}


class Access(NamedTuple):
    """How to reach a bucket; None means as the service reaches its own."""

    endpoint: str | None = None
    region: str | None = None
    profile: str | None = None


def is_bucket(address: str) -> bool:
    """Return whether an address names a bucket."""
    return address.startswith(_SCHEME)


def open_bucket(address: str, settings: Settings, access: Access) -> tuple[Bucket, str]:
    """Return the bucket of `s3://bucket/prefix`, and the prefix, which is a folder.

    Raises TransferError for the bucket of the service, and ConfigurationError.
    """
    name, _, prefix = address.removeprefix(_SCHEME).partition("/")
    endpoint = access.endpoint or settings.aws_endpoint_url_s3
    if not name:
        raise TransferError(f"{address} names no bucket.")
    if (name, endpoint) == (settings.aws_s3_bucket, settings.aws_endpoint_url_s3):
        raise TransferError(f"{address} is the service's own bucket; nothing else belongs there.")
    changes = {
        "aws_s3_bucket": name,
        "aws_endpoint_url_s3": endpoint,
        "aws_region": access.region or settings.aws_region,
    }
    bucket = Bucket(settings.model_copy(update=changes), access.profile)
    return bucket, f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""


class BucketFolder(Source):
    """The objects of a bucket whose keys begin with a prefix."""

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        self._bucket, self._prefix = bucket, prefix
        self._listed = 0

    def files(self) -> Iterator[SourceFile]:
        """Yield every object that is not the marker of a folder.

        Raises StorageUnavailableError.
        """
        listed = self._bucket.list_dated_objects(self._prefix)
        for position, (key, size, modified) in enumerate(listed):
            self._listed = position + 1
            if size or not key.endswith("/"):
                yield SourceFile(position, key.removeprefix(self._prefix), size, modified)

    def contents(
        self, wanted: Iterable[SourceFile], most: int
    ) -> Iterator[tuple[SourceFile, Fetch]]:
        """Yield each object with a function that downloads it."""
        return one_by_one(wanted, most, self._spool)

    def _spool(self, file: SourceFile, most: int) -> Spooled:
        try:
            with closing(self._bucket.download_any(self._prefix + file.path)) as body:
                return Spooled(pieces(body), most)
        except ObjectMissingError:
            raise FileRefusedError("It has been deleted meanwhile.") from None
        except StorageUnavailableError as exc:
            if reason := refusal_of(exc):
                raise FileRefusedError(f"It cannot be read: {reason}.") from exc
            raise

    def requests(self, files: int) -> str:
        """Describe what listing everything and reading so many objects costs."""
        return f"{1 + self._listed // _PAGE:,} LIST, {files:,} GET"


def refusal_of(error: StorageUnavailableError) -> str:
    """Return why S3 refuses this one object, "" if the store is unavailable."""
    code = error_code(error.__cause__ or error)
    return "" if code in _TEMPORARY else code
