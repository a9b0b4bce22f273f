"""What remains of GIF files."""

from tests.support.containers import gif_file, gif_frame
from tests.support.stripping import stripped


def test_loops_behind_the_frames() -> None:
    """The loop count of a GIF remains, even after the frames; a last graphic control does not."""
    loops = b"!\xff\x0bNETSCAPE2.0\3\1\7\0\0"
    content = gif_file(gif_frame(1, 1), b"!\xf9\4\0\7\0\0\0", loops)
    assert stripped(content, "gif") == gif_file(gif_frame(1, 1), loops)
