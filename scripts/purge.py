"""Erase an image and all its versions at once: `python -m scripts.purge NAME`.

Deletes the image, its variants, and every object of that name that KEEP_DELETED_SECONDS retains in
S3. Use it where the law requires erasure. Backups of the database still contain the rows, and a
versioned bucket keeps old versions of the objects: delete those yourself. A CDN keeps its copies:
invalidate the printed paths there, with any query. Exit status 0 if everything is erased.
"""

from config import load_settings
from errors import ServiceError, TransactionAbortedError
from resources import Resources
from scripts.command_line import build_parser, failed, run
from services.maintenance.purge import purge
from services.names import normalise_name
from web.addresses import all_paths


def main(arguments: list[str] | None = None) -> int:
    """Erase the image, print the keys of its objects and its paths; return the exit status."""
    parser = build_parser("purge", __doc__)
    parser.add_argument("name", metavar="NAME", help="name of the image")
    name = parser.parse_args(arguments).name
    try:
        with Resources.open(load_settings()) as resources:
            erased = purge(resources.sessions, resources.bucket, name)
            paths = all_paths(normalise_name(name), resources.settings)
    except (ServiceError, TransactionAbortedError) as exc:
        return failed(exc)
    print("\n".join([*erased, f"{len(erased)} objects erased; a CDN must forget:", *paths]))
    return 0


if __name__ == "__main__":
    run(main)
