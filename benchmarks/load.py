"""Requests and their results: both load generators take a `Load` and return a `Summary`."""

from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import count
from time import time_ns


class Slot(Enum):
    """A part of a path or a body that differs between requests."""

    INDEX = "index"  # visits 0 … `indices` - 1, with 7 digits
    SERIAL = "serial"  # 16 digits that never repeat


Template = tuple[bytes | Slot, ...]

# A prime that divides no number of rows: its multiples visit all rows, far apart.
STRIDE = 7919
_first_serials = count(time_ns() // 1000, 10**7)


@dataclass(frozen=True, slots=True)
class Load:
    """A closed loop of requests that alternate between `paths` and count through the slots."""

    base_url: str
    paths: tuple[Template, ...]
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    body: Template = ()
    indices: int = 1
    first_serial: int = 0

    def with_new_serials(self) -> "Load":
        """Return the same load with unused serial numbers."""
        return replace(self, first_serial=next(_first_serials))

    def request(self, number: int) -> tuple[str, bytes]:
        """Return path and body of the request with this number."""
        slots = {
            Slot.INDEX: b"%07d" % (number * STRIDE % self.indices),
            Slot.SERIAL: b"%016d" % (self.first_serial + number),
        }
        path = self.paths[number % len(self.paths)]
        return _render(path, slots).decode(), _render(self.body, slots)


def _render(template: Template, slots: dict[Slot, bytes]) -> bytes:
    return b"".join(slots[part] if isinstance(part, Slot) else part for part in template)


@dataclass(frozen=True, slots=True)
class Summary:
    """The results of a load. `errors` are responses from 400 up and broken connections."""

    requests: int
    seconds: float
    errors: int
    p50_ms: float
    p99_ms: float
