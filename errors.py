"""What can go wrong, as a tree; each leaf knows its HTTP status, stable code and safe message.

    ServiceError
    ├── ConfigurationError          (never reaches a client: the service does not start)
    ├── InvalidRequest              400 invalid_request
    │   ├── InvalidName             400 invalid_name
    │   ├── ExtensionNotAllowed     400 extension_not_allowed
    │   ├── InvalidMultipart        400 invalid_multipart
    │   ├── InvalidCursor           400 invalid_cursor
    │   └── DigestMismatch          400 digest_mismatch
    ├── ImageNotFound               404 image_not_found
    ├── UploadTooSlow               408 upload_too_slow
    ├── RedirectNotAllowed          403 redirect_not_allowed
    ├── WriteConflict               409 write_conflict           + Retry-After
    ├── PreconditionFailed          412 precondition_failed
    ├── ImageTooLarge               413 image_too_large
    │   └── TooManyPixels           413 too_many_pixels
    ├── NotAnImage                  415 not_an_image
    ├── RangeNotSatisfiable         416 range_not_satisfiable    + Content-Range
    ├── ImageLost                   500 image_lost               (an alarm: must never happen)
    └── Unavailable                 503 unavailable              + Retry-After
        ├── DatabaseUnavailable     503 database_unavailable
        │   └── CommitUnknown       503 database_unavailable     (it may have happened)
        ├── StorageUnavailable      503 storage_unavailable
        ├── UploadInterrupted       503 upload_interrupted
        └── Overloaded              503 overloaded

Below the tree stand two that the layers use among themselves: `ObjectMissing` (S3 has no such
object) and `TransactionAborted` (the database undid a transaction that may be tried again).
"""


class ServiceError(Exception):
    """Base of all errors that a client may see. `detail` is safe to show."""

    status = 500
    code = "internal_error"
    title = "Internal error"
    retry_after: int | None = None

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.headers: dict[str, str] = {}
        if self.retry_after is not None:
            self.headers["Retry-After"] = str(self.retry_after)


class ConfigurationError(ServiceError):
    """A setting is missing or wrong; the message is one sentence that names it."""

    code = "configuration_error"
    title = "The service is not configured"


class InvalidRequest(ServiceError):
    """The request cannot be understood."""

    status = 400
    code = "invalid_request"
    title = "Invalid request"


class InvalidName(InvalidRequest):
    """The image name breaks a rule of `names.normalise_name`."""

    code = "invalid_name"
    title = "Invalid image name"


class ExtensionNotAllowed(InvalidRequest):
    """The file name has no extension, or one that the deployment does not accept."""

    code = "extension_not_allowed"
    title = "File extension not allowed"


class InvalidMultipart(InvalidRequest):
    """The body is not one whole multipart/form-data form with one file."""

    code = "invalid_multipart"
    title = "Invalid multipart form"


class InvalidCursor(InvalidRequest):
    """The cursor is not one of ours, or belongs to another listing."""

    code = "invalid_cursor"
    title = "Invalid cursor"


class DigestMismatch(InvalidRequest):
    """What arrived does not have the digest that the client announced."""

    code = "digest_mismatch"
    title = "The digest does not match"


class RedirectNotAllowed(ServiceError):
    """The deployment does not hand out URLs of its storage."""

    status = 403
    code = "redirect_not_allowed"
    title = "Redirects are switched off"


class ImageNotFound(ServiceError):
    """No image has this name."""

    status = 404
    code = "image_not_found"
    title = "Image not found"


class UploadTooSlow(ServiceError):
    """The client stopped sending, or sent too slowly."""

    status = 408
    code = "upload_too_slow"
    title = "The upload took too long"


class WriteConflict(ServiceError):
    """Too many writers on this name at once; nothing was changed."""

    status = 409
    code = "write_conflict"
    title = "Too many concurrent writes to this image"
    retry_after = 1


class PreconditionFailed(ServiceError):
    """A condition of the request (If-Match, If-None-Match, ...) is not met; nothing was changed."""

    status = 412
    code = "precondition_failed"
    title = "A precondition is not met"


class ImageTooLarge(ServiceError):
    """The body is larger than the deployment accepts."""

    status = 413
    code = "image_too_large"
    title = "The image is too large"


class TooManyPixels(ImageTooLarge):
    """The picture has more pixels than the deployment accepts."""

    code = "too_many_pixels"
    title = "The image has too many pixels"


class NotAnImage(ServiceError):
    """The bytes are no whole image of the kind that the extension says."""

    status = 415
    code = "not_an_image"
    title = "Not an acceptable image"


class RangeNotSatisfiable(ServiceError):
    """The requested range begins behind the end of the image."""

    status = 416
    code = "range_not_satisfiable"
    title = "Range not satisfiable"

    def __init__(self, size: int) -> None:
        super().__init__(f"The image has {size} bytes.")
        self.headers["Content-Range"] = f"bytes */{size}"


class ImageLost(ServiceError):
    """A row names an object that does not exist: invariant I1 is broken."""

    code = "image_lost"
    title = "The image cannot be read"


class Unavailable(ServiceError):
    """A dependency does not answer as it should; trying again later may help."""

    status = 503
    code = "unavailable"
    title = "Temporarily unavailable"
    retry_after = 2


class DatabaseUnavailable(Unavailable):
    """The database failed, timed out or has no free connection."""

    code = "database_unavailable"
    title = "The database is temporarily unavailable"


class CommitUnknown(DatabaseUnavailable):
    """The connection broke during COMMIT: the transaction may or may not have happened."""


class StorageUnavailable(Unavailable):
    """S3 failed, refused or timed out."""

    code = "storage_unavailable"
    title = "The image storage is temporarily unavailable"


class UploadInterrupted(Unavailable):
    """The sweeper took the upload's object before it was committed; nothing was changed."""

    code = "upload_interrupted"
    title = "The upload was interrupted; try again"


class Overloaded(Unavailable):
    """More requests wait than the deployment lets wait."""

    code = "overloaded"
    title = "Too many requests at once; try again"
    retry_after = 1


class ObjectMissing(Exception):
    """S3 has no object under this key."""


class TransactionAborted(Exception):
    """The database undid the transaction (unique violation, deadlock, serialisation failure)."""
