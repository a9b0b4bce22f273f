"""The world of the protocol model: a database, a bucket, actors, and all that can happen to them.

A program (protocol_steps.py) is a generator that yields requests, statements and S3 calls, and
receives answers. Its only state is the answers that it has received, so a state of the whole
system, a `World`, is plain values. `moves` gives every world that can come next.
protocol_model.py says what is modelled, what is assumed and what is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

Key = str  # where an object lies; also stands for the bytes that were written there
Slot = str  # a row that a statement can lock: IMAGE, or pending(key)
Value = str | None  # what a row holds: a key (image), a state (journal), None (no such row)
Writes = tuple[tuple[Slot, Value], ...]  # what an open transaction has written, and so locked
Outcome = tuple[str, object, "World"]  # what happened, what the actor is told, the world after
Steps = Generator["Request", Any, Any]

IMAGE: Slot = "image"
UPLOADING, TO_DELETE = "U", "D"
UNNAMED = "unnamed"  # not a state: a derived picture whose original no image names
CLAIMED = "D claimed"  # state D with claimed_at set: a sweeper took it from U
UNKNOWN = "unknown"


def pending(key: Key) -> Slot:
    """Name the journal's row of this key."""
    return f"pending {key}"


def derived(original: Key) -> Slot:
    """Name the row of the picture that is derived from this object (a variant of one spec)."""
    return f"derived {original}"


def original_of(slot: Slot) -> Key | None:
    """Return whose derived picture a row is of, None of all other rows."""
    return slot.removeprefix("derived ") if slot.startswith("derived ") else None


@dataclass(eq=False)
class Program:
    """What an actor runs: the generator, and its next request after any answers, remembered."""

    name: str
    steps: Callable[[], Steps]
    forever: bool = False
    known: dict[tuple[object, ...], Request | None] = field(default_factory=dict)

    def request(self, answers: tuple[object, ...]) -> Request | None:
        """Replay the answers; return the request that follows, None when the program has ended."""
        if answers not in self.known:
            run = self.steps()
            try:
                request: Request | None = next(run)
                for answer in answers:
                    request = run.send(answer)
            except StopIteration:
                request = None
            self.known[answers] = request
        return self.known[answers]


class Actor(NamedTuple):
    """A program, how far it has come (None: ended), and its open transaction."""

    program: Program
    answers: tuple[object, ...] | None = ()
    writes: Writes = ()

    def request(self) -> Request | None:
        """Tell what this actor does next; None when it has ended."""
        return None if self.answers is None else self.program.request(self.answers)

    def ended(self) -> Actor:
        """End or crash: the transaction is rolled back; a sweeper starts again."""
        return Actor(self.program, () if self.program.forever else None)


class World(NamedTuple):
    """Everything there is at one instant."""

    rows: frozenset[tuple[Slot, Value]]  # committed
    objects: frozenset[Key]
    actors: tuple[Actor, ...]
    late: frozenset[Key] = frozenset()  # PUTs that were given up and may still land
    limbo: frozenset[tuple[int, Writes]] = frozenset()  # COMMITs sent, answer lost, undecided
    written: frozenset[Key] = frozenset()  # for I2: keys that have ever held an object
    applied: frozenset[int] = frozenset()  # for ACK: running actors whose write took effect
    broken: frozenset[str] = frozenset()  # invariants that a step has broken

    def committed(self, slot: Slot) -> Value:
        """Return what a plain SELECT sees."""
        return next((value for name, value in self.rows if name == slot), None)

    def is_locked(self, slot: Slot, me: int) -> bool:
        """Tell whether a transaction other than mine, or one in limbo, has written this row."""
        held = [actor.writes for who, actor in enumerate(self.actors) if who != me]
        held += [writes for _, writes in self.limbo]
        return any(slot == name for writes in held for name, _ in writes)

    def with_actor(self, me: int, actor: Actor) -> World:
        """Change one actor."""
        return self._replace(actors=(*self.actors[:me], actor, *self.actors[me + 1 :]))

    def without_actor(self, me: int) -> World:
        """End or crash one actor."""
        ended = self.with_actor(me, self.actors[me].ended())
        return ended._replace(applied=self.applied - {me})

    def after_commit(self, me: int, writes: Writes) -> World:
        """Commit these writes."""
        rows = {**dict(self.rows), **dict(writes)}
        kept = frozenset((slot, value) for slot, value in rows.items() if value is not None)
        tells = self.actors[me].answers is not None and any(slot == IMAGE for slot, _ in writes)
        return self._replace(rows=kept, applied=self.applied | {me} if tells else self.applied)

    def after_landing(self, key: Key) -> World:
        """Let a PUT of this key land."""
        broken = self.broken | {"I2"} if key in self.written else self.broken
        objects, written = self.objects | {key}, self.written | {key}
        return self._replace(objects=objects, written=written, broken=broken)

    def told(self, me: int, answer: object) -> World:
        """Give an actor the answer to its request."""
        actor = self.actors[me]
        told = actor._replace(answers=(*(actor.answers or ()), answer))
        return self.without_actor(me) if told.request() is None else self.with_actor(me, told)


class Request(Protocol):
    """What a program yields: a statement or an S3 call."""

    def outcomes(self, world: World, me: int, /) -> Iterator[Outcome]:
        """Yield all that can come of it now, the good outcome first; nothing means: it waits."""
        ...


@dataclass(frozen=True)
class Write:
    """INSERT, UPDATE or DELETE of one row, if what it holds is in `where` (None: anything)."""

    verb: str
    slot: Slot
    where: tuple[Value, ...] | None
    value: Value

    def outcomes(self, world: World, me: int) -> Iterator[Outcome]:
        """Hit 1 row and lock it, hit 0 rows, or wait for whoever holds the lock."""
        actor = world.actors[me]
        value = dict(actor.writes).get(self.slot, world.committed(self.slot))
        hit = value in self.where if self.where else (value or self.value) is not None
        inserts = self.where is None or None in self.where  # must know who comes first, so waits
        if (hit or inserts) and world.is_locked(self.slot, me):
            return
        if hit:
            writes = (*actor.writes, (self.slot, self.value))
            yield "1 row", 1, world.with_actor(me, actor._replace(writes=writes))
        else:
            yield "0 rows", 0, world


def insert(slot: Slot, value: str) -> Write:
    """INSERT; 0 rows on a unique violation."""
    return Write("INSERT", slot, (None,), value)


def update(slot: Slot, old: str, new: str) -> Write:
    """UPDATE … WHERE it still holds the old value."""
    return Write("UPDATE", slot, (old,), new)


def delete_row(slot: Slot, *where: str) -> Write:
    """DELETE … WHERE it holds one of these."""
    return Write("DELETE", slot, where, None)


@dataclass(frozen=True)
class Select:
    """Plain SELECT of the image row: its key, or None."""

    def outcomes(self, world: World, _me: int) -> Iterator[Outcome]:
        """Read the committed row; nobody selects what it has itself written."""
        key = world.committed(IMAGE)
        yield str(key), key, world


@dataclass(frozen=True)
class Look:
    """SELECT of the image row joined to the picture derived from its object: both keys, or None.

    With `by_name` the derived picture is the image's, whatever its object is.
    """

    by_name: bool = False

    def outcomes(self, world: World, _me: int) -> Iterator[Outcome]:
        """Read the committed rows, at one moment."""
        key = world.committed(IMAGE)
        picture = world.committed(derived("name" if self.by_name else str(key)))
        yield f"{key} {picture}", (key, picture), world


@dataclass(frozen=True)
class Commit:
    """COMMIT of the open transaction; or of one statement, which is all of its transaction."""

    statement: Write | None = None

    def outcomes(self, world: World, me: int) -> Iterator[Outcome]:
        """Answer the row count (1 for a bare COMMIT), or UNKNOWN: the transaction is in limbo."""
        ready: Iterator[Outcome] = iter([("done", 1, world)])
        if self.statement is not None:
            ready = self.statement.outcomes(world, me)
        for text, rows, after in ready:
            writes = after.actors[me].writes
            idle = after.with_actor(me, after.actors[me]._replace(writes=()))
            yield text, rows, idle.after_commit(me, writes)
            if writes:
                yield "answer lost", UNKNOWN, idle._replace(limbo=idle.limbo | {(me, writes)})


@dataclass(frozen=True)
class Rollback:
    """ROLLBACK; True to try the transaction again, False when it was tried often enough."""

    def outcomes(self, world: World, me: int) -> Iterator[Outcome]:
        """Undo the writes and free their locks."""
        idle = world.with_actor(me, world.actors[me]._replace(writes=()))
        yield "try again", True, idle
        yield "give up", False, idle


@dataclass(frozen=True)
class Put:
    """One PUT attempt: True, or False for all that is not a clear success."""

    key: Key

    def outcomes(self, world: World, _me: int) -> Iterator[Outcome]:
        """Store; fail before or after storing; be given up while under way."""
        yield "stored", True, world.after_landing(self.key)
        yield "failed", False, world
        yield "stored, answer lost", False, world.after_landing(self.key)
        yield "timed out, under way", False, world._replace(late=world.late | {self.key})


@dataclass(frozen=True)
class Get:
    """GET or HEAD: whether the object is there."""

    key: Key

    def outcomes(self, world: World, _me: int) -> Iterator[Outcome]:
        """Find it or not."""
        found = self.key in world.objects
        yield "found" if found else "missing", found, world


@dataclass(frozen=True)
class Remove:
    """DELETE of the object; of a missing one it succeeds too."""

    key: Key

    def outcomes(self, world: World, _me: int) -> Iterator[Outcome]:
        """Delete it."""
        yield "done", None, world._replace(objects=world.objects - {self.key})


@dataclass(frozen=True)
class Candidate:
    """The sweeper's plain read: one journal row that is due, as (key, state).

    Or a derived picture whose original is gone, as ((original, key), UNNAMED).
    """

    wrong: str

    def outcomes(self, world: World, _me: int) -> Iterator[Outcome]:
        """Take any row; a claimed one once the horizon has passed, when no PUT of it lands."""
        upcoming = {actor.request() for actor in world.actors}
        for slot, state in sorted(world.rows, key=str):
            key, after = slot.removeprefix("pending "), world
            if (original := original_of(slot)) is not None:
                if original != world.committed(IMAGE) and self.wrong != "sweep-keeps-derived":
                    yield f"{state} {UNNAMED}", ((original, state), UNNAMED), world
                continue
            if slot == IMAGE or (state != UPLOADING and self.wrong == "sweep-uploads-only"):
                continue
            if state == CLAIMED and self.wrong != "put-without-deadline" and Put(key) in upcoming:
                continue
            if state == CLAIMED and self.wrong != "no-horizon":
                after = world._replace(late=world.late - {key})
            yield f"{key} {state}", (key, state), after


@dataclass(frozen=True)
class Reply:
    """What the client is told."""

    status: int

    def outcomes(self, world: World, me: int) -> Iterator[Outcome]:
        """Break ACK when the write has not taken effect, I4 when a reader is failed."""
        lie = "I4" if self.status == 500 else "" if me in world.applied else "ACK"
        yield "sent", None, world._replace(broken=world.broken | {lie}) if lie else world
