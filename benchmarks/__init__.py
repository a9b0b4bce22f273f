"""How fast the service is, how much CPU a request costs, and how much memory it takes.

`python -m benchmarks` measures; `python -m benchmarks.report` writes docs/performance.md. Nothing
but 127.0.0.1 is loaded, every run is bounded in time, and all that is started dies with us.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "performance.json"

sys.path.append(str(ROOT / "tests"))  # the servers and the pictures of the tests serve us too
