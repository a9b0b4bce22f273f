"""A real S3 server, run as a child of this process: what SeaweedFS and others have in common.

However this process dies, its store dies with it.

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
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from devstack.processes import die_with_parent
from devstack.waiting import wait_until

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

HOST = "127.0.0.1"
REGION = "us-east-1"
START_TIMEOUT = 30.0
STOP_TIMEOUT = 10.0


class ObjectStoreError(RuntimeError):
    """The object store cannot be started, or has ended; the message is written for a person."""


class Credentials(NamedTuple):
    """The only keys that the store accepts."""

    access_key: str
    secret_key: str

    @classmethod
    def of(cls, data_dir: Path) -> Self:
        """Return the credentials of the store on `data_dir`, made when it is first used."""
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
    """A running store: where it answers, and who may ask."""

    endpoint_url: str
    access_key: str
    secret_key: str
    region: str

    def environment(self) -> dict[str, str]:
        """Return the variables that make boto3, and so the service, use this store."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": self.region,
        }

    def client(self) -> "S3Client":
        """Return a new boto3 client of this store: one attempt a call, and never by a proxy."""
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
        """Create the bucket `name` unless it exists. Raises ClientError if it cannot be."""
        client = self.client()
        with suppress(client.exceptions.BucketAlreadyOwnedByYou):
            client.create_bucket(Bucket=name)


@dataclass(frozen=True)
class StoreProcess(ObjectStore):
    """A store that is a child of this process, and keeps its objects in `data_dir`."""

    data_dir: Path
    process: subprocess.Popen[bytes]

    def ended(self) -> bool:
        """Tell whether the server has ended, by itself or by `stop`."""
        return self.process.poll() is not None

    @property
    def log_file(self) -> Path:
        """What the server writes; begun anew at each start."""
        return log_file(self.data_dir)

    def stop(self) -> None:
        """End the server, gently at first; nothing of it is left when this returns."""
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def log_file(data_dir: Path) -> Path:
    """Where the server on `data_dir` writes what it has to say."""
    return data_dir / "server.log"


def program(name: str, package: str) -> str:
    """Return a program: the one of this environment, else the one on the PATH.

    Raises ObjectStoreError when it is not installed.
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
    """Start a server that works on `data_dir`, and return at once, before it answers.

    `lock` is a file descriptor that the server holds as long as it can write, even when we are
    gone. Call this from a thread that outlives the server: Linux counts the end of the thread that
    forked as the death of the parent.
    """
    with log_file(data_dir).open("wb") as log:
        return subprocess.Popen(
            command,
            cwd=data_dir,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Its own session: a Ctrl-C must not reach the store before the service is done.
            start_new_session=True,
            preexec_fn=partial(die_with_parent, os.getpid(), signal.SIGKILL),
            pass_fds=(lock,),
        )


def wait_until_ready(
    store: StoreProcess, is_ready: Callable[["S3Client"], bool] = lambda _: True
) -> None:
    """Return once `store` answers what is signed with its keys, and `is_ready` says so, too.

    Raises ObjectStoreError when it ends or never does, with the end of its log.
    """
    client = store.client()

    def answers() -> bool:
        with suppress(BotoCoreError, ClientError):
            # Signed, for an open port may be that of somebody else's store.
            client.list_buckets()
            return is_ready(client)
        return False

    with suppress(TimeoutError):
        wait_until(
            lambda: store.ended() or answers(), timeout=START_TIMEOUT, what="the object store"
        )
        if not store.ended():
            return
    tail = store.log_file.read_text(errors="replace")[-2000:]
    raise ObjectStoreError(f"The object store did not start. The end of its log:\n{tail}")
