"""Watch: how busy servers are while requests are sent and how they batch, by their metrics."""

import asyncio
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np

from capacity.errors import DependencyError
from capacity.measurement.http import LOOK_AT_SERVER, Address, Exchange, fetch, session
from capacity.measurement.metrics import Histogram, Histograms, Scrape, gains, read_page, scrape
from capacity.measurement.sections import SECTIONS_MAX, Floats
from capacity.server.batch.plan import BatchPlan
from capacity.units import format_duration
from capacity.verification.clock import WallClock

SIZE_MAX, WAIT_MAX = "serve_batch_size_max", "serve_batch_wait_max_seconds"
_BATCHES = Histograms()
# A scrape may delay a server for milliseconds, which is little of this long.
_APART_MIN_S = 0.5
_LOOK_TIMEOUT_S, _TIMEOUT_S = 5.0, 10.0
# A batch wait is copied by hand from a plan, with three digits and in some unit.
_WAIT_REL, _WAIT_ABS_S = 0.02, 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Metrics of each replica, at about one instant from the start of the run. [s]"""

    instant_s: float
    pages: tuple[bytes, ...]


def look_instants_s(start_s: float, end_s: float) -> Floats:
    """Ends of the sections of the counted part, as many as there may be. [s]"""
    count = min(SECTIONS_MAX, max(1, int((end_s - start_s) / _APART_MIN_S)))
    return np.linspace(start_s, end_s, count + 1, dtype=np.float64)


class MetricsWatch:
    """Scrapes the metrics of each replica at instants of a run, rising, on the same event loop. [s]

    A scrape costs the load generator about as much as three requests; pages are parsed after the run.

    Attributes:
        looks: scrapes so far, in order; one that fails at any replica is left out.
        failure: why the last failed scrape failed; None if none did.
    """

    def __init__(self, addresses: Sequence[Address], instants_s: Floats) -> None:
        self.looks: list[Look] = []
        self.failure: str | None = None
        self._addresses, self._instants_s = addresses, instants_s.tolist()

    async def run(self, clock: WallClock, began_s: float) -> None:
        """Scrape at each instant of a run that began at this time of the clock."""
        if not self._addresses:
            return
        async with session(_LOOK_TIMEOUT_S) as client:
            for instant_s in self._instants_s:
                await asyncio.sleep(max(0.0, began_s + instant_s - clock.now_s()))
                asked_s = clock.now_s()
                try:
                    pages = [fetch(client, address, slow=LOOK_AT_SERVER) for address in self._addresses]
                    answers = await asyncio.gather(*pages)
                except DependencyError as error:
                    self.failure = str(error)
                    continue
                middle_s = (asked_s + clock.now_s()) / 2.0 - began_s
                self.looks.append(Look(instant_s=middle_s, pages=tuple(one.body for one in answers)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerUse:
    """Work of all replicas together in a stretch of time."""

    batches: int
    requests: int  # rows in the batches
    busy_s: float  # sum of the batches' times
    lasting_s: float  # length of the stretch

    @classmethod
    def of(cls, replicas: Iterable[Mapping[int, Histogram]], lasting_s: float) -> Self:
        """The sum over replicas and batch sizes."""
        found = [(size, gained) for replica in replicas for size, gained in replica.items()]
        return cls(
            batches=sum(gained.count for _, gained in found),
            requests=sum(size * gained.count for size, gained in found),
            busy_s=sum(gained.sum_s for _, gained in found),
            lasting_s=lasting_s,
        )


def uses(looks: Sequence[Look]) -> tuple[ServerUse, ...]:
    """Work of the servers from each scrape to the next; a server without a histogram has done nothing yet.

    The time of a batch counts when the batch ended. A predicted utilization also counts work outside batches: on the
    same core, such work during a batch is in that batch's time, and such work between batches is missed here. Raises
    DependencyError: fewer than two scrapes, other metrics, or a server that restarted meanwhile.
    """
    if len(looks) < 2:
        raise DependencyError("they were read at most once while requests were sent; check --metrics")
    told = [(one.instant_s, [read_page(page) for page in one.pages]) for one in looks]
    for first, last in zip(told[0][1], told[-1][1], strict=True):
        gains(first, last, _BATCHES)  # reports what is wrong, if the whole is
    return tuple(
        ServerUse.of((_gains(*pair) for pair in zip(before, after, strict=True)), after_s - before_s)
        for (before_s, before), (after_s, after) in pairwise(told)
    )


def _gains(before: Scrape, after: Scrape) -> Mapping[int, Histogram]:
    return gains(before, after, _BATCHES) if after.series(f"{_BATCHES.metric}_bucket") else {}


def look(addresses: Iterable[Address]) -> list[Scrape]:
    """The metrics of each server as they are now; a server that has served nothing yet has no histogram.

    Raises DependencyError: metrics that cannot be fetched or read.
    """
    pages = []
    for address in addresses:
        with Exchange(address, timeout_s=_TIMEOUT_S, slow=LOOK_AT_SERVER) as exchange:
            pages.append(scrape(exchange))
    return pages


def batching_notes(addresses: Sequence[Address], pages: Sequence[Scrape], plan: BatchPlan) -> tuple[str, ...]:
    """A note if a server reports other batches or waits than the plan's.

    A prediction is then for another server. Servers that report nothing are assumed to be as planned.
    """
    for address, page in zip(addresses, pages, strict=True):
        size_max = _gauge(page, SIZE_MAX, plan.batch_size_max)
        wait_max_s = _gauge(page, WAIT_MAX, plan.batch_wait_max_s)
        is_same_wait = math.isclose(wait_max_s, plan.batch_wait_max_s, rel_tol=_WAIT_REL, abs_tol=_WAIT_ABS_S)
        if size_max == plan.batch_size_max and is_same_wait:
            continue
        told, planned = (
            f"batches up to {size:.0f} that wait up to {format_duration(wait_s)}"
            for size, wait_s in ((size_max, wait_max_s), (plan.batch_size_max, plan.batch_wait_max_s))
        )
        return (
            f"{address.host}:{address.port} reports {told}, but the plan has {planned}: start it as "
            f"planned, or verify it as it is with --profile, --rate, --batch-size-max {size_max:.0f}, "
            f"--batch-wait {1e3 * wait_max_s:g}ms and the rest of the plan",
        )
    return ()


def _gauge(page: Scrape, name: str, otherwise: float) -> float:
    """A gauge's value; `otherwise` if there is none, or no usable one."""
    told = next(iter(page.series(name).values()), otherwise)
    return told if 0.0 <= told < 2.0**53 else otherwise
