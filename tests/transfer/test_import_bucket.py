"""`scripts.import_images` on a bucket of a real store."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from devstack.object_store import ObjectStore
from tests.support.fault_proxy import FaultProxy, s3_error
from tests.support.pictures import jpeg, noise_png, png
from tests.support.uploads import on_sqlite
from tests.transfer.conftest import Deployment

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytestmark = on_sqlite

OBJECTS = {
    "photos/a.png": png(),
    "photos/2024/b.jpg": jpeg(),
    "photos/2024/Größe + 1%.png": png(seed=1),
    "photos/big.png": noise_png(2_500_000),
    "photos/k3y": png(seed=2),
    "photos/text.txt": b"hello",
    "photos-of-others/c.png": png(seed=3),
    "d.png": png(seed=4),
}


@pytest.fixture
def source(s3: "S3Client", new_bucket: Callable[[], str]) -> str:
    """Return the name of a bucket with objects that the service did not store."""
    bucket = new_bucket()
    for key, body in OBJECTS.items():
        s3.put_object(Bucket=bucket, Key=key, Body=body)
    return bucket


def test_folder_of_a_bucket(here: Deployment, s3: "S3Client", source: str) -> None:
    """The objects below a prefix become images; the source remains unchanged."""
    done = here.take(f"s3://{source}/photos", "--names=path:-", "--keep-dates")
    assert (done.status, done.outcomes) == (
        1,
        {
            **{key.removeprefix("photos/"): "created" for key in OBJECTS if "photos/" in key},
            "text.txt": "refused",
        },
    )
    assert here.content("2024-Größe + 1%") == OBJECTS["photos/2024/Größe + 1%.png"]
    assert here.content("k3y") == OBJECTS["photos/k3y"]
    assert here.content("big") == OBJECTS["photos/big.png"]
    head = s3.head_object(Bucket=source, Key="photos/a.png")
    assert here.images()["a"].created_at.replace(microsecond=0) == head["LastModified"]
    listed = s3.list_objects_v2(Bucket=source)["Contents"]
    assert {entry["Key"] for entry in listed} == set(OBJECTS)


@pytest.mark.parametrize("address", ["s3://{}", "s3://{}/"])
def test_whole_bucket(here: Deployment, source: str, address: str) -> None:
    """Without a prefix the whole bucket is imported; a dry run prints the requests that takes."""
    foreseen = here.take(address.format(source), "--dry-run")
    assert foreseen.out.splitlines()[-1] == (
        "requests to S3: 7 PUT, 0 HEAD, 0 DELETE; to the source: 1 LIST, 7 GET"
    )
    assert here.images() == {}
    assert here.take(address.format(source)).report == foreseen.report
    assert len(here.images()) == 7


def test_unreadable_object(here: Deployment, source: str, object_store: ObjectStore) -> None:
    """An object that the store refuses is refused with S3's reason; the others are imported."""
    port = int(object_store.endpoint_url.rpartition(":")[2])
    with FaultProxy(("127.0.0.1", port)) as proxy:
        endpoint = f"http://127.0.0.1:{proxy.address[1]}"
        refusal = s3_error(403, "InvalidObjectState")
        proxy.answer_with(refusal, when=b"/photos/a.png ", times=None)
        done = here.take(f"s3://{source}/photos", "--source-endpoint", endpoint)
    assert (done.status, done.reason("a.png")) == (1, "It cannot be read: InvalidObjectState.")
    assert done.outcomes["big.png"] == "created"


def test_other_credentials(
    here: Deployment,
    source: str,
    object_store: ObjectStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The source may have another endpoint, region and credentials than the service."""
    credentials = tmp_path / "credentials"
    credentials.write_text(
        f"[theirs]\naws_access_key_id = {object_store.access_key}\n"
        f"aws_secret_access_key = {object_store.secret_key}\n"
        "[strangers]\naws_access_key_id = nobody\naws_secret_access_key = nothing\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    address = f"s3://{source}/photos"
    assert here.take(address, "--profile=theirs").outcomes["a.png"] == "created"
    refused = here.take(address, "--profile=strangers")
    assert (refused.status, "InvalidAccessKeyId" in refused.err) == (2, True)
    unknown = here.take(address, "--profile=unknown")
    assert (unknown.status, "unknown" in unknown.err) == (2, True)
    monkeypatch.setenv("S3_MAX_ATTEMPTS", "1")
    away = here.take(address, "--source-endpoint=http://127.0.0.1:1")
    assert (away.status, "Could not connect" in away.err) == (2, True)
    elsewhere = here.take(address, f"--source-endpoint={object_store.endpoint_url}/")
    assert elsewhere.outcomes["a.png"] == "unchanged"
