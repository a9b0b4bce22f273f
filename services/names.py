"""The rules for image names and file names. The database compares names byte by byte."""

import re
import unicodedata

from errors import InvalidNameError

MAX_NAME_BYTES = 255

# Normalisation shrinks a name to a third of its bytes at most (UAX 15, section 9.2).
_MAX_RAW_CHARACTERS = 3 * MAX_NAME_BYTES

# Unicode category Cc
_CONTROL_CHARACTER = re.compile("[\x00-\x1f\x7f-\x9f]")

# `random` is a path of the API; `.` and `..` have a special meaning in paths.
_RESERVED = frozenset({"random", ".", ".."})


def normalise_name(name: str) -> str:
    """Return the form in which a name is stored: NFC, without surrounding white space.

    Nothing else is changed, so that different names stay different. Raises InvalidNameError.
    """
    normal = _normalise(name.strip()).strip()
    if not normal:
        raise InvalidNameError("The image name is empty.")
    try:
        size = len(normal.encode())
    except UnicodeEncodeError:
        raise InvalidNameError("The image name is not valid UTF-8.") from None
    if size > MAX_NAME_BYTES:
        raise _too_long()
    if "/" in normal or "\\" in normal:
        raise InvalidNameError("The image name contains a slash or a backslash.")
    _refuse_control_characters(normal)
    if normal in _RESERVED:
        raise InvalidNameError(f"The image name {normal!r} is reserved.")
    return normal


def normalise_prefix(prefix: str) -> str:
    """Return a prefix in the form in which names are stored. Raises InvalidNameError."""
    _refuse_control_characters(prefix)
    return _normalise(prefix)


def _normalise(name: str) -> str:
    # Normalisation takes quadratic time.
    if len(name) > _MAX_RAW_CHARACTERS:
        raise _too_long()
    return unicodedata.normalize("NFC", name)


def _too_long() -> InvalidNameError:
    return InvalidNameError(f"The image name is longer than {MAX_NAME_BYTES} bytes of UTF-8.")


def _refuse_control_characters(name: str) -> None:
    if _CONTROL_CHARACTER.search(name):
        raise InvalidNameError("The image name contains a control character.")


def split_extension(filename: str) -> tuple[str, str]:
    """Split a file name at its last dot into stem and extension: lower case, `""` without a dot."""
    stem, dot, extension = filename.rpartition(".")
    return (stem, extension.lower()) if dot else (filename, "")


def split_extension_of(path: str) -> tuple[str, str]:
    """Split a path into the part before its extension, and the lower-case extension."""
    folder, slash, filename = path.rpartition("/")
    stem, extension = split_extension(filename)
    return folder + slash + stem, extension
