"""moto's S3, a server in this process, which on demand refuses requests as AWS alone does.

No store that runs here has credentials that expire, a rate above which it slows clients down, or
buckets in other regions.
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


class Quiet(WSGIRequestHandler):
    """Speaks HTTP/1.1, so that connections are kept, and logs nothing."""

    protocol_version = "HTTP/1.1"

    def log_request(self, *_args: object) -> None:
        """Log nothing."""


@dataclass
class MotoStore:
    """The server; `refusals` are what it answers next, each once: (method, status, code)."""

    url: str = ""
    refusals: list[tuple[str, int, str]] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._moto = DomainDispatcherApplication(create_backend_app)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer a request: as AWS refuses it, or as moto serves it (PEP 3333)."""
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
    server = make_server("127.0.0.1", 0, store, threaded=True, request_handler=Quiet)
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
