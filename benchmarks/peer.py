"""CPU per request of Supabase Storage 1.11 (Node 24), for comparison in the chart.

Measured with 16 clients on the same kind of machine with the same PostgreSQL and SeaweedFS, in
another run. Supabase Storage neither inspects images nor journals its writes.
"""

from benchmarks.results import STORED, UPLOADS

PEER_CPU_MS = [
    ("metadata", STORED, 0.47),
    ("list 100", STORED, 1.12),
    ("redirect", STORED, 0.32),  # the time to sign a URL
    ("GET 10 KB", STORED, 1.52),
    ("GET 100 KB", STORED, 1.50),
    ("GET 1 MB", STORED, 5.4),
    ("GET 20 MB", STORED, 73),
    ("upload 10 KB", UPLOADS, 3.0),
    ("upload 100 KB", UPLOADS, 3.5),
    ("upload 5 MB", UPLOADS, 46),
]
"""CPU ms per request, by row and setting of this project's benchmarks."""
