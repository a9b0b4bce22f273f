"""moto's S3 server in this process; on demand it refuses requests as AWS does.

The other stores of the tests have no expiring credentials, no rate limits and no other regions.
"""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

_DOCUMENT = """<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>{code}</Code><Message>A message of AWS</Message><RequestId>4442</RequestId></Error>"""


class QuietHandler(WSGIRequestHandler):
    """Uses HTTP/1.1 to keep connections alive, and logs nothing."""

    protocol_version = "HTTP/1.1"

    def log_request(self, *_args: object) -> None:
        """Log nothing."""


@dataclass
class MotoStore:
    """The server; each entry of `refusals`, (method, status, code), answers one request."""

    url: str = ""
    refusals: list[tuple[str, int, str]] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._moto = DomainDispatcherApplication(create_backend_app)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer a WSGI request (PEP 3333) with the next refusal for its method, or with moto."""
        method = environ["REQUEST_METHOD"]
        self.requests.append(method)
        refusal = next((one for one in self.refusals if one[0] == method), None)
        if refusal is None:
            answer: Iterable[bytes] = self._moto(environ, start_response)
            return answer
        self.refusals.remove(refusal)
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        _, status, code = refusal
        document = b"" if method == "HEAD" else _DOCUMENT.format(code=code).encode()
        fields = [("Content-Type", "application/xml"), ("Content-Length", str(len(document)))]
        start_response(f"{status} Refused", fields)
        return [document]


@contextmanager
def moto_store() -> Iterator[MotoStore]:
    """Run the server on a free port."""
    store = MotoStore()
    server = make_server("127.0.0.1", 0, store, threaded=True, request_handler=QuietHandler)
    server.daemon_threads = True  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    store.url = f"http://127.0.0.1:{server.port}"
    try:
        yield store
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
