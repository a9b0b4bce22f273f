"""Whether a recorded history of one name can be explained: Wing and Gong's search.

A history is linearizable when every operation can be given one moment between its call and its
answer such that, one after the other, each did what it answered. The register holds the SHA-256
of the image, or None. An operation whose answer was lost may take effect at any later time, or
never.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

State = str | None
Kind = Literal[
    "created", "replaced", "unchanged", "deleted", "absent", "read", "upload?", "delete?"
]


class Operation(NamedTuple):
    """What a client did and was told: `created` with `value`, `read` of `value`, ...

    `absent` is a delete or read that found nothing. A question mark: the answer was lost.
    """

    kind: Kind
    value: State
    called: float
    answered: float = math.inf

    def apply(self, state: State) -> tuple[bool, State]:
        """Return whether the answer fits that state, and the state after it."""
        if self.kind == "created":
            return state is None, self.value
        if self.kind == "replaced":
            return state is not None, self.value
        if self.kind in {"unchanged", "read"}:
            return state == self.value, state
        if self.kind in {"upload?", "delete?"}:
            return True, self.value
        return (state is None) == (self.kind == "absent"), None


def is_linearizable(history: Sequence[Operation], before: State = None) -> bool:
    """Search for an order of the operations that explains all answers."""
    operations = sorted(history, key=lambda operation: operation.called)
    required = sum(1 << i for i, done in enumerate(operations) if done.answered < math.inf)
    seen: set[tuple[int, State]] = set()
    stack: list[tuple[int, State]] = [(0, before)]
    while stack:
        done, state = stack.pop()
        if done & required == required:
            return True
        for i in _next(operations, done):
            fits, after = operations[i].apply(state)
            world = done | 1 << i, after
            if fits and world not in seen:
                seen.add(world)
                stack.append(world)
    return False


def _next(operations: Sequence[Operation], done: int) -> list[int]:
    """Return those which may be next: called before any other that is left was answered."""
    left = [i for i in range(len(operations)) if not done >> i & 1]
    limit = min(operations[i].answered for i in left)
    return [i for i in left if operations[i].called <= limit]
