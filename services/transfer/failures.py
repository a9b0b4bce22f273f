"""The errors of imports and exports that no client of the API sees."""


class TransferError(Exception):
    """The whole transfer cannot begin or continue; the message is one sentence."""


class FileRefusedError(Exception):
    """This file cannot be imported; the message says why."""
