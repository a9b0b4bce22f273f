"""An evaluator for the PromQL that the alarms use: sums, rates, quotients and comparisons.

`promtool` checks the complete syntax where it is installed.
"""

import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.support.metrics import Metrics

_TOKEN = re.compile(r"\s*(\w+\{[^}]*\}|[\w.]+|\[\w+\]|>=|[()/>-])")
_MATCHER = re.compile(r'(\w+)(=~|=)"([^"]*)"')
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {">": operator.gt, ">=": operator.ge}
Vector = list[float]


@dataclass
class ScrapePair:
    """The samples that Prometheus has: two scrapes `seconds` apart, the second at time `now`."""

    before: Metrics
    after: Metrics
    now: float
    seconds: float = 60.0

    def fires(self, expression: str) -> bool:
        """Return whether the expression of an alarm has a result."""
        self._tokens = list(_tokens(expression))
        left = self._sum()
        while self._tokens:
            compare = _COMPARISONS[self._tokens.pop(0)]
            right = self._sum()
            left = [a for a in left if any(compare(a, b) for b in right)]
        return bool(left)

    def _sum(self) -> Vector:
        left = self._quotient()
        while self._tokens and self._tokens[0] == "-":
            self._tokens.pop(0)
            right = self._quotient()
            left = [a - b for a in left for b in right]
        return left

    def _quotient(self) -> Vector:
        left = self._value()
        while self._tokens and self._tokens[0] == "/":
            self._tokens.pop(0)
            right = self._value()
            # In Prometheus 0 / 0 is NaN, and every comparison with NaN is false.
            left = [a / b for a in left for b in right if b]
        return left

    def _value(self) -> Vector:
        token = self._tokens.pop(0)
        if re.fullmatch(r"[\d.]+", token):
            return [float(token)]
        if self._tokens[:1] != ["("]:
            return self._series(token)
        self._tokens.pop(0)
        inner = [] if self._tokens[0] == ")" else self._sum()
        assert self._tokens.pop(0) == ")"
        functions: dict[str, Callable[[], Vector]] = {
            "time": lambda: [self.now],
            "sum": lambda: [sum(inner)] if inner else [],
            "max": lambda: [max(inner)] if inner else [],
            "absent": lambda: [] if inner else [1.0],
            "rate": lambda: inner,
        }
        return functions[token]()

    def _series(self, selector: str) -> Vector:
        name, _, matchers = selector.partition("{")
        wanted = _MATCHER.findall(matchers)
        assert name.startswith("image_api_"), selector
        found = [
            (labels, value)
            for labels, value in self.after.series(name)
            if all(
                re.fullmatch(value if how == "=~" else re.escape(value), labels.get(label, ""))
                for label, how, value in wanted
            )
        ]
        if self._tokens and self._tokens[0].startswith("["):
            self._tokens.pop(0)
            return [(value - self.before[name, labels]) / self.seconds for labels, value in found]
        return [value for _, value in found]


def _tokens(expression: str) -> Iterator[str]:
    position = 0
    while position < len(expression.rstrip()):
        token = _TOKEN.match(expression, position)
        assert token, expression[position:]
        yield token[1]
        position = token.end()
