"""Disturbed: response times of a fleet whose replicas pause, or some of whose requests take longer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from capacity.errors import DomainError, InconclusiveError, UnstableError
from capacity.performance import Interval
from capacity.profile.profile import ServiceProfile
from capacity.recovery.disturbance import Disturbances
from capacity.recovery.faults import Action, Fault
from capacity.recovery.protection import Protection
from capacity.server.batch.plan import BatchPlan
from capacity.server.batch.stability import load
from capacity.traffic.clients import Clients
from capacity.traffic.workload import TraceArrivals, Workload
from simulations.draws.arrivals import Purpose, Seed, Stage, Stream
from simulations.draws.attempts import AttemptDraws, BatchFleet
from simulations.draws.records import Floats, Integers
from simulations.draws.service import ProfileTimes, ServiceTimes, slowdowns_of
from simulations.kernel.recovery.run import run as run_kernel
from simulations.statistics.scatter import pooled_quantiles
from simulations.workers import Mapper, leave_if_abandoned

RUNS = 20
# Each run has at least this many requests, lets each replica pause this often, and fits in memory.
_REQUESTS, _PAUSES, _REQUESTS_MAX = 40_000, 10.0, 4_000_000
_WARM_UP_SHARE = 0.1
_BEYOND_MIN = 100  # requests beyond a quantile, in all runs together


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbed:
    """Response quantiles of all requests, and of each class; lost requests count as late. [s]"""

    response_quantiles_s: dict[float, Interval]
    by_class: dict[str, dict[float, Interval]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DisturbedSimulation:
    """Simulation of a disturbed fleet: independent runs, whose scatter gives the intervals."""

    seed: int = 0
    runs: int = RUNS
    confidence: float = 0.95
    service_times: ServiceTimes | None = None
    mapper: Mapper = field(default=map, repr=False)

    def __call__(
        self,
        profile: ServiceProfile,
        workload: Workload,
        plan: BatchPlan,
        disturbances: Disturbances,
        quantiles: Sequence[float],
    ) -> Disturbed:
        """Response times of one plan.

        Raises:
            UnstableError: the disturbed fleet cannot sustain the arrival rate.
            DomainError: a run is too long for memory.
            InconclusiveError: too few requests of a class are beyond a quantile.
        """
        busy = load(profile, workload.arrival_rate_rps, plan) * disturbances.slowdown(plan.batch_size_max)
        if busy >= 1.0:
            raise UnstableError(f"disturbed, {plan.replicas} replicas have load {busy:.3f} >= 1")
        if isinstance(workload.arrivals, TraceArrivals):
            raise DomainError("a trace has requests of its own; give a rate to plan with disturbances")
        one = partial(
            _run, self.seed, profile, self.service_times, workload, plan, disturbances, max(quantiles)
        )
        found = list(self.mapper(one, range(self.runs)))
        overhead_s = profile.request_overhead_s
        names = [one.name for one in disturbances.all_classes]
        everything = [responses_s for responses_s, _ in found]
        return Disturbed(
            response_quantiles_s=_quantiles(everything, quantiles, self.confidence, overhead_s, "all"),
            by_class={
                name: _quantiles(
                    [responses_s[kinds == number] for responses_s, kinds in found],
                    quantiles,
                    self.confidence,
                    overhead_s,
                    name,
                )
                for number, name in enumerate(names)
            },
        )


def _run(
    seed_value: int,
    profile: ServiceProfile,
    service_times: ServiceTimes | None,
    workload: Workload,
    plan: BatchPlan,
    disturbances: Disturbances,
    quantile: float,
    number: int,
) -> tuple[Floats, Integers]:
    """Response times of one run after its warm-up, and the class of each request; lost ones are infinite. [s]"""
    leave_if_abandoned()
    seed = Seed(value=seed_value, stage=Stage.STRESS, replication=number)
    count = _requests(workload, disturbances, quantile)
    arrived_s = Stream(workload, count, seed).arrived_s(count)
    kinds, scale = _classes(disturbances, count, seed)
    draws = AttemptDraws(
        arrived_s=arrived_s,
        service=seed.generator(Purpose.SERVICE, 0).random((1, count)),
        routing=seed.generator(Purpose.ROUTING, 0).random((1, count, 2)),
        backoff=np.zeros((0, 0)),
        scale=scale,
    )
    times = service_times or ProfileTimes(profile)
    faults = _pauses(disturbances, plan.replicas, float(arrived_s[-1]), seed)
    fleet = BatchFleet(plan=plan, service_times=times, slowdowns=slowdowns_of(profile, plan.replicas))
    outcomes = run_kernel(fleet, draws, Clients(), Protection(), faults)
    responses_s = np.where(np.isnan(outcomes.answered_s), np.inf, outcomes.answered_s - outcomes.arrived_s)
    first = math.ceil(_WARM_UP_SHARE * count)
    return responses_s[first:], kinds[first:]


def _requests(workload: Workload, disturbances: Disturbances, quantile: float) -> int:
    """Requests of a run: enough of the rarest class beyond the quantile, over all runs, and enough pauses."""
    rarest = min((one.share for one in disturbances.all_classes), default=1.0)
    count = max(_REQUESTS, 4.0 * _BEYOND_MIN / (1.0 - quantile) / rarest / RUNS)
    if disturbances.pauses is not None:
        count = max(count, workload.arrival_rate_rps * _PAUSES / disturbances.pauses.per_s)
    if count > _REQUESTS_MAX:
        raise DomainError(
            f"a run that tells needs {count:.3g} requests, and at most {_REQUESTS_MAX:.3g} are simulated; ask for a "
            "part of the fleet at its part of the rate, or for a lower quantile"
        )
    return math.ceil(count)


def _classes(disturbances: Disturbances, count: int, seed: Seed) -> tuple[Integers, Floats | None]:
    """The class of each request, and the factor of its service time; None without classes."""
    classes = disturbances.all_classes
    if not classes:
        return np.zeros(count, dtype=np.int64), None
    ends = np.cumsum([one.share for one in classes])
    uniforms = seed.generator(Purpose.LENGTHS).random(count)
    kinds = np.minimum(np.searchsorted(ends, uniforms, side="right"), len(classes) - 1)
    return kinds, np.array([one.scale for one in classes])[kinds]


def _pauses(disturbances: Disturbances, replicas: int, until_s: float, seed: Seed) -> list[Fault]:
    """All pauses of all replicas, sorted by instant."""
    pauses = disturbances.pauses
    if pauses is None:
        return []
    found: list[Fault] = []
    generator = seed.generator(Purpose.FAULTS)
    for replica in range(replicas):
        now_s = float(generator.exponential(1.0 / pauses.per_s))
        while now_s < until_s:
            ends_s = now_s + pauses.length_s
            found.append(Fault(instant_s=now_s, replica=replica, action=Action.PAUSE, value=pauses.length_s))
            found.append(Fault(instant_s=ends_s, replica=replica, action=Action.RESUME))
            now_s = ends_s + float(generator.exponential(1.0 / pauses.per_s))
    return sorted(found, key=lambda one: one.instant_s)


def _quantiles(
    runs: Sequence[Floats], quantiles: Sequence[float], confidence: float, overhead_s: float, name: str
) -> dict[float, Interval]:
    """Quantiles of the pooled requests, if there are enough beyond them."""
    count = sum(len(one) for one in runs)
    for quantile in quantiles:
        if count * (1.0 - quantile) < _BEYOND_MIN:
            raise InconclusiveError(
                f"too few requests of {name} for P{100.0 * quantile:g}; give a larger share"
            )
    return pooled_quantiles(runs, quantiles, confidence, overhead_s)
