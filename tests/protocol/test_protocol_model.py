"""The model checker accepts the write protocol and rejects every wrong protocol."""

import time

import pytest

from devstack.service_process import ROOT
from tests.tools.protocol_model import (
    INVARIANTS,
    LONG,
    SHORT,
    Scenario,
    broken,
    check,
    check_wrong,
    report,
)
from tests.tools.wrong_protocols import WRONG_PROTOCOLS


def check_scenario(title: str, scenario: Scenario) -> None:
    """Assert that no invariant is violated, and that every write can be the last one."""
    began = time.process_time()
    verdict = check(*scenario)
    report(title, verdict, began)
    assert not verdict.breaches, (
        f"python -m tests.tools.protocol_model prints counterexamples: {verdict.breaches}"
    )
    uploaded = {word[7:] for word in scenario.cast.split(", ") if word.startswith("upload ")}
    gone = {None} if "delete" in scenario.cast else set()
    assert verdict.images == {scenario.image, *uploaded, *gone}


@pytest.mark.parametrize("title", SHORT)
def test_the_protocol_holds(title: str) -> None:
    """No order of events violates an invariant, and every write can take effect last."""
    check_scenario(title, SHORT[title])


@pytest.mark.soak
@pytest.mark.parametrize("title", LONG)
def test_the_protocol_holds_among_more_actors(title: str) -> None:
    """No order of events violates an invariant with more concurrent actors."""
    check_scenario(title, LONG[title])


@pytest.mark.parametrize("name", WRONG_PROTOCOLS)
def test_a_wrong_protocol_is_caught(name: str) -> None:
    """A wrong protocol violates exactly the invariants that the table lists."""
    assert set(check_wrong(name).breaches) == set(WRONG_PROTOCOLS[name].breaks.split())


@pytest.mark.parametrize("name", WRONG_PROTOCOLS)
def test_a_counterexample_ends_at_the_breach(name: str) -> None:
    """Only the last step of a counterexample violates its invariant."""
    for rule, steps in check_wrong(name).breaches.items():
        *before, last = [rule in broken(world) for _, world in steps]
        assert rule == "END" or (last and not any(before))


def test_every_invariant_is_broken_by_some_wrong_protocol() -> None:
    """The model can detect a violation of every invariant."""
    found = {rule for wrong in WRONG_PROTOCOLS.values() for rule in wrong.breaks.split()}
    assert found == set(INVARIANTS)


def test_the_page_lists_every_wrong_protocol() -> None:
    """docs/write-protocol.md has the mistake of every wrong protocol and what it violates."""
    page = (ROOT / "docs" / "write-protocol.md").read_text()
    rows = [
        f"| `{name}` | {wrong.mistake.replace('...', '…')} | {', '.join(wrong.breaks.split())} |"
        for name, wrong in WRONG_PROTOCOLS.items()
    ]
    assert [line for line in page.splitlines() if line.startswith("| `")] == rows
