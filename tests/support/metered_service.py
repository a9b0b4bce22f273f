"""The service with a proxy in front of S3 that records every request."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import httpx
from sqlalchemy import Engine, text

from config import Settings
from devstack.databases import engine_for, fresh_database
from devstack.object_store import ObjectStore
from devstack.service_process import ServiceProcess
from devstack.waiting import wait_until
from scripts.create_tables import create_tables
from tests.support.aws_policy import Call, refused, role_permissions, s3_call
from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.invariants import violations

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_HEAD = re.compile(rb"(GET|HEAD|PUT|POST|DELETE) (\S+) HTTP/1\.1\r\n((?:[^\r\n]+\r\n)*)\r\n")
_RANGE = re.compile(rb"^range: *(.*?)\r$", re.IGNORECASE | re.MULTILINE)

Fields = Sequence[tuple[str, str]]  # header fields; a name may occur more than once


class S3Request(NamedTuple):
    """A request that the service sent to S3; `part` is the value of its Range header."""

    method: str
    part: str | None


class S3Meter(FaultProxy):
    """A fault proxy in front of S3 that also records every request."""

    def __init__(self, store: ObjectStore) -> None:
        super().__init__(("127.0.0.1", int(store.endpoint_url.rpartition(":")[2])))
        self.requests: list[S3Request] = []
        self._heads: set[tuple[str, str, tuple[str, ...]]] = set()

    @property
    def url(self) -> str:
        """The endpoint URL of the proxy."""
        return f"http://127.0.0.1:{self.address[1]}"

    def claim(self, tail: bytes, chunk: bytes) -> Fault | None:
        """Record the requests whose heads end within `chunk`."""
        for head in _HEAD.finditer(tail + chunk):
            if head.end() > len(tail):
                part = _RANGE.search(head[3])
                self.requests.append(S3Request(head[1].decode(), part and part[1].decode()))
                names = (field.partition(b":")[0].decode() for field in head[3].splitlines())
                self._heads.add((head[1].decode(), head[2].decode(), tuple(names)))
        return super().claim(tail, chunk)

    def taken(self) -> list[S3Request]:
        """Return the requests recorded since the last call."""
        taken, self.requests = self.requests, []
        return taken

    def calls(self) -> set[Call]:
        """Return all calls to S3. Raises ValueError if one is unknown."""
        return {s3_call(*head) for head in self._heads}


def _headers(fields: Fields) -> httpx.Headers:
    return httpx.Headers(list(fields), encoding="latin-1")


@dataclass
class MeteredService:
    """A running service with an HTTP client, the proxy in front of S3, and its database."""

    client: httpx.Client
    meter: S3Meter
    engine: Engine
    bucket: str
    process: ServiceProcess
    _names: int = field(default=0, init=False)

    def new_name(self) -> str:
        """Return a name that no image has."""
        self._names += 1
        return f"image-{self._names}"

    def upload(
        self, name: str, content: bytes, fields: Fields = (), extension: str = "png"
    ) -> httpx.Response:
        """Upload `content` as the image `name`."""
        files = {"file": (f"file.{extension}", content)}
        return self.client.post(
            "/images", files=files, data={"name": name}, headers=_headers(fields)
        )

    def put(self, name: str, content: bytes, fields: Fields = ()) -> httpx.Response:
        """Upload `content` as the image `name`, by PUT."""
        headers = _headers(fields)
        return self.client.put(f"/images/{name}", content=content, headers=headers)

    def image(self, content: bytes, extension: str = "png") -> str:
        """Upload `content` under a new name, clear the recorded requests and return its path."""
        name = self.new_name()
        answer = self.upload(name, content, extension=extension)
        assert answer.status_code == 201, answer.text
        self.settle()
        return f"/images/{name}"

    def send(self, method: str, path: str, fields: Fields = ()) -> httpx.Response:
        """Send a request and return the response; redirects are not followed."""
        return self.client.request(method, path, headers=_headers(fields))

    def settle(self) -> None:
        """Wait until the journal is empty, then clear the recorded requests."""
        wait_until(lambda: not self.journal(), timeout=10, what="the journal to be empty")
        self.meter.taken()

    def journal(self) -> int:
        """Count the journal entries."""
        with self.engine.connect() as connection:
            return int(connection.scalar(text("SELECT count(*) FROM pending_objects")) or 0)


@contextmanager
def metered_service(
    store: ObjectStore,
    s3: "S3Client",
    bucket: str,
    *,
    database: str = "sqlite://",
    workers: int = 1,
    **variables: str,
) -> Iterator[MeteredService]:
    """Run the service on a new database and an empty bucket; check both and the role at the end."""
    with fresh_database(database) as url, S3Meter(store) as meter:
        create_tables(Settings(db_url=url, aws_region=store.region, aws_s3_bucket=bucket))
        environment = store.environment() | {
            "S3_READ_TIMEOUT_SECONDS": "3",  # wrong answers are asked for again as long
            "DB_URL": url,
            "AWS_S3_BUCKET": bucket,
            "AWS_ENDPOINT_URL_S3": meter.url,
            **variables,
        }
        engine = engine_for(url)
        with (
            ServiceProcess(environment, workers=workers) as process,
            httpx.Client(base_url=process.base_url, timeout=30) as client,
        ):
            yield MeteredService(client, meter, engine, bucket, process)
            found = violations(engine, s3, bucket)
            found += refused(meter.calls(), role_permissions(bucket))
        engine.dispose()
        assert not found, "\n".join(found)
