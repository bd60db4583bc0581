"""Bursts: how much of each burst and of each calm stretch a run needs, and how long it must be.

A queue that has forgotten how a burst began is in the steady state of Poisson arrivals at the rate of bursts,
however long the burst goes on. So a spell need not be simulated to its end: it is cut, and what comes after
it has settled stands for the rest with the share that is known (`simulations.draws.phases.PhaseStrata`).
Where a queue does not settle within a spell, as above its capacity, the spell is simulated whole.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

from capacity.traffic.workload import MmppArrivals, ModulatedArrivals
from simulations.draws.phases import BURST, CALM, PhaseStrata
from simulations.statistics.relaxation import (
    RELAXATIONS,
    modulated_relaxation_requests,
    open_relaxation_requests,
)

# A spell is cut where the time to settle is at most this share of its mean, to this many times it.
_CUT_SHARE, _CUT_TIMES = 0.5, 4.0
# Bursts with the calm after them that a pool must have seen, and of each run, so that every stratum is in it;
# and of the start of a short run that may only refuse.
CYCLES_SEEN_MIN, CYCLES_A_RUN, CYCLES_WARM_UP = 200, 10, 2
# Relaxation times that it must have seen of bursts in which the queue does not settle: of MMPP/M/1 at load 1.37 in
# a burst, intervals from 4,000 hold the exact P99 in 97.5 % of 120 experiments.
UNSETTLED_SEEN_MIN = 5_000
# Shares of the spells that reach the ages at which the strata of a spell that is not cut begin: of a burst, and
# of a calm stretch.
_AGES_LEFT = ((0.5, 0.2, 0.06), ())
_LOAD_MAX = 0.98  # of what cut spells make of the arrivals
_VARIABILITY_MIN = 2.0  # as of M/M/1, like the relaxation time


@dataclass(frozen=True, slots=True, kw_only=True)
class Fed:
    """The queues that are simulated, as far as it matters how soon they settle.

    Attributes:
        load: at an arrival rate, of all of them together.
        sustainable_rps: of all of them.
        queues: how many fill and empty by themselves.
        service_s: requests in service over their arrival rate. [s]
        variability: ca² + B·cs² within a phase.
        places: of one queue, a batch in service included; None is without a limit.
        batch: most requests of one.
        memory_s: of what else they remember, such as spells of slow service. [s]
    """

    load: Callable[[float], float]
    sustainable_rps: float
    queues: int
    service_s: float
    variability: float
    places: int | None = None
    batch: int = 1
    memory_s: float = 0.0

    def relaxation_requests(self, rate_rps: float) -> float:
        """Requests of one relaxation time under steady arrivals; infinite where the queues would only grow."""
        load = self.load(rate_rps)
        if load >= 1.0 and self.places is None:
            return math.inf
        in_service = rate_rps * self.service_s
        return open_relaxation_requests(load, self.queues, in_service, self.variability, self.places)

    def backlog(self, rate_rps: float, lasting_s: float) -> float:
        """Requests at one queue such that each such number more is e times rarer at the end of an exponential spell.

        Those of a reflected Brownian motion at an exponential time: 1/θ for the positive root θ of
        σ²θ²/2 + dθ = 1/m, with the drift d and the variance σ² of the net input, also above the capacity.

        Source:
            Borodin & Salminen (2002), Handbook of Brownian Motion, part II, sec. 2.1.1.
        """
        come, served = rate_rps / self.queues, self.sustainable_rps / self.queues
        drift, variance = come - served, max(come, served) * max(_VARIABILITY_MIN, self.variability)
        root = math.sqrt(drift * drift + 2.0 * variance / lasting_s)
        # of the two forms of the root that which does not cancel
        inverse = variance / (root - drift) if drift <= 0.0 else lasting_s * (root + drift) / 2.0
        requests = inverse + self.batch
        return requests if self.places is None else min(requests, self.places)


@dataclass(frozen=True, kw_only=True)
class BurstRuns:
    """Runs of queues that are fed by arrivals in bursts.

    Attributes:
        arrivals: uncut.
        may_cut: whether spells may be cut.
        settled_min_s: how long a burst and a calm stretch go on at least before they are cut. [s]
    """

    arrivals: ModulatedArrivals
    arrival_rate_rps: float
    fed: Fed
    may_cut: bool = True
    settled_min_s: tuple[float, float] = (0.0, 0.0)

    @property
    def rates_rps(self) -> tuple[float, float]:
        """Rates in a burst and in a calm stretch."""
        return self.arrivals.bursts.rates_rps(self.arrival_rate_rps)

    @property
    def _means_s(self) -> tuple[float, float]:
        return self.arrivals.bursts.burst_mean_s, self.arrivals.bursts.calm_mean_s

    @cached_property
    def settled_s(self) -> tuple[float, float]:
        """How long a burst and a calm stretch take to settle; infinite where they are not cut. [s]"""
        if not self.may_cut:
            return math.inf, math.inf
        burst_s, calm_s = (
            settling_s if settling_s <= _CUT_SHARE * mean_s else math.inf
            for settling_s, mean_s in zip(
                map(max, map(self._settling_s, (BURST, CALM)), self.settled_min_s), self._means_s, strict=True
            )
        )
        if self.fed.places is None and self.fed.load(self._cut(burst_s, calm_s)[1]) > _LOAD_MAX:
            calm_s = math.inf  # what a burst leaves behind needs the whole of it
        return burst_s, calm_s

    def _settling_s(self, phase: int) -> float:
        """Ten relaxation times at the rate of a phase; a calm stretch first drains what a burst leaves. [s]"""
        fed, rate_rps = self.fed, self.rates_rps[phase]
        settling_s = RELAXATIONS * (fed.relaxation_requests(rate_rps) / rate_rps + fed.memory_s)
        if phase == BURST or math.isinf(settling_s):
            return settling_s
        spare_rps = (fed.sustainable_rps - rate_rps) / fed.queues
        if spare_rps <= 0.0:
            return settling_s if fed.places is not None else math.inf
        backlog = fed.backlog(self.rates_rps[BURST], self._means_s[BURST])
        return settling_s + RELAXATIONS * backlog / spare_rps

    def _cut(self, *settled_s: float) -> tuple[MmppArrivals, float]:
        """Bursts that last on average as long as those that are cut, and the mean rate of these arrivals."""
        burst_s, calm_s = (
            -mean_s * math.expm1(-_CUT_TIMES * one_s / mean_s)
            for one_s, mean_s in zip(settled_s, self._means_s, strict=True)
        )
        burst_rps, calm_rps = self.rates_rps
        mean_rps = (burst_s * burst_rps + calm_s * calm_rps) / (burst_s + calm_s)
        return replace(self.arrivals.bursts, burst_mean_s=burst_s, calm_mean_s=calm_s), mean_rps

    @cached_property
    def simulated(self) -> tuple[MmppArrivals, float]:
        """What is simulated, as if its spells were exponential, and its mean rate."""
        return self._cut(*self.settled_s)

    @property
    def strata(self) -> PhaseStrata:
        """The strata of the requests, and the arrivals that are simulated."""
        burst_s, calm_s = (_CUT_TIMES * one_s for one_s in self.settled_s)
        burst_ages_s, calm_ages_s = (
            (settled_s,) if settled_s < math.inf else tuple(-mean_s * math.log(left) for left in ages_left)
            for settled_s, mean_s, ages_left in zip(self.settled_s, self._means_s, _AGES_LEFT, strict=True)
        )
        cut = replace(self.arrivals, spells_max_s=(burst_s, calm_s))
        return PhaseStrata(
            arrivals=cut, arrival_rate_rps=self.arrival_rate_rps, ages_s=(burst_ages_s, calm_ages_s)
        )

    @property
    def cycle_requests(self) -> float:
        """Requests of a burst and the calm after it, as they are simulated."""
        bursts, mean_rps = self.simulated
        return mean_rps * (bursts.burst_mean_s + bursts.calm_mean_s)

    @cached_property
    def relaxation_requests(self) -> float:
        """Requests within which a run forgets how it began."""
        fed, (bursts, mean_rps) = self.fed, self.simulated
        return modulated_relaxation_requests(
            bursts,
            mean_rps,
            fed.load(mean_rps),
            fed.queues,
            mean_rps * fed.service_s,
            fed.variability,
            fed.places,
        )

    def counted_min(self, relaxations: float) -> float:
        """Requests that a pool must have seen: this many relaxation times of each phase, and 200 cycles.

        A phase in which the queue does not settle is seen often enough by the relaxation time of the whole.

        Args:
            relaxations: of one queue under steady arrivals, over the number of queues that are independent.
        """
        bursts, _ = self.simulated
        lasting_s = (bursts.burst_mean_s, bursts.calm_mean_s)
        within = [
            relaxations * self.fed.relaxation_requests(rate_rps) / (rate_rps * mean_s) * self.cycle_requests
            for rate_rps, mean_s in zip(self.rates_rps, lasting_s, strict=True)
        ]
        unsettled = UNSETTLED_SEEN_MIN * self.relaxation_requests
        return max(CYCLES_SEEN_MIN * self.cycle_requests, min(max(within), unsettled))
