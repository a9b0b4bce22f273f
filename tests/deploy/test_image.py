"""`make image` builds an image that serves without privileges and stops cleanly."""

import os
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator
from hashlib import sha256

import httpx
import pytest

from devstack.service_process import ROOT
from devstack.waiting import wait_until
from tests.support.container_files import compose, dockerfile_stages
from tests.support.container_image import (
    Container,
    ContainerImage,
    ContainerImages,
    missing_tools,
)
from tests.support.other_site import other_site
from tests.support.uploads import upload
from tests.support.variants import WIDE, opened

TOKEN = "a-key"
SECRETS = {"API_KEYS": f"web:write:{sha256(TOKEN.encode()).hexdigest()}"}
SERVICE = compose(defaultdict(lambda: "unset", SECRETS))["services"]["service"]
VOLUMES = [volume.partition(":")[2] for volume in SERVICE["volumes"]]
STOP_SECONDS = int(SERVICE["stop_grace_period"].removesuffix("s"))
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContainerImages]:
    """Return a storage that contains the base image; skip where it cannot be made."""
    if os.geteuid() != 0:
        pytest.skip("only root can build the image")
    if missing := missing_tools():
        reason = f"the image cannot be built without {', '.join(missing)}"
        if os.environ.get("REQUIRE_SERVICES") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("images")
    try:
        images = ContainerImages(folder)
        images.add_base(f"docker.io/library/{dockerfile_stages()[-1][0].text}")
        yield images
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def image(images: ContainerImages) -> ContainerImage:
    """Build the image."""
    return images.make("buildah")


@pytest.fixture
def variables(service_environment: dict[str, str]) -> dict[str, str]:
    """Return the variables of a deployment on the database and the store of the tests."""
    return {**SERVICE["environment"], **service_environment}


def _wait_until_healthy(container: Container) -> None:
    def settled() -> bool:
        return container.process.poll() is not None or container.healthy()

    wait_until(settled, timeout=60, what="the container")
    assert container.process.poll() is None, container.log()


def _rights(container: Container) -> dict[str, str]:
    lines = container.execute("cat", "/proc/1/status").stdout.splitlines()
    fields = dict(line.split(":\t") for line in lines)
    return {name: fields[name] for name in ("CapEff", "NoNewPrivs")}


def _use(url: str) -> None:
    """Upload an image, read it and a variant, and delete it."""
    key = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=url, headers=key, timeout=60) as client:
        assert upload(client, WIDE, "a.jpg").status_code == 201
        assert client.get("/images/a").content == WIDE
        assert opened(client.get("/images/a/variants/320.webp")).size == (320, 160)
        assert client.delete("/images/a").status_code == 200
        assert client.get("/images/a").status_code == 404
        assert "Swagger" in client.get("/docs").text


@on_postgresql
def test_serves(image: ContainerImage, variables: dict[str, str]) -> None:
    """The container serves without rights, on a read-only file system, until SIGTERM."""
    with image.running(variables, volumes=VOLUMES) as container:
        _wait_until_healthy(container)
        assert container.execute("id", "-u").stdout == "10001\n"
        assert _rights(container) == {"CapEff": "0" * 16, "NoNewPrivs": "1"}
        assert "Read-only file system" in container.execute("touch", "/srv/a").stderr
        _use(container.url)
        assert container.stop(timeout=STOP_SECONDS) == 0, container.log()
        assert container.log().count("Started server process") == 2


@on_postgresql
def test_unhealthy(image: ContainerImage, variables: dict[str, str]) -> None:
    """The health check fails while nothing serves."""
    with image.running(variables, ["sleep", "600"]) as container:
        assert not container.healthy()


@pytest.mark.parametrize("command", ["create_tables", "doctor", "sweep", "verify"])
@on_postgresql
def test_commands(image: ContainerImage, variables: dict[str, str], command: str) -> None:
    """The operator's commands run in the image."""
    with image.running(variables, ["python", "-m", f"scripts.{command}"], VOLUMES) as container:
        assert container.process.wait(timeout=60) == 0, container.log()


def test_podman(images: ContainerImages, image: ContainerImage) -> None:
    """Podman builds an image of the same configuration, with the health check."""
    other = images.make("podman").config
    assert other["Healthcheck"]
    assert other | {"Hostname": ""} == image.config | {"Hostname": ""}


def test_aws(images: ContainerImages, image: ContainerImage) -> None:
    """The image for deploy/aws.yaml adds certificates that the image's user may read."""
    text = (ROOT / "deploy/Dockerfile").read_text()
    with other_site({"/rds.pem": "certificates"}) as origin:
        aws = images.build(re.sub(r"https://truststore\S+", f"{origin}/rds.pem", text))
    assert aws.config["Volumes"] == {"/tmp": {}}  # noqa: S108 - of the container
    assert aws.config["Cmd"] == image.config["Cmd"]
    with aws.running({}, ["cat", "/etc/image-api/rds.pem"]) as container:
        assert container.process.wait(timeout=60) == 0
        assert container.log() == "certificates"
