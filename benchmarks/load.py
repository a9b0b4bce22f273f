"""The interface of both load generators: they send a `Load` and return a `Summary`."""

from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import count
from time import time_ns


class Slot(Enum):
    """A part of a path or body that changes with each request."""

    INDEX = "index"  # 0 … `indices` - 1 in a fixed order, with 7 digits
    SERIAL = "serial"  # 16 digits, never repeated


Template = tuple[bytes | Slot, ...]

# A prime that divides no number of rows, so that its multiples visit all rows, far apart.
STRIDE = 7919
_first_serials = count(time_ns() // 1000, 10**7)


@dataclass(frozen=True, slots=True)
class Load:
    """A closed loop of requests, with each of `paths` in turn and numbers in the slots."""

    base_url: str
    paths: tuple[Template, ...]
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    body: Template = ()
    indices: int = 1
    first_serial: int = 0

    def with_new_serials(self) -> "Load":
        """Return the same load with serial numbers that no load has used."""
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
    """The result of a load. `errors` counts responses of 400 and above and broken connections."""

    requests: int
    seconds: float
    errors: int
    p50_ms: float
    p99_ms: float
