"""Scrape: the samples of a /metrics page, each series once, and what a server tells there of itself."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from capacity.errors import DependencyError
from capacity.measurement.http import Exchange
from capacity.reading import printable

LINE_LENGTH_MAX = 8192  # the parser takes time by the square of it
_COUNT_MAX = 2.0**53  # beyond which a float does not count
ENVIRONMENT = "serve_environment_info"
# As the environment of a callable has them.
_FACTS = ("cores_usable", "threads", "python", "onnxruntime")
_TEXT_MAX = 80
UNTOLD = {"threads": "not told by the server"}
RESTARTED = "the server restarted or counts from more than one process; measure one process without a restart"

Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrape:
    """What a server's counters showed at one instant."""

    samples: Mapping[str, Mapping[Labels, float]]

    def series(self, name: str) -> Mapping[Labels, float]:
        """By labels; nothing where there is no such name."""
        return self.samples.get(name, {})

    def total(self, name: str) -> float | None:
        """Sum over all labels; None where there is no such name."""
        series = self.series(name)
        return math.fsum(_count(value, name) for value in series.values()) if series else None

    def facts(self) -> dict[str, str]:
        """What the server tells of its threads and versions; that the threads are not told, if nothing is."""
        for labels in self.series(ENVIRONMENT):
            told = dict(labels)
            found = {name: printable(told[name])[:_TEXT_MAX] for name in _FACTS if told.get(name)}
            if found:
                return UNTOLD | found
        return dict(UNTOLD)


def _count(value: float, name: str) -> float:
    """A counter's value, if it is finite, not negative, and no more than a float counts."""
    if not 0.0 <= value <= _COUNT_MAX:  # NaN too
        raise DependencyError(f"the metric {printable(name)[:80]} is {value}, which no counter can be")
    return value


def gain(before: Scrape, after: Scrape, name: str) -> Mapping[Labels, float]:
    """By labels, how much each counter of that name rose; one that was not there before rose from 0.

    Raises DependencyError: one fell or is gone, as after a restart.
    """
    old, new = before.series(name), after.series(name)
    if set(old) - set(new):
        raise DependencyError(
            f"a series of {printable(name)[:80]} is gone from the second scrape: {RESTARTED}"
        )
    rises = {
        labels: _count(value, name) - _count(old.get(labels, 0.0), name) for labels, value in new.items()
    }
    if any(rise < 0.0 for rise in rises.values()):
        raise DependencyError(f"a counter of {printable(name)[:80]} fell between the scrapes: {RESTARTED}")
    return rises


def read_page(page: bytes) -> Scrape:
    """A page in Prometheus' text format.

    Raises DependencyError: it is not, has a line too long to be read, or a series twice.
    """
    try:
        text = page.decode("utf-8")
    except UnicodeDecodeError:
        raise DependencyError("the metrics are not UTF-8 text; check --metrics") from None
    if max(map(len, text.split("\n"))) > LINE_LENGTH_MAX:
        raise DependencyError(
            f"the metrics have a line of more than {LINE_LENGTH_MAX} characters, as no page of metrics has"
        )
    samples: dict[str, dict[Labels, float]] = {}
    for name, labels, value in _samples(text):
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
    except (ValueError, ArithmeticError, LookupError, TypeError) as error:
        reason = printable(str(error))[:120]
        raise DependencyError(f"the metrics are not in Prometheus' text format ({reason})") from None


def scrape(exchange: Exchange) -> Scrape:
    """The metrics as they are now."""
    return read_page(exchange.ask().body)
