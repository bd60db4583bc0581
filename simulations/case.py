"""Case: how a scenario is run: what represents the fleet, how long the runs are, and their tasks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from capacity.errors import DomainError
from capacity.performance import Performance
from capacity.profile.distribution import ServiceLaw
from capacity.profile.profile import ServiceProfile
from capacity.question.objective import Measure
from capacity.question.plan import Plan, Routing
from capacity.question.scenario import Scenario
from capacity.question.stability import load_under, sustainable_rate_rps
from capacity.traffic.workload import (
    MMPP_SWITCHES_MAX,
    ArrivalProcess,
    ClosedPopulation,
    Demand,
    DeterministicArrivals,
    GammaArrivals,
    MmppArrivals,
    ModulatedArrivals,
    PoissonArrivals,
    RenewalArrivals,
    SurgingArrivals,
    TraceArrivals,
    Workload,
    is_trace,
)
from simulations.draws.arrivals import Seed, SettlingUsers
from simulations.draws.service import ALONE, ProfileTimes, ServiceTimes
from simulations.replication import Engine, Task
from simulations.statistics.bursts import CYCLES_A_RUN, BurstRuns, Fed
from simulations.statistics.path import path_length, tellable
from simulations.statistics.pool import SECTIONS, Pool
from simulations.statistics.relaxation import (
    RELAXATIONS,
    closed_relaxation_requests,
    is_pooled,
    open_relaxation_requests,
    turns_requests,
)
from simulations.statistics.sample import Length


def one_for_all(workload: Demand, plan: Plan, instances_per_device: int = 1) -> tuple[Demand, Plan]:
    """The arrivals that one replica sees, and that replica alone; both unchanged where there is no such law.

    Round-robin gives each replica every c-th request: the sum of c gamma gaps, a gamma gap again. A random
    split of Poisson arrivals is Poisson at a c-th of the rate; that of MMPP arrivals is MMPP with the same
    phases (all replicas share them and are not independent, yet each by itself has that law). Other routing
    policies look at the other replicas, a closed population waits for all of them, a trace is one path, and
    a surge is made from what one replica sees
    (`simulations.looks`). Of MMPP arrivals round-robin gives each replica gamma gaps too, by the clock by which
    the arrivals are Poisson.

    Replicas that share a device influence each other: one device with all its instances represents the
    fleet behind a random split, if all are full. Under round-robin the gaps that it sees do not have one law.

    Args:
        instances_per_device: replicas that slow each other down, 1 if none do.

    Source:
        Feller (1971), An Introduction to Probability Theory II, sec. II.2 (sums of gamma variables);
        Kingman (1993), Poisson Processes, sec. 5.1 (colouring theorem), given the phases too.
    """
    if isinstance(workload, ClosedPopulation):
        return workload, plan
    arrivals = workload.arrivals
    count, rest = divmod(plan.replicas, instances_per_device)
    if rest > 0:
        return workload, plan
    is_alone = instances_per_device == 1
    seen: ArrivalProcess
    if is_alone and plan.routing is Routing.ROUND_ROBIN and isinstance(arrivals, RenewalArrivals):
        seen = _every(arrivals, count)
    elif is_alone and count > 1 and _is_dealt_in_bursts(workload, plan):
        assert isinstance(arrivals, MmppArrivals)  # noqa: S101  (just asked)
        seen = ModulatedArrivals(bursts=arrivals, base=_every(PoissonArrivals(), count))
    elif plan.routing is Routing.RANDOM and _splits(workload, count):
        seen = arrivals
    else:
        return workload, plan
    alone = Workload(arrival_rate_rps=workload.arrival_rate_rps / count, arrivals=seen)
    return alone, replace(plan, replicas=instances_per_device)


def modulated(arrivals: ArrivalProcess) -> ModulatedArrivals | None:
    """Arrivals in bursts as a replica sees them; None for others."""
    if isinstance(arrivals, MmppArrivals):
        return ModulatedArrivals(bursts=arrivals)
    return arrivals if isinstance(arrivals, ModulatedArrivals) else None


def _is_dealt_in_bursts(workload: Workload, plan: Plan) -> bool:
    """Whether each replica sees every c-th request of an MMPP."""
    is_mmpp = isinstance(workload.arrivals, MmppArrivals)
    return plan.routing is Routing.ROUND_ROBIN and is_mmpp and _splits(workload, plan.replicas)


def _splits(workload: Workload, count: int) -> bool:
    """Whether a random split has a law of the same kind; if phases switch very often, it is not worth it."""
    if isinstance(workload.arrivals, MmppArrivals):
        return count * workload.switches_per_arrival <= MMPP_SWITCHES_MAX
    return isinstance(workload.arrivals, PoissonArrivals)


def _every(arrivals: RenewalArrivals, count: int) -> RenewalArrivals:
    """The process of every `count`-th arrival."""
    match arrivals:
        case PoissonArrivals():
            return arrivals if count == 1 else GammaArrivals(cv=1.0 / math.sqrt(count))
        case DeterministicArrivals():
            return arrivals
        case GammaArrivals(cv=cv):
            return GammaArrivals(cv=cv / math.sqrt(count))


# Requests beyond the quantile in question that each section has in the first look.
EXCEEDANCES_PER_SECTION = 200
# Relaxation times that a pool must have seen: of M/M/8 at load 0.8, whose bursts are rare and long, 95 %
# intervals from 6000 hold the exact P99 in 92 % of experiments, from 22,000 in 94 %.
RELAXATIONS_SEEN_MIN = 50_000
# An estimate of the load may be above 1 where the load is not: runs are then as long as near saturation.
_ESTIMATED_LOAD_MAX = 0.99
# Spells that a pool must have seen: of one replica at load 0.75 whose times vary by a cv of 0.1, 0.6 of it in
# spells of 5, 30 or 200 batches, 95 % intervals then hold P99 in 38, 37 and 37 of 40 experiments.
SPELLS_SEEN_MIN = 2_000
# Users' turns that a pool must have seen, each run with turns of its own.
TURNS_SEEN_MIN = 2_000
_TURNS_WAITED_FOR = 10  # requests of each user within which turns change
# Requests of each user while a run settles into turns, as many as that where they are not too many in all: of
# 8 users of one replica, whose batches take 28 to 30 ms, P99 is then right to 0.1 %, and the mean to 1 % even
# where a think time is a 30th of a batch's, so that no user changes turns within a year.
_SETTLING_MIN, _SETTLING, _SETTLING_REQUESTS = 200, 1000, 50_000
_CALM_MIN = 1.0 / 16.0
# Long enough that little is wasted on warm-up, short enough for many replications.
_MEASURED_PER_WARM_UP = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A scenario, and how it is run.

    Attributes:
        is_whole: with all replicas, even where one could represent them.
        settled_min_s: how long a burst and a calm stretch go on at least before they are cut. [s]
    """

    scenario: Scenario
    engine: Engine = Engine.KERNEL
    is_whole: bool = False
    settled_min_s: tuple[float, float] = (0.0, 0.0)

    @property
    def variability(self) -> float:
        """ca² + B·cs², of the gaps between arrivals and of the service of a full batch."""
        if isinstance(self.scenario.workload, ClosedPopulation):
            raise DomainError("users have no gaps of their own")
        service = self.scenario.profile.law(self.scenario.plan.batch_size_max)
        return arrivals_scv(self.scenario.workload) + self.scenario.plan.batch_size_max * service.scv

    @property
    def bursts(self) -> BurstRuns | None:
        """How runs under arrivals in bursts are made; None for other arrivals."""
        workload = self.scenario.workload
        if isinstance(workload, ClosedPopulation):
            return None
        arrivals = modulated(workload.arrivals)
        if arrivals is None:
            return None
        return BurstRuns(
            arrivals=arrivals,
            arrival_rate_rps=workload.arrival_rate_rps,
            fed=self._fed(arrivals),
            settled_min_s=self.settled_min_s,
        )

    def _fed(self, arrivals: ModulatedArrivals) -> Fed:
        """The queues as bursts feel them."""
        plan, profile = self.scenario.plan, self.scenario.profile
        service, spells = profile.law(plan.batch_size_max), profile.spells
        steady = Workload(arrival_rate_rps=1.0, arrivals=arrivals.base)
        return Fed(
            load=lambda rate_rps: _busy(profile, replace(steady, arrival_rate_rps=rate_rps), plan),
            sustainable_rps=sustainable_rate_rps(profile, plan),
            queues=1 if is_pooled(plan) else plan.replicas,
            service_s=service.mean_s * self.slowdown,
            variability=arrivals_scv(steady) + plan.batch_size_max * service.scv,
            places=_places(plan),
            batch=plan.batch_size_max,
            memory_s=plan.batch_wait_max_s + (0.0 if spells is None else spells.lasting_s),
        )

    @property
    def requests_in_spell(self) -> float:
        """Requests that arrive while a spell lasts; 0 if there are no spells, as for users."""
        spells = self.scenario.profile.spells
        if spells is None or isinstance(self.scenario.workload, ClosedPopulation):
            return 0.0
        return self.scenario.workload.arrival_rate_rps * spells.lasting_s

    @property
    def service_times(self) -> ServiceTimes:
        """What batches draw their service times from."""
        return ProfileTimes(self.scenario.profile)

    @property
    def slowdowns(self) -> tuple[float, ...]:
        """By busy instances of a device; 1 alone where replicas do not slow each other down."""
        slowdowns = self.scenario.profile.slowdowns(self.scenario.plan.replicas)
        return slowdowns if slowdowns[-1] > 1.0 else ALONE

    @property
    def slowdown(self) -> float:
        """Service time of a full batch on a device whose instances are all busy."""
        return self.slowdowns[-1]

    @property
    def is_path(self) -> bool:
        """Whether the arrivals are one recorded path, of which only the service is drawn anew."""
        return is_trace(self.scenario.workload)

    @property
    def simulated(self) -> Self:
        """What is run instead: one replica, or the replicas of one device, where they represent all."""
        if self.is_whole:
            return self
        workload, plan = one_for_all(self.scenario.workload, self.scenario.plan, len(self.slowdowns))
        return replace(self, scenario=replace(self.scenario, workload=workload, plan=plan))

    def performance(self, pool: Pool, quantiles: Sequence[float], confidence: float) -> Performance:
        """Performance of the whole fleet; of a recorded path without quantiles that it has too few requests for."""
        replicas = self.simulated.scenario.plan.replicas
        if self.is_path:
            asked = {*self.scenario.quantiles, *self.scenario.objective.quantiles}
            quantiles = tellable(quantiles, asked, run_length(self).measured)
        seen = pool.performance(
            load=self.scenario.load, replicas=replicas, quantiles=quantiles, confidence=confidence
        )
        return seen.times(self.scenario.plan.replicas // replicas)


def cut_alike(cases: Sequence[Case]) -> list[Case]:
    """The cases with spells cut where the last of them has settled, so that all see the same bursts."""
    alike = list(cases)
    while settled := {bursts.settled_s for case in alike if (bursts := case.simulated.bursts) is not None}:
        last_s = max(burst_s for burst_s, _ in settled), max(calm_s for _, calm_s in settled)
        if settled == {last_s}:
            break
        alike = [replace(case, settled_min_s=last_s) for case in alike]
    return alike


def run_length(case: Case) -> Length:
    """A replication that forgets its start, counts eight times as long, and enough for the quantile.

    Of a recorded path, all of it but its start.
    """
    forgotten = _relaxation_requests(case.simulated) + case.simulated.requests_in_spell
    warm_up = math.ceil(RELAXATIONS * forgotten)
    enough = EXCEEDANCES_PER_SECTION / (1.0 - case.scenario.quantile_max)
    last = 2 * case.simulated.scenario.plan.replicas * case.scenario.plan.batch_size_max
    if isinstance(case.scenario.workload, ClosedPopulation):
        return _run_length_of_users(
            case.scenario.workload.users, warm_up, enough, last, by_turns=_is_by_turns(case)
        )
    if isinstance(case.scenario.workload.arrivals, TraceArrivals):
        return path_length(len(case.scenario.workload.arrivals.instants_s), warm_up)
    if (bursts := case.simulated.bursts) is not None:
        enough = max(enough, CYCLES_A_RUN * bursts.cycle_requests)
    measured = max(_MEASURED_PER_WARM_UP * warm_up, math.ceil(enough))
    return Length(warm_up=warm_up, measured=measured, cool_down=min(last, measured // 10))


def _run_length_of_users(users: int, warm_up: int, enough: float, last: int, *, by_turns: bool) -> Length:
    """A replication of a closed population; each user is an observation, so one run need not be long.

    The more runs that keep their turns there will be, the shorter they are.
    """
    settling = 0
    if by_turns:
        settling = max(_SETTLING_MIN * users, min(_SETTLING * users, _SETTLING_REQUESTS))
        enough *= min(1.0, SECTIONS * users / TURNS_SEEN_MIN)
    measured, warm_up = max(warm_up, math.ceil(enough)), max(warm_up, settling)
    return Length(warm_up=warm_up, measured=measured, cool_down=min(max(last, 2 * users), measured // 10))


def _turns_requests(case: Case) -> float:
    """Requests within which users change the turns in which they are served; 0 if all batches are full."""
    users, plan = case.scenario.workload, case.scenario.plan
    assert isinstance(users, ClosedPopulation)  # noqa: S101  (who else takes turns)
    if users.think_time_s == 0.0 or users.users >= 2 * plan.replicas * plan.batch_size_max:
        return 0.0
    return turns_requests(users, _service_by_turns(case))


def _service_by_turns(case: Case) -> ServiceLaw:
    """Service of the batches of users who are served in turns: half of those of a replica each."""
    assert isinstance(case.scenario.workload, ClosedPopulation)  # noqa: S101
    size = case.scenario.workload.users // (2 * case.scenario.plan.replicas)
    return case.scenario.profile.law(min(max(1, size), case.scenario.plan.batch_size_max))


def _is_by_turns(case: Case) -> bool:
    """Whether users keep the turns they started with for longer than a simulation can wait."""
    assert isinstance(case.scenario.workload, ClosedPopulation)  # noqa: S101  (who else takes turns)
    return _turns_requests(case) > max(_TURNS_WAITED_FOR * case.scenario.workload.users, _walk_requests(case))


def _walk_requests(case: Case) -> float:
    """Requests within which a closed population forgets how many are at which queue."""
    users, plan = case.scenario.workload, case.scenario.plan
    assert isinstance(users, ClosedPopulation)  # noqa: S101  (who else walks)
    return closed_relaxation_requests(users, plan, sustainable_rate_rps(case.scenario.profile, plan))


def _relaxation_requests(case: Case) -> float:
    """Requests that arrive within one relaxation time of what is simulated."""
    workload, plan = case.scenario.workload, case.scenario.plan
    if isinstance(workload, ClosedPopulation):
        turns = 0.0 if _is_by_turns(case) else _turns_requests(case)
        return max(turns, _walk_requests(case))
    if (bursts := case.bursts) is not None:
        return bursts.relaxation_requests
    service = case.scenario.profile.law(plan.batch_size_max)
    rate_rps = workload.arrival_rate_rps
    queues = 1 if is_pooled(plan) else plan.replicas
    in_service = rate_rps * service.mean_s * case.slowdown
    busy = _busy(case.scenario.profile, workload, plan)
    return open_relaxation_requests(busy, queues, in_service, case.variability, _places(plan))


def _busy(profile: ServiceProfile, workload: Workload, plan: Plan) -> float:
    """The load; of one that is only estimated no more than what runs can be made for."""
    busy, is_exact = load_under(profile, workload, plan)
    return busy if is_exact else min(busy, _ESTIMATED_LOAD_MAX)


def _places(plan: Plan) -> int | None:
    """Places in one queue, including the batch in service; None if the queue has no limit."""
    return None if plan.queue_limit is None else plan.queue_limit + plan.batch_size_max


def arrivals_scv(workload: Workload) -> float:
    """Squared coefficient of variation of the gaps between arrivals.

    For MMPP, whose gaps depend on each other, the dispersion of long counts, which is what a queue feels.
    """
    arrivals = workload.arrivals
    match arrivals.base if isinstance(arrivals, SurgingArrivals) else arrivals:
        case PoissonArrivals():
            return 1.0
        case DeterministicArrivals():
            return 0.0
        case GammaArrivals(cv=cv):
            return cv**2
        case MmppArrivals() as bursts:
            return bursts.dispersion_index(workload.arrival_rate_rps)
        case ModulatedArrivals(bursts=bursts, base=base):
            within = arrivals_scv(replace(workload, arrivals=base))
            return within - 1.0 + bursts.dispersion_index(workload.arrival_rate_rps)
        case TraceArrivals(instants_s=instants_s):
            gaps_s = np.diff(instants_s)
            return float(gaps_s.var() / gaps_s.mean() ** 2)


def tasks(case: Case, length: Length, seed: Seed, replications: range) -> list[Task]:
    """The replications of a case; the same numbers are the same users for every case."""
    simulated, service_times = case.simulated, case.service_times
    workload = simulated.scenario.workload
    if isinstance(workload, ClosedPopulation) and _is_by_turns(simulated):
        workload = SettlingUsers(
            users=workload.users,
            think_time_s=workload.think_time_s,
            settling=length.warm_up,
            slow_s=_service_by_turns(simulated).mean_s,
        )
    strata = None if (bursts := simulated.bursts) is None else bursts.strata
    if strata is not None:
        assert isinstance(workload, Workload)  # noqa: S101  (users have no bursts)
        workload = replace(workload, arrivals=strata.arrivals)
    return [
        Task(
            plan=simulated.scenario.plan,
            workload=workload,
            service_times=service_times,
            request_overhead_s=case.scenario.profile.request_overhead_s,
            length=length,
            seed=replace(seed, replication=number),
            limits_s=tuple(case.scenario.objective.by_quantile(Measure.RESPONSE).values()),
            wait_limits_s=tuple(case.scenario.objective.by_quantile(Measure.WAIT).values()),
            slowdowns=case.slowdowns,
            spells=case.scenario.profile.spells,
            engine=case.engine,
            strata=strata,
        )
        for number in replications
    ]


def counted_min(case: Case) -> float:
    """Requests that have seen enough relaxation times, each queue or user by itself.

    Queues of one device are busy together, and count once. The less arrivals and service vary, the shorter
    and milder bursts are, beyond what the relaxation time already takes into account.
    """
    simulated = case.simulated
    relaxation = _relaxation_requests(simulated)
    seen = RELAXATIONS_SEEN_MIN * relaxation
    if isinstance(simulated.scenario.workload, ClosedPopulation):
        turns = min(_turns_requests(simulated), run_length(simulated).measured)
        return max(seen, TURNS_SEEN_MIN * turns) / simulated.scenario.workload.users
    is_one = is_pooled(simulated.scenario.plan)
    independent = 1 if is_one else -(-simulated.scenario.plan.replicas // len(simulated.slowdowns))
    in_spells = SPELLS_SEEN_MIN * simulated.requests_in_spell  # which all queues share
    if simulated.is_path:
        return in_spells  # each run has seen all bursts that there are
    if (bursts := simulated.bursts) is not None:
        calm = _calm(bursts.fed.variability)
        return in_spells + bursts.counted_min(RELAXATIONS_SEEN_MIN * calm / independent)
    return in_spells + seen * _calm(simulated.variability) / independent


def _calm(variability: float) -> float:
    """Share of the relaxation times that is enough where bursts by chance are short and mild."""
    return min(1.0, max(_CALM_MIN, (variability / 2.0) ** 2))
