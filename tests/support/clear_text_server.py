"""The beginning of a conversation with RDS for MySQL, where the user signs in by IAM.

It asks for TLS, then for the password in clear text (`mysql_clear_password`), writes it down, and
refuses it (MySQL: "Client/Server Protocol, Connection Phase").
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
    """Answers one connection; `passwords` holds what it was sent. Without certificates, no TLS."""

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
            _receive(plain)  # that the client wants TLS, or already who it is
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
        can = _PROTOCOL_41 | _SECURE_CONNECTION | _PLUGIN_AUTH
        can |= _SSL if self._certificates else 0
        salt = b"12345678", b"123456789012\0"
        return (
            b"\x0a8.0.0\0"
            + struct.pack("<I", 1)
            + salt[0]
            + struct.pack("<xHBHHB10x", can & 0xFFFF, 45, 2, can >> 16, 21)
            + salt[1]
            + b"caching_sha2_password\0"
        )


def _send(client: socket.socket, number: int, payload: bytes) -> None:
    client.sendall(struct.pack("<I", len(payload))[:3] + bytes([number]) + payload)


def _receive(client: socket.socket) -> bytes:
    """Return the next packet; nothing when the client is gone."""
    header = client.recv(4, socket.MSG_WAITALL) if type(client) is socket.socket else client.recv(4)
    return client.recv(int.from_bytes(header[:3], "little")) if header else b""
