"""GIF: the screen, the frames with their graphic controls, and the loop count."""

from imaging.containers.content import Content
from imaging.containers.gif import EXTENSION, IMAGE, blocks, color_table_bytes
from imaging.stripping.rewriting import Remains

_HEAD_BYTES = 13
_CONTROL, _CONTROL_BYTES = b"\xf9\4", 6
_LOOPS = {b"\xff\x0bNETSCAPE2.0\3\1", b"\xff\x0bANIMEXTS1.0\3\1"}
_LOOP_HEAD_BYTES, _LOOP_BYTES = 15, 17
_TRAILER = b";"


def remains(content: Content) -> Remains:
    """Return what remains of a file that was walked.

    A graphic control before a plain text extension remains if a frame follows, because decoders
    skip the text and apply the control to that frame.
    """
    found = Remains(content)
    end = _HEAD_BYTES + color_table_bytes(content[10])
    found.keep(0, end)
    waiting = list[tuple[int, int]]()  # extensions before the next frame
    for introducer, at, end in blocks(content):
        if introducer == IMAGE:
            for extension in waiting:
                _keep_extension(found, *extension)
            waiting.clear()
            found.keep(at - 1, end)
        elif introducer == EXTENSION and content[at : at + 2] == _CONTROL:
            waiting.append((at, _CONTROL_BYTES))
        elif introducer == EXTENSION and content[at : at + _LOOP_HEAD_BYTES] in _LOOPS:
            waiting.append((at, _LOOP_BYTES))
    for at, length in waiting:
        if length == _LOOP_BYTES:
            _keep_extension(found, at, length)
    found.replace(end, _TRAILER[: len(content) - end])
    return found


def _keep_extension(found: Remains, at: int, length: int) -> None:
    """Keep the beginning of an extension, and end it there."""
    found.keep(at - 1, at + length)
    found.replace(at + length, b"\0")
