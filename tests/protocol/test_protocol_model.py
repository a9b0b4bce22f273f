"""The write protocol holds in every order of events, and a wrong one does not."""

import time

import pytest

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


def holds(title: str, scenario: Scenario) -> None:
    """Fail if the protocol breaks an invariant, or if an ending cannot be reached at all."""
    began = time.process_time()
    verdict = check(*scenario)
    report(title, verdict, began)
    assert not verdict.breaches, (
        f"python -m tests.tools.protocol_model shows how: {verdict.breaches}"
    )
    uploaded = {word[7:] for word in scenario.cast.split(", ") if word.startswith("upload ")}
    gone = {None} if "delete" in scenario.cast else set()
    assert verdict.images == {scenario.image, *uploaded, *gone}


@pytest.mark.parametrize("title", SHORT)
def test_the_protocol_holds(title: str) -> None:
    """No order of events breaks an invariant, and each write can be the last to take effect."""
    holds(title, SHORT[title])


@pytest.mark.soak
@pytest.mark.parametrize("title", LONG)
def test_the_protocol_holds_among_more_actors(title: str) -> None:
    """The same with more of them at once."""
    holds(title, LONG[title])


@pytest.mark.parametrize("name", WRONG_PROTOCOLS)
def test_a_wrong_protocol_is_caught(name: str) -> None:
    """The model finds the invariants that the table says, no more and no fewer."""
    assert set(check_wrong(name).breaches) == set(WRONG_PROTOCOLS[name].breaks.split())


@pytest.mark.parametrize("name", WRONG_PROTOCOLS)
def test_a_counterexample_ends_at_the_breach(name: str) -> None:
    """The last step of a trace breaks its invariant, and no step before it does."""
    for rule, steps in check_wrong(name).breaches.items():
        *before, last = [rule in broken(world) for _, world in steps]
        assert rule == "END" or (last and not any(before))


def test_every_invariant_is_broken_by_some_wrong_protocol() -> None:
    """No invariant is there that the model could not find broken."""
    found = {rule for wrong in WRONG_PROTOCOLS.values() for rule in wrong.breaks.split()}
    assert found == set(INVARIANTS)
