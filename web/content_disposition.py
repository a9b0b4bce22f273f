"""Content-Disposition of downloads (RFC 6266) and of the parts of a form (RFC 7578)."""

import re
from urllib.parse import quote, unquote_to_bytes

from python_multipart.multipart import parse_options_header

from errors import InvalidMultipartError
from services.names import split_extension

_PARAMETER = re.compile(rb';\s*+([^=;\s]++)\s*+=\s*+("(?:[^"\\]|\\.)*+"|[^;]*+)')
# ext-value (RFC 8187 section 3.2.1), and what encodeURIComponent leaves unencoded
_EXTENDED = re.compile(rb"(utf-8|iso-8859-1)'[^']*'((?:[!-$&-~]|%[0-9a-f]{2})*+)", re.IGNORECASE)


def part_parameters(header: bytes) -> dict[bytes, bytes]:
    """Return the parameters of a part's Content-Disposition, encoded as UTF-8.

    `filename*` takes precedence over `filename`, which .NET then sends as an encoded word. RFC 7578
    forbids `filename*`, but clients send it. Raises InvalidMultipartError if it is malformed.
    """
    _, parameters = parse_options_header(header)
    for key, value in _PARAMETER.findall(header):
        if (name := key.lower()) in {b"name*", b"filename*"}:
            parameters[name[:-1]] = _decode_extended(value.strip(b' \t"'), name.decode())
    return parameters


def _decode_extended(value: bytes, name: str) -> bytes:
    match = _EXTENDED.fullmatch(value)
    if match is None:
        raise InvalidMultipartError(f"The parameter {name} is malformed (RFC 8187).")
    decoded = unquote_to_bytes(match[2])
    return decoded.decode("latin-1").encode() if match[1].lower() != b"utf-8" else decoded


def content_disposition(kind: str, name: str, extension: str) -> str:
    """Render Content-Disposition with `filename` for old clients and `filename*` for others.

    `filename` is ASCII without quotes, backslashes and percent signs, which user agents parse
    differently (RFC 6266 section 4.3, appendix D). `filename*` is the full name (RFC 8187).
    """
    filename = name if split_extension(name)[1] == extension else f"{name}.{extension}"
    plain = "".join(char if " " <= char <= "~" and char not in '"\\%' else "_" for char in filename)
    encoded = quote(filename, safe="!#$&+-.^_`|~")
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{encoded}"
