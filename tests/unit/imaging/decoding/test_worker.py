"""The decoder process leaves only the variant of the last attempt in the output."""

from tests.support import pictures
from tests.support.inspections import output_of


def test_second_attempt() -> None:
    """A second attempt replaces the output of the first one, whose file offset it shares."""
    # A process of its own, because making a variant lowers the priority.
    program = """
import os, sys
from imaging.decoding import worker
from imaging.decoding.jobs import Job
output, content = os.memfd_create("output"), sys.stdin.buffer.read()
job = Job("png", 10**9, 10**9, 10**9, 1, 1, encoding="png", width=9, height=9)
sizes = [(worker._render(job, content, output), os.fstat(output).st_size) for _ in range(2)]
print(sizes[0] == sizes[1])
"""
    assert output_of(program, pictures.png()) == b"True\n"
