"""Each alarm of docs/alarms.yaml fires on its fault, and only then, by the service's metrics."""

import re
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml  # type: ignore[import-untyped]

from config import Settings
from db import build_engine, build_sessions, writing
from devstack.service_process import ROOT
from devstack.waiting import wait_until
from repositories import pending_objects
from resources import Resources
from scripts import verify
from tests.support import pictures
from tests.support.metrics import Metrics, scrape
from tests.support.promql import ScrapePair
from tests.support.service_behind_proxies import ServiceBehindProxies

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

FILE = ROOT / "docs" / "alarms.yaml"
RULES: dict[str, dict[str, Any]] = {
    rule["alert"]: rule for rule in yaml.safe_load(FILE.read_text())["groups"][0]["rules"]
}
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


def firing(before: Metrics, after: Metrics, later: float = 0.0) -> set[str]:
    """Return the alarms that fire `later` seconds from now if the samples stay the same."""
    scrapes = ScrapePair(before, after, time.time() + later)
    return {name for name, rule in RULES.items() if scrapes.fires(rule["expr"])}


class Watched(ServiceBehindProxies):
    """A service with a background sweeper, and the alarms that its metrics raise."""

    def __init__(self, stack: ExitStack, environment: dict[str, str], folder: Path) -> None:
        sweeps = {"SWEEP_INTERVAL_SECONDS": "0.2", "METRICS_FOLDER": str(folder)}
        super().__init__(stack, environment | sweeps)
        self.first = scrape(self.url)
        wait_until(lambda: "SweepMissing" not in self.alarms(), timeout=20, what="a sweep")

    def alarms(self, later: float = 0.0) -> set[str]:
        """Return the alarms that fire now, or `later` seconds from now."""
        return firing(self.first, scrape(self.url), later) - {"VerifyMissing"}


@pytest.fixture
def stack() -> Any:
    """Return a stack that closes everything a test opens."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def watched(stack: ExitStack, service_environment: dict[str, str], tmp_path: Path) -> Watched:
    """Return a service for which no alarm fires."""
    watched = Watched(stack, service_environment, tmp_path)
    for _ in range(20):
        assert watched.get("/images/none/metadata").status == 404
    assert watched.alarms() == set()
    return watched


@on_postgresql
@pytest.mark.planted_damage
def test_lost_image(
    watched: Watched, settings: Settings, s3: "S3Client", monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lost object fires alarms after a verification and after a download."""
    watched.upload(pictures.png())
    folder = watched_folder(watched)
    assert run_verify(monkeypatch, settings, folder) == verify.CLEAN
    assert watched.alarms() == set()
    (entry,) = s3.list_objects_v2(Bucket=settings.aws_s3_bucket)["Contents"]
    s3.delete_object(Bucket=settings.aws_s3_bucket, Key=entry["Key"])
    assert run_verify(monkeypatch, settings, folder) == verify.DAMAGED
    assert watched.alarms() == {"VerificationFoundDamage"}
    assert watched.get("/images/big").status == 500
    assert "ImageLost" in watched.alarms()


def watched_folder(watched: Watched) -> Path:
    """Return the METRICS_FOLDER of the service."""
    return Path(watched.process.environment["METRICS_FOLDER"])


def run_verify(monkeypatch: pytest.MonkeyPatch, settings: Settings, folder: Path) -> int:
    """Run `scripts.verify`, which writes its metrics to the folder."""
    changed = settings.model_copy(update={"metrics_folder": folder})
    monkeypatch.setattr(verify, "load_settings", lambda: changed)
    return verify.main([])


@on_postgresql
def test_journal_stuck(watched: Watched, settings: Settings) -> None:
    """The alarm fires while the sweeper cannot remove an overdue journal entry, then ends."""
    watched.storage.refuse()
    watched.storage.close_connections()
    engine = build_engine(settings)
    with writing(build_sessions(engine)()) as connection:
        moment = datetime.now(UTC) - timedelta(minutes=10)
        pending_objects.journal_deletion(connection, "stuck.png", moment)
        pending_objects.journal_upload(connection, "under-way.png", datetime.now(UTC))
    wait_until(lambda: watched.alarms() == {"JournalStuck"}, timeout=20, what="the alarm")
    metrics = scrape(watched.url)
    for state in ("uploading", "to_delete"):
        assert metrics["image_api_journal_entries", {"state": state}] == 1
    watched.storage.heal()
    wait_until(lambda: watched.alarms() == set(), timeout=20, what="the end of the alarm")
    with writing(build_sessions(engine)()) as connection:
        assert pending_objects.finish_upload(connection, "under-way.png")
    engine.dispose()


@on_postgresql
def test_database_down(watched: Watched) -> None:
    """Without the database requests fail, and five minutes later the sweep is overdue."""
    watched.database.refuse()
    watched.database.close_connections()
    assert watched.get("/images/none/metadata").status == 503
    wait_until(lambda: "ServerErrors" in watched.alarms(), timeout=10, what="the alarm")
    assert "SweepOverdue" not in watched.alarms(later=200)
    assert "SweepOverdue" in watched.alarms(later=301)
    assert scrape(watched.url)["image_api_database_errors_total"] >= 1
    watched.database.heal()


@on_postgresql
def test_few_errors(watched: Watched) -> None:
    """A single 503 among more than a hundred responses fires no alarm."""
    for _ in range(100):
        watched.get("/images/none/metadata")
    watched.database.refuse()
    watched.database.close_connections()
    assert watched.get("/images/none/metadata").status == 503
    metrics = wait_for_errors(watched)
    assert metrics["image_api_requests_total", {}] == 0
    assert "ServerErrors" not in watched.alarms()
    watched.database.heal()


def wait_for_errors(watched: Watched) -> Metrics:
    """Wait until the metrics count a 503; return them."""

    def has_errors() -> bool:
        series = scrape(watched.url).series("image_api_requests_total")
        return any(value for labels, value in series if labels["status"] == "503")

    wait_until(has_errors, timeout=10, what="the count")
    return scrape(watched.url)


@on_postgresql
def test_pool_saturated(
    stack: ExitStack, service_environment: dict[str, str], tmp_path: Path
) -> None:
    """The alarm fires while requests to a hanging database use every connection."""
    patient = {"CONNECT_TIMEOUT_SECONDS": "30", "DB_STATEMENT_TIMEOUT_SECONDS": "30"}
    watched = Watched(stack, service_environment | patient | {"CONCURRENCY": "4"}, tmp_path)
    threads = stack.enter_context(ThreadPoolExecutor(8))
    assert "PoolSaturated" not in watched.alarms()
    watched.database.hang()
    asked = watched.ask_many(threads, 8)
    try:
        wait_until(lambda: "PoolSaturated" in watched.alarms(), timeout=20, what="the alarm")
    finally:
        watched.database.heal()
    assert {answer.result(timeout=60) for answer in asked} <= {404, 503}
    wait_until(lambda: "PoolSaturated" not in watched.alarms(), timeout=20, what="its end")
    assert RULES["PoolSaturated"]["for"] == "5m"


@on_postgresql
def test_verify_overdue(
    watched: Watched, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The alarm fires eight days after the last complete verification."""
    folder = watched_folder(watched)
    assert "VerifyMissing" in firing(watched.first, scrape(watched.url))
    assert run_verify(monkeypatch, settings, folder) == verify.CLEAN
    assert "VerifyMissing" not in firing(watched.first, scrape(watched.url))
    assert "VerifyOverdue" not in watched.alarms(later=7 * 86400)
    assert "VerifyOverdue" in watched.alarms(later=8 * 86400 + 60)
    written = (folder / "verify.prom").read_text()
    blind = settings.model_copy(update={"aws_endpoint_url_s3": "http://127.0.0.1:1"})
    assert run_verify(monkeypatch, blind, folder) == verify.UNCHECKED
    assert (folder / "verify.prom").read_text() == written


@on_postgresql
def test_no_sweeper(
    stack: ExitStack, service_environment: dict[str, str], settings: Settings, tmp_path: Path
) -> None:
    """The alarm fires without any sweeper, and ends once one writes its metrics."""
    shared = {"METRICS_FOLDER": str(tmp_path)}
    proxied = ServiceBehindProxies(stack, service_environment | shared)
    before = scrape(proxied.url)
    assert "SweepMissing" in firing(before, before)
    with Resources.open(settings.model_copy(update={"metrics_folder": tmp_path})) as resources:
        resources.sweeper().sweep()
    assert "SweepMissing" not in firing(before, scrape(proxied.url))


def test_every_alarm_is_tested() -> None:
    """Every alarm has a test in this file and a summary for the operator."""
    page = Path(__file__).read_text()
    assert not [name for name in RULES if f'"{name}"' not in page]
    assert all(rule["annotations"]["summary"].endswith(".") for rule in RULES.values())


def test_metrics_exist() -> None:
    """Every metric in an alarm exists in the service."""
    source = "".join(path.read_text() for path in (ROOT / "telemetry").glob("*.py"))
    for rule in RULES.values():
        for name in re.findall(r"image_api_(\w+)", rule["expr"]):
            assert name.removesuffix("_total") in source


def test_promtool() -> None:
    """Prometheus accepts the rules."""
    if not (promtool := shutil.which("promtool")):
        pytest.skip("promtool is not installed")
    run = subprocess.run([promtool, "check", "rules", str(FILE)], check=False)
    assert run.returncode == 0
