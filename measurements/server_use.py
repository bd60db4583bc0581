"""ServerUse: how busy servers were between two looks at their metrics, and how large their batches."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Self

from capacity.errors import DependencyError
from measurements.address import Address
from measurements.histogram_delta import Gain, gains
from measurements.histogram_names import Histograms
from measurements.http_exchange import HttpExchange
from measurements.metrics_text import Scrape
from measurements.window import scrape

_BATCHES = Histograms()
_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerUse:
    """What all replicas did together.

    Attributes:
        batches: served.
        requests: rows of these batches.
        busy_s: sum of their times. [s]
    """

    batches: int
    requests: int
    busy_s: float

    @classmethod
    def between(cls, before: Sequence[Scrape], after: Sequence[Scrape]) -> Self:
        """What the servers did between two looks at each.

        Raises:
            DependencyError: metrics of another kind, or a server that started anew meanwhile.
        """
        pairs = zip(before, after, strict=True)
        return cls.of(gains(first, last, _BATCHES.metric, _BATCHES.label) for first, last in pairs)

    @classmethod
    def of(cls, replicas: Iterable[Mapping[int, Gain]]) -> Self:
        """The sum over replicas and batch sizes."""
        found = [(size, gain) for replica in replicas for size, gain in replica.items()]
        return cls(
            batches=sum(gain.count for _, gain in found),
            requests=sum(size * gain.count for size, gain in found),
            busy_s=sum(gain.sum_s for _, gain in found),
        )

    @property
    def batch_size_mean(self) -> float | None:
        """Mean over batches; None where there was none."""
        return self.requests / self.batches if self.batches else None

    def utilization(self, duration_s: float, replicas: int) -> float:
        """Share of time that the replicas were at a batch.

        A prediction counts work beside batches too. Where that is done on the same core while a batch is
        served, the batch's time holds it; what is done while there is none is missed here.
        """
        return self.busy_s / (duration_s * replicas)


def look(addresses: Iterable[Address]) -> list[Scrape]:
    """The metrics of each server as they are now.

    Raises:
        DependencyError: one that cannot be had, or read.
    """
    return [_scrape(address) for address in addresses]


def _scrape(address: Address) -> Scrape:
    with closing(HttpExchange(address, timeout_s=_TIMEOUT_S)) as exchange:
        return scrape(exchange)


def why_unseen(addresses: Sequence[Address]) -> str | None:
    """Why the use of these servers cannot be seen; None where it can."""
    try:
        look(addresses)  # a server that has served nothing yet has no histogram, and is no reason
    except DependencyError as error:
        return str(error)
    return None
