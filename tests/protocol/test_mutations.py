"""Breaking any step of the write protocol makes a test fail."""

from pathlib import Path

import pytest

from devstack.service_process import ROOT
from tests.tools.code_mutations import MUTATIONS, failures


@pytest.mark.parametrize("name", list(MUTATIONS))
def test_applicable(tmp_path: Path, name: str) -> None:
    """The text that the mutation replaces occurs exactly once."""
    mutation = MUTATIONS[name]
    (tmp_path / mutation.file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / mutation.file).write_text((ROOT / mutation.file).read_text())
    mutation.apply(tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("name", list(MUTATIONS))
def test_noticed(name: str) -> None:
    """At least one of the mutation's tests fails."""
    assert failures(MUTATIONS[name])
