"""The servers that the service needs, by themselves: `python -m devstack.servers FILE`.

For a rehearsal of a production on this machine. Starts PostgreSQL (or takes the server that
TEST_DB_URL names) with an empty database, and SeaweedFS with an empty bucket; writes the variables
by which the service finds them into FILE, for a shell to read, and runs until Ctrl-C or SIGTERM.
Then the rows are gone; and so are the objects.
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
    parser.add_argument("file", type=Path, metavar="FILE", help="where the variables go")
    file: Path = parser.parse_args().file
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt), servers() as variables:
        _write(file, variables)
        print(f"PostgreSQL and SeaweedFS are running; the service finds them by {file}.")
        while True:
            signal.pause()


@contextmanager
def servers() -> Iterator[dict[str, str]]:
    """Run both, and yield the variables by which the service finds them."""
    with (
        tempfile.TemporaryDirectory(prefix="objects-") as folder,
        postgres(os.environ.get("TEST_DB_URL")) as server,
        fresh_database(server) as url,
        seaweedfs(Path(folder)) as store,
    ):
        store.create_bucket(BUCKET)
        yield {"DB_URL": url, **store.environment(), "AWS_S3_BUCKET": BUCKET}


def _write(file: Path, variables: dict[str, str]) -> None:
    """Write the variables, readable to their owner only, as a whole or not at all."""
    lines = [f"{name}={shlex.quote(value)}\n" for name, value in variables.items()]
    draft = file.with_name(f"{file.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.writelines(lines)
    draft.replace(file)


if __name__ == "__main__":
    main()
