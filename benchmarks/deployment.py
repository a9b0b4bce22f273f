"""A scenario, its running service, and what a row of the results is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.load import Load
from benchmarks.stack import Setting, Stack
from devstack.server_process import ServerProcess


@dataclass(frozen=True)
class Scenario:
    """A setting of the service, and the rows to measure with their numbers of clients."""

    setting: Setting
    rows: Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class Deployment:
    """The running service or peer of a scenario, with its bucket."""

    stack: Stack
    setting: Setting
    process: ServerProcess
    bucket: str

    @property
    def base_url(self) -> str:
        """The address of the service or the peer."""
        return self.process.base_url

    def signed(self, operation: str, key: str) -> tuple[bytes]:
        """Return the path of a presigned URL."""
        url = self.stack.s3.generate_presigned_url(
            operation, Params={"Bucket": self.bucket, "Key": key}
        )
        return (url.removeprefix(self.stack.store.endpoint_url).encode(),)


@dataclass(frozen=True)
class Row:
    """One kind of request and its expected response.

    With `times`, one client sends so many requests, each once, instead of a load for a while, and
    `judge` returns the quality of a response.
    """

    load: Callable[[Deployment], Load]
    status: int = 200
    size: int = 0  # of the image that is sent or received
    seed: Callable[[Deployment], Load] | None = None  # sent first, to create what the load needs
    times: int = 0
    judge: Callable[[bytes], float] | None = None
