"""All errors. Those that clients may see have an HTTP status, a stable code and a safe title."""


class ServiceError(Exception):
    """Base of all errors that a client may see, and the response to a bug.

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
    """A setting is missing or invalid; the message is one sentence that names it."""

    code, title = "configuration_error", "The service is not configured"


class InvalidRequestError(ServiceError):
    """The request is malformed."""

    status, code, title = 400, "invalid_request", "Invalid request"


class InvalidNameError(InvalidRequestError):
    """The image name breaks a rule of `names.normalise_name`."""

    code, title = "invalid_name", "Invalid image name"


class ExtensionNotAllowedError(InvalidRequestError):
    """The file name has no extension, or one that the deployment does not accept."""

    code, title = "extension_not_allowed", "File extension not allowed"


class InvalidMultipartError(InvalidRequestError):
    """The body is not a complete multipart/form-data form with exactly one file."""

    code, title = "invalid_multipart", "Invalid multipart form"


class InvalidCursorError(InvalidRequestError):
    """The service did not issue the cursor, or issued it for another listing."""

    code, title = "invalid_cursor", "Invalid cursor"


class DigestMismatchError(InvalidRequestError):
    """The received bytes do not match the digest that the client sent."""

    code, title = "digest_mismatch", "The digest does not match"


class HostNotAllowedError(InvalidRequestError):
    """The request is for a host that is not one of ALLOWED_HOSTS."""

    code, title = "host_not_allowed", "The service does not serve this host"


class AccessError(ServiceError):
    """The request lacks the API key that it requires (RFC 6750 section 3)."""

    status, challenge = 401, ""

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail)
        self.headers["WWW-Authenticate"] = f'Bearer realm="image-api"{self.challenge}'


class KeyRequiredError(AccessError):
    """The request has no API key."""

    code, title = "key_required", "An API key is required"


class InvalidKeyError(AccessError):
    """The request has an unknown API key."""

    code, title, challenge = "invalid_key", "The API key is not valid", ', error="invalid_token"'


class InsufficientScopeError(AccessError):
    """The API key is valid, but does not allow the request."""

    status, code = 403, "insufficient_scope"
    title = "The API key does not allow this"
    challenge = ', error="insufficient_scope"'


class ReadOnlyKeyError(InsufficientScopeError):
    """The key allows only reading."""

    challenge = ', error="insufficient_scope", scope="write"'

    def __init__(self) -> None:
        super().__init__("The API key allows only reading.")


class ForeignImageError(InsufficientScopeError):
    """The key has a prefix, and the request concerns other images."""

    def __init__(self, prefix: str) -> None:
        super().__init__(f"The API key allows only images whose names begin with {prefix!r}.")


class InvalidLinkError(ServiceError):
    """A signed link has expired, was changed, or does not allow the request."""

    status, code, title = 403, "invalid_link", "The link has expired, or does not allow this"

    def __init__(self) -> None:
        super().__init__()
        self.headers["Referrer-Policy"] = "no-referrer"


class RedirectNotAllowedError(ServiceError):
    """The deployment does not redirect to its storage."""

    status, code, title = 403, "redirect_not_allowed", "Redirects are switched off"


class CrossSiteRequestError(ServiceError):
    """A page of another site requests a write."""

    status, code, title = 403, "cross_site_request", "Pages of other sites may not write"


class ImageNotFoundError(ServiceError):
    """No image has this name."""

    status, code, title = 404, "image_not_found", "Image not found"


class LinksNotConfiguredError(ServiceError):
    """The deployment has no secret to sign links with."""

    status, code, title = 404, "links_not_configured", "The service has no LINK_SECRETS"


class VariantNotFoundError(ServiceError):
    """The deployment does not offer this variant, or cannot make it from this image."""

    status, code, title = 404, "variant_not_found", "Variant not found"


class UploadTooSlowError(ServiceError):
    """The client stopped sending, or sent too slowly."""

    status, code, title = 408, "upload_too_slow", "The upload took too long"


class WriteConflictError(ServiceError):
    """Too many concurrent writes to this name; nothing was changed."""

    status, code, retry_after = 409, "write_conflict", 1
    title = "Too many concurrent writes to this image"


class PreconditionFailedError(ServiceError):
    """A condition of the request (If-Match, If-None-Match, ...) is not met; nothing was changed."""

    status, code, title = 412, "precondition_failed", "A precondition is not met"


class ImageTooLargeError(ServiceError):
    """The file is larger than the deployment accepts."""

    status, code, title = 413, "image_too_large", "The image is too large"

    @classmethod
    def of(cls, max_bytes: int) -> "ImageTooLargeError":
        """Return the error for a file of more than `max_bytes`."""
        return cls(f"An image may have at most {max_bytes} bytes.")


class TooManyPixelsError(ImageTooLargeError):
    """The picture has more pixels than the deployment accepts."""

    code, title = "too_many_pixels", "The image has too many pixels"


class DecodingTooCostlyError(ImageTooLargeError):
    """Decoding the picture takes more time or memory than the deployment allows."""

    code, title = "decoding_too_costly", "The image takes too much to decode"


class UriTooLongError(ServiceError):
    """The request line is longer than the service accepts."""

    status, code, title = 414, "uri_too_long", "The request line is too long"


class NotAnImageError(ServiceError):
    """The bytes are not a complete image in an accepted format."""

    status, code, title = 415, "not_an_image", "Not an acceptable image"


class UnsupportedMediaTypeError(ServiceError):
    """The Content-Type of a PUT is a form, or not the format of the bytes."""

    status, code, title = 415, "unsupported_media_type", "Content-Type not accepted"


class ContentCodingError(ServiceError):
    """The body has a Content-Encoding, which uploads must not have."""

    status, code, title = 415, "content_coding_not_supported", "The body must not be compressed"


class RangeNotSatisfiableError(ServiceError):
    """The requested range begins after the end of the image."""

    status, code, title = 416, "range_not_satisfiable", "Range not satisfiable"

    def __init__(self, size: int) -> None:
        super().__init__(f"The image has {size} bytes.")
        self.headers["Content-Range"] = f"bytes */{size}"


class InvalidParameterError(ServiceError):
    """A parameter of the path or the query is malformed; the detail names it."""

    status, code, title = 422, "invalid_parameter", "Invalid parameter"


class HeadersTooLargeError(ServiceError):
    """The request headers are larger than the service accepts."""

    status, code, title = 431, "headers_too_large", "The headers of the request are too large"


class ImageLostError(ServiceError):
    """A row names an object that does not exist, which violates invariant I1."""

    code, title = "image_lost", "The image cannot be read"


class UnavailableError(ServiceError):
    """Base of temporary errors: the client should retry."""

    status, retry_after = 503, 2


class DatabaseUnavailableError(UnavailableError):
    """The database failed, timed out, or has no free connection."""

    code, title = "database_unavailable", "The database is temporarily unavailable"


class StorageUnavailableError(UnavailableError):
    """S3 failed, refused the request, or timed out."""

    code, title = "storage_unavailable", "The image storage is temporarily unavailable"


class UploadInterruptedError(UnavailableError):
    """The sweeper claimed the upload before its commit; nothing was changed."""

    code, title = "upload_interrupted", "The upload was interrupted; try again"


class OverloadedError(UnavailableError):
    """More requests are waiting, or more bytes being uploaded, than the deployment allows."""

    code, title, retry_after = "overloaded", "Too many requests at once; try again", 1


class OutOfResourcesError(UnavailableError):
    """The host is out of disk space, memory, processes, threads or file descriptors."""

    code, title = "out_of_resources", "The service has run out of resources; try again"


class NotReadyError(UnavailableError):
    """A dependency does not respond, or the service is shutting down."""

    code, title = "not_ready", "Not ready"


class ObjectMissingError(Exception):
    """S3 has no object under this key."""


class TransactionAbortedError(Exception):
    """The database undid the transaction (unique violation, deadlock, serialisation failure)."""
