"""ServerUse: how busy servers were between looks at their metrics, and how large their batches."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

from capacity.errors import DependencyError
from measurements.address import Address
from measurements.histogram_delta import Gain, gains
from measurements.histogram_names import Histograms
from measurements.http_exchange import HttpExchange
from measurements.metrics_text import Scrape, parse_metrics
from measurements.window import scrape

_BATCHES = Histograms()
_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The metrics of each replica at about one instant, as they came.

    Attributes:
        instant_s: from the start of the run, between asking and having the answers. [s]
    """

    instant_s: float
    pages: tuple[bytes, ...]

    def scrapes(self) -> list[Scrape]:
        """What the pages say.

        Raises:
            DependencyError: they cannot be read.
        """
        try:
            return [parse_metrics(page.decode("utf-8")) for page in self.pages]
        except UnicodeDecodeError:
            raise DependencyError("the metrics are not UTF-8 text; check --metrics") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerUse:
    """What all replicas did together in a stretch of time.

    Attributes:
        batches: served.
        requests: rows of these batches.
        busy_s: sum of their times. [s]
        lasting_s: the stretch. [s]
    """

    batches: int
    requests: int
    busy_s: float
    lasting_s: float

    @classmethod
    def between(cls, before: Sequence[Scrape], after: Sequence[Scrape], lasting_s: float) -> Self:
        """What the servers did between two looks at each; a server without a histogram did nothing yet.

        Raises:
            DependencyError: metrics of another kind, or a server that started anew meanwhile.
        """
        pairs = zip(before, after, strict=True)
        return cls.of([_gains(*pair) for pair in pairs], lasting_s)

    @classmethod
    def of(cls, replicas: Iterable[Mapping[int, Gain]], lasting_s: float) -> Self:
        """The sum over replicas and batch sizes."""
        found = [(size, gain) for replica in replicas for size, gain in replica.items()]
        return cls(
            batches=sum(gain.count for _, gain in found),
            requests=sum(size * gain.count for size, gain in found),
            busy_s=sum(gain.sum_s for _, gain in found),
            lasting_s=lasting_s,
        )


def uses(looks: Sequence[Look]) -> tuple[ServerUse, ...]:
    """What the servers did from each look to the next.

    The time of a batch counts where the batch ended. A prediction of utilization counts work beside batches
    too: what is done on the same core while a batch is served is in the time of that batch, and what is done
    while there is none is missed here.

    Raises:
        DependencyError: fewer than two looks, other metrics, or a server that started anew meanwhile.
    """
    if len(looks) < 2:
        raise DependencyError("they were seen once at most while requests were sent; check --metrics")
    told = [(one.instant_s, one.scrapes()) for one in looks]
    for first, last in zip(told[0][1], told[-1][1], strict=True):
        gains(first, last, _BATCHES.metric, _BATCHES.label)  # says what is wrong, if the whole is
    return tuple(
        ServerUse.between(before, after, after_s - before_s)
        for (before_s, before), (after_s, after) in pairwise(told)
    )


def _gains(before: Scrape, after: Scrape) -> Mapping[int, Gain]:
    if not after.series(f"{_BATCHES.metric}_bucket"):
        return {}
    return gains(before, after, _BATCHES.metric, _BATCHES.label)


def look(addresses: Iterable[Address]) -> list[Scrape]:
    """The metrics of each server as they are now; one that has served nothing yet has no histogram.

    Raises:
        DependencyError: one that cannot be had, or read.
    """
    return [_scrape(address) for address in addresses]


def _scrape(address: Address) -> Scrape:
    with closing(HttpExchange(address, timeout_s=_TIMEOUT_S)) as exchange:
        return scrape(exchange)
