"""Warm saturation: the largest rate of turns at which a fleet that begins empty settles, and stays so for an hour."""

import math
from dataclasses import replace
from functools import cache

import numpy as np

from capacity.question.objective import Objective
from capacity.server.engine.plan import TokenScenario
from capacity.traffic.any_lengths import are_sessions
from capacity.traffic.workload import Workload
from simulations.cold import cold_saturation_rps
from simulations.draws.arrivals import Seed
from simulations.engine_replication import draw_tokens, serve
from simulations.replication import Engine
from simulations.saturation import saturated

# Runs at each rate and their length, and the ratio of two rates between which the answer is left open.
_RUNS, _LASTS_S, _APART = 3, 3600.0, 1.05
_CLOSE = 1.0 + 1e-9  # of rounding
# How many more sessions may be live at the end of a settled run than in its middle: a share of those that began in
# between, and standard deviations of a number that has the law of Poisson.
_MORE_SHARE, _DEVIATIONS = 0.01, 4.0
# Turns of a run up to which the rate is looked for; an hour of more takes too long.
_TURNS_MAX = 250_000


def warm_saturation_rps(scenario: TokenScenario) -> float | None:
    """The largest rate, to 5 %, that settles from empty caches in every run of an hour. [turns/s]

    A run has settled if no more sessions are live at its end than in its middle, but for 1 % of those that began in
    between and for chance. Above the rate from empty caches and a backlog it holds only while caches are warm.

    None of requests that come by themselves, of recorded sessions, where queues reject turns or replicas fail, and of
    fleets that may serve more turns in an hour than are simulated.
    """
    if cold_saturation_rps(scenario) is None or not _is_plain(scenario):
        return None
    return _found(replace(scenario.at_rate(1.0), objective=Objective()))


def load_while_warm(scenario: TokenScenario) -> float:
    """Arrival rate over the warm saturation, at or above 1 where sessions pile up by themselves.

    It is 0 where the fleet comes back even from empty caches and a backlog, or has no warm saturation.
    """
    cold_rps, rate_rps = cold_saturation_rps(scenario), getattr(scenario.workload, "arrival_rate_rps", 0.0)
    if cold_rps is None or rate_rps <= cold_rps:
        return 0.0
    warm_rps = warm_saturation_rps(scenario)
    return 0.0 if warm_rps is None else float(rate_rps / warm_rps)


@cache
def _found(scenario: TokenScenario) -> float | None:
    """The rate of a fleet, whatever comes now and is asked of it. [turns/s]"""
    tried_rps = cold_saturation_rps(scenario)
    assert tried_rps is not None  # noqa: S101  (of sessions)
    most_rps = max(tried_rps, scenario.plan.replicas * saturated(scenario).rate_rps)
    if most_rps * _LASTS_S > _TURNS_MAX:
        return None
    found_rps = _bisected(scenario, 0, most_rps, tried_rps)
    for run in range(1, _RUNS):
        if found_rps is not None and not _settles(scenario.at_rate(found_rps), run):
            found_rps = _bisected(scenario, run, found_rps, found_rps / _APART)
    return found_rps


def _bisected(scenario: TokenScenario, run: int, too_much_rps: float, tried_rps: float) -> float | None:
    """The largest rate, to 5 %, at which one run settles, from the first to be tried on. [turns/s]"""
    low_rps, high_rps = 0.0, too_much_rps
    while high_rps > _CLOSE * _APART * low_rps:
        if _settles(scenario.at_rate(tried_rps), run):
            low_rps = tried_rps
        else:
            high_rps = tried_rps
        tried_rps = 0.5 * (low_rps + high_rps)
        if high_rps < too_much_rps / _TURNS_MAX:
            return None
    return low_rps


def _is_plain(scenario: TokenScenario) -> bool:
    """Whether sessions come at one rate, and all replicas serve all their turns."""
    workload = scenario.workload
    return (
        isinstance(workload, Workload)
        and workload.day is None
        and scenario.plan.queue_limit is None
        and scenario.autoscaler is None
        and scenario.outage is None
        and not scenario.in_order
    )


def _settles(scenario: TokenScenario, run: int) -> bool:
    """Whether a run from empty has no more sessions live at its end than in its middle."""
    assert are_sessions(scenario.lengths)  # noqa: S101  (or there is no cold rate)
    draws = draw_tokens(
        scenario, math.ceil(scenario.workload.arrival_rate_rps * _LASTS_S), Seed(value=0, replication=run)
    )
    assert draws.sessions is not None  # noqa: S101  (which turns belong to)
    begun_s = draws.sessions.starts_s
    finished_s = serve(scenario, draws, Engine.KERNEL).finished_s
    ended_s = np.maximum.reduceat(finished_s, draws.sessions.turns.first[:-1])
    middle, end = (np.array([0.5, 1.0]) * begun_s[-1]).tolist()
    live = [int((begun_s <= at).sum() - (ended_s <= at).sum()) for at in (middle, end)]
    chance = _DEVIATIONS * math.sqrt(max(1, live[0]))
    return live[1] - live[0] <= _MORE_SHARE * int((begun_s > middle).sum()) + chance
