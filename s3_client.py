"""S3: keys, put, get and delete of one object; only `s3_connections` knows obstore and boto3, too.

Every error of obstore and boto3 becomes `ObjectMissingError` or `StorageUnavailableError`; access
denied is never "missing".
"""

import hashlib
import mmap
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import IO, TYPE_CHECKING
from urllib.parse import quote, unquote

import obstore
from boto3.session import Session
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
from obstore.exceptions import BaseError

from adapters import s3_connections
from config import Settings
from errors import ConfigurationError, ObjectMissingError, StorageUnavailableError
from telemetry.request_metrics import S3Timer, add_s3_wait

if TYPE_CHECKING:
    from obstore import GetResult
    from obstore.store import S3Store

_UNSAFE_IN_KEY = re.compile(r"[^A-Za-z0-9._-]+")
_KEY_SAFE = "/~"
# obstore strips slashes at both ends of a key ("/" becomes the bucket itself), and refuses empty
# segments, those of dots, and control characters.
_NO_PATH = re.compile(r"(^|/)\.{0,2}(/|$)|[\x00-\x1f\x7f]")
# obstore's errors have no code; their message ends with S3's answer (AWS: "Error responses").
_ERROR_CODE = re.compile("<Code>([A-Za-z0-9]+)</Code>")
_MAPPED_BYTES = 1024 * 1024
_PIECE_BYTES = 256 * 1024
# A PUT usually begins within a tenth of its time.
_USUAL_SHARE = 0.9


def generate_s3_key(name: str, extension: str) -> str:
    """Mint a key that was never used before and never will be: `<name>-<128 random bits>.<ext>`.

    Flat, because SeaweedFS and MinIO take `/` for folders; the name is recognisable as far as
    its characters are safe in a URL and in a shell.
    """
    return f"{key_prefix(name)}{secrets.token_hex(16)}.{extension}"


def key_prefix(name: str) -> str:
    """Return how all keys of an image called `name` begin; those of other names may, too."""
    return (_UNSAFE_IN_KEY.sub("-", name)[:80].strip("-.") or "image") + "-"


def error_code(error: BaseException | None) -> str:
    """Return the code of S3 in an error of obstore or boto3, "" where it gave none."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", ""))
    found = _ERROR_CODE.search(str(error))
    return found[1] if found else ""


class ObjectBody:
    """The bytes of an object on their way; `length` of them.

    Reading a body that was cut raises StorageUnavailableError.
    """

    def __init__(self, result: "GetResult") -> None:
        first, stop = result.range
        self.length = stop - first
        self._pieces: Iterator[bytes] = iter(result.stream(min_chunk_size=_PIECE_BYTES))

    def read(self, size: int) -> bytes:
        """Return at least `size` of the next bytes, less at the end, and then `b""`."""
        pieces: list[bytes] = []
        found = 0
        with _waiting():
            while found < size and (piece := next(self._pieces, None)):
                pieces.append(piece)
                found += len(piece)
        return b"".join(pieces)

    def read_all(self, size: int | None = None) -> bytes:
        """Return the whole and close. Raises StorageUnavailableError unless it has `size` bytes."""
        with _waiting():
            content = b"".join(self._pieces)
        self.close()
        if size is not None and len(content) != size:
            raise StorageUnavailableError(f"The object has {len(content)} bytes instead of {size}.")
        return content

    def close(self) -> None:
        """Let go of the connection: reusable when everything was read, otherwise closed."""
        self._pieces = iter(())


class Bucket:
    """The bucket of the images. Clients and connections are built once and shared by threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._name = settings.aws_s3_bucket
        self.span: Callable[[str, str], AbstractContextManager[object]] = _no_span
        try:
            self._connect(Session(region_name=settings.aws_region))
        except (BaseError, BotoCoreError, OSError, ValueError) as exc:
            raise ConfigurationError(f"Configuration: S3 cannot be used: {exc}") from exc

    def _connect(self, session: Session) -> None:
        """Build clients. Nothing is sent."""
        settings = self._settings
        self._session = session
        self.client = s3_connections.client(session, settings)
        self._base_url = s3_connections.base_url(session, settings, settings.aws_endpoint_url_s3)
        self._public_url = s3_connections.base_url(
            session, settings, settings.s3_public_endpoint_url or settings.aws_endpoint_url_s3
        )
        self._usual_seconds = _USUAL_SHARE * settings.s3_put_timeout_seconds
        self._puts = self._put_store(self._usual_seconds)
        self._reads = s3_connections.read_store(session, settings, self._base_url)

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
        """Put the whole of `file_obj`, whose SHA-256 is `sha256` (hex), in one attempt.

        `name` is kept with the object, for `stored_name`. At `deadline` (of `time.monotonic`) the
        attempt is given up. Raises StorageUnavailableError; the object may exist all the same, now
        or later.
        """
        if deadline is None:
            deadline = time.monotonic() + self._settings.s3_put_timeout_seconds
        content = _content(file_obj)
        # S3 compares what arrives with what obstore reads here, this with what was inspected.
        if hashlib.sha256(content).hexdigest() != sha256:
            raise StorageUnavailableError("The bytes to be stored do not have their SHA-256.")
        attributes = {"Content-Type": content_type}
        if name:
            attributes["name"] = quote(name, safe="")
        with self._request("put", key):
            store = self._store_until(deadline)
            obstore.put(store, _path(key), content, attributes=attributes, use_multipart=False)

    def download_image(self, key: str, part: tuple[int, int] | None = None) -> ObjectBody:
        """Open the object under `key`, or its bytes from first to last inclusive.

        Raises ObjectMissingError or StorageUnavailableError.
        """
        with self._request("get", key):
            if part is None:
                return ObjectBody(obstore.get(self._reads, _path(key)))
            span = (part[0], part[1] + 1)
            return ObjectBody(obstore.get(self._reads, _path(key), options={"range": span}))

    def delete_image(self, key: str) -> None:
        """Delete the object under `key`; it need not exist. Raises StorageUnavailableError."""
        try:
            with self._request("delete", key):
                if _NO_PATH.search(key):  # a stranger's, which `scripts.verify` found
                    self.client.delete_object(Bucket=self._name, Key=key)
                else:
                    obstore.delete(self._reads, key)
        except ObjectMissingError:
            pass

    def has_object(self, key: str, size: int) -> bool:
        """Tell whether there is an object of `size` bytes under `key`.

        Raises StorageUnavailableError.
        """
        try:
            with self._request("head", key):
                return obstore.head(self._reads, _path(key))["size"] == size
        except ObjectMissingError:
            return False

    def stored_name(self, key: str) -> str | None:
        """Return the `name` with which an object was uploaded, None where there was none.

        Raises ObjectMissingError or StorageUnavailableError.
        """
        with self._request("head", key):
            found = obstore.get(self._reads, _path(key), options={"head": True})
        name = found.attributes.get("name")
        return None if name is None else unquote(name)

    def list_objects(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Yield key and size in bytes of every object whose key begins with `prefix`.

        S3 lists in the order of the keys' UTF-8 bytes; some stores do not. Raises
        StorageUnavailableError.
        """
        pages = self.client.get_paginator("list_objects_v2")
        try:
            for page in pages.paginate(Bucket=self._name, Prefix=prefix):
                yield from ((entry["Key"], entry["Size"]) for entry in page.get("Contents", ()))
        except (BotoCoreError, ClientError) as exc:
            raise StorageUnavailableError from exc

    def presigned_url(self, method: str, key: str, answer_headers: dict[str, str]) -> str:
        """Return a URL that lets anyone `method` (GET or HEAD) the object for a while.

        `answer_headers` are the headers with which S3 is to answer (AWS, GetObject:
        "Overriding response header values"). Raises StorageUnavailableError without credentials.
        """
        overrides = {f"response-{name.lower()}": value for name, value in answer_headers.items()}
        url = self._public_url + quote(key, safe=_KEY_SAFE)
        request = AWSRequest(method, url, params=overrides)
        settings = self._settings
        try:
            if (credentials := self._session.get_credentials()) is None:
                raise NoCredentialsError
            frozen = credentials.get_frozen_credentials()
        except BotoCoreError as exc:
            raise StorageUnavailableError from exc
        S3SigV4QueryAuth(frozen, "s3", settings.aws_region, settings.redirect_seconds).add_auth(
            request
        )
        return str(request.url)

    def check(self) -> None:
        """Ask for the bucket (AWS: HeadBucket). Raises StorageUnavailableError."""
        with self._request("head", ""):
            self.client.head_bucket(Bucket=self._name)

    def close(self) -> None:
        """Close boto3's connections; those of obstore end when they are idle."""
        self.client.close()

    @contextmanager
    def _request(self, operation: str, key: str) -> Iterator[None]:
        """Time a request to S3, let it be a span, translate its errors.

        Raises ObjectMissingError or StorageUnavailableError.
        """
        with self.span(operation, key), S3Timer(operation):
            try:
                yield
            except FileNotFoundError as exc:
                # S3 answers HEAD without a document.
                if operation != "put" and error_code(exc) in {"NoSuchKey", ""}:
                    raise ObjectMissingError from exc
                raise StorageUnavailableError from exc
            except (BaseError, BotoCoreError, ClientError) as exc:
                raise StorageUnavailableError from exc

    def _store_until(self, deadline: float) -> "S3Store":
        """Return a store whose requests end before `deadline`."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise StorageUnavailableError("The time for this PUT is over.")
        return self._puts if left > self._usual_seconds else self._put_store(left)

    def _put_store(self, seconds: float) -> "S3Store":
        return s3_connections.put_store(self._session, self._settings, self._base_url, seconds)


def _path(key: str) -> str:
    """Return `key`, if obstore asks for it unchanged. Raises StorageUnavailableError."""
    if _NO_PATH.search(key):
        raise StorageUnavailableError(f"obstore cannot ask for the key {key!r}.")
    return key


def _no_span(_operation: str, _key: str) -> AbstractContextManager[object]:
    return nullcontext()


@contextmanager
def _waiting() -> Iterator[None]:
    """Time the wait for a body and translate its errors."""
    begun = time.perf_counter()
    try:
        yield
    except BaseError as exc:
        raise StorageUnavailableError from exc
    finally:
        add_s3_wait(time.perf_counter() - begun)


def _content(file: IO[bytes]) -> bytes | mmap.mmap:
    """Return the content of a file; that of a large one is mapped, which copies nothing."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if size > _MAPPED_BYTES:
        try:
            return mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
        except OSError:
            pass  # in memory
    return file.read()
