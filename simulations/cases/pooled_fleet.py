"""Pooled fleet: hundreds of replicas that take batches from one queue, and start at their steady state.

Batches of hundreds of replicas end as by a Poisson process, which settles the law of their sizes
(`capacity.server.batch.steady`). Runs start there, each replica at any point of its batch, so that only what a finite
fleet adds is left to forget.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from capacity.server.batch.plan import BatchPlan
from capacity.server.batch.steady import LARGE, SharedBatches, is_always_fed, shared_batches
from capacity.traffic.workload import RenewalArrivals, Workload, is_patient
from simulations.case import INDEPENDENT_EXCEEDANCES_MIN
from simulations.cases.batch_pools import RELAXATIONS_SEEN_MIN, calm_share, in_service, open_relaxation
from simulations.cases.batch_probes import BRIEF
from simulations.draws.start import SharedStart
from simulations.statistics.pool import SECTIONS
from simulations.statistics.relaxation import RELAXATIONS
from simulations.statistics.sample import Length

if TYPE_CHECKING:
    from simulations.cases.batch import BatchCase

# Services of a full batch until the start is forgotten; those that a run counts at least; and those that a pool of a
# hundred replicas must have seen, a larger one the fewer, as more replicas serve at a time.
_WARM_UP, _MEASURED_MIN, _SEEN_MIN = 3, 1, 200
# The same of a run in a search, before and while it counts.
_GLANCE = 1
# Relaxation times of the queue that a run forgets, over the share of a service that a burst of it lasts: all of them
# from a tenth on.
_FORGOTTEN = 100.0
# Independent late requests that are enough where this share of all is served in full batches.
_EXCEEDANCES_MIN, _FULL = 10.0, 0.05
# Largest share of a service that a burst may last.
_LASTING_MAX = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledFleet:
    """The steady state of such a fleet.

    Attributes:
        batches: what its replicas serve.
        services: requests that arrive while a full batch is served.
        relaxation: requests within which the number in the queue is forgotten.
        spare: share of the replicas that would rest if all batches were full.
        calm: share of the relaxation times that is enough, since service varies little.
    """

    plan: BatchPlan
    batches: SharedBatches
    services: float
    relaxation: float
    spare: float
    calm: float

    @property
    def is_unsaturated(self) -> bool:
        """Whether nothing serves more as more wait, so that the queue may be long at times."""
        return True

    @property
    def start(self) -> SharedStart:
        """All replicas at work, and as many requests waiting as on average."""
        return SharedStart(
            replicas=self.plan.replicas,
            sizes=tuple(self.batches.sizes.tolist()),
            times_s=tuple(self.batches.times_s.tolist()),
            waiting=round(self.batches.waiting),
        )

    @property
    def exceedances_min(self) -> float:
        """Independent late requests that are enough for an interval.

        Where many are served in full batches, responses are so alike that a share beyond P99 twice as large moves it by
        less than 1 %.
        """
        sizes = self.batches.sizes
        full = len(sizes) * sizes[-1] / float(sizes @ np.arange(1, len(sizes) + 1))
        return _EXCEEDANCES_MIN if full >= _FULL else INDEPENDENT_EXCEEDANCES_MIN

    @property
    def search_care(self) -> float:
        """Share of what a pool must have seen that is enough in a search."""
        return 0.1

    @property
    def rate_care(self) -> float:
        """Share of what a pool must have seen that is enough for a rate."""
        return 0.25

    @property
    def start_error(self) -> float:
        """Standard error that the start leaves in means, as a share of the mean response."""
        return 0.0

    @property
    def indifference(self) -> float:
        """Share of the asked precision within which a search need not know the side of a limit."""
        return 0.5

    @property
    def lasting(self) -> float:
        """How long a request waits in a burst of the queue, as a share of a service.

        During a relaxation time, 4/(1 - ρ)² requests if these vary as much as those of M/M/1, some 1/(1 - ρ) wait on
        average, and four or five times as many beyond P99.
        """
        return self.relaxation * self.spare / self.services

    @property
    def counted_min(self) -> float:
        """Requests of a pool whose intervals are valid: services, and bursts as far as they matter.

        The number of bursts that leaves the same error falls with the square of the share of a response that they are.
        """
        seen = max(SECTIONS * _MEASURED_MIN, _SEEN_MIN * LARGE / self.plan.replicas)
        bursts_seen = RELAXATIONS_SEEN_MIN * self.calm * self.lasting**2
        return seen * self.services + bursts_seen * self.relaxation

    def length(self, enough: float) -> Length:
        """Length of a replication that forgets its start.

        Args:
            enough: requests that a quantile needs.
        """
        forgotten = min(RELAXATIONS, _FORGOTTEN * self.lasting) * self.relaxation
        least = max(enough, self.counted_min / SECTIONS)
        return self._length(_WARM_UP * self.services + forgotten, least)

    @property
    def brief(self) -> tuple[Length, ...]:
        """Short runs, which tell what is far from its limit, and then may accept in a search."""
        return BRIEF, self._length(_GLANCE * self.services, _GLANCE * self.services)

    def _length(self, warm_up: float, measured: float) -> Length:
        """A run that counts this many requests, after as many, each until it is served."""
        last, counted = math.ceil(2.0 * self.services), math.ceil(measured)
        return Length(warm_up=math.ceil(warm_up), measured=counted, cool_down=min(last, counted // 10))


def pooled_fleet(case: "BatchCase") -> PooledFleet | None:
    """The steady state of a case; None if it has none, or is compared with others that must see the same requests.

    A queue limit, batch waits, spells and devices that are shared change what a replica does, and so do bursts.
    """
    plan, workload, profile = case.scenario.plan, case.scenario.workload, case.scenario.profile
    if case.is_whole or not is_always_fed(plan) or not isinstance(workload, Workload):
        return None
    is_smooth = isinstance(workload.arrivals, RenewalArrivals) and case.variability_of_arrivals <= 1.0
    if not (is_smooth and is_patient(workload) and profile.spells is None and case.slowdown == 1.0):
        return None
    rate_rps = workload.arrival_rate_rps
    batches = shared_batches(profile, rate_rps, plan.replicas, plan.batch_size_max)
    if batches is None:
        return None
    full_s = float(batches.times_s[-1])
    found = PooledFleet(
        plan=plan,
        batches=batches,
        services=in_service(case, rate_rps),
        relaxation=open_relaxation(case, 0.0, 1.0),
        spare=1.0 - rate_rps * full_s / plan.batch_size_max / plan.replicas,
        calm=calm_share(case.variability),
    )
    return found if found.lasting <= _LASTING_MAX else None
