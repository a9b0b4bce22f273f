"""GIF: the screen, the frames with their graphic controls, and the loop count."""

from imaging.containers import gif
from imaging.containers.content import Content
from imaging.stripping.rewriting import Remains

_CONTROL_BYTES = 6
_LOOPS = {b"\xff\x0bNETSCAPE2.0\3\1", b"\xff\x0bANIMEXTS1.0\3\1"}
_LOOP_HEAD_BYTES, _LOOP_BYTES = 15, 17


def remains(content: Content) -> Remains:
    """Return what remains of a file that was walked.

    A graphic control before a plain text extension remains if a frame follows: decoders skip the
    text and apply the control to that frame.
    """
    parts = Remains(content)
    end = gif.HEAD_BYTES + gif.color_table_bytes(content[10])
    parts.keep(0, end)
    waiting = list[tuple[int, int]]()  # extensions before the next frame
    for introducer, at, end in gif.blocks(content):
        if introducer == gif.IMAGE:
            for extension in waiting:
                _keep_extension(parts, *extension)
            waiting.clear()
            parts.keep(at - 1, end)
        elif introducer == gif.EXTENSION and content[at : at + 2] == gif.GRAPHIC_CONTROL:
            waiting.append((at, _CONTROL_BYTES))
        elif introducer == gif.EXTENSION and content[at : at + _LOOP_HEAD_BYTES] in _LOOPS:
            waiting.append((at, _LOOP_BYTES))
    for at, length in waiting:
        if length == _LOOP_BYTES:
            _keep_extension(parts, at, length)
    parts.replace(end, gif.TRAILER[: len(content) - end])
    return parts


def _keep_extension(parts: Remains, at: int, length: int) -> None:
    """Keep the beginning of an extension, and end it there."""
    parts.keep(at - 1, at + length)
    parts.replace(at + length, b"\0")
