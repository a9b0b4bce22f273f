"""`python -m scripts.purge` immediately erases what KEEP_DELETED_SECONDS would retain."""

from unittest.mock import Mock

import pytest
from fastapi.testclient import TestClient

from config import Settings
from errors import WriteConflictError
from scripts import purge
from tests.support import pictures
from tests.support.uploads import serving, upload

KEPT = {"keep_deleted_seconds": 3600.0}
IMAGE = "/images/secret%20one"
SIZES = ("160", "320", "640", "1280", "2048", "320x320-crop")
ENDINGS = ("", ".jpg", ".png", ".webp")
PATHS = {IMAGE, f"{IMAGE}/metadata"} | {
    f"{IMAGE}/variants/{size}{ending}" for size in SIZES for ending in ENDINGS
}


@pytest.fixture
def environment(service_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the environment variables of the test's database and bucket."""
    for name, value in service_environment.items():
        monkeypatch.setenv(name, value)


def keys(client: TestClient, settings: Settings) -> list[str]:
    """Return the keys in the bucket."""
    resources = client.app_state["resources"]
    assert resources.settings.aws_s3_bucket == settings.aws_s3_bucket
    return [key for key, _ in resources.bucket.list_objects()]


@pytest.mark.usefixtures("environment")
def test_purge(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """Purge erases the overwritten and deleted objects of one name, and no others."""
    with serving(settings, **KEPT) as client:
        for seed in (1, 2):
            assert upload(client, pictures.png(seed=seed), name="secret one").is_success
        assert upload(client, pictures.png(seed=3), name="secret-one").is_success
        assert client.delete("/images/secret-one").is_success
        assert len(keys(client, settings)) == 3
        assert purge.main(["secret one"]) == 0
        printed = capsys.readouterr().out
        assert "2 objects erased" in printed
        assert {line for line in printed.splitlines() if line.startswith("/")} == PATHS
        (left,) = keys(client, settings)
        assert client.get("/images/secret%20one").status_code == 404
        assert purge.main(["secret-one"]) == 0
        assert left in capsys.readouterr().out
        assert keys(client, settings) == []
        assert purge.main(["secret-one"]) == 0


@pytest.mark.usefixtures("environment")
def test_refused(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """Purge refuses an invalid name; --help only prints its help."""
    assert purge.main(["a/b"]) == 1
    assert "slash" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        purge.main(["--help"])
    assert settings.aws_s3_bucket not in capsys.readouterr().out


@pytest.mark.usefixtures("environment")
def test_conflict(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Purge reports in one sentence that too many other writes kept it from erasing."""
    monkeypatch.setattr(purge, "purge", Mock(side_effect=WriteConflictError))
    assert purge.main(["secret one"]) == 1
    assert capsys.readouterr().err == "Too many concurrent writes to this image; run it again\n"
