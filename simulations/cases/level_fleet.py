"""Level fleet: hundreds of replicas with a queue each, always at work, which a router that looks at queues keeps level.

As the number of replicas grows, they become independent, and the fleet has a fixed point: each replica serves batches
of b requests one after the other, b being what arrives at it meanwhile, and any point of its batch is as likely as any
other. Runs start there, so that only what a finite fleet adds is left to forget.

Source:
    Mitzenmacher (2001), IEEE TPDS 12(10), 1094-1104, and Vvedenskaya, Dobrushin & Karpelevich (1996), Problems of
    Information Transmission 32(1), for the limit of many queues. That of batches of constant time is worked out here:
    of d replicas at random, one at the share u of its batch is the least busy with the density d(1 - u)^(d-1), so that
    b(1 - (1 - u)^d) requests wait there, b·d/(d + 1) on average; b if all replicas are looked at.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from capacity.question.plan import Routing
from capacity.server.batch.plan import BatchPlan
from capacity.server.batch.steady import SteadyBatch, is_always_at_work, steady_batch
from capacity.traffic.workload import RenewalArrivals, Workload, is_patient
from simulations.case import INDEPENDENT_EXCEEDANCES_MIN
from simulations.draws.start import BusyStart
from simulations.statistics.pool import SECTIONS
from simulations.statistics.sample import Length

if TYPE_CHECKING:
    from simulations.cases.batch import BatchCase

# Replicas of which a router chooses the one with the fewest requests; None for all.
_LOOKED_AT = {Routing.POWER_OF_TWO: 2, Routing.LEAST_OUTSTANDING: None}
# Standard deviation of the size of batches over the root of the mean: 0.40 to 0.55 of it in runs of fleets of 300 to
# 1,000 replicas, whose batches had 7 to 24 requests.
_DEVIATION = 0.5
# Relaxation times of one replica that a pool must have seen. The fleet fills and empties as one, the less the larger it
# is; behind least-outstanding all responses follow it, behind power-of-two they differ more by themselves.
_RELAXATIONS_SEEN_MIN = {Routing.POWER_OF_TWO: 20_000, Routing.LEAST_OUTSTANDING: 50_000}
# Services until a start at the fixed point is forgotten, and those counted at least; the same of a short run. Of
# thousands of replicas, each service of which shows as much more, fewer are counted. And services after these: without
# them the last of four services had 1.4 % shorter responses.
_LAST = 1.0
_WARM_UP, _MEASURED_MIN, _MEASURED_LEAST, _BRIEF = 5, 10, 4, (3, 2)
# Independent late requests that are enough behind least-outstanding, where responses are so alike that a share beyond
# P99 twice as large moves it by less than 1 %: `benchmarks/interval_coverage.py --large` has the coverage of intervals.
_EXCEEDANCES_MIN = 10.0
# Standard error that the start leaves in means behind least-outstanding. Large and small batches alternate at a replica
# for hundreds of services, far longer than a run, so that their law stays that of the start: with 120 replicas means
# were 0.14 to 0.16 % too high (`benchmarks/interval_coverage.py --large`). That stands for an error anywhere within
# 0.5 %, by which halves of runs may differ (JCGM 100:2008, Guide to the expression of uncertainty in measurement,
# sec. 4.3.7).
_START_ERROR = 0.005 / math.sqrt(3.0)
# Replicas that stand for thousands in a search. P99 behind either router falls with the number of replicas, at the same
# rate of each: at load 0.966 that of 1,000 was 0 to 0.2 % above that of 3,000, and that of 125 3 to 4 % (2026-12-01,
# runs of 20 million requests, whose intervals had half-widths of 0.4 %).
_PART = 1_000
# Largest share of the largest batch that is served at the fixed point: beyond, the fleet saturates at times.
_FULL = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelFleet:
    """The fixed point of such a fleet.

    Attributes:
        steady: the batch that each replica serves again and again.
        is_short: whether runs need not see all relaxation times together, as in a search, before a confirmation.
    """

    plan: BatchPlan
    arrival_rate_rps: float
    steady: SteadyBatch
    is_short: bool

    @property
    def is_unsaturated(self) -> bool:
        """Whether batches hardly ever become full, which leaves nothing that serves more as more wait."""
        return self.steady.size <= _FULL * self.plan.batch_size_max

    @property
    def start(self) -> BusyStart:
        """All replicas at work, and as many requests waiting as at the fixed point."""
        return BusyStart(
            replicas=self.plan.replicas,
            size=self.steady.size,
            size_deviation=_DEVIATION * math.sqrt(self.steady.size),
            fixed_s=self.steady.fixed_s,
            of_each_s=self.steady.of_each_s,
            looked_at=_LOOKED_AT[self.plan.routing.base],
        )

    @property
    def moves_as_one(self) -> bool:
        """Whether all responses follow the number in the fleet, so that a few runs have most of the late ones."""
        return self.plan.routing.base is Routing.LEAST_OUTSTANDING

    @property
    def exceedances_min(self) -> float:
        """Independent late requests that are enough for an interval."""
        return _EXCEEDANCES_MIN if self.moves_as_one else INDEPENDENT_EXCEEDANCES_MIN

    @property
    def search_care(self) -> float:
        """Share of the relaxation times that is enough in a search."""
        return 0.02

    @property
    def rate_care(self) -> float:
        """Share of the relaxation times that is enough for a rate."""
        return 0.1

    @property
    def start_error(self) -> float:
        """Standard error that the start leaves in means, as a share of the mean response."""
        return _START_ERROR if self.moves_as_one else 0.0

    @property
    def indifference(self) -> float:
        """Share of the asked precision within which a search need not know the side of a limit."""
        return 0.5 if self.moves_as_one else 0.25

    @property
    def relaxation_requests(self) -> float:
        """Requests within which the number in the fleet returns to its mean.

        A replica with b(1 + w) requests, of which b·w wait, serves b/s(b) of them a second, which grows with each by
        (s - b·s')/s² over 1 + w.
        """
        time_s = (
            (1.0 + self.start.waiting / self.steady.size) * self.steady.service_s**2 / self.steady.fixed_s
        )
        return self.arrival_rate_rps * time_s

    @property
    def counted_min(self) -> float:
        """Requests of a pool whose intervals are valid."""
        seen = _RELAXATIONS_SEEN_MIN[self.plan.routing.base]
        return seen * self.relaxation_requests / self.plan.replicas

    def length(self, enough: float) -> Length:
        """Length of a replication that forgets its start.

        Args:
            enough: requests that a quantile needs.
        """
        services = max(_MEASURED_LEAST, _MEASURED_MIN * min(1.0, _PART / self.plan.replicas))
        seen = 0.0 if self.is_short else self.counted_min / SECTIONS
        least = max(enough, services * self._in_service, seen)
        return self._length(_WARM_UP, math.ceil(least))

    @property
    def brief(self) -> tuple[Length, ...]:
        """A run of few services, which tells what is far from its limit."""
        warm_up, measured = _BRIEF
        return (self._length(warm_up, math.ceil(measured * self._in_service)),)

    def _length(self, services: int, measured: int) -> Length:
        """A run that counts this many requests, after as many services, and goes on until all of these are served.

        A request waits for a service at most, and those who come meanwhile are served with it.
        """
        last, waiting = (
            math.ceil(_LAST * self._in_service),
            math.ceil(self.plan.replicas * self.start.waiting),
        )
        warm_up = waiting + math.ceil(services * self._in_service)
        return Length(warm_up=warm_up, measured=measured, cool_down=last)

    @property
    def _in_service(self) -> float:
        """Requests that arrive during a service."""
        return self.arrival_rate_rps * self.steady.service_s


def level_fleet(case: "BatchCase") -> LevelFleet | None:
    """The fixed point at which runs of a case start; None if they start empty.

    With a batch wait the ages of those who wait at the start would matter.
    """
    return _fixed_point(case) if case.scenario.plan.starts_at_once else None


def stands_for(case: "BatchCase") -> int | None:
    """Replicas that stand for a fleet of thousands in a search, at the same rate each; None if it is simulated whole.

    Replicas of such a fleet are all but independent, and what a finite one adds falls with their number.
    """
    is_of_thousands = case.scenario.plan.replicas > _PART and case.scenario.spike is None
    return _PART if is_of_thousands and _fixed_point(case) is not None else None


def _fixed_point(case: "BatchCase") -> LevelFleet | None:
    """The fixed point of a case; None if it has none, or is compared with others that must see the same requests.

    A queue limit, spells and devices that are shared change what a replica does.
    """
    plan, workload, profile = case.scenario.plan, case.scenario.workload, case.scenario.profile
    if case.is_whole or not is_always_at_work(plan) or not isinstance(workload, Workload):
        return None
    is_smooth = isinstance(workload.arrivals, RenewalArrivals) and case.variability_of_arrivals <= 1.0
    if not (is_smooth and is_patient(workload) and profile.spells is None and case.slowdown == 1.0):
        return None
    steady = steady_batch(profile, workload.arrival_rate_rps / plan.replicas, plan.batch_size_max)
    if steady is None:
        return None
    return LevelFleet(
        plan=plan, arrival_rate_rps=workload.arrival_rate_rps, steady=steady, is_short=case.is_searched
    )
