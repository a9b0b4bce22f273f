"""Content-Disposition (RFC 6266): the file name of a download."""

from urllib.parse import quote

from services.names import split_extension


def content_disposition(kind: str, name: str, extension: str) -> str:
    """Render Content-Disposition with `filename` for old clients and `filename*` for the others.

    `filename` is ASCII without quotes, backslashes and percent signs, which user agents parse
    differently (RFC 6266 section 4.3, appendix D); `filename*` encodes the name (RFC 8187).
    """
    filename = name if split_extension(name)[1] == extension else f"{name}.{extension}"
    plain = "".join(char if " " <= char <= "~" and char not in '"\\%' else "_" for char in filename)
    encoded = quote(filename, safe="!#$&+-.^_`|~")
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{encoded}"
