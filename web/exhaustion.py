"""Which errors mean that the host has nothing left."""

import errno

from errors import OutOfResourcesError

_EXHAUSTED = {
    errno.EAGAIN, errno.ENOMEM, errno.ENFILE, errno.EMFILE, errno.ENOSPC, errno.EDQUOT,
    errno.EFBIG,
}  # fmt: skip


def exhaustion(exc: BaseException) -> OutOfResourcesError | None:
    """Return the error for `exc` if it means that the host has nothing left; None for a bug."""
    if isinstance(exc, OSError):
        exhausted = exc.errno in _EXHAUSTED
    else:
        # Python has no class for it (threading.Thread.start).
        exhausted = isinstance(exc, MemoryError) or str(exc) == "can't start new thread"
    if not exhausted:
        return None
    error = OutOfResourcesError()
    error.__cause__ = exc
    return error
