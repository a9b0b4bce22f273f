"""Clients that each write their own images, and so know which content is correct."""

import random
import threading
from contextlib import suppress
from typing import Any

import urllib3

from devstack.service_process import ServiceProcess
from tests.support.pictures import jpeg


def act(base_url: str, name: str, picture: bytes | None, method: str = "POST") -> int:
    """Upload the picture, or delete the image if `picture` is None; return the status."""
    patient: dict[str, Any] = {"retries": False, "timeout": 30}
    if picture is None:
        return urllib3.request("DELETE", f"{base_url}/images/{name}", **patient).status
    if method == "PUT":
        url = f"{base_url}/images/{name}"
        return urllib3.request("PUT", url, body=picture, **patient).status
    files = {"file": (f"{name}.jpg", picture)}
    return urllib3.request("POST", f"{base_url}/images", fields=files, **patient).status


def download(base_url: str, name: str) -> bytes | None:
    """Return the bytes of an image, or None if it does not exist."""
    answer = urllib3.request("GET", f"{base_url}/images/{name}", retries=False)
    assert answer.status in {200, 404}
    return answer.data if answer.status == 200 else None


class Writer:
    """A client with exclusive names that tracks which content each of them may have."""

    def __init__(self, number: int, names: int = 3) -> None:
        """With many names, later writes hide lost images less often."""
        self.random = random.Random(number)
        self.names = [f"kill-{number}-{i}" for i in range(names)]
        self.allowed: dict[str, list[bytes | None]] = {name: [None] for name in self.names}

    def write(self, service: ServiceProcess, acknowledged: threading.Semaphore) -> None:
        """Upload and delete until the service is down."""
        with suppress(urllib3.exceptions.HTTPError):
            while True:
                status = self._write_once(service, acknowledged)
                assert status in {200, 201, 404}

    def write_until(
        self, stop: threading.Event, service: ServiceProcess, acknowledged: threading.Semaphore
    ) -> None:
        """Upload and delete until `stop` is set; responses of 503 are allowed."""
        while not stop.is_set():
            status = self._write_once(service, acknowledged)
            assert status in {200, 201, 404, 503}

    def _write_once(self, service: ServiceProcess, acknowledged: threading.Semaphore) -> int:
        name = self.random.choice(self.names)
        seed = self.random.getrandbits(40)
        wanted = None if seed % 4 == 0 else jpeg(32, 24, seed)
        self.allowed[name].append(wanted)
        status = act(service.base_url, name, wanted, "PUT" if seed % 2 else "POST")
        if status < 500:
            self.allowed[name] = [wanted]
            acknowledged.release()
        return status

    def check(self, service: ServiceProcess) -> None:
        """Assert that each image has its last acknowledged content, or that of a later write."""
        for name in self.names:
            found = download(service.base_url, name)
            assert found in self.allowed[name], name
            self.allowed[name] = [found]
