"""While images are overwritten, no response that may be kept forever has bytes of another tag."""

import hashlib
import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from PIL import Image

from devstack.service_process import ServiceProcess
from tests.support.pictures import encoded
from tests.support.uploads import upload
from tests.support.variants import opened

NAMES = ("cat", "dog")
COLOURS = tuple(itertools.product((0, 85, 170, 255), repeat=3))
PICTURES = {
    colour: encoded(Image.new("RGB", (400 + sum(colour), 300), colour), "PNG") for colour in COLOURS
}
OF_TAG = {hashlib.sha256(content).hexdigest()[:16]: colour for colour, content in PICTURES.items()}
Clock = Callable[[], bool]


class Storm:
    """Writers and readers of a few names. `seen` counts the responses to readers."""

    def __init__(self, service: ServiceProcess) -> None:
        self._url = service.base_url
        self._lock = threading.Lock()
        self.seen: Counter[str] = Counter()

    def write(self, seed: int, over: Clock) -> None:
        """Overwrite images until it is over."""
        choose = random.Random(seed)
        with httpx.Client(base_url=self._url, timeout=60) as client:
            while not over():
                content = PICTURES[choose.choice(COLOURS)]
                answer = upload(client, content, name=choose.choice(NAMES))
                assert answer.status_code in {200, 201, 409}, answer.text

    def read(self, seed: int, over: Clock) -> None:
        """Follow new and old addresses until it is over."""
        choose, known = random.Random(seed), [f"/images/{name}" for name in NAMES]
        with httpx.Client(base_url=self._url, timeout=60) as client:
            while not over():
                document = client.get(f"/images/{choose.choice(NAMES)}/metadata").json()
                known += [document["url"], f"{document['url']}&redirect=true"]
                known += document["variants"].values()
                known = choose.sample(known, min(len(known), 40))
                for address in choose.sample(known, 4):
                    self._follow(client, address)

    def _follow(self, client: httpx.Client, address: str) -> None:
        """Request an address, and check a response that may be kept."""
        answer = client.get(address)
        kept = "immutable" in answer.headers.get("Cache-Control", "")
        with self._lock:
            kind = "variant" if "/variants/" in address else "image"
            self.seen[f"{kind} {answer.status_code}" + (" kept" if kept else "")] += 1
        if answer.status_code == 302:
            self._follow(client, answer.headers["Location"])
        elif answer.status_code == 307:
            answer = client.get(answer.headers["Location"])
        if kept or "immutable" in answer.headers.get("Cache-Control", ""):
            _require_truth(address, answer)

    def run(self, writers: int, readers: int, over: Callable[[], Clock]) -> None:
        """Run all clients at once; each stops when its own clock ends."""
        with httpx.Client(base_url=self._url) as client:
            for name in NAMES:
                upload(client, PICTURES[COLOURS[0]], name=name).raise_for_status()
        with ThreadPoolExecutor(writers + readers) as threads:
            work = [threads.submit(self.write, seed, over()) for seed in range(writers)]
            work += [threads.submit(self.read, seed, over()) for seed in range(readers)]
            for done in work:
                done.result()


def _require_truth(address: str, answer: httpx.Response) -> None:
    """Check that a response has the bytes, or shows the picture, of the tag in its address."""
    (tag,) = parse_qs(urlsplit(address).query)["v"]
    if "/variants/" not in address:
        assert hashlib.sha256(answer.content).hexdigest()[:16] == tag
        return
    picture = opened(answer).convert("RGB")
    assert picture.getpixel((5, 5)) == OF_TAG[tag[:16]], address


def turns(number: int) -> Callable[[], Clock]:
    """Return a factory of clocks that end after so many turns."""

    def clock() -> Clock:
        left = iter(range(number))
        return lambda: next(left, None) is None

    return clock


def test_storm(service: ServiceProcess) -> None:
    """Four writers and four readers, on every database."""
    storm = Storm(service)
    storm.run(4, 4, turns(15))
    assert storm.seen["image 200 kept"]
    assert storm.seen["variant 200 kept"]
    assert storm.seen["image 302"]
    assert "Traceback" not in service.log()


@pytest.mark.soak
@pytest.mark.parametrize("database_url", ["postgresql", "mariadb"], indirect=True)
def test_storm_for_a_minute(service_environment: dict[str, str]) -> None:
    """Eight writers and eight readers, for a minute, on two workers."""
    end = time.monotonic() + 60
    with ServiceProcess(service_environment, workers=2) as service:
        storm = Storm(service)
        storm.run(8, 8, lambda: lambda: time.monotonic() > end)
        assert storm.seen["image 200 kept"]
        assert storm.seen["variant 200 kept"]
        assert storm.seen["variant 302"]
        assert "Traceback" not in service.log()
