"""Erasure: deletes an image and all its retained versions immediately."""

from contextlib import suppress

from sqlalchemy.orm import Session, sessionmaker

from errors import ImageNotFoundError, ObjectMissingError
from repositories.pending_objects import TO_DELETE
from s3_client import Bucket, key_prefix
from services.maintenance.sweeper import journal_entries
from services.names import normalise_name
from services.write_protocol import delete_image, remove_object


def purge(sessions: sessionmaker[Session], bucket: Bucket, name: str) -> list[str]:
    """Erase the image `name`, its variants, and all objects that KEEP_DELETED_SECONDS retains.

    Returns the keys of the erased objects. Leaves uploads in progress alone. An object without a
    name in its metadata is erased if its key begins like those of `name`. After an error, call it
    again: what was erased stays erased. Raises InvalidNameError, WriteConflictError,
    StorageUnavailableError, DatabaseUnavailableError or TransactionAbortedError.
    """
    name = normalise_name(name)
    with suppress(ImageNotFoundError):
        delete_image(sessions(), name, lambda _: None)
    erased = []
    for entry in journal_entries(sessions):
        key = entry.s3_key
        if entry.state != TO_DELETE or not key.startswith(key_prefix(name)):
            continue
        if _stored_name(bucket, key) not in {name, None}:
            continue
        if entry.is_claimed:
            # A PUT may still land, so the sweeper deletes the object again after the horizon.
            bucket.delete_image(key)
        else:
            remove_object(sessions(), bucket, key)
        erased.append(key)
    return erased


def _stored_name(bucket: Bucket, key: str) -> str | None:
    with suppress(ObjectMissingError):
        return bucket.stored_name(key)
    return None
