"""The write protocol, checked in every order of events that can happen.

    python -m tests.tools.protocol_model                  the short scenarios and wrong protocols
    python -m tests.tools.protocol_model --long           also more actors at once (`make soak`)
    python -m tests.tools.protocol_model --wrong NAME     the shortest way in which NAME goes wrong

The protocol is protocol_steps.py, wrong ones are wrong_protocols.py; the database, the bucket and
the actors are protocol_world.py; here are the invariants, the scenarios and the search. It is
breadth first over all worlds that can be reached, so the traces that it prints are the shortest
there are.

What can happen. Between any two yields every other actor may run. Every actor may crash before
every step; its transaction is then rolled back. A COMMIT answers, or its answer is lost: the locks
stay, and the server commits or rolls back at any later time. A PUT answers, fails without landing,
lands with its answer lost, or is given up and lands later. Sweepers run for ever, and any moment
is after the grace period: safety may not depend on it. The database is READ COMMITTED: a plain
SELECT sees what is committed and takes no lock; a write locks its row, and one that meets a lock
waits, then looks again at what is committed. "0 rows" stands for a unique violation too.

What is assumed. A key is minted once. *The horizon*: when it has passed since the claim, no PUT of
that key lands any more, neither one that was given up nor one that its upload has yet to begin. So
an upload must give up if it comes to its PUT too late (put-without-deadline), and the
hosts' clocks must differ by less than the horizon exceeds the life of a PUT (no-horizon).

What is left out, and why nothing is lost by it. Other names: they share no row and no key. I3: a
row is its key here; inspection before the PUT, and I2, make the rest of it true. A statement that
is refused (deadlock, time-out): rolled back and retried it is a slow actor, given up it is a
crash. SELECT … FOR UPDATE: it allows less than the plain SELECT. A second PUT with a new key:
another upload. A failed S3 DELETE: a crash before or after it. A late S3 DELETE: it is only ever
sent for a key that no row can name again.
"""

# ruff: noqa: T201 - run as a command it talks to people by print

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
    Look,
    Program,
    Put,
    Remove,
    Reply,
    Request,
    Rollback,
    Select,
    World,
    Write,
    derived,
    original_of,
    pending,
)
from tests.tools.wrong_protocols import WRONG_PROTOCOLS

Move = tuple[str, Request | str, str]  # who did what, and what came of it
Step = tuple[Move, World]  # a move, and the world that it made

INVARIANTS = {
    "I1": "the image row names an object that does not exist",
    "I2": "a key was written twice",
    "I4": "a reader got neither a whole version nor the news that there is none",
    "I5": "an object is neither named by a row nor in the journal",
    "ACK": "a write that has not taken effect was acknowledged",
    "END": "all have ended, all is swept, and row and bucket differ or the journal is not empty",
}


class Scenario(NamedTuple):
    """A cast of actors, and the key of the image that is there when they start."""

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
    """What an exploration found."""

    states: int
    breaches: dict[str, list[Step]]  # broken invariants, each with a shortest way to break it
    images: frozenset[Key | None]  # that can be the last, when all have ended and all is swept


def moves(world: World) -> Iterator[Step]:
    """Yield everything that can happen next; an actor's good outcome before the others."""
    for me, actor in enumerate(world.actors):
        request, name = actor.request(), actor.program.name
        if request is None:
            continue
        for outcome, answer, after in request.outcomes(world, me):
            yield (name, request, outcome), after.told(me, answer)
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
    """List the invariants that do not hold in this world."""
    image = world.committed(IMAGE)
    rules = set(world.broken)
    if image is not None and image not in world.objects:
        rules.add("I1")
    named = {image, *(key for slot, key in world.rows if original_of(slot) is not None)}
    if any(key not in named and not world.committed(pending(key)) for key in world.objects):
        rules.add("I5")
    return rules


def has_ended(world: World) -> bool:
    """Tell whether only sweepers and late PUTs are left to move."""
    return not world.limbo and all(a.program.forever or a.answers is None for a in world.actors)


def swept(world: World, sweeper: Program) -> World:
    """Let one sweeper run until it finds nothing more to do."""
    world = world._replace(actors=(Actor(sweeper),))
    while (step := next(moves(world), None)) is not None:
        world = step[1]
    return world


def is_clean(world: World) -> bool:
    """Tell whether the journal is empty and the bucket holds the image and its variant alone."""
    image = world.committed(IMAGE)
    rows = {IMAGE: image, derived(str(image)): world.committed(derived(str(image)))}
    kept = {slot: key for slot, key in rows.items() if key is not None}
    return dict(world.rows) == kept and world.objects == set(kept.values())


def explore(start: World, sweeper: Program) -> Verdict:
    """Visit every world that can be reached from this one, and hold the invariants against it."""
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
    """Retrace the moves that led to this world, each with the world that it made."""
    steps: list[Step] = []
    while (before := earlier[world]) is not None:
        steps.append(next(step for step in moves(before) if step[1] == world))
        world = before
    return steps[::-1]


def program(name: str, wrong: str) -> Program:
    """Make the program of one actor, such as "upload a"."""
    verb, *keys = name.split()
    return Program(name, partial(PROGRAMS[verb], *keys, wrong), forever=verb == "sweep")


def check(cast: str, image: Key | None, wrong: str = "") -> Verdict:
    """Explore every order of events with these actors."""
    actors = tuple(Actor(program(name, wrong)) for name in cast.split(", "))
    objects = frozenset({image} if image else ())
    start = World(frozenset((IMAGE, key) for key in objects), objects, actors, written=objects)
    return explore(start, program("sweep", wrong))


def check_wrong(name: str) -> Verdict:
    """Explore a wrong protocol with the cast that shows what is wrong with it."""
    wrong = WRONG_PROTOCOLS[name]
    return check(wrong.cast, wrong.image, name)


PHRASES: dict[type, str] = {
    Select: "SELECT image",
    Look: "SELECT image JOIN variants",
    Candidate: "SELECT pending",
    Rollback: "ROLLBACK",
    Put: "S3 PUT {0.key}",
    Get: "S3 GET {0.key}",
    Remove: "S3 DELETE {0.key}",
    Reply: "answer {0.status}",
}


def text(request: Request | str) -> str:
    """Write a request as one would in SQL or S3."""
    if isinstance(request, Write):
        value = f" = {request.value}" if request.value else ""
        states = " or ".join(state for state in request.where or () if state)
        return f"{request.verb} {request.slot}{value}" + (f" where {states}" if states else "")
    if isinstance(request, Commit):
        return f"{text(request.statement)}; COMMIT" if request.statement else "COMMIT"
    return PHRASES.get(type(request), "{0}").format(request)


def show(rule: str, steps: list[Step]) -> None:
    """Print the way to a breach: who did what, what came of it, and what there is then."""
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
    """Print one line about an exploration."""
    seconds = time.process_time() - began
    rules = " ".join(sorted(verdict.breaches)) or "holds"
    print(f"{title:<34} {verdict.states:>9,} states {seconds:>6.1f} s   {rules}", flush=True)


def run(scenarios: dict[str, Scenario]) -> bool:
    """Check the protocol in these scenarios; print each, and the way to every breach."""
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
    """Check that every wrong protocol breaks what the table says."""
    as_expected = True
    for name, wrong in WRONG_PROTOCOLS.items():
        began = time.process_time()
        verdict = check_wrong(name)
        report(name, verdict, began)
        as_expected &= verdict.breaches.keys() == set(wrong.breaks.split())
    return as_expected


def main() -> int:
    """Run what the command line asks for; 0 when all is as it should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.tools.protocol_model")
    parser.add_argument("--long", action="store_true", help="more actors at once; minutes")
    parser.add_argument(
        "--wrong", choices=WRONG_PROTOCOLS, help="print how this protocol goes wrong"
    )
    options = parser.parse_args()
    if options.wrong:
        wrong = WRONG_PROTOCOLS[options.wrong]
        print(f"{options.wrong}: {wrong.mistake}\n")
        rule = wrong.breaks.split()[0]
        show(rule, check_wrong(options.wrong).breaches[rule])
        return 0
    holds = run({**SHORT, **LONG} if options.long else SHORT)
    print("\nWrong protocols, and what they break:")
    return 0 if run_wrong_protocols() and holds else 1


if __name__ == "__main__":
    sys.exit(main())
