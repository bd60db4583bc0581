"""Autoscaled: days of a fleet that follows its load, simulated request by request; a `DayJudge`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np

from capacity.autoscaling.findings import COURSE_S, Course, Days
from capacity.autoscaling.scaled_fleet import ScaledFleet
from capacity.errors import InconclusiveError
from capacity.question.plan import Routing
from capacity.recovery.clients import Clients
from capacity.recovery.faults import Action, Fault
from capacity.recovery.protection import Protection
from capacity.traffic.workload import Workload
from simulations.draws.arrivals import Purpose, Seed, Stage, Stream
from simulations.draws.attempts import AttemptDraws
from simulations.draws.records import Floats
from simulations.draws.service import ProfileTimes, ServiceTimes
from simulations.kernel.recovery.run import run as run_kernel
from simulations.scaler import Scaler
from simulations.statistics.scatter import mean_of_runs, pooled_quantiles
from simulations.workers import Mapper, leave_if_abandoned

RUNS = 5
_QUANTILE = 0.99
_BEYOND_MIN = 100  # requests beyond the quantile, in all runs
_BLOCK = 65_536


class _Day(NamedTuple):
    """One run: responses in order of arrival, lost ones infinite; and steps of the course."""

    responses_s: Floats
    arrived: Floats
    late: Floats
    wanted: Floats
    ready: Floats
    replica_hours: float
    replicas_most: int
    scalings: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DaySimulation:
    """How days are simulated: independent runs, whose scatter gives the intervals.

    Attributes:
        service_times: instead of those of the profile, to be compared with theory.
    """

    seed: int = 0
    runs: int = RUNS
    confidence: float = 0.95
    service_times: ServiceTimes | None = None
    mapper: Mapper = field(default=map, repr=False)

    def __call__(self, fleet: ScaledFleet) -> Days:
        """Runs of a fleet; the same users whatever the fleet is.

        Raises:
            InconclusiveError: too few requests behind the P99.
        """
        expected = fleet.mean_rate_rps * fleet.lasts_s * self.runs
        if expected * (1.0 - _QUANTILE) < _BEYOND_MIN:
            raise InconclusiveError(
                f"{self.runs} runs have {expected:.0f} requests, too few for a P99; look at a longer part of the day, "
                "or at more --runs"
            )
        one = partial(_run, self.seed, self.service_times, fleet)
        days = list(self.mapper(one, range(self.runs)))
        return _found(fleet, days, self.confidence)


def _found(fleet: ScaledFleet, days: Sequence[_Day], confidence: float) -> Days:
    """What the runs have in common."""
    overhead_s, hours = fleet.profile.request_overhead_s, [day.replica_hours for day in days]
    late = [float(day.late.sum() / day.arrived.sum()) for day in days]
    lost = [float(np.isinf(day.responses_s).mean()) for day in days]
    responses_s = [day.responses_s for day in days]
    return Days(
        fleet=fleet,
        response_p99_s=pooled_quantiles(responses_s, [_QUANTILE], confidence, overhead_s)[_QUANTILE],
        late_share=mean_of_runs(late, confidence),
        lost_share=math.fsum(lost) / len(lost),
        replica_hours=mean_of_runs(hours, confidence),
        replicas_mean=3600.0 * math.fsum(hours) / len(days) / fleet.lasts_s,
        replicas_most=max(day.replicas_most for day in days),
        scalings=mean_of_runs([float(day.scalings) for day in days], confidence),
        requests=sum(len(day.responses_s) for day in days),
        course=Course(
            arrived=_mean([day.arrived for day in days]),
            late=_mean([day.late for day in days]),
            wanted=_mean([day.wanted for day in days]),
            ready=_mean([day.ready for day in days]),
        ),
    )


def _mean(rows: Sequence[Floats]) -> tuple[float, ...]:
    return tuple(np.mean(rows, axis=0).tolist())


def _run(seed_value: int, service_times: ServiceTimes | None, fleet: ScaledFleet, number: int) -> _Day:
    """One run."""
    leave_if_abandoned()
    seed = Seed(value=seed_value, stage=Stage.AUTOSCALE, replication=number)
    warm_s, ends_s = fleet.warm_up_s, fleet.warm_up_s + fleet.lasts_s
    draws = day_draws(fleet, seed)
    scaler = None
    if fleet.autoscaler is not None:
        scaler = Scaler(fleet.autoscaler, fleet.replicas_first, draws.arrived_s, ends_s)
    absent = [
        Fault(instant_s=0.0, replica=replica, action=Action.LEAVE)
        for replica in range(fleet.replicas_first, fleet.plan.replicas)
    ]
    times = service_times or ProfileTimes(fleet.profile)
    outcomes = run_kernel(fleet.plan, times, draws, Clients(), Protection(), absent, watcher=scaler)
    seen = (outcomes.arrived_s >= warm_s) & (outcomes.arrived_s < ends_s)
    arrived_s = outcomes.arrived_s[seen]
    responses_s = outcomes.answered_s[seen] - arrived_s
    responses_s[np.isnan(responses_s)] = np.inf
    is_late = responses_s > fleet.response_p99_s - fleet.profile.request_overhead_s
    steps = math.ceil(fleet.lasts_s / COURSE_S)
    places = ((arrived_s - warm_s) / COURSE_S).astype(np.int64)
    fixed = [(0.0, fleet.plan.replicas)]
    wanted, ready = (fixed, fixed) if scaler is None else (scaler.wanted, scaler.ready)
    during = [count for instant_s, count in wanted if warm_s < instant_s < ends_s]
    wanted_by_step = _by_step(wanted, warm_s, steps, ends_s)
    lengths_s = np.minimum(COURSE_S, fleet.lasts_s - COURSE_S * np.arange(steps))
    return _Day(
        responses_s=responses_s,
        arrived=np.bincount(places, minlength=steps).astype(float),
        late=np.bincount(places[is_late], minlength=steps).astype(float),
        wanted=wanted_by_step,
        ready=_by_step(ready, warm_s, steps, ends_s),
        replica_hours=float((wanted_by_step * lengths_s).sum()) / 3600.0,
        replicas_most=max([_at(wanted, warm_s), *during]),
        scalings=len(during),
    )


def _by_step(counts: Sequence[tuple[float, int]], begins_s: float, steps: int, ends_s: float) -> Floats:
    """Mean over each step of a number that changes at instants."""
    instants_s = np.array([instant_s for instant_s, _ in counts])
    values = np.array([float(count) for _, count in counts])
    areas = np.concatenate([[0.0], np.cumsum(values[:-1] * np.diff(instants_s))])
    edges_s = np.minimum(begins_s + COURSE_S * np.arange(steps + 1), ends_s)
    places = np.searchsorted(instants_s, edges_s, side="right") - 1
    up_to = areas[places] + values[places] * (edges_s - instants_s[places])
    means: Floats = np.diff(up_to) / np.diff(edges_s)
    return means


def _at(counts: Sequence[tuple[float, int]], now_s: float) -> int:
    return [count for instant_s, count in counts if instant_s <= now_s][-1]


def day_draws(fleet: ScaledFleet, seed: Seed) -> AttemptDraws:
    """Everything random of one run.

    Arrivals at rate 1 are moved to the instants at which as many are due, so that the same users come whatever the
    rates are.

    Source:
        Cinlar (1975), Introduction to Stochastic Processes, sec. 4.7 (Poisson processes by change of time).
    """
    edges_s = np.array([0.0, *[to_s for _, to_s, _ in fleet.steps]])
    due = np.concatenate([[0.0], np.cumsum([(to_s - from_s) * rate for from_s, to_s, rate in fleet.steps])])
    stream = Stream(Workload(arrival_rate_rps=1.0, arrivals=fleet.arrivals), 2**40, seed)
    blocks: list[Floats] = []
    while not blocks or blocks[-1][-1] < due[-1]:
        blocks.append(stream.arrived_s(_BLOCK).copy())
    unit = np.concatenate(blocks)
    arrived_s = np.interp(unit[unit < due[-1]], due, edges_s)
    count = len(arrived_s)
    routes = fleet.plan.routing in (Routing.RANDOM, Routing.POWER_OF_TWO)
    shape = (1, count, 2) if routes else (0, 0, 2)
    return AttemptDraws(
        arrived_s=arrived_s,
        service=seed.generator(Purpose.SERVICE).random((1, count)),
        routing=seed.generator(Purpose.ROUTING).random(shape),
        backoff=np.zeros((0, 0)),
    )
