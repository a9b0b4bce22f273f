"""What people run instead of this service, and the application that does nothing.

`make bench-peers` installs thumbor and ipx from their locks. Both read pictures from their working
folder, which costs them less than S3 would. thumbor stores what it makes there, ipx nothing.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping

from sqlalchemy import text

from benchmarks import ROOT
from config import normalise_db_url
from devstack.databases import connection
from devstack.server_process import ServerProcess
from devstack.service_process import ServiceProcess
from devstack.waiting import free_port

PLAIN, THUMBOR, IPX = "plain", "thumbor", "ipx"

INSTALLED = ROOT / ".peers"
_NODE = shutil.which("node") or "node"
_FILL_PLAIN = """
INSERT INTO pictures (name, size_bytes, extension, content_type, s3_key, created_at)
SELECT name, size_bytes, extension, content_type, s3_key, created_at FROM images
WHERE s3_key LIKE 'absent-%' ON CONFLICT DO NOTHING
"""


def bare(workers: int = 1) -> ServerProcess:
    """Return the application that does nothing, under the command line of the service."""
    return _application("benchmarks.bare:app", {}, workers)


def _plain(environment: Mapping[str, str]) -> ServerProcess:
    url = normalise_db_url(environment["DB_URL"])  # with the driver that is installed
    own = {
        "AWS_DEFAULT_REGION": environment["AWS_REGION"],  # boto3 ignores AWS_REGION
        "DB_URL": url.render_as_string(hide_password=False),
    }
    return _application("benchmarks.plain.main:app", {**environment, **own})


def _application(name: str, environment: Mapping[str, str], workers: int = 1) -> ServerProcess:
    return ServiceProcess(
        environment,
        args=["--no-access-log"],
        workers=workers,
        application=name,
        log_config=False,
    )


def fill_plain(url: str) -> None:
    """Give the plain service the generated rows of the service's table."""
    with connection(url) as db:
        db.execute(text(_FILL_PLAIN))


def versions() -> dict[str, str]:
    """Return the versions of thumbor and ipx that are installed, and of Node.js."""
    node = subprocess.run([_NODE, "--version"], check=True, capture_output=True, text=True)
    ipx = json.loads((INSTALLED / "ipx/node_modules/ipx/package.json").read_text())
    lock = (INSTALLED / "thumbor/requirements.lock").read_text()
    thumbor = re.search(r"^thumbor==(\S+)", lock, re.MULTILINE)
    return {
        "thumbor": thumbor[1] if thumbor else "unknown",
        "ipx": ipx["version"],
        "node": node.stdout.strip().removeprefix("v"),
    }


def _thumbor(_: Mapping[str, str]) -> ServerProcess:
    port = free_port()
    program = str(INSTALLED / "thumbor/bin/thumbor")
    configuration = str(ROOT / "benchmarks/thumbor/thumbor.conf")
    command = [program, "--ip", "127.0.0.1", "--port", str(port), "--conf", configuration]
    return ServerProcess(command, {"PATH": os.environ["PATH"]}, port, probe="/healthcheck")


def _ipx(_: Mapping[str, str]) -> ServerProcess:
    port = free_port()
    program = str(INSTALLED / "ipx/node_modules/ipx/bin/ipx.mjs")
    command = [_NODE, program, "serve", "--dir", ".", "--host", "127.0.0.1", "--port", str(port)]
    environment = {"PATH": os.environ["PATH"], "NODE_ENV": "production"}
    return ServerProcess(command, environment, port, probe="/", status=400)  # without a file


PEERS: Mapping[str, Callable[[Mapping[str, str]], ServerProcess]] = {
    PLAIN: _plain,
    THUMBOR: _thumbor,
    IPX: _ipx,
}
"""For each peer, what makes its process from the variables of the database and the store."""
