"""Scrape: the samples of a /metrics page, each series once."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from capacity.errors import DependencyError
from capacity.reading import printable

SERIES_MAX = 200_000
Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrape:
    """What a server's counters showed at one instant."""

    samples: Mapping[str, Mapping[Labels, float]]

    def series(self, name: str) -> Mapping[Labels, float]:
        """By labels; nothing where there is no such name."""
        return self.samples.get(name, {})

    def total(self, name: str) -> float | None:
        """Sum over all labels; None where there is no such name.

        Raises:
            DependencyError: a sample of it is no count.
        """
        series = self.series(name)
        return math.fsum(count(value, name) for value in series.values()) if series else None


def count(value: float, name: str) -> float:
    """A counter's value.

    Raises:
        DependencyError: not finite, or negative.
    """
    if not (math.isfinite(value) and value >= 0.0):
        raise DependencyError(f"the metric {printable(name)[:80]} is {value}, which no counter can be")
    return value


def parse_metrics(text: str) -> Scrape:
    """A page in Prometheus' text format.

    Raises:
        DependencyError: it is not, or a series stands in it twice, or it has too many.
    """
    samples: dict[str, dict[Labels, float]] = {}
    for number, (name, labels, value) in enumerate(_samples(text)):
        if number >= SERIES_MAX:
            raise DependencyError(f"the metrics have more than {SERIES_MAX} series")
        series = samples.setdefault(name, {})
        if labels in series:
            raise DependencyError(f"the metric {printable(name)[:80]} stands twice with the same labels")
        series[labels] = value
    return Scrape(samples=samples)


def _samples(text: str) -> Iterator[tuple[str, Labels, float]]:
    try:
        from prometheus_client.parser import text_string_to_metric_families
    except ModuleNotFoundError:
        raise DependencyError(
            "reading metrics needs prometheus-client; install it by pip install 'capacity[measure]'"
        ) from None
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                yield sample.name, frozenset(sample.labels.items()), float(sample.value)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        reason = printable(str(error))[:120]
        raise DependencyError(f"the metrics are not in Prometheus' text format ({reason})") from None
