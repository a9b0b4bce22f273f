"""Recognises errors that mean that the host is out of resources."""

import errno

from errors import OutOfResourcesError

_EXHAUSTED = {
    errno.EAGAIN, errno.ENOMEM, errno.ENFILE, errno.EMFILE, errno.ENOSPC, errno.EDQUOT,
    errno.EFBIG,
}  # fmt: skip


def exhaustion(exc: BaseException) -> OutOfResourcesError | None:
    """Return the error for `exc` if the host is out of resources; None if `exc` is a bug."""
    if isinstance(exc, OSError):
        exhausted = exc.errno in _EXHAUSTED
    else:
        # threading.Thread.start raises a plain RuntimeError.
        exhausted = isinstance(exc, MemoryError) or str(exc) == "can't start new thread"
    if not exhausted:
        return None
    error = OutOfResourcesError()
    error.__cause__ = exc
    return error
