"""`python -m devstack.servers FILE`: run the servers that the service needs, without the service.

For rehearsing a deployment on one machine. Starts SeaweedFS with an empty bucket, and PostgreSQL
with an empty database, or creates it on the server in TEST_DB_URL. Writes the service's environment
variables to FILE as shell assignments and runs until Ctrl-C or SIGTERM, when it deletes database
and objects.
"""

import argparse
import os
import shlex
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from devstack.databases import fresh_database
from devstack.postgresql import postgres
from devstack.seaweedfs import seaweedfs

BUCKET = "images"


def main() -> None:
    """Run the servers until a signal ends them."""
    parser = argparse.ArgumentParser(prog="python -m devstack.servers", description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE", help="file for the variables")
    file: Path = parser.parse_args().file
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt), servers() as variables:
        _write(file, variables)
        print(f"PostgreSQL and SeaweedFS are running; {file} contains the service's variables.")
        while True:
            signal.pause()


@contextmanager
def servers() -> Iterator[dict[str, str]]:
    """Run both servers and yield the service's variables for them."""
    with (
        tempfile.TemporaryDirectory(prefix="objects-") as folder,
        postgres(os.environ.get("TEST_DB_URL")) as server,
        fresh_database(server) as url,
        seaweedfs(Path(folder)) as store,
    ):
        store.create_bucket(BUCKET)
        yield {"DB_URL": url, **store.environment(), "AWS_S3_BUCKET": BUCKET}


def _write(file: Path, variables: dict[str, str]) -> None:
    """Write the variables atomically, readable by the owner only."""
    lines = [f"{name}={shlex.quote(value)}\n" for name, value in variables.items()]
    draft = file.with_name(f"{file.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.writelines(lines)
    draft.replace(file)


if __name__ == "__main__":
    main()
