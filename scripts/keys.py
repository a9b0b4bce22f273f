"""Make an API key: `python -m scripts.keys NAME read|write [--prefix PREFIX]`.

Prints the key, for the client alone, and the line for API_KEYS or API_KEYS_FILE, which contains the
SHA-256 of the key. A key with the scope `write` can also read. A key with a prefix covers only the
images whose names begin with it; if the line contains a comma, it must be in API_KEYS_FILE. The
command stores nothing. To rotate a key, add the new line, give the client the new key, and remove
the old line.
"""

import hashlib
import secrets
import sys

from config import ApiKey
from config.api_keys import SCOPES
from scripts.command_line import build_parser, run


def main(arguments: list[str] | None = None) -> int:
    """Print a new key and its line; return the exit status."""
    parser = build_parser("keys", __doc__)
    parser.add_argument("name", metavar="NAME", help="name of the client in the log")
    parser.add_argument("scope", choices=SCOPES, help="what the key allows")
    parser.add_argument("--prefix", help="only for images whose names begin with PREFIX")
    options = parser.parse_args(arguments)
    token = secrets.token_urlsafe(32)
    digest = hashlib.sha256(token.encode()).hexdigest()
    fields = [options.name, options.scope, digest]
    if options.prefix is not None:
        fields.append(options.prefix)
    try:
        key = ApiKey.parse(":".join(fields))
    except ValueError as exc:
        print(f"An API key {exc}.", file=sys.stderr)
        return 1
    print(f"key   {token}\nline  {key.line}")
    return 0


if __name__ == "__main__":
    run(main)
