"""Ceph's S3 gateway, radosgw, on a single-node cluster.

Needs Ceph's programs; on Debian: `apt-get install radosgw ceph-mon ceph-osd ceph-mgr`. Objects are
kept in memory and are lost when the process ends.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

from devstack.object_store import (
    HOST,
    Credentials,
    ObjectStoreError,
    StoreProcess,
    running,
    start_process,
)
from devstack.processes import exclusive
from devstack.waiting import free_port

PROGRAMS = ("radosgw", "radosgw-admin", "ceph-mon", "ceph-osd", "ceph-mgr", "ceph-authtool")
_CONFIGURATION = """[global]
fsid = {cluster}
mon host = v2:{mon}
public addr = 127.0.0.1
keyring = {folder}/keyring
mon data = {folder}/mon
osd data = {folder}/osd
mgr data = {folder}/mgr
rgw data = {folder}/rgw
run dir = {folder}
admin socket = {folder}/$name.asok
log file = {folder}/$name.log
osd objectstore = memstore
memstore device bytes = 2147483648
osd pool default size = 1
osd pool default pg num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
rgw frontends = beast endpoint={address}
"""
_KEYS = {
    "mon.": {"mon": "allow *"},
    "client.admin": {"mon": "allow *", "osd": "allow *", "mgr": "allow *"},
    "osd.0": {"mon": "allow profile osd", "osd": "allow *", "mgr": "allow profile osd"},
    "mgr.x": {"mon": "allow profile mgr", "osd": "allow *"},
}


def is_installed() -> bool:
    """Return whether all required Ceph programs are installed."""
    return all(map(shutil.which, PROGRAMS))


@contextmanager
def ceph(data_dir: Path) -> Iterator[StoreProcess]:
    """Run a cluster and its gateway on the empty directory `data_dir` until the block ends.

    Enter this from a thread that outlives the block. Raises ObjectStoreError if it does not start.
    """
    data_dir = data_dir.resolve()
    with exclusive(data_dir) as lock, ExitStack() as ends:
        address = f"{HOST}:{free_port()}"
        cluster = _Cluster(data_dir, address, lock)
        for start in (cluster.start_monitor, cluster.start_osd, cluster.start_manager):
            ends.callback(_end, start())
        credentials = Credentials.of(data_dir)
        keys = [f"--access-key={credentials.access_key}", f"--secret-key={credentials.secret_key}"]
        cluster.run("radosgw-admin", "user", "create", "--uid=test", "--display-name=test", *keys)
        gateway = cluster.start("radosgw", "--name=client.admin")
        store = StoreProcess(f"http://{address}", *credentials, data_dir, gateway)
        yield ends.enter_context(running(store))


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


class _Cluster:
    """One monitor, one OSD and one manager."""

    def __init__(self, folder: Path, address: str, lock: int) -> None:
        self._folder, self._lock = folder, lock
        self._id = str(uuid4())
        self._mon = f"{HOST}:{free_port()}"
        for name in ("mon", "osd", "mgr", "rgw"):
            (folder / name).mkdir()
        text = _CONFIGURATION.format(
            cluster=self._id, mon=self._mon, folder=folder, address=address
        )
        (folder / "ceph.conf").write_text(text)
        self._environment = {"PATH": os.environ["PATH"], "CEPH_CONF": str(folder / "ceph.conf")}

    def run(self, *command: str) -> None:
        """Run a command and wait for it. Raises ObjectStoreError if it fails."""
        done = subprocess.run(
            command,
            env=self._environment,
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if done.returncode:
            raise ObjectStoreError(f"{' '.join(command)}:\n{done.stderr[-2000:]}")

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a daemon in the foreground."""
        return start_process(
            self._folder, [*command, "--foreground"], self._environment, self._lock
        )

    def start_monitor(self) -> subprocess.Popen[bytes]:
        """Create the keys and the monitor map, then start the monitor."""
        self.run("ceph-authtool", "--create-keyring", "keyring")
        for name, rights in _KEYS.items():
            caps = [word for kind, allowed in rights.items() for word in ("--cap", kind, allowed)]
            self.run("ceph-authtool", "keyring", "--gen-key", f"--name={name}", *caps)
        self.run("monmaptool", "--create", f"--fsid={self._id}", "map")
        self.run("monmaptool", "--addv", "a", f"[v2:{self._mon}]", "map")
        self.run("ceph-mon", "-i", "a", "--mkfs", "--monmap", "map", "--keyring", "keyring")
        return self.start("ceph-mon", "-i", "a")

    def start_osd(self) -> subprocess.Popen[bytes]:
        """Create and start the only OSD."""
        osd = str(uuid4())
        self.run("ceph", "osd", "new", osd)
        self.run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        return self.start("ceph-osd", "-i", "0")

    def start_manager(self) -> subprocess.Popen[bytes]:
        """Start the manager; without it pools never become ready."""
        return self.start("ceph-mgr", "-i", "x")
