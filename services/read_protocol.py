"""The read protocol: open the object of a row, and tell replaced images from lost ones.

A reader whose object is missing reads the row again. With another key it starts over, without a row
the image was deleted, and with the same key the image is lost.
"""

from sqlalchemy.orm import Session

from errors import ImageLostError, ImageNotFoundError, ObjectMissingError
from repositories import images
from repositories.images import ImageRecord
from s3_client import Bucket, ObjectBody
from telemetry import logger


def open_object(bucket: Bucket, stored: ImageRecord, first: int, last: int) -> ObjectBody | None:
    """Open the bytes `first` to `last` inclusive; None if the object is missing or truncated.

    Raises StorageUnavailableError.
    """
    whole = (first, last) == (0, stored.size_bytes - 1)
    try:
        body = bucket.download_image(stored.s3_key, None if whole else (first, last))
    except ObjectMissingError:
        return None
    if body.length != last - first + 1:
        body.close()
        return None
    return body


def describe_replacement(session: Session, image: ImageRecord) -> ImageRecord:
    """Return the image that replaced `image`, whose object is missing or truncated.

    Raises ImageNotFoundError if the image was deleted, or ImageLostError if its row still names the
    object.
    """
    current = images.find_image(session, image.name)
    if current is None:
        raise ImageNotFoundError
    if current.s3_key == image.s3_key:
        logger.critical("Object %s of image row %d is missing or truncated", image.s3_key, image.id)
        raise ImageLostError
    return current
