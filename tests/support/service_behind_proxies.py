"""The service as a process of its own, behind two fault proxies."""

import socket
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import urllib3
from sqlalchemy import make_url

from devstack.databases import through
from devstack.service_process import ServiceProcess
from tests.support.fault_proxy import FaultProxy


class Behind:
    """The service as a process of its own behind two proxies, impatient with clients."""

    def __init__(self, stack: ExitStack, environment: dict[str, str]) -> None:
        """Start all. uvicorn has no time limit for its own end, and needs none."""
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
        """Ask once, on a connection of its own."""
        with urllib3.PoolManager(retries=False, timeout=timeout) as pool:
            return pool.request("GET", self.url + path)

    def ask_many(self, threads: ThreadPoolExecutor, n: int) -> list[Future[int]]:
        """Ask for metadata, n times at once."""
        return [threads.submit(lambda: self.get("/images/none/metadata").status) for _ in range(n)]

    def upload(self, picture: bytes) -> None:
        """Store an image."""
        fields = {"file": ("big.png", picture)}
        answer = urllib3.request("POST", f"{self.url}/images", fields=fields, retries=False)
        assert answer.status == 201

    def open_files(self) -> list[str]:
        """Return what the process has open for clients: sockets to them, and spooled files."""
        found = []
        for link in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with suppress(OSError):  # closed while we looked
                found.append(str(link.readlink()))
        inodes = client_sockets(self.process.port)
        return [name for name in found if "deleted" in name or name in inodes]

    def connect(self, request: bytes) -> socket.socket:
        """Open a connection, send that and read nothing; the kernel keeps little for us."""
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", self.process.port))
        client.sendall(request)
        return client


def environment_of(environment: dict[str, str]) -> dict[str, str]:
    """Return what the proxies do not change."""
    return {k: v for k, v in environment.items() if k not in {"DB_URL", "AWS_ENDPOINT_URL_S3"}}


def client_sockets(port: int) -> set[str]:
    """Return the sockets of connections to that local port, as /proc/PID/fd names them."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    connected = [line for line in lines if line[1].endswith(f":{port:04X}") and line[3] != "0A"]
    return {f"socket:[{line[9]}]" for line in connected}
