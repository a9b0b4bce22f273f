"""A service process whose database and object store are behind fault proxies."""

import socket
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import urllib3
from sqlalchemy import make_url

from devstack.databases import through
from devstack.service_process import ServiceProcess
from tests.support.fault_proxy import FaultProxy


class ServiceBehindProxies:
    """A service process behind two proxies, with short time limits."""

    def __init__(self, stack: ExitStack, environment: dict[str, str]) -> None:
        """Start the proxies and the service; `stack` stops them."""
        storage_port = int(environment["AWS_ENDPOINT_URL_S3"].rpartition(":")[2])
        database_port = make_url(environment["DB_URL"]).port or 0
        self.storage = stack.enter_context(FaultProxy(("127.0.0.1", storage_port)))
        self.database = stack.enter_context(FaultProxy(("127.0.0.1", database_port)))
        proxied = {
            "DB_URL": through(environment["DB_URL"], self.database.address),
            "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{self.storage.address[1]}",
            "CLIENT_IDLE_SECONDS": "1",
            "CONNECT_TIMEOUT_SECONDS": "1",
            "DB_STATEMENT_TIMEOUT_SECONDS": "1",
        }
        self.process = stack.enter_context(ServiceProcess(proxied | environment_of(environment)))
        self.url = self.process.base_url

    def get(self, path: str, timeout: float = 60) -> urllib3.BaseHTTPResponse:
        """Send one GET request on a new connection."""
        with urllib3.PoolManager(retries=False, timeout=timeout) as pool:
            return pool.request("GET", self.url + path)

    def ask_many(self, threads: ThreadPoolExecutor, n: int) -> list[Future[int]]:
        """Send `n` requests for metadata concurrently; return the futures of their statuses."""
        return [threads.submit(lambda: self.get("/images/none/metadata").status) for _ in range(n)]

    def upload(self, picture: bytes) -> None:
        """Upload the image `big`."""
        fields = {"file": ("big.png", picture)}
        answer = urllib3.request("POST", f"{self.url}/images", fields=fields, retries=False)
        assert answer.status == 201

    def open_files(self) -> list[str]:
        """Return the client sockets and temporary files that the process has open."""
        found = []
        for link in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with suppress(OSError):  # closed in the meantime
                found.append(str(link.readlink()))
        inodes = client_sockets(self.process.port)
        return [name for name in found if "deleted" in name or name in inodes]

    def connect(self, request: bytes) -> socket.socket:
        """Open a connection with a small receive buffer, send `request` and read nothing."""
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", self.process.port))
        client.sendall(request)
        return client


def environment_of(environment: dict[str, str]) -> dict[str, str]:
    """Return the variables that the proxies do not replace."""
    return {k: v for k, v in environment.items() if k not in {"DB_URL", "AWS_ENDPOINT_URL_S3"}}


def client_sockets(port: int) -> set[str]:
    """Return the sockets connected to this local port, by their names in /proc/PID/fd."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    connected = [line for line in lines if line[1].endswith(f":{port:04X}") and line[3] != "0A"]
    return {f"socket:[{line[9]}]" for line in connected}
