"""Every command of docs/operations.md that needs no AWS runs as written."""

import os
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from devstack.processes import die_with_parent
from devstack.service_process import ROOT
from devstack.waiting import free_port
from tests.support.runbook import PAGE, blocks

# Shell checks that run after the commands of each section.
AFTER = {
    "Rehearse on one machine": """
cmp docs/sunset.jpg copy.jpg
[ "$(curl -s -o /dev/null -w '%{http_code}' -X DELETE $HERE/images/sunset)" = 401 ]
grep -q '^image_api_last_sweep_timestamp_seconds ' metrics.txt
grep -q '^image_api_last_verify_timestamp_seconds ' metrics.txt
grep -q '^image_api_uploads_total{.*} 1' metrics.txt
[ "$(grep -c 'Started server process' log)" = 2 ]
[ "$(sed -n '$p' sweeps)" = '0 removed, 0 taken, 0 waiting, 0 failed' ]
! grep -q -F "$KEY" log
""",
    "Rotate API keys": """
settled() {  # SIGHUP reloads one worker after another; many requests reach both
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12; do
        [ "$(curl -s -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $1" \
            $HERE/metrics)" = $2 ] || return 1
    done
}
until settled "$NEW_KEY" 200 && settled "$KEY" 401; do sleep 0.2; done
""",
    "End the rehearsal": "wait $SERVERS\n",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a copy of the files that git tracks, with the repository."""
    if not (shutil.which("git") and (ROOT / ".git").is_dir()):
        if os.environ.get("REQUIRE_SERVICES") == "1":
            pytest.fail("`make dist` needs git and a git checkout")
        pytest.skip("`make dist` needs git and a git checkout")
    copy = tmp_path / "checkout"
    shutil.copytree(ROOT / ".git", copy / ".git", symlinks=True)
    git = ["/usr/bin/env", "git", "-c", "safe.directory=*", "ls-files", "-z"]
    names = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name)
    (copy / ".venv").symlink_to(sys.prefix)
    return copy


def script() -> str:
    """Return the commands that need neither AWS nor Docker, with checks after each section."""
    lines = []
    found = blocks("console")
    for block, following in zip(found, [*found[1:], None], strict=True):
        lines.append(block.text)
        if following is None or following.heading != block.heading:
            lines.append(AFTER[block.heading])
    return "set -euo pipefail\n" + "\n".join(lines)


def test_rehearsal(checkout: Path) -> None:
    """The page's commands start, use, sweep, verify and stop a production."""
    address = f"http://127.0.0.1:{free_port()}"
    commands = script().replace("http://127.0.0.1:8000", address)
    commands = commands.replace("--port 8000", f"--port {address.rpartition(':')[2]}")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "DB_", "DIST"))}
    ours = {"HERE": address, "HOME": str(checkout), "no_proxy": "127.0.0.1"}
    run = subprocess.Popen(
        ["/usr/bin/env", "bash", "-c", commands],
        cwd=checkout,
        env=kept | ours,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=partial(die_with_parent, os.getpid(), signal.SIGKILL),  # noqa: PLW1509
    )
    try:
        output, _ = run.communicate(timeout=600)
    finally:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
    log = checkout / "production" / "log"
    assert run.returncode == 0, output[-6000:] + (log.read_text()[-4000:] if log.exists() else "")
    assert "FAILED" not in output


def test_every_block_is_marked() -> None:
    """Every console block on the page either runs here or is marked with what it needs."""
    marks = ("", "AWS only", "needs Docker")
    assert sum(len(blocks("console", mark)) for mark in marks) == PAGE.count("```console\n")
    for block in blocks("console"):
        assert block.heading in AFTER


def test_containers(checkout: Path) -> None:
    """The blocks that need Docker run where Docker is installed."""
    docker = shutil.which("docker")
    if not docker or subprocess.run([docker, "info"], capture_output=True, check=False).returncode:
        pytest.skip("Docker is not running on this machine")
    compose = [docker, "compose", "--env-file", "production.env"]
    up = "\n".join(["set -eu", *(block.text for block in blocks("console", "needs Docker"))])
    try:
        subprocess.run(["/usr/bin/env", "bash", "-c", up], cwd=checkout, check=True, timeout=900)
    finally:
        subprocess.run([*compose, "logs", "--tail", "50"], cwd=checkout, check=False)
        subprocess.run([*compose, "down", "--volumes"], cwd=checkout, check=False)


def test_proxy_keeps_the_port() -> None:
    """The nginx example passes Host with its port, by which origins are compared."""
    (nginx,) = (block.text for block in blocks("nginx"))
    assert "proxy_set_header Host $http_host;" in nginx
