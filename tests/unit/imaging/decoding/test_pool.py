"""Decoder processes are few, bounded, replaced when they die, and end with the service."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from devstack.service_process import ROOT
from devstack.waiting import wait_until
from imaging.decoding import pool
from imaging.decoding.jobs import Job
from imaging.decoding.memory_file import memory_file
from tests.support import pictures
from tests.support.hostile_pictures import HOSTILE
from tests.support.inspections import decoders, inspecting, output_of, verdict

HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def test_header_needs_no_decoder() -> None:
    """Inspection by header starts no decoder process."""
    with inspecting(inspection="header") as inspector:
        assert verdict(inspector, pictures.jpeg(), "jpg").verdict == "accepted"
        assert decoders() == []


def test_one_decoder_serves_many_files() -> None:
    """Consecutive files share one decoder, which ends with the inspector."""
    with inspecting() as inspector:
        for make, extension in ((pictures.jpeg, "jpg"), (pictures.png, "png")):
            assert verdict(inspector, make(), extension).verdict == "accepted"
            assert len(decoders()) == 1
    assert decoders() == []


def test_a_killed_decoder_is_replaced() -> None:
    """If a decoder is killed, one upload is 503 and the next one succeeds."""
    with inspecting() as inspector:
        verdict(inspector, pictures.jpeg(), "jpg")
        os.kill(decoders()[0], signal.SIGKILL)
        assert verdict(inspector, pictures.jpeg(), "jpg").verdict == "OutOfResourcesError"
        assert verdict(inspector, pictures.jpeg(), "jpg").verdict == "accepted"


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGSEGV, "NotAnImageError"), (signal.SIGALRM, "OverloadedError")]
)
def test_a_file_that_ends_its_decoder(number: signal.Signals, error: str) -> None:
    """A file whose decoder crashes is refused; one whose decoder times out may be retried."""
    with inspecting(cpu_seconds=60.0) as inspector:
        verdict(inspector, pictures.jpeg(), "jpg")
        (decoder,) = decoders()
        os.kill(decoder, signal.SIGSTOP)

        def end_it() -> None:
            os.kill(decoder, number)
            os.kill(decoder, signal.SIGCONT)

        threading.Timer(0.2, end_it).start()
        assert verdict(inspector, pictures.jpeg(), "jpg").verdict == error
        assert verdict(inspector, pictures.jpeg(), "jpg").verdict == "accepted"


def test_cpu_time_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that exceeds the CPU limit is refused; the next file is accepted."""
    # On a busy machine the decoder, which runs at a low priority, gets its CPU time late.
    monkeypatch.setattr("services.inspection.WALL_PER_CPU", 100)
    content = HOSTILE["99 scans of 50 megapixels.jpg"][0]()
    with inspecting(cpu_seconds=0.4) as inspector:
        found = verdict(inspector, content, "jpg")
        assert found.verdict == "DecodingTooCostlyError", found.detail
        assert "0.4 seconds" in found.detail
        assert verdict(inspector, pictures.jpeg(), "jpg").verdict == "accepted"


def test_memory_is_bounded() -> None:
    """A picture that exceeds the memory limit is refused; with a higher limit it is accepted."""
    content = pictures.encoded(pictures.picture(4000, 3000), "JPEG", progressive=True)
    with inspecting(memory_bytes=30_000_000) as inspector:
        found = verdict(inspector, content, "jpg")
        assert found.verdict == "DecodingTooCostlyError", found.detail
    with inspecting(memory_bytes=40_000_000) as inspector:
        assert verdict(inspector, content, "jpg").verdict == "accepted"


def test_memory_is_bounded_by_the_kernel_too() -> None:
    """The kernel refuses a decoder more memory than its limit."""
    program = """
import os, sys
from imaging.decoding import worker
from imaging.decoding.jobs import Job
taken = []
worker.decode = lambda content, outline: taken.append(bytearray(300_000_000))
file = os.memfd_create("file"); os.write(file, sys.stdin.buffer.read())
job = Job("png", 10**9, 10**9, 200_000_000, 1, 1)
print(worker._examine(job, [file], worker._address_space()).outcome)
"""
    assert output_of(program, pictures.png()) == b"needs memory\n"


def test_idle_decoders_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """An idle decoder ends; the next file starts a new one."""
    program = "from imaging.decoding import worker; worker._IDLE_SECONDS = 0.01; worker.main()"
    start = subprocess.Popen

    def short_lived(command: list[str], **options: object) -> "subprocess.Popen[bytes]":
        return start([command[0], "-c", program, command[-1]], **options)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr(subprocess, "Popen", short_lived)
    with inspecting() as inspector:
        for _ in range(3):
            assert verdict(inspector, pictures.jpeg(), "jpg").verdict == "accepted"
            for decoder in inspector._decoders._decoders:
                if hasattr(decoder, "_process"):
                    decoder._process.wait(timeout=10)


def test_ended_decoders_are_reaped() -> None:
    """A decoder that ends by itself leaves no zombie, even if no other file arrives."""
    with inspecting() as inspector:
        verdict(inspector, pictures.jpeg(), "jpg")
        (decoder,) = decoders()
        os.kill(decoder, signal.SIGTERM)
        wait_until(lambda: not Path(f"/proc/{decoder}").exists(), timeout=20, what="its end")


def test_an_inherited_hard_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoders work under a hard limit on the address space, which they must not raise."""
    start, hard = subprocess.Popen, 16 * 2**30

    def limited(command: list[str], **options: object) -> "subprocess.Popen[bytes]":
        limits = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({hard}, {hard}))"
        program = f"{limits}; from imaging.decoding import worker; worker.main()"
        return start([command[0], "-c", program, command[-1]], **options)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr(subprocess, "Popen", limited)
    with inspecting() as inspector:
        assert verdict(inspector, pictures.jpeg(), "jpg").verdict == "accepted"


def test_all_decoders_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """An upload that finds no free decoder in time gets OverloadedError."""
    monkeypatch.setattr(pool, "_PATIENCE_SECONDS", 0.05)
    with inspecting() as inspector:
        taken = [inspector._decoders._idle.get() for _ in range(pool._PROCESSES)]
        assert verdict(inspector, pictures.jpeg(), "jpg").verdict == "OverloadedError"
        for decoder in taken:
            inspector._decoders._idle.put(decoder)
        assert verdict(inspector, pictures.jpeg(), "jpg").verdict == "accepted"


def test_no_decoder_can_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """While no decoder can start, uploads are 503; later ones succeed."""
    with inspecting() as inspector:
        with monkeypatch.context() as broken:
            broken.setattr(sys, "executable", "/nowhere")
            assert verdict(inspector, pictures.jpeg(), "jpg").verdict == "OutOfResourcesError"
        assert verdict(inspector, pictures.jpeg(), "jpg").verdict == "accepted"


def test_decoders_see_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder's environment contains no credentials."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with inspecting() as inspector:
        verdict(inspector, pictures.jpeg(), "jpg")
        (decoder,) = decoders()
        assert b"secret" not in Path(f"/proc/{decoder}/environ").read_bytes()


@pytest.mark.skipif(
    not HUGE_PAGES.exists() or "[madvise]" not in HUGE_PAGES.read_text(),
    reason="the kernel offers no huge pages on request",
)
def test_huge_pages() -> None:
    """A decoder asks the kernel for huge pages."""
    with inspecting() as inspector:
        verdict(inspector, pictures.jpeg(3000, 2000), "jpg")
        (decoder,) = decoders()
        mappings = Path(f"/proc/{decoder}/smaps").read_text().splitlines()
        assert [line for line in mappings if line.startswith("VmFlags:") and " hg" in line]


def test_decoders_end_with_their_service() -> None:
    """A decoder ends when its service is killed."""
    program = """
import io, sys
from config import Settings
from services.inspection import Inspector
from tests.support import pictures
from tests.support.inspections import decoders
inspector = Inspector(Settings(db_url="sqlite:///none.db", aws_region="none", aws_s3_bucket="none"))
inspector.inspect(io.BytesIO(pictures.jpeg()), "jpg")
print(decoders()[0], flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as service:
        assert service.stdout
        decoder = int(service.stdout.readline())
        service.kill()
        wait_until(lambda: not Path(f"/proc/{decoder}").exists(), timeout=10, what="its end")


def test_a_decoder_whose_service_was_killed_is_silent() -> None:
    """A decoder that cannot send its result because the service ended exits without a traceback."""
    service, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-m", "imaging.decoding.worker", str(ours.fileno())]
    with (
        memory_file() as file,
        service,
        ours,
        subprocess.Popen(
            command, cwd=ROOT, pass_fds=[ours.fileno()], stderr=subprocess.PIPE
        ) as decoder,
    ):
        file.write(pictures.jpeg())
        file.flush()
        job = Job("jpeg", 1_000_000, 1_000_000, 1_000_000, cpu_seconds=9, seconds=9)
        socket.send_fds(service, [json.dumps(job).encode()], [file.fileno()])
        ours.close()
        service.close()
        _, errors = decoder.communicate(timeout=20)
    assert (decoder.returncode, errors) == (0, b"")
