"""Rules look at the path that routes know, whatever prefix a proxy has."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.routed_path import is_probe, routed_path

PATHS = st.text("/ab", max_size=8).map("/".__add__)


@given(PATHS, st.sampled_from(["", "/a", "/a/b"]))
def test_prefix(path: str, root_path: str) -> None:
    """The prefix of a proxy is removed once."""
    assert routed_path({"path": root_path + path, "root_path": root_path}) == path


@pytest.mark.parametrize("path", ["/images", "/prefixed/images", "/prefi"])
def test_other_prefix(path: str) -> None:
    """A path that does not begin with the prefix is the path of the route."""
    assert routed_path({"path": path, "root_path": "/prefix"}) == path


@pytest.mark.parametrize(
    ("kind", "path", "probes"),
    [
        ("http", "/api/metrics", True),
        ("http", "/api/health/live", True),
        ("http", "/api/health", False),
        ("http", "/api/images/metrics", False),
        ("lifespan", "/metrics", False),
    ],
)
def test_probes(kind: str, path: str, *, probes: bool) -> None:
    """Health checks and metrics are probes, below any prefix."""
    assert is_probe({"type": kind, "path": path, "root_path": "/api"}) is probes
