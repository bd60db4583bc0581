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
# Services until a start at the fixed point is forgotten, and those counted at least; the same of a short run.
_WARM_UP, _MEASURED_MIN, _BRIEF = 5, 10, 4
# Independent late requests that are enough behind least-outstanding, where responses are so alike that a share beyond
# P99 twice as large moves it by less than 1 %: `benchmarks/interval_coverage.py --large` has the coverage of intervals.
_EXCEEDANCES_MIN = 10.0
# Standard error that the start leaves in means behind least-outstanding. Large and small batches alternate at a replica
# for hundreds of services, far longer than a run, so that their law stays that of the start: with 120 replicas means
# were 0.14 to 0.16 % too high (`benchmarks/interval_coverage.py --large`). That stands for an error anywhere within
# 0.5 %, by which halves of runs may differ (JCGM 100:2008, Guide to the expression of uncertainty in measurement,
# sec. 4.3.7).
_START_ERROR = 0.005 / math.sqrt(3.0)
# Largest share of the largest batch that is served at the fixed point: beyond, the fleet saturates at times.
_FULL = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelFleet:
    """The fixed point of such a fleet.

    Attributes:
        steady: the batch that each replica serves again and again.
    """

    plan: BatchPlan
    arrival_rate_rps: float
    steady: SteadyBatch

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
            looked_at=_LOOKED_AT[self.plan.routing],
        )

    @property
    def moves_as_one(self) -> bool:
        """Whether all responses follow the number in the fleet, so that a few runs have most of the late ones."""
        return self.plan.routing is Routing.LEAST_OUTSTANDING

    @property
    def exceedances_min(self) -> float:
        """Independent late requests that are enough for an interval."""
        return _EXCEEDANCES_MIN if self.moves_as_one else INDEPENDENT_EXCEEDANCES_MIN

    @property
    def start_error(self) -> float:
        """Standard error that the start leaves in means, as a share of the mean response."""
        return _START_ERROR if self.moves_as_one else 0.0

    @property
    def indifference(self) -> float:
        """Share of the asked precision within which a search need not know the side of a limit."""
        return 1.0 if self.moves_as_one else 0.5

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
        seen = _RELAXATIONS_SEEN_MIN[self.plan.routing]
        return seen * self.relaxation_requests / self.plan.replicas

    def length(self, enough: float) -> Length:
        """Length of a replication that forgets its start.

        Args:
            enough: requests that a quantile needs.
        """
        least = max(enough, _MEASURED_MIN * self._in_service, self.counted_min / SECTIONS)
        return self._length(_WARM_UP, math.ceil(least))

    @property
    def brief(self) -> Length:
        """A short run, which tells what is far from its limit."""
        return self._length(_BRIEF, math.ceil(_BRIEF * self._in_service))

    def _length(self, services: int, measured: int) -> Length:
        """A run that counts this many requests, after as many services."""
        last, waiting = math.ceil(2.0 * self._in_service), math.ceil(self.plan.replicas * self.start.waiting)
        warm_up = waiting + math.ceil(services * self._in_service)
        return Length(warm_up=warm_up, measured=measured, cool_down=min(last, measured // 10))

    @property
    def _in_service(self) -> float:
        """Requests that arrive during a service."""
        return self.arrival_rate_rps * self.steady.service_s


def level_fleet(case: "BatchCase") -> LevelFleet | None:
    """The fixed point of a case; None if it has none, or is compared with others that must see the same requests.

    With a batch wait the ages of those who wait at the start would matter; a queue limit, spells and devices that are
    shared change what a replica does. These start empty.
    """
    plan, workload, profile = case.scenario.plan, case.scenario.workload, case.scenario.profile
    is_plain = plan.starts_at_once and is_always_at_work(plan)
    if case.is_whole or not is_plain or not isinstance(workload, Workload):
        return None
    is_smooth = isinstance(workload.arrivals, RenewalArrivals) and case.variability_of_arrivals <= 1.0
    if not (is_smooth and is_patient(workload) and profile.spells is None and case.slowdown == 1.0):
        return None
    steady = steady_batch(profile, workload.arrival_rate_rps / plan.replicas, plan.batch_size_max)
    if steady is None:
        return None
    return LevelFleet(plan=plan, arrival_rate_rps=workload.arrival_rate_rps, steady=steady)
