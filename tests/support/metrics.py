"""A parser for `/metrics` that lets tests look up and subtract samples."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import httpx
from prometheus_client.parser import text_string_to_metric_families

Series = tuple[str, frozenset[tuple[str, str]]]


@dataclass
class Metrics:
    """The samples of one scrape, or the difference between two scrapes."""

    values: dict[Series, float]

    def __getitem__(self, which: str | tuple[str, Mapping[str, str]]) -> float:
        """Return the sample with this name, or name and labels; 0 if there is none."""
        name, labels = (which, {}) if isinstance(which, str) else which
        return self.values.get((name, frozenset(labels.items())), 0.0)

    def __sub__(self, earlier: "Metrics") -> "Metrics":
        return Metrics({key: n - earlier.values.get(key, 0.0) for key, n in self.values.items()})

    def series(self, name: str) -> Iterator[tuple[dict[str, str], float]]:
        """Yield the labels and the value of every sample with this name."""
        for (found, labels), value in self.values.items():
            if found == name:
                yield dict(labels), value


def parse(page: str) -> Metrics:
    """Parse the text of a scrape."""
    return Metrics(
        {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
        }
    )


def scrape(service: httpx.Client | str) -> Metrics:
    """Fetch the metrics of a service, through a client or, given its URL, on a new connection."""
    if isinstance(service, str):
        answer = httpx.get(f"{service}/metrics", timeout=30)
    else:
        answer = service.get("/metrics")
    assert answer.status_code == 200, answer.text
    return parse(answer.text)
