"""Erasure: an image and every version of it that is still kept, at once."""

from collections.abc import Iterator
from datetime import UTC, datetime

from sqlalchemy.orm import Session, sessionmaker

from db import reading, writing
from errors import ObjectMissingError
from repositories import images, pending_objects
from s3_client import Bucket, key_prefix
from services.maintenance.sweeper import journal_unnamed_variants, remove_object
from services.names import normalise_name

_PAGE = 500


def purge(sessions: sessionmaker[Session], bucket: Bucket, name: str) -> list[str]:
    """Delete the image `name`, its variants and all objects that KEEP_DELETED_SECONDS keeps.

    Returns the keys.

    An upload of that name that is under way meanwhile is not touched. What was stored by a version
    of this service that did not note names in S3 counts where its key begins like those of `name`.

    Raises InvalidNameError, StorageUnavailableError, DatabaseUnavailableError or
    TransactionAbortedError; what was erased until then stays so, and it may be called again.
    """
    name = normalise_name(name)
    _delete_image(sessions(), name)
    journal_unnamed_variants(sessions())
    erased = []
    for entry in _deleted(sessions(), key_prefix(name)):
        if _stored_name(bucket, entry.s3_key) not in {name, None}:
            continue
        if entry.claimed_at is None:
            remove_object(sessions(), bucket, entry.s3_key)
        else:
            # Its PUT may still land: the sweeper must look again when its horizon has passed.
            bucket.delete_image(entry.s3_key)
        erased.append(entry.s3_key)
    return erased


def _delete_image(session: Session, name: str) -> None:
    with writing(session) as connection:
        if current := images.lock_image(connection, name):
            images.delete_image(connection, current)
            pending_objects.journal_deletion(connection, current.s3_key, datetime.now(UTC))


def _deleted(session: Session, prefix: str) -> Iterator[pending_objects.JournalEntry]:
    """Yield the journal's entries of objects to delete whose key begins with `prefix`."""
    after = None
    while True:
        with reading(session) as connection:
            page = pending_objects.entries_after(connection, after, _PAGE)
        if not page:
            return
        yield from (
            entry
            for entry in page
            if entry.state == pending_objects.TO_DELETE and entry.s3_key.startswith(prefix)
        )
        after = page[-1].created_at, page[-1].s3_key


def _stored_name(bucket: Bucket, key: str) -> str | None:
    """Return the name under which an object was stored, None where that is not known."""
    try:
        return bucket.stored_name(key)
    except ObjectMissingError:
        return None
