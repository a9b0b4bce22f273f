"""What S3 answers: the bytes of an object on their way, or an error document."""

import re
import time

import urllib3

from errors import StorageUnavailableError
from telemetry.request_metrics import add_s3_wait


class S3ResponseError(Exception):
    """What S3 answered instead of doing what it was asked; `code` is "" where it gave none."""

    def __init__(self, method: str, status: int, code: str) -> None:
        super().__init__(f"{method} answered {status} {code}".rstrip())
        self.status = status
        self.code = code


class ObjectBody:
    """The bytes of an object on their way. A read of a cut body raises StorageUnavailableError."""

    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        self._response = response
        self.headers = response.headers
        self.length = int(response.headers.get("Content-Length", -1))

    def read(self, size: int | None = None) -> bytes:
        """Return the next `size` bytes, all that is left with None, `b""` at the end."""
        begun = time.perf_counter()
        try:
            return self._response.read(size)
        except urllib3.exceptions.HTTPError as exc:
            raise StorageUnavailableError from exc
        finally:
            add_s3_wait(time.perf_counter() - begun)

    def read_all(self, size: int | None = None) -> bytes:
        """Return the whole and close. Raises StorageUnavailableError unless it has `size` bytes."""
        try:
            content = self.read()
        finally:
            self.close()
        if size is not None and len(content) != size:
            raise StorageUnavailableError(f"The object has {len(content)} bytes instead of {size}.")
        return content

    def close(self) -> None:
        """Let go of the connection: reusable when everything was read, otherwise closed."""
        self._response.close()


def response_error(method: str, response: urllib3.BaseHTTPResponse) -> S3ResponseError:
    """Read an S3 error document (AWS: "Error responses")."""
    try:
        document = response.read(4096).decode("utf-8", "replace")
    except urllib3.exceptions.HTTPError:
        document = ""
    response.close()
    found = re.search("<Code>([A-Za-z0-9]+)</Code>", document)
    return S3ResponseError(method, response.status, found[1] if found else "")
