"""Concurrent histories of one name can be explained as one after the other."""

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
    """A client that does things at random and writes down what it was told."""

    def __init__(self, service: ServiceProcess, seed: int, names: list[str]) -> None:
        self.random, self.names, self.url = random.Random(seed), names, f"{service.base_url}/images"
        self.history: dict[str, list[Operation]] = defaultdict(list)

    def act(self, n: int) -> None:
        """Do n things."""
        with urllib3.PoolManager(retries=False, timeout=30) as pool:
            for _ in range(n):
                name = self.random.choice(self.names)
                does = self.random.choice([self.upload, self.upload, self.read, self.delete])
                called = time.monotonic()
                done = does(pool, name)
                if done:
                    kind_and_value = done._replace(called=called, answered=time.monotonic())
                    self.history[name].append(kind_and_value)

    def upload(self, pool: urllib3.PoolManager, name: str) -> Operation | None:
        """Upload one of the pictures."""
        digest, picture = self.random.choice(list(DIGEST.items()))
        fields = {"file": (f"{name}.jpg", picture)}
        answer = pool.request("POST", self.url, fields=fields)
        assert answer.status in {200, 201, 409}, answer.data
        if answer.status == 409:  # too many writers: nothing was changed
            return None
        return Operation(answer.headers["Upload-Result"], digest, 0)  # type: ignore[arg-type]

    def read(self, pool: urllib3.PoolManager, name: str) -> Operation:
        """Download; bytes and the digest in the header are of one version."""
        answer = pool.request("GET", f"{self.url}/{name}")
        if answer.status == 404:
            return Operation("absent", None, 0)
        assert answer.status == 200, answer.data
        digest = hashlib.sha256(answer.data).hexdigest()
        assert answer.headers["ETag"] == f'"{digest}"'
        return Operation("read", digest, 0)

    def delete(self, pool: urllib3.PoolManager, name: str) -> Operation | None:
        """Delete."""
        answer = pool.request("DELETE", f"{self.url}/{name}")
        assert answer.status in {200, 404, 409}, answer.data
        if answer.status == 409:
            return None
        return Operation("deleted" if answer.status == 200 else "absent", None, 0)


@pytest.mark.parametrize("database_url", ["postgresql", "mariadb", "mysql"], indirect=True)
@pytest.mark.parametrize("rounds", [1, pytest.param(60, marks=pytest.mark.soak)])
def test_histories(service: ServiceProcess, rounds: int) -> None:
    """Whatever 16 clients do to few names at once, each name's history is linearizable."""
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
EXPLAINED = [
    [Operation("created", A, 0, 1), Operation("read", A, 2, 3)],
    [Operation("created", A, 0, 9), Operation("absent", None, 1, 2), Operation("read", A, 3, 4)],
    [Operation("upload?", A, 0), Operation("absent", None, 1, 2), Operation("read", A, 3, 4)],
    [Operation("created", A, 0, 1), Operation("deleted", None, 0, 5), Operation("read", A, 2, 3)],
]
INEXPLICABLE = [
    [Operation("created", A, 0, 1), Operation("absent", None, 2, 3)],  # lost
    [Operation("created", A, 0, 1), Operation("created", B, 0, 1)],  # two first uploads
    [Operation("read", A, 0, 1)],  # never written
    [  # back in time
        *(Operation("created", A, 0, 1), Operation("replaced", B, 2, 9)),
        *(Operation("read", B, 3, 4), Operation("read", A, 5, 6)),
    ],
    [
        Operation("created", A, 0, 1),
        Operation("deleted", None, 2, 9),
        Operation("deleted", None, 2, 9),
    ],
]


@pytest.mark.parametrize("history", EXPLAINED)
def test_explained(history: list[Operation]) -> None:
    """The checker finds the order where there is one."""
    assert is_linearizable(history)


@pytest.mark.parametrize("history", INEXPLICABLE)
def test_inexplicable(history: list[Operation]) -> None:
    """The checker finds that there is none."""
    assert not is_linearizable(history)
