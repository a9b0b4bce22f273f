"""What is sent, and what came of it; both load generators take a `Load` and give a `Summary`."""

from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import count
from time import time_ns


class Slot(Enum):
    """A place in a path or a body that differs from request to request."""

    INDEX = "index"  # walks through 0 … `indices` - 1, with 7 digits
    SERIAL = "serial"  # 16 digits that never come again


Template = tuple[bytes | Slot, ...]

# Prime, and no factor of any number of rows: its multiples visit all of them, far apart.
STRIDE = 7919
_first_serials = count(time_ns() // 1000, 10**7)


@dataclass(frozen=True, slots=True)
class Load:
    """A closed loop of requests that take turns with `paths` and count through the slots."""

    base_url: str
    paths: tuple[Template, ...]
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    body: Template = ()
    indices: int = 1
    first_serial: int = 0

    def anew(self) -> "Load":
        """The same load with serial numbers that no load had before."""
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
    """What a load generator saw. `errors` are answers from 400 up and broken connections."""

    requests: int
    seconds: float
    errors: int
    p50_ms: float
    p99_ms: float
