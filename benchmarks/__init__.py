"""Benchmarks of throughput, latency, CPU per request and memory.

`python -m benchmarks` measures; `python -m benchmarks.report` writes docs/performance.md. The load
goes to 127.0.0.1 only, every run is bounded in time, and every started process ends with this one.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "performance.json"
COMPARISON = ROOT / "docs" / "comparison.json"
