"""Concurrent operations on one name are linearizable."""

import hashlib
import random
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import pytest
import urllib3

from devstack.service_process import ServiceProcess
from tests.support.linearizability import Operation, is_linearizable
from tests.support.pictures import jpeg

THREADS = 16
PICTURES = [jpeg(32, 24, seed) for seed in range(40)]
DIGEST = {hashlib.sha256(picture).hexdigest(): picture for picture in PICTURES}


class Actor:
    """A client that performs random operations and records their answers."""

    def __init__(self, service: ServiceProcess, seed: int, names: list[str]) -> None:
        self.random, self.names, self.url = random.Random(seed), names, f"{service.base_url}/images"
        self.history: dict[str, list[Operation]] = defaultdict(list)

    def act(self, n: int) -> None:
        """Perform `n` operations."""
        with urllib3.PoolManager(retries=False, timeout=30) as pool:
            for _ in range(n):
                name = self.random.choice(self.names)
                perform = self.random.choice([self.upload, self.upload, self.read, self.delete])
                called = time.monotonic()
                done = perform(pool, name)
                if done:
                    timed = done._replace(called=called, answered=time.monotonic())
                    self.history[name].append(timed)

    def upload(self, pool: urllib3.PoolManager, name: str) -> Operation | None:
        """Upload a random picture."""
        digest, picture = self.random.choice(list(DIGEST.items()))
        fields = {"file": (f"{name}.jpg", picture)}
        answer = pool.request("POST", self.url, fields=fields)
        assert answer.status in {200, 201, 409}, answer.data
        if answer.status == 409:  # too many concurrent writers: nothing has changed
            return None
        return Operation(answer.headers["Upload-Result"], digest, 0)  # type: ignore[arg-type]

    def read(self, pool: urllib3.PoolManager, name: str) -> Operation:
        """Download, and assert that the bytes match the ETag."""
        answer = pool.request("GET", f"{self.url}/{name}")
        if answer.status == 404:
            return Operation("absent", None, 0)
        assert answer.status == 200, answer.data
        digest = hashlib.sha256(answer.data).hexdigest()
        assert answer.headers["ETag"] == f'"{digest}"'
        return Operation("read", digest, 0)

    def delete(self, pool: urllib3.PoolManager, name: str) -> Operation | None:
        """Delete the image."""
        answer = pool.request("DELETE", f"{self.url}/{name}")
        assert answer.status in {200, 404, 409}, answer.data
        if answer.status == 409:
            return None
        return Operation("deleted" if answer.status == 200 else "absent", None, 0)


@pytest.mark.parametrize("database_url", ["postgresql", "mariadb", "mysql"], indirect=True)
@pytest.mark.parametrize("rounds", [1, pytest.param(60, marks=pytest.mark.soak)])
def test_histories(service: ServiceProcess, rounds: int) -> None:
    """The history of each name is linearizable while 16 clients use four names at once."""
    for turn in range(rounds):
        names = [f"register-{turn}-{i}" for i in range(4)]
        actors = [Actor(service, turn * THREADS + i, names) for i in range(THREADS)]
        with ThreadPoolExecutor(THREADS) as threads:
            for work in [threads.submit(actor.act, 16) for actor in actors]:
                work.result()
        for name in names:
            history = [done for actor in actors for done in actor.history[name]]
            assert is_linearizable(history), "\n".join(
                map(str, sorted(history, key=lambda o: o.called))
            )


A, B = "a", "b"
LINEARIZABLE = [
    [Operation("created", A, 0, 1), Operation("read", A, 2, 3)],
    [Operation("created", A, 0, 9), Operation("absent", None, 1, 2), Operation("read", A, 3, 4)],
    [Operation("upload?", A, 0), Operation("absent", None, 1, 2), Operation("read", A, 3, 4)],
    [Operation("created", A, 0, 1), Operation("deleted", None, 0, 5), Operation("read", A, 2, 3)],
]
NOT_LINEARIZABLE = [
    [Operation("created", A, 0, 1), Operation("absent", None, 2, 3)],  # a lost write
    [Operation("created", A, 0, 1), Operation("created", B, 0, 1)],  # two first uploads
    [Operation("read", A, 0, 1)],  # a value that was never written
    [  # a read of an older version after a newer one
        *(Operation("created", A, 0, 1), Operation("replaced", B, 2, 9)),
        *(Operation("read", B, 3, 4), Operation("read", A, 5, 6)),
    ],
    [
        Operation("created", A, 0, 1),
        Operation("deleted", None, 2, 9),
        Operation("deleted", None, 2, 9),
    ],
]


@pytest.mark.parametrize("history", LINEARIZABLE)
def test_checker_accepts(history: list[Operation]) -> None:
    """The checker accepts linearizable histories."""
    assert is_linearizable(history)


@pytest.mark.parametrize("history", NOT_LINEARIZABLE)
def test_checker_rejects(history: list[Operation]) -> None:
    """The checker rejects histories that are not linearizable."""
    assert not is_linearizable(history)
