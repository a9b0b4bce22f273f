"""Erase an image at once, also what is kept of it: `python -m scripts.purge NAME`.

Deletes the image, if there is one, and all of its objects that KEEP_DELETED_SECONDS keeps in S3,
where the law asks for it. Backups of the database still name them, and a bucket with versioning
keeps old versions: both are yours to purge. Exit status 0 when everything was erased.
"""

import argparse
import sys

from config import load_settings
from errors import ConfigurationError, InvalidNameError, TransactionAbortedError, UnavailableError
from resources import Resources
from services.maintenance.purge import purge


def main(arguments: list[str] | None = None) -> int:
    """Erase the image and print the keys of its objects; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.purge",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", help="name of the image")
    name = parser.parse_args(arguments).name
    try:
        with Resources.open(load_settings()) as resources:
            erased = purge(resources.sessions, resources.bucket, name)
    except (ConfigurationError, InvalidNameError, UnavailableError, TransactionAbortedError) as exc:
        print(f"{exc}; run it again" if isinstance(exc, UnavailableError) else exc, file=sys.stderr)
        return 1
    print("\n".join([*erased, f"{len(erased)} objects erased"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
