"""Opens the source or the target at an address."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from config import Settings
from services.transfer.archives import Tar, Zip
from services.transfer.buckets import Access, BucketFolder, is_bucket, open_bucket
from services.transfer.export_targets import BucketTarget, FolderTarget, Target
from services.transfer.failures import TransferError
from services.transfer.sources import Folder, Source


@contextmanager
def open_source(address: str, settings: Settings, access: Access) -> Iterator[Source]:
    """Open a bucket, a folder or an archive. Raises TransferError or ConfigurationError."""
    if is_bucket(address):
        bucket, prefix = open_bucket(address, settings, access)
        with closing(bucket):
            yield BucketFolder(bucket, prefix)
        return
    path = Path(address)
    if path.is_dir():
        yield Folder(path)
    elif address.endswith(".zip"):
        with closing(Zip(path)) as members:
            yield members
    elif address.endswith((".tar", ".tar.gz", ".tgz")):
        yield Tar(path, gzipped=not address.endswith(".tar"))
    else:
        raise TransferError(
            f"{address} is neither a folder nor s3://bucket/prefix nor a .zip, .tar or .tar.gz."
        )


@contextmanager
def open_target(address: str, settings: Settings, access: Access) -> Iterator[Target]:
    """Open a bucket or a folder. Raises TransferError or ConfigurationError."""
    if is_bucket(address):
        bucket, prefix = open_bucket(address, settings, access)
        with closing(bucket):
            yield BucketTarget(bucket, prefix)
    else:
        yield FolderTarget(Path(address))
