"""A rolling upgrade from the first release to this one and back, under load."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Self

import pytest
import urllib3

from config import Settings
from devstack.databases import fresh_database
from devstack.object_store import ObjectStore
from devstack.service_process import ROOT, ServiceProcess
from devstack.waiting import wait_until
from resources import Resources
from scripts.create_tables import create_tables
from tests.support.uploads import count as rows_of
from tests.support.variants import HIGH, WIDE

_CLIENTS = 3
GIT = ["/usr/bin/env", "git", "-c", "safe.directory=*"]


def git(*arguments: str) -> str:
    """Run git in this checkout."""
    done = subprocess.run([*GIT, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def first_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the first release: the last commit before layers became folders."""
    moved = git("rev-list", "--max-count=1", "HEAD", "--", "image_store.py")
    if not moved or git("rev-parse", "--is-shallow-repository") != "false":
        if os.environ.get("CI"):
            pytest.fail("the first release is not in this shallow checkout; fetch the history")
        pytest.skip("the first release is not in this checkout's history")
    folder = tmp_path_factory.mktemp("first")
    archive = folder / "first.tar"
    git("archive", f"--output={archive}", f"{moved}^")
    subprocess.run(["/usr/bin/env", "tar", "-xf", str(archive), "-C", str(folder)], check=True)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


class Clients:
    """Clients that write, read and delete without pause, at each service in turn."""

    def __init__(self) -> None:
        self.urls: list[str] = []
        self.with_variants: set[str] = set()
        self.wrong: list[str] = []
        self._done = [0] * _CLIENTS
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(i,)) for i in range(_CLIENTS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def serve(self, *urls: str) -> None:
        """Send requests to these services from now on; return when each client has used all."""
        self.urls = list(urls)
        turns = [done + 6 * len(urls) for done in self._done]
        wait_until(
            lambda: bool(self.wrong) or all(map(int.__ge__, self._done, turns)),
            timeout=90,
            what="every client to use all services",
        )
        assert not self.wrong, self.wrong[:3]

    def _work(self, number: int) -> None:
        name = f"client-{number}"
        with urllib3.PoolManager(retries=False, timeout=30) as pool:
            for turn in count():
                if self._stop.is_set():
                    return
                urls = list(self.urls)
                try:
                    self._turn(pool, urls, name, turn)
                except (AssertionError, urllib3.exceptions.HTTPError) as exc:
                    self.wrong.append(repr(exc))
                    return
                self._done[number] += 1

    def _turn(self, pool: urllib3.PoolManager, urls: list[str], name: str, turn: int) -> None:
        """Write at one service, read at another, and every third turn delete at the next."""
        writer, reader, deleter = (urls[(turn + i) % len(urls)] for i in range(3))
        picture, wide = ((WIDE, True), (HIGH, False))[turn % 2]
        form: list[tuple[str, str | tuple[str, bytes]]] = [
            ("file", ("a.jpg", picture)),
            ("name", name),
        ]
        assert pool.request("POST", f"{writer}/images", fields=form).status in {200, 201}
        path = f"{reader}/images/{name}"
        assert pool.request("GET", path).data == picture
        described = pool.request("GET", f"{path}/metadata").json()
        assert (described["width"] > described["height"]) is wide
        for url in self.with_variants & set(urls):
            variant = pool.request("GET", f"{url}/images/{name}/variants/160.png")
            assert variant.status == 200
            width, height = (variant.data[i : i + 4] for i in (16, 20))  # in the IHDR chunk
            assert (width > height) is wide
        if turn % 3 == 0:
            assert pool.request("DELETE", f"{deleter}/images/{name}").status == 200
            assert pool.request("GET", path).status == 404


@pytest.fixture
def old_database(postgres_url: str, first_release: Path) -> Iterator[str]:
    """Return the URL of a database whose tables the first release created."""
    with fresh_database(postgres_url) as url:
        environment = {"DB_URL": url, "AWS_REGION": "none", "AWS_S3_BUCKET": "none"}
        subprocess.run(
            [sys.executable, "-m", "scripts.create_tables"],
            cwd=first_release,
            env=environment | {"PATH": os.environ["PATH"]},
            check=True,
        )
        yield url


def test_rolling(
    old_database: str, bucket: str, object_store: ObjectStore, first_release: Path
) -> None:
    """No request fails, and no image is stale, lost or orphaned, while versions change."""
    environment = {
        **object_store.environment(),
        "DB_URL": old_database,
        "AWS_S3_BUCKET": bucket,
        "SWEEP_INTERVAL": "0.5",
        "SWEEP_INTERVAL_SECONDS": "0.5",
    }
    settings = Settings(
        db_url=old_database,
        aws_region=object_store.region,
        aws_s3_bucket=bucket,
        aws_endpoint_url_s3=object_store.endpoint_url,
    )
    with ExitStack() as stack:
        old = stack.enter_context(ServiceProcess(environment, root=first_release))
        clients = Clients()
        clients.urls = [old.base_url]
        stack.enter_context(clients)
        clients.serve(old.base_url)
        added = {"Table variants created.", "Column images.created_by added."}
        assert added <= set(create_tables(settings))
        clients.serve(old.base_url)
        new = stack.enter_context(ServiceProcess(environment))
        clients.with_variants = {new.base_url}
        clients.serve(old.base_url, new.base_url)
        clients.serve(new.base_url)
        old.terminate()
        old.start()  # downgrade
        clients.serve(old.base_url, new.base_url)
        clients.serve(old.base_url)
        new.terminate()
        clients.serve(old.base_url)
    no_grace = {"upload_grace_seconds": 0}
    with Resources.open(settings.model_copy(update=no_grace)) as resources:
        resources.sweeper().sweep()
        assert resources.verifier(deep=True).verify(lambda _: None, lambda *_: None).clean
        stored = rows_of(settings, "images") + rows_of(settings, "variants")
        assert stored == len(list(resources.bucket.list_objects()))
    assert rows_of(settings, "pending_objects") == 0
