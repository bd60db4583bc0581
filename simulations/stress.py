"""Stress simulation: independent runs of a fleet in trouble, with servers of any kind; a `StressJudge`."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Self

import numpy as np

from capacity.recovery.findings import Found, OneRun, Run, Runs
from capacity.recovery.fluid import is_in_order, patience_s
from capacity.recovery.stress import Stress
from simulations.draws.arrivals import Seed, Stage
from simulations.draws.attempts import AttemptDraws, Fleet, Outcomes
from simulations.draws.outages import faults_of, first_tries_s, inside
from simulations.draws.service import ServiceTimes
from simulations.kernel.recovery.run import run as run_kernel
from simulations.servers import simulated
from simulations.statistics.recovered import run_of
from simulations.statistics.sessions_course import by_arrival, sessions_course
from simulations.workers import Mapper, leave_if_abandoned

RUNS = 20
# A queue drains no faster than this many times the capacity, however full its batches happen to be.
_LUCK = 1.1
_SOON_S = 60.0  # after the trigger's end


@dataclass(frozen=True, slots=True, kw_only=True)
class StressSimulation:
    """Simulation of a stress.

    Attributes:
        runs: number of independent runs, each with users of its own, which are the same for every stress.
        service_times: replaces those of the profile, for comparison with theory.
        mapper: distribution of the runs over workers.
    """

    seed: int = 0
    runs: int = RUNS
    confidence: float = 0.95
    service_times: ServiceTimes | None = None
    mapper: Mapper = field(default=map, repr=False)

    def __call__(self, stress: Stress) -> Runs:
        """Runs of a stress.

        Raises:
            DomainError: a run would have too many requests.
            InconclusiveError: most requests fail before the trigger.
        """
        found = self.each(lambda one: one(stress))
        return Runs(stress=stress, runs=tuple(found), confidence=self.confidence)

    def with_runs(self, runs: int) -> Self:
        """The same simulation with this number of runs, the first ones."""
        return replace(self, runs=runs)

    def each(self, ask: Callable[[OneRun], Found]) -> list[Found]:
        """Results of `ask` with the users of each run; raises what `__call__` does."""
        return list(self.mapper(partial(_with_users, ask, self.seed, self.service_times), range(self.runs)))


def _with_users(
    ask: Callable[[OneRun], Found], seed: int, service_times: ServiceTimes | None, number: int
) -> Found:
    return ask(partial(_run, Seed(value=seed, stage=Stage.STRESS, replication=number), service_times))


def _run(seed: Seed, service_times: ServiceTimes | None, stress: Stress) -> Run:
    """The run of one seed."""
    leave_if_abandoned()
    if stress.server.has_sessions:
        fleet, draw, requests_each = simulated(stress, seed, service_times)
        sessions_s = first_tries_s(stress, seed, stress.comes_until_s, requests_each)
        return _run_of_sessions(stress, seed, fleet, draw(sessions_s))
    outcomes = outcomes_of(seed, stress, service_times)
    return run_of(stress, outcomes, stress.until_s, stress.overhead_s)


def outcomes_of(seed: Seed, stress: Stress, service_times: ServiceTimes | None = None) -> Outcomes:
    """What becomes of the requests of one seed, each of which comes by itself."""
    fleet, draw, requests_each = simulated(stress, seed, service_times)
    arrived_s = first_tries_s(stress, seed, stress.comes_until_s, requests_each)
    is_hopeless = _hopeless(stress)
    # Hopeless runs mostly show it early, and need no more than these requests.
    some = np.searchsorted(arrived_s, math.inf if is_hopeless is None else stress.ends_s + _SOON_S)
    outcomes = run_kernel(
        fleet,
        draw(arrived_s[:some]),
        inside(stress.clients, stress.overhead_s),
        stress.protection,
        faults_of(stress, seed),
        is_hopeless=is_hopeless,
        rest=None if some in (0, len(arrived_s)) else partial(draw, arrived_s),
    )
    return replace(outcomes, arrived_s=arrived_s)


def _run_of_sessions(stress: Stress, seed: Seed, fleet: Fleet, draws: AttemptDraws) -> Run:
    """A run whose requests are turns, of which it is not known beforehand when they come."""
    clients = inside(stress.clients, stress.overhead_s)
    outcomes = run_kernel(fleet, draws, clients, stress.protection, faults_of(stress, seed))
    course = sessions_course(stress, draws, outcomes)
    return run_of(stress, by_arrival(outcomes), stress.until_s, stress.overhead_s, course)


def _hopeless(stress: Stress) -> Callable[[float, int], bool] | None:
    """Whether too much waits to be served within the horizon even without retries; None if that cannot be told.

    It can be told if every attempt is served in order, so that a new request waits for all of them.
    """
    wait_s = patience_s(stress.clients)
    if wait_s is None or not is_in_order(stress):
        return None
    last_s = stress.until_s - stress.steady_s - stress.window_s
    fastest_rps = _LUCK * stress.capacity_rps

    def is_hopeless(now_s: float, waiting: int) -> bool:
        if now_s < stress.ends_s + stress.clients.undecided_s:  # requests of the trigger are still undecided
            return False
        drained = max(0.0, fastest_rps - stress.rate_rps) * max(0.0, last_s - now_s)
        return waiting - wait_s * fastest_rps > drained

    return is_hopeless
