"""The policy of the service's role allows what the service and its commands do, and no more."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import make_url

from adapters.rds_iam import token_source
from config import load_settings
from devstack.databases import fresh_database
from devstack.object_store import ObjectStore
from main import create_app
from s3_client import Bucket
from tests.support.aws_policy import Call, rds_call, refused, role_permissions
from tests.support.metered_service import S3Meter
from tests.support.moto_store import moto_store
from tests.support.pictures import noise_png, png
from tests.support.uploads import upload

BUCKET = "my-images"
INSTANCE = ("111122223333", "db-ABCDEFGHIJKL")  # as in policy.json
DB_URL = "postgresql://images@images.abc123.eu-central-1.rds.amazonaws.com/images"
NOT_FOR_OBSTORE = "strange\x01key"
SPOOLED_BYTES = 9_000_000
# The first two send nothing. The others read the buckets of others, with the others' credentials.
NOT_CALLED = {"presigned_url", "close", "download_any", "list_dated_objects"}


def note_calls(patch: pytest.MonkeyPatch) -> set[str]:
    """Return a set that gets the name of each public method of a `Bucket` that is called."""
    called = set()

    def noting(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any, **kwargs: Any) -> Any:
            called.add(name)
            return method(*args, **kwargs)

        return noted

    for name, method in vars(Bucket).items():
        if callable(method) and not name.startswith("_"):
            patch.setattr(Bucket, name, noting(name, method))
    return called


def run(command: str, *arguments: str, status: int = 0) -> None:
    """Run a command of the operator in this process."""
    assert import_module(f"scripts.{command}").main([*arguments]) == status


def use_api(client: TestClient) -> None:
    """Do to images what clients can do to them."""
    assert client.get("/health/ready").status_code == 200
    assert upload(client, png(), "a.png").status_code == 201
    assert upload(client, png(), "a.png").status_code == 200  # has the object
    assert upload(client, noise_png(SPOOLED_BYTES), "large.png").status_code == 201
    assert client.put("/images/a", content=png(seed=1)).status_code == 200
    assert client.get("/images/a", headers={"Range": "bytes=1-2"}).status_code == 206
    assert client.get("/images/a/variants/160.png").status_code == 200
    for method in ("GET", "HEAD"):
        address = client.request(method, "/images/a?redirect=true").headers["Location"]
        assert httpx.request(method, address).status_code == 200
    assert client.delete("/images/large").status_code == 200


def use_commands(folder: Path) -> None:
    """Do what operators do."""
    run("doctor.__main__")
    (folder / "in").mkdir()
    (folder / "in/b.png").write_bytes(png(seed=2))
    run("import_images", str(folder / "in"))
    run("export_images", str(folder / "out"))
    run("verify", "--deep", "--repair")
    run("sweep")
    run("purge", "large")


class Recorded:
    """What the deployment has asked S3 for, and which methods of `Bucket` have asked."""

    def __init__(self, calls: set[Call], methods: set[str]) -> None:
        self.calls, self.methods = calls, methods


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    """Use the service and its commands on moto, as they are deployed."""
    with ExitStack() as ends:
        patch = ends.enter_context(pytest.MonkeyPatch.context())
        moto = ObjectStore(ends.enter_context(moto_store()).url, "key", "secret")
        moto.create_bucket(BUCKET)
        meter = ends.enter_context(S3Meter(moto))
        variables = moto.environment() | {
            "AWS_ENDPOINT_URL_S3": meter.url,
            "AWS_S3_BUCKET": BUCKET,
            "DB_URL": ends.enter_context(fresh_database("sqlite://")),
            "KEEP_DELETED_SECONDS": "604800",
            "PUT_HORIZON_SECONDS": "61",
        }
        for name, value in variables.items():
            patch.setenv(name, value)
        patch.chdir(tmp_path_factory.mktemp("no-env-file"))
        methods = note_calls(patch)
        run("create_tables")
        with TestClient(create_app(load_settings()), follow_redirects=False) as client:
            use_api(client)
        orphan = moto.client().put_object(Bucket=BUCKET, Key=NOT_FOR_OBSTORE, Body=b"a")
        assert orphan
        use_commands(tmp_path_factory.mktemp("transfer"))
        yield Recorded(meter.calls(), methods)


def test_s3_calls_are_allowed(recorded: Recorded) -> None:
    """The policy allows every request to S3."""
    assert recorded.calls
    assert refused(recorded.calls, role_permissions(BUCKET)) == []


def test_every_method_was_called(recorded: Recorded) -> None:
    """The recording has every method that sends requests to the service's own bucket."""
    methods = {name for name, value in vars(Bucket).items() if callable(value)}
    public = {name for name in methods if not name.startswith("_")}
    assert public - recorded.methods <= NOT_CALLED


def test_every_permission_is_needed(recorded: Recorded) -> None:
    """Without any one of them, a request to S3 or the sign-in to the database is refused."""
    token = token_source(make_url(DB_URL), "eu-central-1")()
    calls = {*recorded.calls, rds_call(token, *INSTANCE)}
    granted = role_permissions(BUCKET)
    assert refused(calls, granted) == []
    for needed in granted:
        assert refused(calls, (other for other in granted if other != needed)), needed
