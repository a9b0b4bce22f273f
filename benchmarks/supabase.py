"""Supabase Storage 1.11 (Node 24), which no package registry has: measured once, on 2026-11-28.

Its CPU per request follows from the ratios to this service in a run of both with 16 clients and the
same PostgreSQL and SeaweedFS. It neither inspects images nor journals its writes.
"""

SUPABASE = "supabase"

UNITS_OF_BARE = {
    "metadata": 3.1,
    "list 100": 8.6,
    "redirect": 2.4,  # the time to sign a URL
    "GET 10 KB": 9.8,
    "GET 100 KB": 10.5,
    "GET 1 MB": 36,
    "GET 20 MB": 470,
    "upload 10 KB": 17,
    "upload 100 KB": 25,
    "upload 5 MB": 340,  # of two runs
}
"""CPU per request in units of `bare`, by row."""

PEAK_MB = {"16 uploads of 25 MB": 949, "sustained uploads of 5 MB by 16": 800}
"""Peak resident memory, by row of the memory table."""
