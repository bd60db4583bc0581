"""Stress simulation: independent runs of a fleet in trouble; a `StressJudge`."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from capacity.errors import DomainError
from capacity.recovery.clients import Clients
from capacity.recovery.faults import Fault
from capacity.recovery.findings import Found, OneRun, Run, Runs
from capacity.recovery.fluid import is_described, patience_s
from capacity.recovery.stress import STEADY_S, Stress
from simulations.draws.arrivals import Seed, Stage
from simulations.draws.outages import attempt_draws, faults_of
from simulations.draws.service import ProfileTimes, ServiceTimes
from simulations.draws.watching import Sight
from simulations.kernel.recovery.run import run as run_kernel
from simulations.kernel.recovery.state import ASKED_EVERY_S
from simulations.statistics.recovered import run_of
from simulations.workers import Mapper, leave_if_abandoned

RUNS = 20
# A queue drains no faster than this many times the capacity, whatever luck there is in its batches.
_LUCK = 1.1


@dataclass(frozen=True, slots=True, kw_only=True)
class StressSimulation:
    """How a stress is simulated.

    Attributes:
        runs: independent ones, each with users of its own; every stress sees the same.
        service_times: instead of those of the profile, to be compared with theory.
        mapper: how runs are spread over workers.
    """

    seed: int = 0
    runs: int = RUNS
    confidence: float = 0.95
    service_times: ServiceTimes | None = None
    mapper: Mapper = field(default=map, repr=False)

    def __call__(self, stress: Stress) -> Runs:
        """Runs of a stress.

        Raises:
            DomainError: replicas that share a device, or more requests than a run may have.
            InconclusiveError: most requests fail before the trigger.
        """
        found = self.each(lambda one: one(stress))
        return Runs(stress=stress, runs=tuple(found), confidence=self.confidence)

    def each(self, ask: Callable[[OneRun], Found]) -> list[Found]:
        """What `ask` finds with the users of each run; raises what `__call__` does."""
        return list(self.mapper(partial(_with_users, ask, self.seed, self.service_times), range(self.runs)))


def _with_users(
    ask: Callable[[OneRun], Found], seed: int, service_times: ServiceTimes | None, number: int
) -> Found:
    return ask(partial(_run, Seed(value=seed, stage=Stage.STRESS, replication=number), service_times))


def _run(seed: Seed, service_times: ServiceTimes | None, stress: Stress) -> Run:
    """One run."""
    leave_if_abandoned()
    if stress.profile.slowdowns(stress.plan.replicas)[-1] > 1.0:
        raise DomainError(
            "replicas that share a device are not simulated in trouble; measure batches beside busy neighbours, "
            "and give those times as a profile of its own"
        )
    until_s = stress.ends_s + stress.horizon_s
    overhead_s = stress.profile.request_overhead_s
    outcomes = run_kernel(
        stress.plan,
        service_times or ProfileTimes(stress.profile),
        attempt_draws(stress, seed, stress.clients.attempts, until_s),
        inside(stress.clients, overhead_s),
        stress.protection,
        faults_of(stress, seed),
        _hopeless(stress),
    )
    return run_of(stress, outcomes, until_s, overhead_s)


def inside(clients: Clients, overhead_s: float) -> Clients:
    """What is left of the clients' time limits once the overhead outside the server is taken off.

    Raises:
        DomainError: nothing is left.
    """
    return replace(
        clients,
        timeout_s=_inside(clients.timeout_s, overhead_s, "timeout"),
        deadline_s=_inside(clients.deadline_s, overhead_s, "deadline"),
    )


def _inside(limit_s: float | None, overhead_s: float, name: str) -> float | None:
    if limit_s is None:
        return None
    if limit_s <= overhead_s:
        raise DomainError(
            f"a {name} of {limit_s:g} s is no longer than the request overhead, {overhead_s:g} s"
        )
    return limit_s - overhead_s


def _hopeless(stress: Stress) -> "Hopeless | None":
    """Who ends a run that cannot end well; only where all are served in order, so that whoever comes waits for all."""
    wait_s = patience_s(stress.clients)
    if wait_s is None or not is_described(stress):
        return None
    return Hopeless(stress, wait_s)


class Hopeless:
    """Ends a run once more waits than could be worked off within the horizon, even if nobody tried again."""

    def __init__(self, stress: Stress, wait_s: float) -> None:
        self.next_s = ASKED_EVERY_S
        self._stress = stress
        self._wait_s = wait_s
        self._last_s = stress.ends_s + stress.horizon_s - STEADY_S - stress.window_s
        self._fastest_rps = _LUCK * stress.capacity_rps

    def look(self, sight: Sight) -> Sequence[Fault] | None:
        """Nothing shall happen, unless it is hopeless."""
        now_s, stress = sight.now_s, self._stress
        self.next_s = now_s + ASKED_EVERY_S if now_s < stress.ends_s + stress.horizon_s else math.inf
        drained = max(0.0, self._fastest_rps - stress.rate_rps) * max(0.0, self._last_s - now_s)
        too_many = int(sight.waiting.sum()) - self._wait_s * self._fastest_rps > drained
        return None if now_s >= stress.ends_s and too_many else ()
