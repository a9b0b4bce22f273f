"""A host without disk space, file descriptors, memory or threads: 503, and nothing is left behind.

RLIMIT_NPROC does not bind root, but a thread also needs address space for its stack.
"""

import errno
import os
import resource
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio.to_thread
import httpx
import pytest
from sqlalchemy import event

from config import Settings
from db import build_engine
from devstack.service_process import ServiceProcess
from tests.support.pictures import noise_png, png
from tests.support.uploads import count, on_sqlite, problem, serving, upload

MEGABYTE = 1024 * 1024


@on_sqlite
@pytest.mark.parametrize("name", ["EAGAIN", "ENOMEM", "ENFILE", "EMFILE", "ENOSPC", "EDQUOT"])
def test_temporary_directory(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """An upload that cannot be spooled to disk gets 503 with Retry-After and changes nothing."""
    number = getattr(errno, name)

    def refuse(*_args: object, **_options: object) -> None:
        raise OSError(number, os.strerror(number))

    with serving(settings) as client:
        picture = noise_png(9_000_000)  # too large to be kept in memory
        monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
        out_of_resources(upload(client, picture))
        monkeypatch.undo()
        assert count(settings, "images") == count(settings, "pending_objects") == 0
        assert upload(client, picture).status_code == 201


@on_sqlite
def test_no_thread(service: ServiceProcess, settings: Settings) -> None:
    """Without a thread for its handler, every request gets 503, and the next one succeeds."""
    with httpx.Client(base_url=service.base_url) as client:
        assert upload(client, png(), name="a").status_code == 201
    requests: list[Callable[[httpx.Client], httpx.Response]] = [
        lambda client: client.get("/images"),
        lambda client: client.get("/images/a"),
        lambda client: client.get("/images/a/metadata"),
        lambda client: client.get("/images/a/variants/320"),
        lambda client: upload(client, png(), name="b"),
        lambda client: client.delete("/images/a"),
    ]
    service.kill()
    service.start()  # without idle threads
    with httpx.Client(base_url=service.base_url) as client:
        with limited(service, resource.RLIMIT_AS, address_space(service) + MEGABYTE):
            for request in requests:
                out_of_resources(request(client))
        assert service.log().count("can't start new thread") >= len(requests)
        assert (count(settings, "images"), count(settings, "pending_objects")) == (1, 0)
        assert [request(client).status_code for request in requests] == [200] * 4 + [201, 200]


@on_sqlite
def test_no_thread_for_obstore(service: ServiceProcess) -> None:
    """The first request to S3 needs no new thread: obstore would panic, now and ever after."""
    with httpx.Client(base_url=service.base_url) as client:
        assert upload(client, png(), name="a").status_code == 201
    service.kill()
    service.start()
    with httpx.Client(base_url=service.base_url) as client:
        assert client.get("/images").status_code == 200  # leaves an idle thread to the next
        with limited(service, resource.RLIMIT_AS, address_space(service) + MEGABYTE):
            assert client.get("/images/a").content == png()


@on_sqlite
def test_no_memory(service: ServiceProcess, settings: Settings) -> None:
    """An upload for which there is no memory gets 503, and nothing of it is left."""
    picture = noise_png(7_000_000)
    with httpx.Client(base_url=service.base_url) as client:
        assert client.get("/images").status_code == 200
        # Enough for the bytes as they arrive, but not to join them. If the heap had free space for
        # the first upload, and the decoder failed instead, it has space for the bytes of the next.
        for more in (len(picture) + 3 * MEGABYTE, 3 * MEGABYTE):
            with limited(service, resource.RLIMIT_AS, address_space(service) + more):
                out_of_resources(upload(client, picture))
            if "MemoryError" in service.log():
                break
        assert "MemoryError" in service.log()
        assert count(settings, "images") == count(settings, "pending_objects") == 0
        assert upload(client, picture).status_code == 201


@on_sqlite
def test_no_descriptor(service: ServiceProcess, settings: Settings) -> None:
    """An upload for whose file there is no descriptor gets 503."""
    picture = noise_png(9_000_000)
    with httpx.Client(base_url=service.base_url) as client:
        assert upload(client, png(), name="a").status_code == 201
        with limited(service, resource.RLIMIT_NOFILE, 4):  # those that are open stay open
            out_of_resources(upload(client, picture, name="b"))
            assert client.get("/images").status_code == 200
        assert (count(settings, "images"), count(settings, "pending_objects")) == (1, 0)
        assert upload(client, picture, name="b").status_code == 201


@on_sqlite
def test_middle_of_a_download(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A download without a thread for its next bytes is cut off, and logged as 503."""
    run_sync = anyio.to_thread.run_sync

    async def run_handlers(*args: Any, **options: Any) -> Any:
        if "limiter" in options:  # the reader of a body
            raise RuntimeError("can't start new thread")
        return await run_sync(*args, **options)

    with serving(settings) as client, monkeypatch.context() as patch:
        assert upload(client, noise_png(3_000_000), name="a").status_code == 201
        patch.setattr(anyio.to_thread, "run_sync", run_handlers)
        assert client.get("/images/a").content == b""
    (line,) = [r for r in caplog.records if getattr(r, "fields", {}).get("method") == "GET"]
    assert (line.fields["status"], line.fields["code"]) == (503, "out_of_resources")  # type: ignore[attr-defined]


@on_sqlite
def test_no_memory_for_the_row(settings: Settings) -> None:
    """An upload that runs out of memory after its PUT removes its object and its journal entry."""
    missing = 1

    def refuse(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        nonlocal missing
        if missing and statement.startswith("INSERT INTO images"):
            missing = 0
            raise MemoryError

    with serving(settings) as client:
        engine = client.app_state["resources"].engine
        event.listen(engine, "before_cursor_execute", refuse)
        out_of_resources(upload(client, png()))
        assert not missing
        assert count(settings, "images") == count(settings, "pending_objects") == 0
        assert upload(client, png()).status_code == 201


@on_sqlite
def test_no_memory_in_middleware(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What the host lacks outside of the handlers is answered and logged the same way."""

    def refuse(_limit: int) -> tuple[int, int]:
        raise MemoryError

    with serving(settings) as client, monkeypatch.context() as patch:
        patch.setattr(resource, "getrlimit", refuse)  # of the load shedding
        out_of_resources(client.get("/images"))
    fields = [r.fields for r in caplog.records if hasattr(r, "fields")]
    assert [(f["status"], f["code"]) for f in fields] == [(503, "out_of_resources")]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_no_thread_for_the_watchdog(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the watchdog of connections cannot start, the next connection starts it."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    engine = build_engine(settings)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="thread"):
            engine.connect()
    others = set(threading.enumerate())
    with engine.connect():
        assert "database-watchdog" in {t.name for t in set(threading.enumerate()) - others}
    engine.dispose()


def out_of_resources(answer: httpx.Response) -> None:
    """Check the answer of a host that has nothing left."""
    problem(answer, 503, "out_of_resources")
    assert answer.headers["Retry-After"] == "2"
    assert len(answer.headers.get_list("X-Request-ID")) == 1


def address_space(service: ServiceProcess) -> int:
    """Return the bytes of the service's address space."""
    pages = int(Path(f"/proc/{service.pid}/statm").read_text().split()[0])
    return pages * resource.getpagesize()


@contextmanager
def limited(service: ServiceProcess, limit: int, most: int) -> Iterator[None]:
    """Lower a limit of the running service during the block."""
    before = resource.prlimit(service.pid, limit)
    resource.prlimit(service.pid, limit, (most, before[1]))
    try:
        yield
    finally:
        resource.prlimit(service.pid, limit, before)
