"""What can go wrong, as a tree; each leaf knows its HTTP status, stable code and safe message.

    ServiceError
    ├── ConfigurationError              (never reaches a client: the service does not start)
    ├── InvalidRequestError             400 invalid_request
    │   ├── InvalidNameError            400 invalid_name
    │   ├── ExtensionNotAllowedError    400 extension_not_allowed
    │   ├── InvalidMultipartError       400 invalid_multipart
    │   ├── InvalidCursorError          400 invalid_cursor
    │   └── DigestMismatchError         400 digest_mismatch
    ├── KeyRequiredError                401 key_required             + WWW-Authenticate
    ├── InvalidKeyError                 401 invalid_key              + WWW-Authenticate
    ├── InsufficientScopeError          403 insufficient_scope       + WWW-Authenticate
    ├── RedirectNotAllowedError         403 redirect_not_allowed
    ├── CrossSiteRequestError           403 cross_site_request
    ├── ImageNotFoundError              404 image_not_found
    ├── VariantNotFoundError            404 variant_not_found
    ├── UploadTooSlowError              408 upload_too_slow
    ├── WriteConflictError              409 write_conflict           + Retry-After
    ├── PreconditionFailedError         412 precondition_failed
    ├── ImageTooLargeError              413 image_too_large
    │   ├── TooManyPixelsError          413 too_many_pixels
    │   └── DecodingTooCostlyError      413 decoding_too_costly
    ├── UriTooLongError                 414 uri_too_long
    ├── NotAnImageError                 415 not_an_image
    ├── ContentCodingError              415 content_coding_not_supported
    ├── RangeNotSatisfiableError        416 range_not_satisfiable    + Content-Range
    ├── InvalidParameterError           422 invalid_parameter
    ├── HeadersTooLargeError            431 headers_too_large
    ├── ImageLostError                  500 image_lost               (an alarm: must never happen)
    └── UnavailableError                (one of the following)       + Retry-After
        ├── DatabaseUnavailableError    503 database_unavailable
        │   └── CommitUnknownError      503 database_unavailable     (it may have happened)
        ├── StorageUnavailableError     503 storage_unavailable
        ├── UploadInterruptedError      503 upload_interrupted
        ├── OverloadedError             503 overloaded
        ├── OutOfResourcesError         503 out_of_resources
        └── NotReadyError               503 not_ready

A bug of ours is answered as ServiceError itself, 500 internal_error; what the framework answers by
itself (404 not_found, 405 method_not_allowed) is rendered by `web.problem_details`.

Two more never reach a client, the layers use them among themselves: `ObjectMissingError` (S3 has no
such object) and `TransactionAbortedError` (the database undid a transaction, which may be tried
again).
"""


class ServiceError(Exception):
    """Base of all errors that a client may see.

    `detail` is safe to show; `members` extend the problem document (RFC 9457 section 3.2).
    """

    status, code, title = 500, "internal_error", "Internal error"
    retry_after: int | None = None

    def __init__(self, detail: str | None = None, **members: object) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.members = members
        self.headers: dict[str, str] = {}
        if self.retry_after is not None:
            self.headers["Retry-After"] = str(self.retry_after)


class ConfigurationError(ServiceError):
    """A setting is missing or wrong; the message is one sentence that names it."""

    code, title = "configuration_error", "The service is not configured"


class InvalidRequestError(ServiceError):
    """The request cannot be understood."""

    status, code, title = 400, "invalid_request", "Invalid request"


class InvalidNameError(InvalidRequestError):
    """The image name breaks a rule of `names.normalise_name`."""

    code, title = "invalid_name", "Invalid image name"


class ExtensionNotAllowedError(InvalidRequestError):
    """The file name has no extension, or one that the deployment does not accept."""

    code, title = "extension_not_allowed", "File extension not allowed"


class InvalidMultipartError(InvalidRequestError):
    """The body is not one whole multipart/form-data form with one file."""

    code, title = "invalid_multipart", "Invalid multipart form"


class InvalidCursorError(InvalidRequestError):
    """The cursor is not one of ours, or belongs to another listing."""

    code, title = "invalid_cursor", "Invalid cursor"


class DigestMismatchError(InvalidRequestError):
    """What arrived does not have the digest that the client announced."""

    code, title = "digest_mismatch", "The digest does not match"


class AccessError(ServiceError):
    """The request lacks the API key that it needs (RFC 6750 section 3)."""

    status, challenge = 401, ""

    def __init__(self) -> None:
        super().__init__()
        self.headers["WWW-Authenticate"] = f'Bearer realm="image-api"{self.challenge}'


class KeyRequiredError(AccessError):
    """The request has no API key."""

    code, title = "key_required", "An API key is required"


class InvalidKeyError(AccessError):
    """The request has a key that nobody was given."""

    code, title, challenge = "invalid_key", "The API key is not valid", ', error="invalid_token"'


class InsufficientScopeError(AccessError):
    """The key allows reading only."""

    status = 403
    code = "insufficient_scope"
    title = "The API key does not allow writing"
    challenge = ', error="insufficient_scope", scope="write"'


class RedirectNotAllowedError(ServiceError):
    """The deployment does not hand out URLs of its storage."""

    status, code, title = 403, "redirect_not_allowed", "Redirects are switched off"


class CrossSiteRequestError(ServiceError):
    """A page of another web site wants to change something."""

    status, code, title = 403, "cross_site_request", "Pages of other sites may not write"


class ImageNotFoundError(ServiceError):
    """No image has this name."""

    status, code, title = 404, "image_not_found", "Image not found"


class VariantNotFoundError(ServiceError):
    """The deployment does not offer this variant, or none of this image can be made."""

    status, code, title = 404, "variant_not_found", "Variant not found"


class UploadTooSlowError(ServiceError):
    """The client stopped sending, or sent too slowly."""

    status, code, title = 408, "upload_too_slow", "The upload took too long"


class WriteConflictError(ServiceError):
    """Too many writers on this name at once; nothing was changed."""

    status, code, retry_after = 409, "write_conflict", 1
    title = "Too many concurrent writes to this image"


class PreconditionFailedError(ServiceError):
    """A condition of the request (If-Match, If-None-Match, ...) is not met; nothing was changed."""

    status, code, title = 412, "precondition_failed", "A precondition is not met"


class ImageTooLargeError(ServiceError):
    """The body is larger than the deployment accepts."""

    status, code, title = 413, "image_too_large", "The image is too large"


class TooManyPixelsError(ImageTooLargeError):
    """The picture has more pixels than the deployment accepts."""

    code, title = "too_many_pixels", "The image has too many pixels"


class DecodingTooCostlyError(ImageTooLargeError):
    """Decoding the picture takes more time or memory than the deployment grants."""

    code, title = "decoding_too_costly", "The image takes too much to decode"


class UriTooLongError(ServiceError):
    """The request line is longer than the service reads."""

    status, code, title = 414, "uri_too_long", "The request line is too long"


class NotAnImageError(ServiceError):
    """The bytes are no whole image of a kind that the deployment accepts."""

    status, code, title = 415, "not_an_image", "Not an acceptable image"


class ContentCodingError(ServiceError):
    """The body has a Content-Encoding; it must be sent as it is."""

    status, code, title = 415, "content_coding_not_supported", "The body must not be compressed"


class RangeNotSatisfiableError(ServiceError):
    """The requested range begins after the end of the image."""

    status, code, title = 416, "range_not_satisfiable", "Range not satisfiable"

    def __init__(self, size: int) -> None:
        super().__init__(f"The image has {size} bytes.")
        self.headers["Content-Range"] = f"bytes */{size}"


class InvalidParameterError(ServiceError):
    """A parameter of the path or the query has the wrong form; the detail names it."""

    status, code, title = 422, "invalid_parameter", "Invalid parameter"


class HeadersTooLargeError(ServiceError):
    """The head of a request is larger than the service reads."""

    status, code, title = 431, "headers_too_large", "The headers of the request are too large"


class ImageLostError(ServiceError):
    """A row names an object that does not exist: invariant I1 is broken."""

    code, title = "image_lost", "The image cannot be read"


class UnavailableError(ServiceError):
    """Base of what may have passed when the request is tried again."""

    status, retry_after = 503, 2


class DatabaseUnavailableError(UnavailableError):
    """The database failed, timed out or has no free connection."""

    code, title = "database_unavailable", "The database is temporarily unavailable"


class CommitUnknownError(DatabaseUnavailableError):
    """The connection broke during COMMIT: the transaction may or may not have happened."""


class StorageUnavailableError(UnavailableError):
    """S3 failed, refused or timed out."""

    code, title = "storage_unavailable", "The image storage is temporarily unavailable"


class UploadInterruptedError(UnavailableError):
    """The sweeper took the upload's object before it was committed; nothing was changed."""

    code, title = "upload_interrupted", "The upload was interrupted; try again"


class OverloadedError(UnavailableError):
    """More requests wait than the deployment lets wait."""

    code, title, retry_after = "overloaded", "Too many requests at once; try again", 1


class OutOfResourcesError(UnavailableError):
    """The host has no disk space, memory, process or file descriptor left for this request."""

    code, title = "out_of_resources", "The service has run out of resources; try again"


class NotReadyError(UnavailableError):
    """A dependency does not answer, or the service is shutting down."""

    code, title = "not_ready", "Not ready"


class ObjectMissingError(Exception):
    """S3 has no object under this key."""


class TransactionAbortedError(Exception):
    """The database undid the transaction (unique violation, deadlock, serialisation failure)."""
