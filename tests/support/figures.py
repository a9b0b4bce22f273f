"""What `/metrics` says, as figures to compute with."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import httpx
from prometheus_client.parser import text_string_to_metric_families

Series = tuple[str, frozenset[tuple[str, str]]]


@dataclass
class Figures:
    """Samples of one scrape, or by how much they differ between two."""

    values: dict[Series, float]

    def __getitem__(self, which: str | tuple[str, Mapping[str, str]]) -> float:
        """Return the figure of a name, and labels where it has some; 0 where there is none."""
        name, labels = (which, {}) if isinstance(which, str) else which
        return self.values.get((name, frozenset(labels.items())), 0.0)

    def __sub__(self, earlier: "Figures") -> "Figures":
        return Figures({key: n - earlier.values.get(key, 0.0) for key, n in self.values.items()})

    def series(self, name: str) -> Iterator[tuple[dict[str, str], float]]:
        """Yield labels and value of every sample of that name."""
        for (found, labels), value in self.values.items():
            if found == name:
                yield dict(labels), value


def parse(page: str) -> Figures:
    """Read a page of figures."""
    return Figures(
        {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
        }
    )


def scrape(service: httpx.Client | str) -> Figures:
    """Ask the service, by a client or by its URL on a connection of its own, for its figures."""
    if isinstance(service, str):
        answer = httpx.get(f"{service}/metrics", timeout=30)
    else:
        answer = service.get("/metrics")
    assert answer.status_code == 200, answer.text
    return parse(answer.text)
