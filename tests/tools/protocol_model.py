"""A model checker for the write protocol that explores every possible order of events.

    python -m tests.tools.protocol_model                 short scenarios and wrong protocols
    python -m tests.tools.protocol_model --long          also with more actors (`make soak`)
    python -m tests.tools.protocol_model --wrong NAME    how the wrong protocol NAME fails

This module contains the invariants, the scenarios and the search. The search is breadth first over
all reachable worlds, so it prints the shortest counterexamples.

Events. Any other actor may run between two steps. Every actor may crash before every step; the
database then rolls back its transaction. A COMMIT is answered, or its answer is lost: its locks
stay, and the server commits or rolls back at any later time. A PUT is answered, fails without
storing, stores but loses its answer, or times out and lands later. Sweepers run forever, and the
grace period has always passed: safety may not depend on it. The database is READ COMMITTED: a
plain SELECT reads committed rows and takes no lock. A write locks its row; a write that meets a
lock waits and then reads the committed row again. "0 rows" also stands for a unique violation.

Assumptions. Each key is generated once. *The horizon*: once it has passed since the claim, no PUT
of the key lands, neither one that timed out nor one that its upload has not started. An upload
therefore gives up if it reaches its PUT too late (put-without-deadline), and the clocks of the
hosts must differ by less than the horizon exceeds the lifetime of a PUT (no-horizon).

Not modeled, without loss of generality. Other names: they share no row and no key. I3: here a row
consists of its key; the inspection before the PUT, together with I2, guarantees the rest. A
refused statement (deadlock, timeout): with a retry it is a slow actor, without one it is a crash.
SELECT … FOR UPDATE: it permits fewer orders than the plain SELECT. A second PUT with a new key: it
is another upload. A failed S3 DELETE: it is a crash before or after the DELETE. A late S3 DELETE:
it is only sent for a key that no row can name again.
"""

# ruff: noqa: T201 - this command prints its results

import argparse
import sys
import time
from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from tests.tools.protocol_steps import PROGRAMS
from tests.tools.protocol_world import (
    IMAGE,
    Actor,
    Candidate,
    Commit,
    Get,
    Key,
    Program,
    Put,
    Remove,
    Reply,
    Request,
    Rollback,
    Select,
    SelectVariant,
    World,
    Write,
    derived,
    original_of,
    pending,
)
from tests.tools.wrong_protocols import WRONG_PROTOCOLS

Move = tuple[str, Request | str, str]  # actor, request or event, outcome
Step = tuple[Move, World]  # a move, and the world after it

INVARIANTS = {
    "I1": "the image row names an object that does not exist",
    "I2": "a key was written twice",
    "I4": "a reader got neither a whole version nor the answer that there is none",
    "I5": "an object is neither named by a row nor in the journal",
    "I6": "a variant has a row although no image names its original",
    "ACK": "a write was acknowledged that has not taken effect",
    "END": "after all actors and sweeps, rows and bucket differ or the journal is not empty",
}


class Scenario(NamedTuple):
    """A cast of actors, and the key of the image that exists when they start."""

    cast: str
    image: Key | None = None


SHORT = {
    "first upload": Scenario("upload a, sweep"),
    "two first uploads": Scenario("upload a, upload b, sweep"),
    "two overwrites": Scenario("upload a, upload b, sweep", "o"),
    "overwrite, delete": Scenario("upload a, delete, sweep", "o"),
    "upload, two sweepers": Scenario("upload a, sweep, sweep"),
    "overwrite, two sweepers": Scenario("upload a, sweep, sweep", "o"),
    "delete, two sweepers": Scenario("delete, sweep, sweep", "o"),
    "two deletes": Scenario("delete, delete, sweep", "o"),
    "read, overwrite, delete": Scenario("read, upload a, delete", "o"),
    "variant, overwrite": Scenario("derive v, upload a, sweep", "o"),
    "variant, delete": Scenario("derive v, delete, sweep", "o"),
    "variant lost, delete": Scenario("derive v, forget, delete", "o"),
    "two variants": Scenario("derive v, derive w, sweep", "o"),
    "variants read, overwrite": Scenario("look, derive v, upload a, delete", "o"),
    "repair, upload": Scenario("repair a, upload a, sweep"),
    "repair, overwrite": Scenario("repair o, upload a, sweep", "o"),
}
LONG = {
    "three first uploads": Scenario("upload a, upload b, upload c"),
    "two overwrites, delete": Scenario("upload a, upload b, delete", "o"),
    "two first uploads, two sweepers": Scenario("upload a, upload b, sweep, sweep"),
    "two overwrites, two sweepers": Scenario("upload a, upload b, sweep, sweep", "o"),
    "overwrite, delete, two sweepers": Scenario("upload a, delete, sweep, sweep", "o"),
    "read, overwrite, delete, sweep": Scenario("read, upload a, delete, sweep", "o"),
    "repair, overwrite, delete": Scenario("repair o, upload a, delete, sweep", "o"),
}


class Verdict(NamedTuple):
    """The result of an exploration."""

    states: int
    breaches: dict[str, list[Step]]  # violated invariants, each with a shortest counterexample
    images: frozenset[Key | None]  # the images that can remain after all actors have ended


def moves(world: World) -> Iterator[Step]:
    """Yield every possible next step; for each actor its successful outcome first."""
    for me, actor in enumerate(world.actors):
        request, name = actor.request(), actor.program.name
        if request is None:
            continue
        for outcome, answer, after in request.outcomes(world, me):
            yield (name, request, outcome), after.with_answer(me, answer)
        if actor.ended() != actor:
            yield (name, "crash", ""), world.without_actor(me)
    for me, writes in world.limbo:
        decided = world._replace(limbo=world.limbo - {(me, writes)})
        commit = f"COMMIT of {world.actors[me].program.name}"
        yield ("database", commit, "was done"), decided.after_commit(me, writes)
        yield ("database", commit, "was rolled back"), decided
    for key in world.late:
        landed = world._replace(late=world.late - {key}).after_landing(key)
        yield ("bucket", Put(key), "lands late"), landed


def broken(world: World) -> set[str]:
    """Return the invariants that this world violates."""
    image = world.committed(IMAGE)
    rules = set(world.broken)
    if image is not None and image not in world.objects:
        rules.add("I1")
    variants = {slot: key for slot, key in world.rows if original_of(slot) is not None}
    if any(original_of(slot) != image for slot in variants):
        rules.add("I6")
    named = {image, *variants.values()}
    if any(key not in named and not world.committed(pending(key)) for key in world.objects):
        rules.add("I5")
    return rules


def has_ended(world: World) -> bool:
    """Return whether only sweepers and late PUTs can still make a step."""
    return not world.limbo and all(a.program.forever or a.answers is None for a in world.actors)


def swept(world: World, sweeper: Program) -> World:
    """Run one sweeper until it finds nothing more to do."""
    world = world._replace(actors=(Actor(sweeper),))
    while (step := next(moves(world), None)) is not None:
        world = step[1]
    return world


def is_clean(world: World) -> bool:
    """Return whether the journal is empty and the bucket has only the image and its variant."""
    image = world.committed(IMAGE)
    rows = {IMAGE: image, derived(str(image)): world.committed(derived(str(image)))}
    kept = {slot: key for slot, key in rows.items() if key is not None}
    return dict(world.rows) == kept and world.objects == set(kept.values())


def explore(start: World, sweeper: Program) -> Verdict:
    """Check the invariants in every world that is reachable from `start`."""
    earlier: dict[World, World | None] = {start: None}
    queue, found = deque([start]), dict[str, World]()
    ends: dict[tuple[object, ...], World] = {}
    while queue:
        world = queue.popleft()
        for rule in broken(world):
            found.setdefault(rule, world)
        if has_ended(world):
            left = (world.rows, world.objects, world.late)
            ends[left] = ends.get(left) or swept(world, sweeper)
            if not is_clean(ends[left]):
                found.setdefault("END", world)
        for _, after in moves(world):
            if after not in earlier:
                earlier[after] = world
                queue.append(after)
    breaches = {rule: way(world, earlier) for rule, world in found.items()}
    return Verdict(len(earlier), breaches, frozenset(e.committed(IMAGE) for e in ends.values()))


def way(world: World, earlier: dict[World, World | None]) -> list[Step]:
    """Return the steps that led to this world."""
    steps: list[Step] = []
    while (before := earlier[world]) is not None:
        steps.append(next(step for step in moves(before) if step[1] == world))
        world = before
    return steps[::-1]


def program(name: str, wrong: str) -> Program:
    """Return the program of one actor, such as "upload a"."""
    verb, *keys = name.split()
    return Program(name, partial(PROGRAMS[verb], *keys, wrong), forever=verb == "sweep")


def check(cast: str, image: Key | None, wrong: str = "") -> Verdict:
    """Explore every order of events with these actors."""
    actors = tuple(Actor(program(name, wrong)) for name in cast.split(", "))
    objects = frozenset({image} if image else ())
    start = World(frozenset((IMAGE, key) for key in objects), objects, actors, written=objects)
    return explore(start, program("sweep", wrong))


def check_wrong(name: str) -> Verdict:
    """Explore a wrong protocol with the cast that reveals its mistake."""
    wrong = WRONG_PROTOCOLS[name]
    return check(wrong.cast, wrong.image, name)


PHRASES: dict[type, str] = {
    Select: "SELECT image",
    SelectVariant: "SELECT image JOIN variants",
    Candidate: "SELECT pending",
    Rollback: "ROLLBACK",
    Put: "S3 PUT {0.key}",
    Get: "S3 GET {0.key}",
    Remove: "S3 DELETE {0.key}",
    Reply: "answer {0.status}",
}


def text(request: Request | str) -> str:
    """Return a request in the notation of SQL or S3."""
    if isinstance(request, Write):
        value = f" = {request.value}" if request.value else ""
        states = " or ".join(state for state in request.where or () if state)
        return f"{request.verb} {request.slot}{value}" + (f" where {states}" if states else "")
    if isinstance(request, Commit):
        return f"{text(request.statement)}; COMMIT" if request.statement else "COMMIT"
    return PHRASES.get(type(request), "{0}").format(request)


def show(rule: str, steps: list[Step]) -> None:
    """Print a counterexample: each step with its outcome, the rows and the objects."""
    print(f"{rule}: {INVARIANTS[rule]}\n")
    line = "{:>3}  {:<10} {:<50} {:<19} {:<5} {:<20} {}"
    print(line.format("", "who", "does", "outcome", "image", "journal", "bucket"))
    for number, ((who, what, outcome), world) in enumerate(steps, 1):
        rows = sorted(row for row in world.rows if row[0] != IMAGE)
        journal = ", ".join(f"{slot.removeprefix('pending ')}:{state}" for slot, state in rows)
        image, bucket = world.committed(IMAGE) or "-", " ".join(sorted(world.objects)) or "-"
        print(line.format(number, who, text(what), outcome, image, journal or "-", bucket))
    print()


def report(title: str, verdict: Verdict, began: float) -> None:
    """Print the result of an exploration as one line."""
    seconds = time.process_time() - began
    rules = " ".join(sorted(verdict.breaches)) or "holds"
    print(f"{title:<34} {verdict.states:>9,} states {seconds:>6.1f} s   {rules}", flush=True)


def run(scenarios: dict[str, Scenario]) -> bool:
    """Check the protocol in these scenarios; print the results and all counterexamples."""
    holds = True
    for title, scenario in scenarios.items():
        began = time.process_time()
        verdict = check(*scenario)
        report(title, verdict, began)
        for rule, steps in verdict.breaches.items():
            holds = False
            show(rule, steps)
    return holds


def run_wrong_protocols() -> bool:
    """Return whether every wrong protocol violates exactly the invariants of the table."""
    as_expected = True
    for name, wrong in WRONG_PROTOCOLS.items():
        began = time.process_time()
        verdict = check_wrong(name)
        report(name, verdict, began)
        as_expected &= verdict.breaches.keys() == set(wrong.breaks.split())
    return as_expected


def main() -> int:
    """Run the command line; return 0 if all results are as expected."""
    parser = argparse.ArgumentParser(prog="python -m tests.tools.protocol_model")
    parser.add_argument("--long", action="store_true", help="add scenarios that take minutes")
    parser.add_argument(
        "--wrong", choices=WRONG_PROTOCOLS, help="print how this wrong protocol fails"
    )
    options = parser.parse_args()
    if options.wrong:
        wrong = WRONG_PROTOCOLS[options.wrong]
        print(f"{options.wrong}: {wrong.mistake}\n")
        rule = wrong.breaks.split()[0]
        show(rule, check_wrong(options.wrong).breaches[rule])
        return 0
    holds = run({**SHORT, **LONG} if options.long else SHORT)
    print("\nWrong protocols and the invariants that they violate:")
    return 0 if run_wrong_protocols() and holds else 1


if __name__ == "__main__":
    sys.exit(main())
