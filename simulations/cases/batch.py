"""Batch case: the simulation of fleets of replicas that serve batches."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self, cast

from capacity.errors import DomainError, InputError
from capacity.performance import Performance, Window
from capacity.profile.profile import Spells
from capacity.profile.sampling import has_samples, known_samples
from capacity.question.candidate import Candidate, Verdict
from capacity.question.objective import Limit, Measure
from capacity.server.batch.batching import Batching
from capacity.server.batch.plan import BatchScenario
from capacity.server.batch.refusal import floor_candidate, floor_doubt, refuse_slow
from capacity.server.batch.stability import load_of, require_answerable, sustainable_rate_rps
from capacity.server.batch.steady import LARGE
from capacity.traffic.workload import (
    ClosedPopulation,
    ModulatedArrivals,
    TraceArrivals,
    Workload,
    is_patient,
)
from simulations.case import (
    INDEPENDENT_EXCEEDANCES_MIN,
    REPLICATIONS_FIRST,
    Case,
    arrivals_scv,
    modulated,
    one_for_all,
)
from simulations.cases.batch_pools import (
    RELAXATIONS_SEEN_MIN,
    busy_share,
    calm_share,
    counted_of_large_pool,
    in_service,
    is_large_pool,
    open_relaxation,
    places_of,
)
from simulations.cases.batch_probes import BRIEF, probes_of
from simulations.cases.batch_surge import surge_of
from simulations.cases.batch_users import (
    TURNS_SEEN_MIN,
    forgotten_requests,
    is_by_turns,
    pace,
    run_length,
    service_by_turns,
    turns_requests_of,
)
from simulations.cases.level_fleet import LevelFleet, level_fleet, stands_for
from simulations.cases.pooled_fleet import PooledFleet, pooled_fleet
from simulations.day import Day
from simulations.draws.arrivals import Seed, SettlingUsers, Stage
from simulations.draws.service import ProfileTimes, ServiceTimes, slowdowns_of
from simulations.kernel.serve import Served
from simulations.kernel.watched import serve_watched
from simulations.replication import (
    Engine,
    Task,
    attempted_day,
    reduce_day,
    replicate,
    replicate_in_parts,
    sample_of_day,
)
from simulations.statistics.bursts import CYCLES_A_RUN, BurstRuns, Fed
from simulations.statistics.path import path_length, require_enough, sections_of, tellable
from simulations.statistics.performances import batch_performance
from simulations.statistics.pool import Pool, ProfileError
from simulations.statistics.profile_error import profile_error
from simulations.statistics.relaxation import (
    FACTOR_MIN,
    RELAXATIONS,
    is_pooled,
)
from simulations.statistics.sample import Length, Sample
from simulations.statistics.strata import Strata
from simulations.workers import Mapper

EXCEEDANCES_PER_SECTION = 200  # requests beyond the quantile, in the first look
# Spells that a pool must have seen: for one replica at load 0.75 whose times have a cv of 0.1, 0.6 of it in spells of
# 5, 30 or 200 batches, 95 % intervals then hold P99 in 38, 37 and 37 of 40 experiments.
SPELLS_SEEN_MIN = 2_000
# Long enough that little is wasted on warm-up, short enough for many replications; runs that still rise are longer.
_MEASURED_PER_WARM_UP, _LONGER = 8, 4
# Where an acceptance is not for good; and of a large pool, each of whose runs has many services at a time.
_MEASURED_IN_SEARCH, _MEASURED_BY_LARGE = 3, 2
_SPELLS_FORGOTTEN, _SPELLS_IN_SEARCH = 10, 4  # besides ten relaxation times; they begin in their steady state
# Share of the budget that a search may spend on a candidate under bursts, whose runs are long; and smallest and
# largest share for a rate.
_BURSTS_SHARE, _HEADROOM_SHARES = 0.2, (0.05, 0.1)
_CLOCK_DIGITS, _CLOCK_SHARE = 2.0**-52, 1e-4  # a clock's precision, and its largest error over a service time


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchCase(Case):
    """A fleet of replicas that serve batches, and its simulation.

    Attributes:
        settled_min_s: least length of a burst and of a calm stretch before they are cut. [s]
        part: replicas that are simulated in place of all, at the same rate each; None for all.
        is_searched: whether runs of a large fleet may be short.
        is_confirmed_later: whether runs may be short, as no acceptance is for good.
        stretch: how many times as long a run takes to forget its start as theory says.
    """

    scenario: BatchScenario
    settled_min_s: tuple[float, float] = (0.0, 0.0)
    part: int | None = None
    is_searched: bool = False
    is_confirmed_later: bool = False
    stretch: int = 1

    @property
    def variability(self) -> float:
        """ca² + B·cs², of the gaps between arrivals and of the service of a full batch."""
        if isinstance(self.scenario.workload, ClosedPopulation):
            raise DomainError("users have no gaps of their own")
        service = self.scenario.profile.law(self.scenario.plan.batch_size_max)
        return self.variability_of_arrivals + self.scenario.plan.batch_size_max * service.scv

    @property
    def variability_of_arrivals(self) -> float:
        """ca², of the gaps between arrivals."""
        workload = self.scenario.workload
        assert isinstance(workload, Workload)  # noqa: S101  (users have no gaps of their own)
        return arrivals_scv(workload)

    @property
    def level(self) -> LevelFleet | PooledFleet | None:
        """The fixed point at which runs start; None if they start with an empty fleet."""
        return level_fleet(self.simulated) or pooled_fleet(self.simulated)

    @property
    def starts_empty(self) -> bool:
        """Whether runs start with an empty fleet; else at the fixed point of a large one."""
        return self.level is None

    @property
    def start_error(self) -> float:
        """Standard error that a start at the fixed point leaves in means, as a share of the mean response."""
        return 0.0 if self.level is None else self.level.start_error

    @property
    def bursts(self) -> BurstRuns | None:
        """Runs under arrivals in bursts; None for other arrivals."""
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
        """The queues, with the properties that matter for bursts."""
        plan, profile = self.scenario.plan, self.scenario.profile
        service, spells = profile.law(plan.batch_size_max), profile.spells
        steady = Workload(arrival_rate_rps=1.0, arrivals=arrivals.base)
        return Fed(
            load=lambda rate_rps: busy_share(profile, replace(steady, arrival_rate_rps=rate_rps), plan),
            sustainable_rps=sustainable_rate_rps(profile, plan),
            queues=1 if is_pooled(plan) else plan.replicas,
            service_s=service.mean_s * self.slowdown,
            variability=arrivals_scv(steady) + plan.batch_size_max * service.scv,
            places=places_of(plan),
            batch=plan.batch_size_max,
            memory_s=plan.batch_wait_max_s + (0.0 if spells is None else spells.lasting_s),
        )

    @property
    def spells(self) -> Spells | None:
        """Spells of the profile."""
        return self.scenario.profile.spells

    @property
    def requests_in_spell(self) -> float:
        """Requests that arrive during a spell; 0 without spells, and for users."""
        spells = self.scenario.profile.spells
        if spells is None or isinstance(self.scenario.workload, ClosedPopulation):
            return 0.0
        return self.scenario.workload.arrival_rate_rps * spells.lasting_s

    @property
    def service_times(self) -> ServiceTimes:
        """Source of the service times of batches."""
        return ProfileTimes(self.scenario.profile)

    @property
    def slowdowns(self) -> tuple[float, ...]:
        """Slowdowns by the number of busy instances of a device; 1 alone if replicas do not slow each other down."""
        return slowdowns_of(self.scenario.profile, self.scenario.plan.replicas)

    @property
    def slowdown(self) -> float:
        """Factor of the service time of a full batch if all instances of its device are busy."""
        return self.slowdowns[-1]

    @property
    def simulated(self) -> Self:
        """The case that is simulated instead: one replica, those of one device, or a part, if they represent all."""
        if self.is_whole:
            return self
        workload, plan = one_for_all(self.scenario.workload, self.scenario.plan, len(self.slowdowns))
        if self.part is not None:
            assert isinstance(workload, Workload)  # noqa: S101  (users have no part)
            share = self.part / plan.replicas
            workload = replace(workload, arrival_rate_rps=share * workload.arrival_rate_rps)
            plan = replace(plan, replicas=self.part)
        return replace(self, scenario=replace(self.scenario, workload=workload, plan=plan))

    @property
    def in_search(self) -> Self:
        """The case with short runs of a large fleet, and with a part of thousands of replicas that stands for them."""
        return replace(self, part=stands_for(self), is_searched=True)

    @property
    def confirmed_later(self) -> Self:
        """The case with runs that count three warm-ups, of fewer spells."""
        return replace(self, is_confirmed_later=True)

    @property
    def longer(self) -> Self | None:
        """The case with runs four times as long; None for bursts, users, and a recorded path."""
        is_free = not self.is_repeated and self.bursts is None and self.level is None
        is_free = is_free and isinstance(self.scenario.workload, Workload)
        return replace(self, stretch=_LONGER * self.stretch) if is_free else None

    @property
    def uncut(self) -> Self:
        """The case with spells that never settle."""
        return replace(self, settled_min_s=(math.inf, math.inf))

    @property
    def load(self) -> float | None:
        """Load of the scenario."""
        return load_of(self.scenario)

    def performance(self, pool: Pool, quantiles: Sequence[float], confidence: float) -> Performance:
        """Performance of the whole fleet; for a recorded path, without quantiles that it has too few requests for."""
        replicas = self.replicas
        if self.is_path:
            asked = {*self.scenario.quantiles, *self.scenario.objective.quantiles}
            quantiles = tellable(quantiles, asked, self.length.measured)
        seen = batch_performance(
            pool, load=self.load, replicas=replicas, quantiles=quantiles, confidence=confidence
        )
        return seen.times(self.scenario.plan.replicas / replicas)

    @property
    def length(self) -> Length:
        """Length of a replication: it forgets its start, then counts eight times as long, and enough for the quantile.

        It is all of a recorded path but its start.
        """
        workload, simulated = self.scenario.workload, self.simulated
        enough = EXCEEDANCES_PER_SECTION / (1.0 - self.scenario.quantile_max)
        if (level := self.level) is not None:
            return level.length(enough)
        spells = _SPELLS_IN_SEARCH if self.is_confirmed_later else _SPELLS_FORGOTTEN
        in_spells = self.stretch * spells * simulated.requests_in_spell
        warm_up = math.ceil(RELAXATIONS * _relaxation_requests(simulated) + in_spells)
        last = 2 * simulated.scenario.plan.replicas * self.scenario.plan.batch_size_max
        if isinstance(workload, ClosedPopulation):
            last = max(last, math.ceil(2 * workload.users * pace(self)))
            return run_length(workload.users, warm_up, enough, last, by_turns=is_by_turns(self))
        if isinstance(workload.arrivals, TraceArrivals):
            return path_length(len(workload.arrivals.instants_s), warm_up)
        if (bursts := simulated.bursts) is not None:
            enough = max(enough, CYCLES_A_RUN * bursts.cycle_requests)
        usual = _MEASURED_IN_SEARCH if self.is_confirmed_later else _MEASURED_PER_WARM_UP
        times = _MEASURED_BY_LARGE if is_large_pool(simulated) else usual
        measured = max(times * warm_up, math.ceil(enough))
        return Length(warm_up=warm_up, measured=measured, cool_down=min(last, measured // 10))

    def is_unconfirmable(self, requests_max: int) -> bool:
        """Whether a large fleet that is simulated as one needs more requests to be confirmed than are allowed."""
        plan = self.scenario.plan
        is_one = plan.replicas >= LARGE and (is_pooled(plan) or self.level is not None)
        return is_one and replace(self, part=None, is_searched=False).requests_to_settle > requests_max

    def counted_min(self, care: float) -> float:
        """Requests of a pool that has seen enough relaxation times, each queue or user by itself.

        Queues of one device are busy together, and count once. The less arrivals and service vary, the shorter and
        milder random bursts are, beyond what the relaxation time already takes into account.
        """
        return care * _counted_min(self.simulated)

    def tasks(self, length: Length, seed: Seed, numbers: range) -> list[Task]:
        """Replications of these numbers; for every case, the same numbers have the same users."""
        simulated = self.simulated
        workload, service_times = simulated.scenario.workload, self.service_times
        if isinstance(workload, ClosedPopulation) and is_by_turns(simulated):
            workload = SettlingUsers(
                users=workload.users,
                think_time_s=workload.think_time_s,
                settling=length.warm_up,
                slow_s=service_by_turns(simulated).mean_s,
            )
        strata = None if (bursts := simulated.bursts) is None else bursts.strata
        if strata is not None:
            assert isinstance(workload, Workload)  # noqa: S101  (users have no bursts)
            workload = replace(workload, arrivals=strata.arrivals)
        objective = self.scenario.objective
        one = Task(
            plan=simulated.scenario.plan,
            workload=workload,
            service_times=service_times,
            request_overhead_s=self.scenario.profile.request_overhead_s,
            length=length,
            seed=seed,
            limits_s=tuple(objective.by_quantile(Measure.RESPONSE).values()),
            wait_limits_s=tuple(objective.by_quantile(Measure.WAIT).values()),
            slowdowns=self.slowdowns,
            spells=self.spells,
            engine=self.engine,
            strata=strata,
            start=None if (level := simulated.level) is None else level.start,
        ).with_marks()
        return [replace(one, seed=replace(seed, replication=number)) for number in numbers]

    @property
    def replicate(self) -> Callable[[Task], Sample | Strata]:
        """The function of `simulations.replication`."""
        return replicate

    def floor_s(self, limit: Limit) -> float:
        """The fastest batch of one to the plan's, at the quantile of a response. [s]"""
        if limit.measure is not Measure.RESPONSE or limit.quantile is None:
            return 0.0
        return self.scenario.profile.service_floor_s(limit.quantile, self.scenario.plan.batch_size_max)

    def serve_day(self, day: Day, service_times: ServiceTimes | None = None) -> Iterator[Served]:
        """Requests of a day by the loops of plain fleets; all in memory where these do not fit."""
        if self.is_plain_day:
            times = service_times or self.service_times
            yield from serve_watched(self.scenario.plan, times, day.stream, day.watcher, day.first)
            return
        found = attempted_day(self._day_task(day, service_times), day)
        yield Served(found.arrived_s, found.started_s, found.answered_s, found.batch_size)

    def day_sample(self, day: Day) -> Sample:
        """Sample of the observed part of a day."""
        task = self._day_task(day)
        if is_patient(self.scenario.workload):
            return reduce_day(task, self.serve_day(day), day.begins_s, day.ends_s)
        return sample_of_day(task, attempted_day(task, day), day)

    @property
    def day_overhead_s(self) -> float:
        """Overhead of a request. [s]"""
        return self.scenario.profile.request_overhead_s

    @property
    def is_plain_day(self) -> bool:
        """Whether a day is served by the loops of plain fleets, in little memory."""
        plan = self.scenario.plan
        is_triton = plan.batching is Batching.TRITON and not plan.preferred_sizes
        is_plain = is_triton and self.slowdown == 1.0 and is_patient(self.scenario.workload)
        return is_plain and self.engine is Engine.KERNEL

    def _day_task(self, day: Day, service_times: ServiceTimes | None = None) -> Task:
        """Inputs of a day, which has as many requests as come."""
        (task,) = self.tasks(Length(warm_up=0, measured=1, cool_down=0), day.seed, range(1))
        times = task.service_times if service_times is None else service_times
        return replace(task, seed=day.seed, service_times=times, marks_s=())

    def sections(self, seed: Seed) -> list[Sample] | None:
        """Consecutive parts of one run of a recorded path; None if all requests of a part are rejected."""
        (task,) = self.tasks(self.length, seed, range(1))
        parts = sections_of(self.length.measured, self.scenario.quantile_max)
        try:
            return replicate_in_parts(task, parts)
        except InputError:
            return None

    def require_answerable(self) -> None:
        """Refuse what `stability.require_answerable` refuses, and a fleet of which nothing is left."""
        self.scenario.require_any_left()
        require_answerable(self.scenario.profile, self.scenario.workload, self.scenario.plan)

    def require_clients(self) -> None:
        """Refuse more than one attempt with service times in spells.

        Spells are drawn at the instants of first tries, which are known beforehand; those of later attempts are not.
        """
        workload = self.scenario.workload
        attempts = workload.clients.attempts if isinstance(workload, Workload) else 1
        if self.scenario.profile.spells is not None and attempts > 1:
            raise DomainError(
                "clients that retry or hedge are not simulated with service times that come in spells: another attempt "
                "comes later than the first try, in a spell that has moved on, and would meet that of the first try "
                "again; give --attempts 1, or leave spell_share and spell_lasting_s out of the profile"
            )

    def require_affordable(self, requests_max: int) -> None:
        """Refuse a run too long for the precision of its clock, and a path too short for its quantile.

        Raises:
            InputError: the run is too long; a unit is likely wrong.
            InconclusiveError: the path has too few requests for the quantile.
        """
        _require_resolvable(self, requests_max // REPLICATIONS_FIRST)
        require_enough(self.scenario.workload, self.scenario.quantile_max)

    @property
    def search_care(self) -> float:
        """0.1, since a confirmation refuses what is accepted by mistake; less where each replica is simulated."""
        return 0.1 if (level := self.level) is None else level.search_care

    @property
    def rate_care(self) -> float:
        """0.25, but 0.1 for hundreds of replicas that are all simulated."""
        return 0.25 if (level := self.level) is None else level.rate_care

    @property
    def exceedances_min(self) -> float:
        """Fifty, but fewer where the share beyond says little about the quantile."""
        return INDEPENDENT_EXCEEDANCES_MIN if self.level is None else self.level.exceedances_min

    @property
    def indifference(self) -> float:
        """A quarter, but more for hundreds of replicas: a step of one hundredth of them moves P99 by several."""
        usual = 0.25 if self.scenario.plan.replicas < LARGE else 0.5
        return usual if self.level is None else self.level.indifference

    def budget(self, stage: Stage, requests_max: int, effort: int = 1) -> int:
        """The whole budget, but a share of it for bursts in a search, and for a rate twice what settles it."""
        settling = self.requests_to_settle
        if stage is Stage.SEARCH and self.bursts is not None:
            return min(requests_max, max(int(_BURSTS_SHARE * requests_max), settling))
        if stage is Stage.HEADROOM:
            least, most = (int(min(1.0, effort * share) * requests_max) for share in _HEADROOM_SHARES)
            return min(max(least, 2 * settling), most)
        return requests_max

    @property
    def surge(self) -> "tuple[BatchCase, Length] | None":
        """The case with a jump in its arrivals, of one replica if it represents all, and the length of its runs.

        Raises:
            InputError: the arrivals have no rate to multiply.
        """
        return None if self.scenario.spike is None else surge_of(self, self.scenario.spike)

    def window(self, performance: Performance, seed: int) -> Window | None:
        """Batches and queues of some seconds."""
        from simulations.reference.window import watch  # the readable model, which only a page runs

        return watch(self.scenario, performance.throughput_rps, performance.batch_size_mean or 1.0, seed)

    @property
    def of_batches(self) -> tuple[str, str]:
        """The size of its batches, and smaller batches as another way."""
        return f" with batches up to {self.scenario.plan.batch_size_max}", ", a smaller batch"

    @property
    def brief(self) -> tuple[Length, ...]:
        """Runs that tell what is far from its limit; none of users, of a path and under bursts, whose runs are long."""
        if (level := self.level) is not None:
            return level.brief
        workload = self.scenario.workload
        is_steady = not (self.is_path or isinstance(workload, ClosedPopulation)) and self.bursts is None
        return (BRIEF,) if is_steady and BRIEF.requests < self.length.requests else ()

    @property
    def probes(self) -> tuple[Length, ...]:
        """Short runs that may refuse before the first of full length: each four times as long as the last.

        They cost at most a third of the full run, and are few: near saturation it would never come. A closed
        population has one, after each of its users, who all come at the start, has come back often; a path has none.
        """
        return tuple(probes_of(self))

    def refused(self, confidence: float) -> Candidate | None:
        """The plan as undecided, if its samples cannot tell its service time from a limit; no simulation could.

        A large fleet is missed whose quick batches cannot keep up, of which a simulation could only show how much.
        """
        scenario, plan = self.scenario, self.scenario.plan
        doubt = floor_doubt(scenario.profile, scenario.objective, plan.batch_size_max, confidence)
        if doubt is not None:
            return floor_candidate(plan, doubt)
        rejection = None if plan.replicas < LARGE else refuse_slow(scenario)
        return (
            None if rejection is None else Candidate(plan=plan, verdict=Verdict.MISSED, rejection=rejection)
        )

    @staticmethod
    def alike(cases: Sequence[Case]) -> "list[BatchCase]":
        """The cases with spells cut where the last of them has settled, so that all see the same bursts."""
        alike = cast("list[BatchCase]", list(cases))
        while settled := {
            bursts.settled_s for case in alike if (bursts := case.simulated.bursts) is not None
        }:
            last_s = max(burst_s for burst_s, _ in settled), max(calm_s for _, calm_s in settled)
            if settled == {last_s}:
                break
            alike = [replace(case, settled_min_s=last_s) for case in alike]
        return alike

    @property
    def known_samples(self) -> Callable[[float], Sequence[float]] | None:
        """Numbers of samples, as in `capacity.profile.sampling`."""
        profile = self.scenario.profile
        return known_samples(profile, self.scenario.plan.batch_size_max) if has_samples(profile) else None

    def profile_error(
        self,
        length: Length,
        confidence: float,
        seed: Seed,
        mapper: Mapper,
        is_enough: Callable[[ProfileError], bool] | None = None,
    ) -> ProfileError | None:
        """Error from the same requests under profiles resampled from the measured times; None without samples."""
        if self.bursts is not None:  # in cycles: half a run may hold none, and one of a search holds enough
            length = min(length, self.confirmed_later.length, key=lambda one: one.requests)
        return profile_error(self, length, confidence, seed, mapper, is_enough)


def _relaxation_requests(case: BatchCase, factor_min: float = FACTOR_MIN) -> float:
    """Requests that arrive within one relaxation time of the case.

    Args:
        factor_min: as of `relaxation_requests`.
    """
    workload = case.scenario.workload
    if isinstance(workload, ClosedPopulation):
        turns = 0.0 if is_by_turns(case) else turns_requests_of(case)
        return pace(case) * max(turns, forgotten_requests(case))
    if (bursts := case.bursts) is not None:
        return bursts.relaxation_requests
    return case.stretch * open_relaxation(case, in_service(case, workload.arrival_rate_rps), factor_min)


def _counted_min(simulated: BatchCase) -> float:
    if (level := simulated.level) is not None and level.is_unsaturated:
        return level.counted_min
    relaxation = _relaxation_requests(simulated, factor_min=1.0)  # what `_calm` is a share of
    seen = RELAXATIONS_SEEN_MIN * relaxation
    if isinstance(simulated.scenario.workload, ClosedPopulation):
        turns = min(pace(simulated) * turns_requests_of(simulated), simulated.length.measured)
        return max(seen, TURNS_SEEN_MIN * turns) / simulated.scenario.workload.users
    if is_large_pool(simulated):
        return SPELLS_SEEN_MIN * simulated.requests_in_spell + counted_of_large_pool(simulated)
    is_one = is_pooled(simulated.scenario.plan)
    independent = 1 if is_one else -(-simulated.scenario.plan.replicas // len(simulated.slowdowns))
    in_spells = SPELLS_SEEN_MIN * simulated.requests_in_spell  # all queues share these
    if simulated.is_path:
        return in_spells  # each run has seen all bursts of the path
    if (bursts := simulated.bursts) is not None:
        calm = calm_share(bursts.fed.variability)
        return in_spells + bursts.counted_min(RELAXATIONS_SEEN_MIN * calm / independent)
    return in_spells + seen * calm_share(simulated.variability) / independent


def _require_resolvable(case: BatchCase, requests_max: int) -> None:
    """Refuse a run, of this many requests at most, too long for the precision of its clock: a unit is likely wrong."""
    workload, shortest_s = case.scenario.workload, case.scenario.profile.law(1).durations_s[0]
    requests = min(case.length.requests, requests_max)
    if isinstance(workload, ClosedPopulation):
        run_s = max(1.0, requests / workload.users) * workload.think_time_s
        slow, what = f"with a think time of {workload.think_time_s:g} s", "think time"
    else:
        run_s = requests / workload.arrival_rate_rps
        slow, what = f"at {workload.arrival_rate_rps:g} rps", "rate"
    if run_s * _CLOCK_DIGITS > _CLOCK_SHARE * shortest_s:
        raise InputError(
            f"{slow} a run lasts {run_s:.3g} s, in which the clock cannot tell a service of "
            f"{shortest_s:g} s; is the unit of the {what} right?"
        )
