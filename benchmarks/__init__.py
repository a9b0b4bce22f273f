"""Benchmarks of latency, throughput, CPU per request and memory.

`python -m benchmarks` measures; `python -m benchmarks.report` writes docs/performance.md. All load
goes to 127.0.0.1, every run is bounded in time, and all started processes end with this one.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "performance.json"
