"""How fast the service is, how much CPU a request costs, and how much memory it takes.

`python -m benchmarks` measures; `python -m benchmarks.report` writes docs/performance.md. Nothing
but 127.0.0.1 is loaded, every run is bounded in time, and all that is started dies with us.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "performance.json"
