"""A server that imitates the sign-in of RDS for MySQL with IAM authentication.

It offers TLS, requests the password in clear text (`mysql_clear_password`), records it and
refuses the login (MySQL: "Client/Server Protocol, Connection Phase").
"""

import socket
import ssl
import struct
import threading
from types import TracebackType
from typing import Self

from tests.support.certificates import Certificates

_PROTOCOL_41, _SSL, _SECURE_CONNECTION, _PLUGIN_AUTH = 0x200, 0x800, 0x8000, 0x80000
_REFUSED = b"\xff" + struct.pack("<H", 1045) + b"#28000Access denied"


class ClearTextServer:
    """Serves one connection and records passwords in `passwords`; no TLS without certificates."""

    def __init__(self, certificates: Certificates | None) -> None:
        self._certificates = certificates
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.passwords: list[bytes] = []
        self._thread = threading.Thread(target=self._serve, name="clear-text-server")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        plain, _ = self._listener.accept()
        with plain:
            _send(plain, 0, self._greeting())
            _receive(plain)  # the TLS request, or the login when TLS is not offered
            if self._certificates is None:
                client, number = plain, 2
            else:
                context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
                context.load_cert_chain(self._certificates.certificate, self._certificates.key)
                client = context.wrap_socket(plain, server_side=True)
                _receive(client)
                number = 3
            with client:
                _send(client, number, b"\xfemysql_clear_password\0")
                if password := _receive(client):
                    self.passwords.append(password.removesuffix(b"\0"))
                    _send(client, number + 2, _REFUSED)

    def _greeting(self) -> bytes:
        capabilities = _PROTOCOL_41 | _SECURE_CONNECTION | _PLUGIN_AUTH
        capabilities |= _SSL if self._certificates else 0
        salt = b"12345678", b"123456789012\0"
        return (
            b"\x0a8.0.0\0"
            + struct.pack("<I", 1)
            + salt[0]
            + struct.pack("<xHBHHB10x", capabilities & 0xFFFF, 45, 2, capabilities >> 16, 21)
            + salt[1]
            + b"caching_sha2_password\0"
        )


def _send(client: socket.socket, number: int, payload: bytes) -> None:
    client.sendall(struct.pack("<I", len(payload))[:3] + bytes([number]) + payload)


def _receive(client: socket.socket) -> bytes:
    """Return the payload of the next packet, or nothing when the client has disconnected."""
    header = client.recv(4, socket.MSG_WAITALL) if type(client) is socket.socket else client.recv(4)
    return client.recv(int.from_bytes(header[:3], "little")) if header else b""
