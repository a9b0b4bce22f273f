"""A real S3 server that needs nothing but pip: SeaweedFS, run as a child of this process.

`python -m devstack`, the tests and the benchmarks store their objects in it. It is durable in
the sense that matters there: what a PUT acknowledged survives SIGKILL and a restart. However this
process dies, its store dies with it. No web page can reach what it keeps (see `seaweedfs`). Not
for production: it does not fsync, and whoever can log in to this machine can reach its gRPC ports.

    with object_store(Path(".data/objects")) as store:
        store.create_bucket("images")
        os.environ.update(store.environment())
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import urllib3
from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from devstack import seaweedfs
from devstack.processes import die_with_parent, exclusive
from devstack.seaweedfs import HOST, Credentials, ObjectStoreError, Ports
from devstack.waiting import wait_until

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REGION = "us-east-1"
_LOG = "weed.log"
START_TIMEOUT = 30.0
STOP_TIMEOUT = 10.0


@dataclass(frozen=True)
class ObjectStore:
    """A running store: where it answers, and who may ask."""

    endpoint_url: str
    access_key: str
    secret_key: str
    region: str
    data_dir: Path
    process: subprocess.Popen[bytes]

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

    def ended(self) -> bool:
        """Tell whether the server has ended, by itself or by `stop`."""
        return self.process.poll() is not None

    @property
    def log_file(self) -> Path:
        """What the server writes; begun anew at each start."""
        return self.data_dir / _LOG

    def stop(self) -> None:
        """End the server, gently at first; nothing of it is left when this returns."""
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def object_store(data_dir: Path, *, port: int | None = None) -> Iterator[ObjectStore]:
    """Run a store on `data_dir`, created if need be, until the block ends.

    The S3 port is `port`, or one that is free. Enter this from a thread that outlives the block:
    Linux counts the end of the thread that forked as the death of the parent.
    Raises ObjectStoreError when the store does not come up, with the end of its log, and
    DirectoryInUseError when another process runs one on `data_dir`.
    """
    data_dir = data_dir.resolve()
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    # A killed predecessor may take a moment to be gone.
    with exclusive(data_dir, patience=5.0) as lock:
        ports = Ports.choose(data_dir, port)
        store = _start(data_dir, ports, lock)
        try:
            _wait_until_ready(store, ports)
            yield store
        finally:
            store.stop()
            ports.remove_sockets()  # there if it was killed


def _start(data_dir: Path, ports: Ports, lock: int) -> ObjectStore:
    """Start SeaweedFS on `data_dir` and return at once, before it answers."""
    credentials = Credentials.of(data_dir)
    scratch = data_dir / "tmp"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    # SeaweedFS saves its options here and would let them override ours.
    (data_dir / "mini.options").unlink(missing_ok=True)
    with (data_dir / _LOG).open("wb") as log:
        process = subprocess.Popen(
            seaweedfs.command(data_dir, ports),
            cwd=data_dir,
            env=seaweedfs.environment(data_dir, credentials),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Its own session: a Ctrl-C must not reach the store before the service is done.
            start_new_session=True,
            preexec_fn=partial(die_with_parent, os.getpid(), signal.SIGKILL),
            # The store holds the lock as long as it can write, even when we are gone.
            pass_fds=(lock,),
        )
    endpoint_url = f"http://{HOST}:{ports.http['s3']}"
    return ObjectStore(endpoint_url, *credentials, REGION, data_dir, process)


def _wait_until_ready(store: ObjectStore, ports: Ports) -> None:
    """Return once `store` serves. Raises ObjectStoreError when it ends or never does."""
    client = store.client()
    with suppress(TimeoutError):
        wait_until(
            lambda: store.ended() or _is_ready(client, ports),
            timeout=START_TIMEOUT,
            what="the object store",
        )
        if not store.ended():
            return
    tail = store.log_file.read_text(errors="replace")[-2000:]
    raise ObjectStoreError(f"The object store did not start. The end of its log:\n{tail}")


def _is_ready(client: "S3Client", ports: Ports) -> bool:
    """Tell whether signed requests are answered, and objects that were stored before are found."""
    try:
        # Signed, for an open port may be that of somebody else's store.
        client.list_buckets()
        # Reading fails until the volume server has announced itself to the master, which then
        # names it on its front page.
        master = f"http://{HOST}:{ports.http['master']}/"
        page = urllib3.request("GET", master, timeout=2, retries=False)
    except (BotoCoreError, ClientError, urllib3.exceptions.HTTPError):
        return False
    return f"{HOST}:{ports.http['volume']}".encode() in page.data
