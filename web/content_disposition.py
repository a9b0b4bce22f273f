"""Content-Disposition: under which file name a download is saved (RFC 6266)."""

from urllib.parse import quote

from services.names import split_extension


def content_disposition(kind: str, name: str, extension: str) -> str:
    """Render Content-Disposition with `filename` for old clients and `filename*` for the rest.

    RFC 6266 section 4.3 and appendix D: `filename` holds ASCII only and neither quotes,
    backslashes nor percent signs, which user agents read differently; RFC 8187 encodes the
    real name.
    """
    filename = name if split_extension(name)[1] == extension else f"{name}.{extension}"
    plain = "".join(char if " " <= char <= "~" and char not in '"\\%' else "_" for char in filename)
    encoded = quote(filename, safe="!#$&+-.^_`|~")
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{encoded}"
