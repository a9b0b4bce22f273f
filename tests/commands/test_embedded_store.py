"""The embedded store answers only clients that have its keys, and no page in a browser."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
import urllib3
from urllib3.exceptions import HTTPError

from devstack.object_store import StoreProcess
from devstack.seaweedfs import seaweedfs

BODY = Random(1).randbytes(5000)  # random, because SeaweedFS compresses text
PAGE = {"Origin": "http://evil.example"}
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreProcess]:
    """Return a separate store with one object in the bucket `images`."""
    with seaweedfs(tmp_path_factory.mktemp("store")) as running:
        running.create_bucket("images")
        running.client().put_object(Bucket="images", Key="key.png", Body=BODY)
        yield running


def ports(store: StoreProcess) -> set[int]:
    """Return every TCP port that the store's process listens on."""
    process = Path("/proc", str(store.process.pid))
    open_sockets = set()
    for descriptor in (process / "fd").iterdir():
        with suppress(FileNotFoundError):  # closed after the directory was listed
            open_sockets.add(str(descriptor.readlink()).removeprefix("socket:[").rstrip("]"))
    lines = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in (process / "net" / table).read_text().splitlines()[1:]
    ]
    listening = [fields[1] for fields in lines if fields[3] == "0A" and fields[9] in open_sockets]
    return {int(address.rpartition(":")[2], 16) for address in listening}


def needle(store: StoreProcess) -> str:
    """Return the path of the object's bytes on the volume server: volume, id and cookie."""
    (volume,) = [file for file in store.data_dir.rglob("images_*.dat") if BODY in file.read_bytes()]
    # The first object follows a superblock of 8 bytes: 4 bytes of cookie, then 8 bytes of id.
    head = volume.read_bytes()[8:20]
    number = volume.stem.partition("_")[2]
    return f"/{number},{int.from_bytes(head[4:]):x}{head[:4].hex()}"


@pytest.fixture(scope="module")
def paths(store: StoreProcess) -> list[str]:
    """Return the paths by which SeaweedFS's servers read, list, change or delete something."""
    objects = ["/images/key.png", "/buckets/images/key.png", needle(store)]
    lists = ["/", "/images", "/images/?list-type=2", "/buckets/", "/buckets/images/", "/.tus/"]
    master = ["/dir/assign", "/dir/lookup?volumeId=1", "/dir/status", "/vol/grow?count=1"]
    return [*objects, *lists, *master, "/vol/status", "/submit", "/col/delete?collection=images"]


def ask(port: int, method: str, path: str) -> urllib3.BaseHTTPResponse | None:
    """Return the response to a page of another origin; None if it is not an HTTP response."""
    url = f"http://127.0.0.1:{port}{path}"
    try:
        return urllib3.request(method, url, headers=PAGE, timeout=5, retries=False)
    except HTTPError:
        return None


def test_other_origin_is_refused(store: StoreProcess, paths: list[str]) -> None:
    """No port of the store lets a page without keys read, list, add or delete anything."""
    granted = [
        (port, method, path, answer.status)
        for port in ports(store)
        for path in paths
        for method in METHODS
        if (answer := ask(port, method, path)) is not None
        and answer.status < 400
        # The cluster status page: HTML that no other origin may read.
        and not (path == "/" and b"Cluster status" in answer.data)
        and not (path == "/" and method == "HEAD")
    ]
    assert granted == []
    kept = store.client().get_object(Bucket="images", Key="key.png")
    assert kept["Body"].read() == BODY


def test_origins(store: StoreProcess, paths: list[str]) -> None:
    """No page of another origin may read a response with content, and preflights are refused."""
    for port in ports(store):
        for path in paths:
            answer = ask(port, "GET", path)
            if answer is not None and "Access-Control-Allow-Origin" in answer.headers:
                assert answer.status in {400, 401, 403, 404}, (port, path)
                assert not re.search(b"key.png|DataCenter", answer.data)
    preflight = {**PAGE, "Access-Control-Request-Method": "DELETE"}
    answer = urllib3.request("OPTIONS", f"{store.endpoint_url}/images/key.png", headers=preflight)
    assert answer.status == 403
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_anonymous(store: StoreProcess) -> None:
    """The S3 gateway refuses a request without a signature."""
    for method, path in [("GET", "/images/key.png"), ("GET", "/images?list-type=2"), ("GET", "/")]:
        assert urllib3.request(method, store.endpoint_url + path).status == 403
