"""The container image, built and run by Debian's tools: no daemon, no registry, no Docker.

A base that debootstrap makes of Debian's packages stands for the Dockerfile's. Mounts are made in
namespaces of the processes that use them, so none outlives its process.
"""

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, Any

from devstack.processes import die_with_parent
from devstack.service_process import ROOT
from devstack.waiting import free_port, wait_until

TOOLS = ["buildah", "podman", "debootstrap"]
_STORAGE = '[storage]\ndriver = "overlay"\ngraphroot = "{0}/storage"\nrunroot = "{0}/run"\n'
_TIMEOUT = 120
_NAMESPACES = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
# Unpacks in memory, because dpkg waits for the disk after every file.
_ADD_BASE = """
mount -t tmpfs base "$1/base"
debootstrap --variant=minbase \\
    --include=python3-venv,python3-pip,python-is-python3,ca-certificates trixie "$1/base"
cp /etc/ssl/certs/ca-certificates.crt "$1/base/etc/ssl/certs/"
rm -rf "$1/base/var/cache/apt" "$1/base/var/lib/apt/lists"
container=$(buildah from scratch)
buildah add --quiet "$container" "$1/base" /
buildah commit --quiet --rm "$container" "$2"
"""
# Becomes the first process of a container: mounts what Docker does, read-only but for /tmp and the
# volumes, and gives up all rights. The remaining arguments are variables and the command.
_FIRST_PROCESS = """
image=$1 user=$2 folder=$3 volumes=$4; shift 4
root=$(buildah mount "$(buildah from --pull-never "$image")")
mount -o bind,ro "$root" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=1777 tmp "$root/tmp"
mount -t tmpfs -o mode=755 dev "$root/dev"
for device in null zero full random urandom; do
    : >"$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir -m 1777 "$root/dev/shm"
for volume in $volumes; do
    owner=$(stat -c uid=%u,gid=%g,mode=%a "$root$volume")
    mount -t tmpfs -o "$owner" volume "$root$volume"
done
exec setpriv --no-new-privs chroot --userspec="$user" --groups= "$root" \\
    /usr/bin/env -i -C "$folder" "$@"
"""


def missing_tools() -> list[str]:
    """Return the Debian packages that this machine lacks to build the image."""
    return [tool for tool in TOOLS if not shutil.which(tool)]


class ContainerImages:
    """Images in a storage of their own in `folder`, which buildah and podman share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "base").mkdir()
        (folder / "storage.conf").write_text(_STORAGE.format(folder))
        self.environment = os.environ | {
            "CONTAINERS_STORAGE_CONF": f"{folder}/storage.conf",
            "BUILDAH_ISOLATION": "chroot",
            "BUILDAH_LAYERS": "true",  # the second build of the same layers takes a second
        }

    def add_base(self, name: str) -> None:
        """Make an image of Debian with its Python, which trusts whom this machine trusts."""
        self._run("unshare", "--mount", "sh", "-ec", _ADD_BASE, "sh", str(self._folder), name)

    def make(self, tool: str) -> "ContainerImage":
        """Run `make image` with buildah or podman and return what it built."""
        archive = self._folder / "archive"
        self._run("make", "image", f"DIST={archive}", f"CONTAINER=unshare --mount {tool}")
        return self._image("image-api")

    def build(self, dockerfile: str) -> "ContainerImage":
        """Build an image from the text of a Dockerfile, without other files."""
        context = self._folder / "context"
        context.mkdir(exist_ok=True)
        (context / "Dockerfile").write_text(dockerfile)
        build = ["buildah", "build", "--tag", "other"]
        self._run("unshare", "--mount", *build, str(context))
        return self._image("other")

    def _image(self, name: str) -> "ContainerImage":
        inspect = ["buildah", "inspect", "--type", "image", name]
        built = json.loads(self._run("unshare", "--mount", *inspect))
        return ContainerImage(self.environment, built["FromImageID"], built["Docker"]["config"])

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            ["/usr/bin/env", *command],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout.strip()


class ContainerImage:
    """An image; `config` is what Docker calls so (OCI image specification: "config")."""

    def __init__(self, environment: Mapping[str, str], name: str, config: dict[str, Any]) -> None:
        self.config = config
        self._environment, self._name = environment, name

    @property
    def port(self) -> str:
        """The port that the image exposes."""
        (port,) = self.config["ExposedPorts"]
        return str(port).removesuffix("/tcp")

    @contextmanager
    def running(
        self,
        variables: Mapping[str, str],
        command: Sequence[str] = (),
        volumes: Sequence[str] = (),
    ) -> Iterator["Container"]:
        """Run a container on the network of this machine, by default with the image's command."""
        config, port = self.config, str(free_port())
        where = [self._name, config["User"], config["WorkingDir"], " ".join(volumes)]
        environment = [*config["Env"], *(f"{name}={value}" for name, value in variables.items())]
        words = [word.replace(self.port, port) for word in command or config["Cmd"]]
        with tempfile.TemporaryFile() as log:
            process = subprocess.Popen(
                [*_NAMESPACES, "sh", "-ec", _FIRST_PROCESS, "sh", *where, *environment, *words],
                env=self._environment,
                stdout=log,
                stderr=log,
                preexec_fn=partial(die_with_parent, os.getpid(), signal.SIGKILL),  # noqa: PLW1509
            )
            try:
                container = Container(self, process, port, environment, log)
                wait_until(container.has_started, timeout=_TIMEOUT, what="the container")
                yield container
            finally:
                process.kill()
                process.wait()


class Container:
    """A running container. Its end is that of `process`, with the same status."""

    def __init__(
        self,
        image: ContainerImage,
        process: subprocess.Popen[bytes],
        port: str,
        environment: list[str],
        log: IO[bytes],
    ) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}"
        self._config, self._exposed = image.config, image.port
        self._port, self._environment, self._log = port, environment, log

    def has_started(self) -> bool:
        """Tell whether the command runs in its file system, or has ended."""
        if self.process.poll() is None and (first := self._children()):
            with suppress(FileNotFoundError):  # it has just ended
                return str(Path(f"/proc/{first}/root").readlink()) != "/"
        return self.process.poll() is not None

    def log(self) -> str:
        """Return the output so far."""
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size, 0).decode()

    def execute(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run another command in the container, as its user."""
        user, group = self._config["User"].split(":")
        enter = ["--mount", "--pid", "--root", "--wd", f"--setuid={user}", f"--setgid={group}"]
        inside = ["/usr/bin/env", "-i", *self._environment, *command]
        return subprocess.run(
            ["/usr/bin/env", "nsenter", f"--target={self._children()}", *enter, *inside],
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT,
        )

    def healthy(self) -> bool:
        """Run the image's health check."""
        kind, *command = self._config["Healthcheck"]["Test"]
        assert kind == "CMD"
        return (
            self.execute(*(w.replace(self._exposed, self._port) for w in command)).returncode == 0
        )

    def stop(self, timeout: float) -> int:
        """Send SIGTERM to the first process, as Docker does, and return its exit status."""
        os.kill(int(self._children()), signal.SIGTERM)
        return self.process.wait(timeout)

    def _children(self) -> str:
        parent = self.process.pid
        return Path(f"/proc/{parent}/task/{parent}/children").read_text().strip()
