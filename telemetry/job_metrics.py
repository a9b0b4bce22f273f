"""Metrics of sweeps and verifications, which may run in other processes.

Each job writes a file in Prometheus's text format, as node_exporter's textfile collector reads it.
`/metrics` includes these files.
"""

import time
from collections.abc import Mapping
from operator import itemgetter
from pathlib import Path

from prometheus_client import write_to_textfile
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from telemetry import logger


def write_sweep(folder: Path, entries: Mapping[str, int], oldest_due_seconds: float) -> None:
    """Write the metrics of a completed sweep and of the journal after it."""
    counts = GaugeMetricFamily(
        "image_api_journal_entries", "Journal entries by state", labels=["state"]
    )
    for state, count in entries.items():
        counts.add_metric([state], count)
    age = _gauge(
        "oldest_due_entry_age_seconds", "For how long an entry has been due", oldest_due_seconds
    )
    last = _gauge("last_sweep_timestamp_seconds", "When a sweep last ended", time.time())
    _write(folder / "sweep.prom", [counts, age, last])


def write_verification(folder: Path, found: Mapping[str, int]) -> None:
    """Write the metrics of a completed verification."""
    damage = GaugeMetricFamily(
        "image_api_verify_findings", "Damage that the last verification found", labels=["damage"]
    )
    for kind, count in found.items():
        damage.add_metric([kind], count)
    last = _gauge("last_verify_timestamp_seconds", "When a verification last ended", time.time())
    _write(folder / "verify.prom", [damage, last])


def _gauge(name: str, meaning: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"image_api_{name}", meaning, value)


class Families(Collector):
    """Metrics with their values, as prometheus_client renders them."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        """Return the metrics."""
        return self._families


def _write(file: Path, families: list[Metric]) -> None:
    """Replace the file atomically. A failure is only logged, because the job has succeeded."""
    try:
        write_to_textfile(str(file), Families(families))
    except OSError:
        logger.warning("The metrics of %s could not be written", file.stem, exc_info=True)


def read_jobs(folders: list[Path]) -> list[Metric]:
    """Read the metrics that jobs wrote to `folders`. The newest file of each job counts."""
    found: list[tuple[float, list[Metric]]] = []
    for file in (folder / name for folder in folders for name in ("sweep.prom", "verify.prom")):
        try:
            families = list(text_string_to_metric_families(file.read_text()))
            found.append((file.stat().st_mtime, families))
        except FileNotFoundError:
            continue
        except (OSError, ValueError):
            logger.warning("The metrics in %s cannot be read", file.name, exc_info=True)
    found.sort(key=itemgetter(0))
    return list({family.name: family for _, families in found for family in families}.values())
