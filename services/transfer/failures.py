"""Why a transfer cannot go on, or leaves out a file."""


class TransferError(Exception):
    """The transfer as a whole cannot begin or go on; the message is one sentence."""


class FileRefusedError(Exception):
    """One file cannot be imported; the message says why."""
