"""The state space of the protocol model: a database, a bucket, actors, and all possible events.

A program is a generator that yields requests (statements and S3 calls) and receives their answers.
The answers are its only state, so the state of the whole system, a `World`, consists of plain
values.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

Key = str  # the key of an object; also stands for the bytes stored under it
Slot = str  # a row that a statement can lock: IMAGE, or pending(key)
Value = str | None  # the content of a row: a key (image), a state (journal), None (no such row)
Writes = tuple[tuple[Slot, Value], ...]  # the rows that an open transaction has written and locked
Outcome = tuple[str, object, "World"]  # a description, the answer to the actor, the world after
Steps = Generator["Request", Any, Any]

IMAGE: Slot = "image"
UPLOADING, TO_DELETE = "U", "D"
CLAIMED = "D claimed"  # state D with claimed_at set: a sweeper changed it from U
UNKNOWN = "unknown"


def pending(key: Key) -> Slot:
    """Return the slot of the journal entry with this key."""
    return f"pending {key}"


def derived(original: Key) -> Slot:
    """Return the slot of the variant that is derived from this object."""
    return f"derived {original}"


def original_of(slot: Slot) -> Key | None:
    """Return the original of a variant's slot, or None for all other slots."""
    return slot.removeprefix("derived ") if slot.startswith("derived ") else None


@dataclass(eq=False)
class Program:
    """The generator that an actor runs, with a cache from received answers to the next request."""

    name: str
    steps: Callable[[], Steps]
    forever: bool = False
    known: dict[tuple[object, ...], Request | None] = field(default_factory=dict)

    def request(self, answers: tuple[object, ...]) -> Request | None:
        """Replay the answers and return the next request, or None if the program has ended."""
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
    """A program, the answers so far (None: it has ended), and its open transaction."""

    program: Program
    answers: tuple[object, ...] | None = ()
    writes: Writes = ()

    def request(self) -> Request | None:
        """Return the next request of this actor, or None if it has ended."""
        return None if self.answers is None else self.program.request(self.answers)

    def ended(self) -> Actor:
        """Return the actor after it ended or crashed: rolled back; a sweeper starts again."""
        return Actor(self.program, () if self.program.forever else None)


class World(NamedTuple):
    """The state of the whole system at one moment."""

    rows: frozenset[tuple[Slot, Value]]  # committed rows
    objects: frozenset[Key]
    actors: tuple[Actor, ...]
    late: frozenset[Key] = frozenset()  # PUTs that timed out and may still land
    limbo: frozenset[tuple[int, Writes]] = frozenset()  # undecided COMMITs whose answer is lost
    written: frozenset[Key] = frozenset()  # for I2: keys that have ever had an object
    applied: frozenset[int] = frozenset()  # for ACK: running actors whose write took effect
    broken: frozenset[str] = frozenset()  # invariants that a step has violated

    def committed(self, slot: Slot) -> Value:
        """Return the committed value of a row, as a plain SELECT reads it."""
        return next((value for name, value in self.rows if name == slot), None)

    def is_locked(self, slot: Slot, me: int) -> bool:
        """Return whether another transaction, or one in limbo, has written this row."""
        held = [actor.writes for who, actor in enumerate(self.actors) if who != me]
        held += [writes for _, writes in self.limbo]
        return any(slot == name for writes in held for name, _ in writes)

    def with_actor(self, me: int, actor: Actor) -> World:
        """Return the world with this actor replaced."""
        return self._replace(actors=(*self.actors[:me], actor, *self.actors[me + 1 :]))

    def without_actor(self, me: int) -> World:
        """Return the world after this actor ended or crashed."""
        ended = self.with_actor(me, self.actors[me].ended())
        return ended._replace(applied=self.applied - {me})

    def after_commit(self, me: int, writes: Writes) -> World:
        """Return the world after a COMMIT of these writes."""
        rows = {**dict(self.rows), **dict(writes)}
        kept = frozenset((slot, value) for slot, value in rows.items() if value is not None)
        running = self.actors[me].answers is not None
        applies = running and any(slot == IMAGE for slot, _ in writes)
        return self._replace(rows=kept, applied=self.applied | {me} if applies else self.applied)

    def after_landing(self, key: Key) -> World:
        """Return the world after a PUT of this key landed."""
        broken = self.broken | {"I2"} if key in self.written else self.broken
        objects, written = self.objects | {key}, self.written | {key}
        return self._replace(objects=objects, written=written, broken=broken)

    def with_answer(self, me: int, answer: object) -> World:
        """Return the world after this actor received the answer to its request."""
        actor = self.actors[me]
        after = actor._replace(answers=(*(actor.answers or ()), answer))
        return self.without_actor(me) if after.request() is None else self.with_actor(me, after)


class Request(Protocol):
    """A statement or an S3 call that a program yields."""

    def outcomes(self, world: World, me: int, /) -> Iterator[Outcome]:
        """Yield every possible outcome, success first; no outcome means that the request waits."""
        ...


@dataclass(frozen=True)
class Write:
    """INSERT, UPDATE or DELETE of one row if its value is in `where` (None: any value)."""

    verb: str
    slot: Slot
    where: tuple[Value, ...] | None
    value: Value

    def outcomes(self, world: World, me: int) -> Iterator[Outcome]:
        """Change 1 row and lock it, change 0 rows, or wait for the lock."""
        actor = world.actors[me]
        value = dict(actor.writes).get(self.slot, world.committed(self.slot))
        hit = value in self.where if self.where else (value or self.value) is not None
        inserts = self.where is None or None in self.where  # an insert waits to check uniqueness
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
    """UPDATE … WHERE the row still has the old value."""
    return Write("UPDATE", slot, (old,), new)


def delete_row(slot: Slot, *where: str) -> Write:
    """DELETE … WHERE the row has one of these values."""
    return Write("DELETE", slot, where, None)


def lock(slot: Slot, value: str) -> Write:
    """SELECT … FOR UPDATE of the row that contains `value`; 0 rows if there is none."""
    return Write("LOCK", slot, (value,), value)


@dataclass(frozen=True)
class Select:
    """Plain SELECT of the image row; the answer is its key, or None."""

    def outcomes(self, world: World, _me: int) -> Iterator[Outcome]:
        """Read the committed row; no program selects a row that it has written."""
        key = world.committed(IMAGE)
        yield str(key), key, world


@dataclass(frozen=True)
class SelectVariant:
    """SELECT of the image row joined to the variant of its object; the answer is both keys.

    With `by_name` the join uses the name of the image instead of its object.
    """

    by_name: bool = False

    def outcomes(self, world: World, _me: int) -> Iterator[Outcome]:
        """Read both committed rows at one moment."""
        key = world.committed(IMAGE)
        picture = world.committed(derived("name" if self.by_name else str(key)))
        yield f"{key} {picture}", (key, picture), world


@dataclass(frozen=True)
class Commit:
    """COMMIT of the open transaction, or of a transaction with a single statement."""

    statement: Write | None = None

    def outcomes(self, world: World, me: int) -> Iterator[Outcome]:
        """Answer the row count (1 without a statement), or UNKNOWN with the writes in limbo."""
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
    """ROLLBACK; the answer is True to try the transaction again, False to give up."""

    def outcomes(self, world: World, me: int) -> Iterator[Outcome]:
        """Discard the writes and release their locks."""
        idle = world.with_actor(me, world.actors[me]._replace(writes=()))
        yield "try again", True, idle
        yield "give up", False, idle


@dataclass(frozen=True)
class Put:
    """One PUT attempt; the answer is True on success, False on any failure or doubt."""

    key: Key

    def outcomes(self, world: World, _me: int) -> Iterator[Outcome]:
        """Store the object, fail before or after storing it, or time out and land later."""
        yield "stored", True, world.after_landing(self.key)
        yield "failed", False, world
        yield "stored, answer lost", False, world.after_landing(self.key)
        yield "timed out, under way", False, world._replace(late=world.late | {self.key})


@dataclass(frozen=True)
class Get:
    """GET or HEAD; the answer is whether the object exists."""

    key: Key

    def outcomes(self, world: World, _me: int) -> Iterator[Outcome]:
        """Answer whether the object exists."""
        found = self.key in world.objects
        yield "found" if found else "missing", found, world


@dataclass(frozen=True)
class Remove:
    """DELETE of the object, which also succeeds if it does not exist."""

    key: Key

    def outcomes(self, world: World, _me: int) -> Iterator[Outcome]:
        """Delete the object."""
        yield "done", None, world._replace(objects=world.objects - {self.key})


@dataclass(frozen=True)
class Candidate:
    """The sweeper's plain SELECT of one journal entry that is due; the answer is (key, state)."""

    wrong: str

    def outcomes(self, world: World, _me: int) -> Iterator[Outcome]:
        """Choose any row; a claimed one only after the horizon, when no PUT of it can land."""
        upcoming = {actor.request() for actor in world.actors}
        for slot, state in sorted(world.rows, key=str):
            key, after = slot.removeprefix("pending "), world
            if slot == IMAGE or original_of(slot) is not None:
                continue
            if state != UPLOADING and self.wrong == "sweep-uploads-only":
                continue
            if state == CLAIMED and self.wrong != "put-without-deadline" and Put(key) in upcoming:
                continue
            if state == CLAIMED and self.wrong != "no-horizon":
                after = world._replace(late=world.late - {key})
            yield f"{key} {state}", (key, state), after


@dataclass(frozen=True)
class Reply:
    """The response to the client."""

    status: int

    def outcomes(self, world: World, me: int) -> Iterator[Outcome]:
        """Violate ACK if the write has not taken effect, and I4 if a read fails."""
        rule = "I4" if self.status == 500 else "" if me in world.applied else "ACK"
        yield "sent", None, world._replace(broken=world.broken | {rule}) if rule else world
