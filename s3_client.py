"""S3: put, get and delete of one object; the only module that knows boto3.

Every error of boto3 and urllib3 becomes `ObjectMissing` or `StorageUnavailable`; access denied
is never "missing".
"""

import base64
import io
import os
import random
import re
import secrets
import time
from collections.abc import Iterator
from typing import IO, Any
from urllib.parse import quote, urlencode

import boto3
import urllib3
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

import s3_connections
from config import Settings
from errors import ConfigurationError, ObjectMissing, StorageUnavailable

_UNSAFE_IN_KEY = re.compile(r"[^A-Za-z0-9._-]+")
_SMALL_BYTES = 1024 * 1024
_RETRYABLE_STATUS = {429, 500, 502, 503, 504}


def generate_s3_key(name: str, extension: str) -> str:
    """Mint a key that was never used before and never will be: `<name>-<128 random bits>.<ext>`.

    Flat, because SeaweedFS and MinIO take `/` for folders; the name is recognisable as far as
    its characters are safe in a URL and in a shell.
    """
    readable = _UNSAFE_IN_KEY.sub("-", name)[:80].strip("-.") or "image"
    return f"{readable}-{secrets.token_hex(16)}.{extension}"


class Bucket:
    """The bucket of the images. Clients and connections are built once and shared by threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._name = settings.aws_s3_bucket
        try:
            self._connect(boto3.session.Session(region_name=settings.aws_region))
        except (BotoCoreError, ValueError) as exc:
            raise ConfigurationError(f"Configuration: S3 cannot be used: {exc}") from exc

    def _connect(self, session: boto3.session.Session) -> None:
        """Build clients and pool. Nothing is sent."""
        settings = self._settings
        self._credentials = session.get_credentials()
        self._client = s3_connections.client(session, settings, settings.s3_max_attempts)
        # A PUT that is sent twice may land twice: the write protocol allows one attempt per key.
        self._put_client = s3_connections.client(
            session,
            settings,
            1,
            # While bytes are being sent, urllib3's limit is that of connecting.
            connect_timeout=max(settings.s3_connect_timeout, settings.s3_read_timeout),
            read_timeout=settings.s3_put_timeout,
        )
        self._put_client.meta.events.register_last("before-call.s3", _expect_nothing)
        self._ready_client = s3_connections.client(
            session, settings, 1, read_timeout=settings.ready_timeout
        )
        self._base_url = s3_connections.base_url(session, settings, settings.aws_endpoint_url_s3)
        self._public_url = s3_connections.base_url(
            session, settings, settings.s3_public_endpoint_url or settings.aws_endpoint_url_s3
        )
        self._pool = s3_connections.http_pool(self._base_url, settings)

    def upload_image(
        self,
        file_obj: IO[bytes],
        key: str,
        content_type: str,
        *,
        sha256: str | None = None,
        deadline: float | None = None,
    ) -> None:
        """Put the whole of `file_obj` under `key`, in one attempt.

        `sha256` (hex) lets S3 verify what arrived. From `deadline` on (of `time.monotonic`)
        nothing more is sent. Raises StorageUnavailable; the object may exist all the same, now
        or later.
        """
        if deadline is None:
            deadline = time.monotonic() + self._settings.s3_put_timeout
        checksum = {}
        if sha256 and self._settings.s3_checksum:
            checksum["ChecksumSHA256"] = base64.b64encode(bytes.fromhex(sha256)).decode()
        body: Any = _DeadlineReader(file_obj, deadline)
        size = file_obj.seek(0, os.SEEK_END)
        file_obj.seek(0)
        try:
            # boto3 sends bytes at once, but a file in pieces of 16 KB.
            if size <= _SMALL_BYTES:
                body = body.read()
            self._put_client.put_object(
                Bucket=self._name, Key=key, Body=body, ContentType=content_type, **checksum
            )
        except (BotoCoreError, ClientError, TimeoutError) as exc:
            raise StorageUnavailable from exc

    def download_image(self, key: str, part: tuple[int, int] | None = None) -> "ObjectBody":
        """Open the object under `key`, or its bytes from first to last inclusive.

        Signed here and sent over a urllib3 pool of our own: half the CPU of boto3's `get_object`
        at 100 KB. Raises ObjectMissing or StorageUnavailable.
        """
        headers = {"Range": f"bytes={part[0]}-{part[1]}"} if part else {}
        for attempt in range(1, self._settings.s3_max_attempts + 1):
            final = attempt == self._settings.s3_max_attempts
            try:
                response = self._signed_get(key, headers)
            except urllib3.exceptions.HTTPError as exc:
                if final:
                    raise StorageUnavailable from exc
            else:
                if response.status in {200, 206}:
                    return ObjectBody(response)
                error = _error_of(response)
                if final or response.status not in _RETRYABLE_STATUS:
                    raise error
            time.sleep(random.uniform(0, 0.1 * 2**attempt))  # noqa: S311
        raise AssertionError("unreachable")

    def delete_image(self, key: str) -> None:
        """Delete the object under `key`; it need not exist. Raises StorageUnavailable."""
        try:
            self._client.delete_object(Bucket=self._name, Key=key)
        except (BotoCoreError, ClientError) as exc:
            raise StorageUnavailable from exc

    def list_objects(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Yield key and size in bytes of every object whose key begins with `prefix`.

        S3 lists in the order of the keys' UTF-8 bytes; some stores do not. Raises
        StorageUnavailable.
        """
        pages = self._client.get_paginator("list_objects_v2")
        try:
            for page in pages.paginate(Bucket=self._name, Prefix=prefix):
                yield from ((entry["Key"], entry["Size"]) for entry in page.get("Contents", ()))
        except (BotoCoreError, ClientError) as exc:
            raise StorageUnavailable from exc

    def presigned_url(self, method: str, key: str, answer_headers: dict[str, str]) -> str:
        """Return a URL that lets anyone `method` (GET or HEAD) the object for a while.

        `answer_headers` are the headers with which S3 is to answer (AWS, GetObject:
        "Overriding response header values"). Signed here, at a third of the CPU of boto3's
        `generate_presigned_url`. Raises StorageUnavailable without credentials.
        """
        overrides = {f"response-{name.lower()}": value for name, value in answer_headers.items()}
        url = f"{self._public_url}{key}?{urlencode(overrides, quote_via=quote)}"
        request = AWSRequest(method, url)
        expires = self._settings.redirect_seconds
        S3SigV4QueryAuth(
            self._frozen_credentials(), "s3", self._settings.aws_region, expires
        ).add_auth(request)
        return str(request.url)

    def check(self) -> None:
        """Ask for the bucket, once and briefly. Raises StorageUnavailable."""
        try:
            self._ready_client.head_bucket(Bucket=self._name)
        except (BotoCoreError, ClientError) as exc:
            raise StorageUnavailable from exc

    def close(self) -> None:
        """Close all pooled connections."""
        for client in (self._client, self._put_client, self._ready_client):
            client.close()
        self._pool.clear()

    def _signed_get(self, key: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        """Send one GET signed with AWS Signature Version 4 (in the Authorization header)."""
        request = AWSRequest("GET", self._base_url + key, headers=headers)
        region = self._settings.aws_region
        S3SigV4Auth(self._frozen_credentials(), "s3", region).add_auth(request)
        return self._pool.request(
            "GET",
            str(request.url),
            headers=dict(request.headers.items()),
            preload_content=False,
            decode_content=False,
            redirect=False,
            retries=False,
        )

    def _frozen_credentials(self) -> Any:
        """The credentials of this moment; those of a role are refreshed before they expire."""
        try:
            if self._credentials is None:
                raise NoCredentialsError
            return self._credentials.get_frozen_credentials()
        except BotoCoreError as exc:
            raise StorageUnavailable from exc


class ObjectBody:
    """The bytes of an object on their way; every read raises StorageUnavailable when cut short."""

    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        self._response = response
        self.headers = response.headers
        self.length = int(response.headers.get("Content-Length", -1))

    def read(self, size: int | None = None) -> bytes:
        """Return the next `size` bytes, all that is left with None, `b""` at the end."""
        try:
            return self._response.read(size)
        except urllib3.exceptions.HTTPError as exc:
            raise StorageUnavailable from exc

    def read_all(self, size: int) -> bytes:
        """Return the whole, closed then. Raises StorageUnavailable unless it has `size` bytes."""
        try:
            content = self.read()
        finally:
            self.close()
        if len(content) != size:
            raise StorageUnavailable(f"The object has {len(content)} bytes instead of {size}.")
        return content

    def close(self) -> None:
        """Let go of the connection: reusable when everything was read, otherwise closed."""
        self._response.close()


class _DeadlineReader:
    """A file that cannot be read any more from `deadline` on."""

    def __init__(self, file_obj: IO[bytes], deadline: float) -> None:
        self._file = file_obj
        self._deadline = deadline
        self.seek = file_obj.seek
        self.tell = file_obj.tell

    def read(self, size: int = -1) -> bytes:
        if time.monotonic() > self._deadline:
            raise TimeoutError("sending the object took too long")
        return self._file.read(size)


def _expect_nothing(params: dict[str, Any], **_: object) -> None:
    """Send small bodies without asking the store first whether it takes them.

    botocore asks before every body (Expect: 100-continue), which costs a small PUT a round trip
    and, since it reads the answer byte by byte, a tenth of its CPU.
    """
    if isinstance(params["body"], io.BytesIO):
        params["headers"].pop("Expect", None)


def _error_of(response: urllib3.BaseHTTPResponse) -> Exception:
    """Read an S3 error document and say what it means (AWS: "Error responses")."""
    try:
        document = response.read(4096).decode("utf-8", "replace")
    except urllib3.exceptions.HTTPError:
        document = ""
    response.close()
    found = re.search("<Code>([A-Za-z0-9]+)</Code>", document)
    code = found[1] if found else ""
    if response.status == 404 and code in {"NoSuchKey", ""}:
        return ObjectMissing()
    error = StorageUnavailable()
    error.__cause__ = RuntimeError(f"GET answered {response.status} {code}")
    return error
