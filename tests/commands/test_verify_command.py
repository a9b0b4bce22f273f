"""`python -m scripts.verify` reports findings as text, as JSON and by its exit status."""

import hashlib
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest

from config import Settings
from devstack.object_store import ObjectStore
from errors import TransactionAbortedError
from scripts import verify
from services.maintenance.verification import Verifier
from tests.support.damage import STRANGE_KEY, World, healthy, worlds
from tests.support.pictures import png

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
planted_damage = pytest.mark.planted_damage


@pytest.fixture
def world(settings: Settings, s3: "S3Client") -> Iterator[World]:
    """Return an empty world."""
    with worlds(settings, s3) as world:
        yield world


@pytest.fixture
def environment(world: World, monkeypatch: pytest.MonkeyPatch, object_store: ObjectStore) -> None:
    """Set the environment variables of the database and the bucket."""
    for name, value in object_store.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DB_URL", world.settings.db_url)
    monkeypatch.setenv("AWS_S3_BUCKET", world.settings.aws_s3_bucket)


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Parse the printed JSON Lines."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@on_sqlite
@planted_damage
@pytest.mark.usefixtures("environment")
def test_json(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """--json prints one line per finding, then the summary."""
    body = png(seed=9)
    lost, altered = world.remove(world.image("lost")), world.image("Ünï", 8)
    world.put(altered, body)
    world.put(STRANGE_KEY)
    assert verify.main(["--json", "--deep", "--repair"]) == verify.DAMAGED
    *found, last = lines_of(capsys)
    row, digest = {"size_bytes": len(png()), "sha256": None}, hashlib.sha256
    by_key = {line["key"]: line for line in found}
    assert by_key[lost] == {
        "damage": "lost",
        "key": lost,
        "name": "lost",
        "row": row | {"sha256": digest(png()).hexdigest()},
        "object": None,
        "journaled": False,
    }
    assert by_key[altered]["damage"] in {"altered", "wrong_size"}
    assert by_key[altered]["object"]["sha256"] == digest(body).hexdigest()
    assert (by_key[STRANGE_KEY]["damage"], by_key[STRANGE_KEY]["journaled"]) == ("orphan", True)
    assert by_key[STRANGE_KEY]["row"] is None
    summary = last["summary"]
    assert (summary["clean"], summary["journaled"], summary["images"]) == (False, 1, 2)
    assert sum(summary["found"].values()) == len(found) == 3


@on_sqlite
@pytest.mark.usefixtures("environment")
def test_exit_status(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit status is 0 without findings, 1 with findings, and 0 if all are journaled."""
    healthy(world)
    assert verify.main([]) == verify.CLEAN == 0
    world.put("orphan.png")
    assert verify.main([]) == verify.DAMAGED == 1
    assert verify.main(["--repair"]) == 0
    assert verify.main(["--deep"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out.splitlines() == [
        "5 objects, 3 images, 4 journal entries: clean",
        "orphan     'orphan.png'",
        "6 objects, 3 images, 4 journal entries: 1 orphan",
        "orphan     'orphan.png': journaled",
        "6 objects, 3 images, 4 journal entries: 1 orphan (1 journaled)",
        "6 objects, 3 images, 5 journal entries: clean",
    ]


@on_sqlite
@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("AWS_S3_BUCKET", "no-such-bucket", "NoSuchBucket"),
        ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1", "Could not connect"),
        ("DB_URL", "sqlite:////nowhere/images.db", "unable to open"),
        ("DB_URL", "oracle://host/images", "names oracle"),
    ],
)
def test_unchecked(
    variable: str,
    value: str,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """If verification cannot run, the exit status is 2 and the reason is printed."""
    monkeypatch.setenv(variable, value)
    monkeypatch.setenv("S3_MAX_ATTEMPTS", "1")
    assert verify.main([]) == verify.UNCHECKED == 2
    printed = capsys.readouterr()
    assert (printed.out, reason in printed.err) == ("", True)
    assert verify.main(["--json"]) == 2
    (line,) = lines_of(capsys)
    assert reason in line["error"]


@on_sqlite
@pytest.mark.usefixtures("environment")
def test_aborted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """If the database cancels the snapshot, as replicas do, that does not count as damage."""
    monkeypatch.setattr(Verifier, "verify", Mock(side_effect=TransactionAbortedError("cancelled")))
    assert verify.main(["--json"]) == verify.UNCHECKED
    assert lines_of(capsys) == [{"error": "cancelled"}]


@on_sqlite
@pytest.mark.usefixtures("environment")
def test_bar(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a terminal a progress bar is drawn on stderr only."""
    healthy(world)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert verify.main(["--deep"]) == 0
    printed = capsys.readouterr()
    assert f"checking [{'#' * 20}] 3 of 3" in printed.err
    assert printed.out == "5 objects, 3 images, 4 journal entries: clean\n"
