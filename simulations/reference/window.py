"""Window: a short stretch of one run of the readable model, for people to see what batching does."""

import math
from dataclasses import replace

import numpy as np

from capacity.performance import ServedBatch, Window
from capacity.server.batch.plan import BatchScenario
from capacity.traffic.workload import Demand, TraceArrivals, Workload
from simulations.draws.arrivals import Seed, Stage, draw
from simulations.draws.records import Records
from simulations.draws.service import ALONE, ProfileTimes
from simulations.reference.cluster import run

LENGTH_MAX_S = 10.0
BATCHES_MAX, REPLICAS_MAX = 160, 8  # more could not be told apart
_REQUESTS_MAX = 60_000  # the readable model takes a few seconds for these
_FORGOTTEN_BATCHES = 100  # in times of the largest batch, before the window begins
_INSTANTS = 240
_STEPS = (1.0, 0.5, 0.2)


def watch(
    scenario: BatchScenario, throughput_rps: float | None, batch_size_mean: float, seed: int
) -> Window | None:
    """The first replicas of a fleet for ten seconds, or as long as some 160 batches take.

    None where nothing is served.

    Args:
        throughput_rps, batch_size_mean: of the plan, as they were found. [requests/s], [requests]
    """
    if not throughput_rps:
        return None
    plan = scenario.plan
    shown = min(plan.replicas, REPLICAS_MAX)
    batches_per_s = throughput_rps / batch_size_mean * shown / plan.replicas
    length_s = readable_length_s(min(BATCHES_MAX / batches_per_s, _REQUESTS_MAX / 2.0 / throughput_rps))
    before_s = _FORGOTTEN_BATCHES * scenario.profile.service_mean_s(plan.batch_size_max)
    requests = min(_REQUESTS_MAX, math.ceil(throughput_rps * (before_s + 2.0 * length_s)) + 1)
    records = _run(scenario, requests, seed)
    until_s = float(np.quantile(records.arrived_s, 0.98))  # later on the run empties
    length_s = min(length_s, until_s)
    if length_s <= 0.0:
        return None
    return _window(records, until_s - length_s, length_s, plan.replicas, shown)


def readable_length_s(most_s: float) -> float:
    """The longest of 10, 5, 2, 1, 0.5, ... seconds that is at most `most_s`.

    >>> readable_length_s(0.7), readable_length_s(99.0)
    (0.5, 10.0)
    """
    if most_s >= LENGTH_MAX_S:
        return LENGTH_MAX_S
    power = 10.0 ** math.ceil(math.log10(most_s))
    return next((step * power for step in _STEPS if step * power <= most_s), 0.1 * power)


def _run(scenario: BatchScenario, requests: int, seed: int) -> Records:
    profile, plan = scenario.profile, scenario.plan
    slowdowns = profile.slowdowns(plan.replicas)
    draws = draw(
        _shortened(scenario.workload, requests),
        requests,
        Seed(value=seed, stage=Stage.COMPARE),
        profile.spells,
    )
    return run(plan, ProfileTimes(profile), draws, slowdowns if slowdowns[-1] > 1.0 else ALONE)


def _shortened(workload: Demand, requests: int) -> Demand:
    """A trace is drawn whole; of a long one only the beginning, at its own pace."""
    if not isinstance(workload, Workload) or not isinstance(workload.arrivals, TraceArrivals):
        return workload
    whole = workload.arrivals
    if len(whole.instants_s) <= requests:
        return workload
    part = replace(whole, instants_s=whole.instants_s[:requests])
    pace = workload.arrival_rate_rps / whole.rate_rps
    return Workload(arrival_rate_rps=pace * part.rate_rps, arrivals=part)


def _window(records: Records, from_s: float, length_s: float, replicas: int, shown: int) -> Window:
    instants_s = np.linspace(0.0, length_s, _INSTANTS + 1)
    served = ~records.is_lost
    arrived_s, started_s = np.sort(records.arrived_s[served]), np.sort(records.started_s[served])
    came = np.searchsorted(arrived_s, from_s + instants_s, side="right")
    went = np.searchsorted(started_s, from_s + instants_s, side="right")
    return Window(
        length_s=length_s,
        replicas=replicas,
        replicas_shown=shown,
        batches=_batches(records, from_s, length_s, shown),
        instants_s=tuple(instants_s.tolist()),
        waiting=tuple((came - went).tolist()),
    )


def _batches(records: Records, from_s: float, length_s: float, shown: int) -> tuple[ServedBatch, ...]:
    """Batches of the replicas shown that are under way at some time of the stretch; each by its oldest."""
    oldest = np.flatnonzero(records.oldest == np.arange(len(records.oldest)))
    inside = (records.finished_s[oldest] > from_s) & (records.started_s[oldest] < from_s + length_s)
    rows = oldest[inside & (records.replica[oldest] < shown)]
    rows = rows[np.argsort(records.started_s[rows], kind="stable")]
    return tuple(
        ServedBatch(
            replica=int(records.replica[row]),
            size=int(records.batch_size[row]),
            started_s=float(records.started_s[row]) - from_s,
            finished_s=float(records.finished_s[row]) - from_s,
        )
        for row in rows
    )
