"""Scrape: the samples of a /metrics page, each series once."""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from capacity.errors import DependencyError
from capacity.reading import printable

# A page takes memory by its lines, and time by the square of each one's length.
PAGE_LENGTH_MAX, LINES_MAX, LINE_LENGTH_MAX = 8 * 2**20, 100_000, 8192
_COUNT_MAX = 2.0**53  # beyond which a float does not count
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
        DependencyError: not finite, negative, or beyond what a float counts.
    """
    if not 0.0 <= value <= _COUNT_MAX:  # NaN too
        raise DependencyError(f"the metric {printable(name)[:80]} is {value}, which no counter can be")
    return value


def parse_metrics(text: str, names: Collection[str] = ()) -> Scrape:
    """A page in Prometheus' text format.

    Args:
        names: of the series that are wanted, if not all; what is passed over costs next to nothing.

    Raises:
        DependencyError: it is not, or too long to be read, or a series stands in it twice.
    """
    _check_size(text)
    samples: dict[str, dict[Labels, float]] = {}
    for name, labels, value in _samples(_lines_of(text, names) if names else text):
        series = samples.setdefault(name, {})
        if labels in series:
            raise DependencyError(f"the metric {printable(name)[:80]} stands twice with the same labels")
        series[labels] = value
    return Scrape(samples=samples)


def _check_size(text: str) -> None:
    """Refuse at once what would take memory or hours to read."""
    if len(text) > PAGE_LENGTH_MAX:
        raise DependencyError(f"the metrics have more than {PAGE_LENGTH_MAX} characters; {_MEND}")
    if text.count("\n") > LINES_MAX:
        raise DependencyError(f"the metrics have more than {LINES_MAX} lines; {_MEND}")
    if max(map(len, text.split("\n"))) > LINE_LENGTH_MAX:
        raise DependencyError(
            f"the metrics have a line of more than {LINE_LENGTH_MAX} characters, as no page of metrics has"
        )


def _lines_of(text: str, names: Collection[str]) -> str:
    """The lines that have a sample of one of the names."""
    heads = tuple(f"{name}{end}" for name in names for end in "{ \t")
    return "\n".join(line for line in text.split("\n") if line.lstrip().startswith(heads))


_MEND = "give a page with those of the server alone, or with fewer labels"


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
    except (ValueError, ArithmeticError, LookupError, TypeError) as error:
        reason = printable(str(error))[:120]
        raise DependencyError(f"the metrics are not in Prometheus' text format ({reason})") from None
