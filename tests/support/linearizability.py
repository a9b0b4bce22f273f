"""A linearizability checker for the recorded history of one name (Wing and Gong's search).

A history is linearizable if every operation can take effect at one moment between its call and its
answer, such that this order explains all answers. The register holds the SHA-256 of the image, or
None. An operation whose answer was lost may take effect at any later time, or never.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

State = str | None
Kind = Literal[
    "created", "replaced", "unchanged", "deleted", "absent", "read", "upload?", "delete?"
]


class Operation(NamedTuple):
    """An operation of a client and its answer: `created` with `value`, `read` of `value`, ...

    `absent` is a delete or a read that found nothing. A question mark marks a lost answer.
    """

    kind: Kind
    value: State
    called: float
    answered: float = math.inf

    def apply(self, state: State) -> tuple[bool, State]:
        """Return whether the answer fits this state, and the state afterwards."""
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
    """Return whether some order of the operations explains all answers."""
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
            reached = done | 1 << i, after
            if fits and reached not in seen:
                seen.add(reached)
                stack.append(reached)
    return False


def _next(operations: Sequence[Operation], done: int) -> list[int]:
    """Return the operations that may come next: those called before any other was answered."""
    left = [i for i in range(len(operations)) if not done >> i & 1]
    limit = min(operations[i].answered for i in left)
    return [i for i in left if operations[i].called <= limit]
