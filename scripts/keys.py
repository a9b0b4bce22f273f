"""Make an API key: `python -m scripts.keys NAME read|write`.

Prints the key, which the client gets and nobody else, and the line for API_KEYS or API_KEYS_FILE,
which holds only its SHA-256. A key that may write may read, too. Stores nothing: to rotate a key,
add the new line, give the client the new key, and remove the old line.
"""

import argparse
import hashlib
import secrets
import sys

from config import ApiKey


def main(arguments: list[str] | None = None) -> int:
    """Print a new key and its line; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.keys",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", help="who has it; appears in the log")
    parser.add_argument("scope", choices=("read", "write"), help="what it allows")
    options = parser.parse_args(arguments)
    token = secrets.token_urlsafe(32)
    digest = hashlib.sha256(token.encode()).hexdigest()
    try:
        key = ApiKey.parse(f"{options.name}:{options.scope}:{digest}")
    except ValueError as exc:
        print(f"An API key {exc}.", file=sys.stderr)
        return 1
    print(f"key   {token}\nline  {':'.join(key)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
