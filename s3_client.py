"""S3: keys, and put, get and delete of one object.

obstore sends these requests. boto3 provides credentials and addresses, lists, presigns and sends
large files. Errors of both become `ObjectMissingError` or `StorageUnavailableError`. Access denied
never counts as missing.
"""

import base64
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import obstore
from boto3.session import Session
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
from obstore.exceptions import BaseError

from adapters import s3_connections
from adapters.hashed_bytes import HashedBytes, sha256_of
from adapters.s3_bodies import BotoResult, DeadlineReader, ObjectBody
from config import Settings
from errors import ConfigurationError, ObjectMissingError, StorageUnavailableError
from telemetry.request_waits import BackendTimer

if TYPE_CHECKING:
    from obstore import GetOptions
    from obstore.store import S3Store

__all__ = [
    "Bucket",
    "HashedBytes",
    "ObjectBody",
    "error_code",
    "generate_s3_key",
    "key_prefix",
    "sha256_of",
]

_UNSAFE_IN_KEY = re.compile(r"[^A-Za-z0-9._-]+")
_KEY_SAFE = "/~"
# obstore strips slashes at both ends of a key ("/" would be the bucket itself), and refuses empty
# segments, the segments "." and "..", and control characters.
_NOT_FOR_OBSTORE = re.compile(r"(^|/)\.{0,2}(/|$)|[\x00-\x1f\x7f]")
# obstore's errors have no code, but include S3's response (AWS: "Error responses").
_ERROR_CODE = re.compile("<Code>([A-Za-z0-9]+)</Code>")
# boto3 sends larger files: obstore takes only whole bodies, and hashes them again.
_LARGE_BYTES = 2 * 1024 * 1024
# Most PUTs start within the first tenth of their time limit.
_USUAL_SHARE = 0.9


def generate_s3_key(name: str, extension: str) -> str:
    """Return a new key, `<name>-<128 random bits>.<ext>`, which no other object ever gets.

    Keys are flat, because SeaweedFS and MinIO treat `/` as a folder. The name keeps only characters
    that are safe in URLs and shells.
    """
    return f"{key_prefix(name)}{secrets.token_hex(16)}.{extension}"


def key_prefix(name: str) -> str:
    """Return the prefix of all keys of the image `name`, which other names may share."""
    return (_UNSAFE_IN_KEY.sub("-", name)[:80].strip("-.") or "image") + "-"


def error_code(error: BaseException) -> str:
    """Return S3's code in an error of obstore or boto3, or "" if it has none."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", ""))
    match = _ERROR_CODE.search(str(error))
    return match[1] if match else ""


class Bucket:
    """The bucket of the images, whose clients and connections all threads share."""

    def __init__(self, settings: Settings, profile: str | None = None) -> None:
        """Use the default credentials, or those of a `profile` in the shared AWS files.

        Sends nothing. Raises ConfigurationError.
        """
        self._settings = settings
        self._name = settings.aws_s3_bucket
        self.span: Callable[[str, str], AbstractContextManager[object]] = lambda *_: nullcontext()
        try:
            self._session = Session(region_name=settings.aws_region, profile_name=profile)
            self._build_clients(self._session, settings)
        except (BaseError, BotoCoreError, OSError, ValueError) as exc:
            raise ConfigurationError(f"Configuration: S3 cannot be used: {exc}") from exc

    def _build_clients(self, session: Session, settings: Settings) -> None:
        s3_connections.start_obstore()
        self.client = s3_connections.client(session, settings)
        self._file_client = s3_connections.file_client(session, settings)
        self._base_url = s3_connections.base_url(session, settings, settings.aws_endpoint_url_s3)
        self._public_url = self._base_url
        if public := settings.s3_public_endpoint_url:
            self._public_url = s3_connections.base_url(session, settings, public)
        # The signer would derive the host twice for each URL, a fifth of its time.
        signer = S3SigV4QueryAuth(ReadOnlyCredentials("", "", ""), "s3", settings.aws_region)
        self._public_host = dict(signer.headers_to_sign(AWSRequest("GET", self._public_url)))
        self._reads = s3_connections.read_store(session, settings, self._base_url)
        self._usual_seconds = _USUAL_SHARE * settings.s3_put_timeout_seconds
        self._put_store = partial(s3_connections.put_store, session, settings, self._base_url)
        self._puts = self._put_store(self._usual_seconds)

    def upload_image(
        self,
        file_obj: IO[bytes],
        key: str,
        content_type: str,
        *,
        sha256: str,
        name: str = "",
        deadline: float | None = None,
    ) -> None:
        """Put all of `file_obj`, whose SHA-256 is `sha256` (hex), in one attempt.

        Bytes with another SHA-256 are refused; S3 itself checks those of a large file if it gets a
        checksum. `stored_name` returns `name`. Nothing is sent after `deadline`, a time of
        `time.monotonic`. Raises StorageUnavailableError, after which the object may still exist or
        appear.
        """
        if deadline is None:
            deadline = time.monotonic() + self._settings.s3_put_timeout_seconds
        size = file_obj.seek(0, os.SEEK_END)
        large = size > _LARGE_BYTES
        # S3 compares a large file with the SHA-256 that boto3 sends.
        if not (large and self._settings.s3_checksum) and sha256_of(file_obj) != sha256:
            raise StorageUnavailableError("The bytes to be stored do not have their SHA-256.")
        file_obj.seek(0)
        metadata = {"name": quote(name, safe="")} if name else {}
        with self._request("put", _path(key)):
            store = self._store_until(deadline)
            if large:
                body = DeadlineReader(file_obj, deadline)
                put = {"Key": key, "Body": body, "ContentType": content_type, "Metadata": metadata}
                self._put_large(put, sha256)
            else:
                attributes = {"Content-Type": content_type} | metadata
                content = file_obj.read()  # does not copy a BytesIO
                obstore.put(store, key, content, attributes=attributes, use_multipart=False)

    def _put_large(self, put: dict[str, Any], sha256: str) -> None:
        if self._settings.s3_checksum:
            put["ChecksumSHA256"] = base64.b64encode(bytes.fromhex(sha256)).decode()
        self._file_client.put_object(Bucket=self._name, **put)

    def download_image(self, key: str, part: tuple[int, int] | None = None) -> ObjectBody:
        """Open the object under `key`, or a `part` of it, from the first to the last byte.

        Raises ObjectMissingError or StorageUnavailableError.
        """
        options: GetOptions = {"range": (part[0], part[1] + 1)} if part else {}
        with self._request("get", _path(key)):
            return ObjectBody(obstore.get(self._reads, key, options=options))

    def download_any(self, key: str) -> ObjectBody:
        """Open an object whose key another program has chosen.

        Raises ObjectMissingError or StorageUnavailableError.
        """
        if not _NOT_FOR_OBSTORE.search(key):
            return self.download_image(key)
        with self._request("get", key):
            return ObjectBody(BotoResult(self.client.get_object(Bucket=self._name, Key=key)))

    def delete_image(self, key: str) -> None:
        """Delete the object under `key`, if it exists. Raises StorageUnavailableError."""
        with suppress(ObjectMissingError), self._request("delete", key):
            if _NOT_FOR_OBSTORE.search(key):  # journaled by `scripts.verify`
                self.client.delete_object(Bucket=self._name, Key=key)
            else:
                obstore.delete(self._reads, key)

    def has_object(self, key: str, size: int) -> bool:
        """Return whether an object of `size` bytes exists. Raises StorageUnavailableError."""
        with suppress(ObjectMissingError), self._request("head", _path(key)):
            return obstore.head(self._reads, key)["size"] == size
        return False

    def stored_name(self, key: str) -> str | None:
        """Return the `name` with which an object was uploaded, or None if it has none.

        Raises ObjectMissingError or StorageUnavailableError.
        """
        with self._request("head", _path(key)):
            head = obstore.get(self._reads, key, options={"head": True})
        name = head.attributes.get("name")
        return None if name is None else unquote(name)

    def list_objects(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Yield the key and the size in bytes of every object whose key begins with `prefix`.

        S3 lists in the order of the keys' UTF-8 bytes; some stores do not. Raises
        StorageUnavailableError.
        """
        return ((key, size) for key, size, _ in self.list_dated_objects(prefix))

    def list_dated_objects(self, prefix: str = "") -> Iterator[tuple[str, int, datetime]]:
        """Yield what `list_objects` yields, and the time when each object was stored."""
        pages = self.client.get_paginator("list_objects_v2")
        try:
            for page in pages.paginate(Bucket=self._name, Prefix=prefix):
                for entry in page.get("Contents", ()):
                    yield entry["Key"], entry["Size"], entry["LastModified"]
        except (BotoCoreError, ClientError) as exc:
            raise StorageUnavailableError from exc

    def presigned_url(
        self, method: str, key: str, answer_headers: dict[str, str], until: datetime | None = None
    ) -> str:
        """Return a URL with which anyone can `method` (GET or HEAD) the object.

        It is valid for REDIRECT_SECONDS, but not after `until`. S3's response has `answer_headers`
        (AWS, GetObject: "Overriding response header values"). Raises StorageUnavailableError
        without credentials.
        """
        overrides = {f"response-{name.lower()}": value for name, value in answer_headers.items()}
        url = self._public_url + quote(key, safe=_KEY_SAFE)
        request = AWSRequest(method, url, self._public_host, params=overrides)
        try:
            if (credentials := self._session.get_credentials()) is None:
                raise NoCredentialsError
            frozen = credentials.get_frozen_credentials()
        except BotoCoreError as exc:
            raise StorageUnavailableError from exc
        seconds = self._settings.redirect_seconds
        if until:
            seconds = min(seconds, max(0, (until - datetime.now(UTC)) // timedelta(seconds=1)))
        signer = S3SigV4QueryAuth(frozen, "s3", self._settings.aws_region, seconds)
        signer.add_auth(request)
        return str(request.url)

    def check(self) -> None:
        """Check the bucket (AWS: HeadBucket). Raises StorageUnavailableError."""
        with self._request("head", ""):
            self.client.head_bucket(Bucket=self._name)

    def close(self) -> None:
        """Close boto3's connections; those of obstore close when they are idle."""
        self.client.close()
        self._file_client.close()

    @contextmanager
    def _request(self, operation: str, key: str) -> Iterator[None]:
        """Time and trace a request to S3, and translate its errors.

        Raises ObjectMissingError or StorageUnavailableError.
        """
        with self.span(operation, key), BackendTimer("s3", operation):
            try:
                yield
            except FileNotFoundError as exc:
                # Only a HEAD response has no code. Any other 404 without one is a gateway's.
                missing = {"NoSuchKey", ""} if operation == "head" else {"NoSuchKey"}
                if operation != "put" and error_code(exc) in missing:
                    raise ObjectMissingError from exc
                raise StorageUnavailableError from exc
            except (BaseError, BotoCoreError, ClientError) as exc:
                if operation == "get" and error_code(exc) == "NoSuchKey":  # of boto3
                    raise ObjectMissingError from exc
                raise StorageUnavailableError from exc

    def _store_until(self, deadline: float) -> "S3Store":
        """Return a store whose requests end before `deadline`. Raises StorageUnavailableError."""
        seconds = deadline - time.monotonic()
        if seconds <= 0:
            raise StorageUnavailableError("The time limit for sending this object has passed.")
        return self._puts if seconds > self._usual_seconds else self._put_store(seconds)


def _path(key: str) -> str:
    """Return `key` if obstore sends it unchanged. Raises StorageUnavailableError."""
    if _NOT_FOR_OBSTORE.search(key):
        raise StorageUnavailableError(f"obstore cannot request the key {key!r}.")
    return key
