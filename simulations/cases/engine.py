"""Engine case: the simulation of fleets of engines of language models."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Self

import numpy as np

from capacity.errors import InconclusiveError, UnstableError
from capacity.performance import Performance
from capacity.profile.llm_sampling import has_error, resampled_profiles
from capacity.question.candidate import Candidate, Reason, Rejection, Verdict, refuse_overload
from capacity.question.objective import Measure
from capacity.question.overload import Overload
from capacity.question.plan import Routing, rejects
from capacity.server.batch.plan import BatchPlan
from capacity.server.engine.lengths import require_lengths
from capacity.server.engine.plan import TokenPlan, TokenScenario
from capacity.server.engine.ring import even_replicas
from capacity.traffic.any_lengths import are_sessions
from capacity.traffic.workload import (
    ClosedPopulation,
    MmppArrivals,
    PoissonArrivals,
    Workload,
    is_patient,
    is_trace,
)
from capacity.units import format_rate
from simulations.case import Case, arrivals_scv, modulated, one_for_all
from simulations.cases.engine_error import widened_by
from simulations.cases.engine_relaxation import (
    LOAD_MAX,
    forgotten_with,
    places,
    relaxation_of_users,
    require_turns,
)
from simulations.cold import cold_saturation, cold_saturation_rps
from simulations.day import Day
from simulations.draws.arrivals import Purpose, Seed, Stage
from simulations.draws.service import ServiceTimes
from simulations.engine_replication import (
    TokenTask,
    day_outcomes,
    draw_tokens,
    overheads_s,
    reduced,
    replicate_tokens,
    sampler,
)
from simulations.kernel.serve import Served as ServedRequests
from simulations.replication import part_of_day, with_attempts
from simulations.saturation import (
    load_with_hits,
    require_check,
    saturated,
    session_requests,
    token_load,
)
from simulations.statistics.bursts import CYCLES_A_RUN, BurstRuns, Fed
from simulations.statistics.path import path_length, require_enough, sections_of, tellable
from simulations.statistics.performances import engine_performance
from simulations.statistics.pool import Pool, drifts
from simulations.statistics.relaxation import (
    open_relaxation_requests,
)
from simulations.statistics.sample import Length, Sample
from simulations.statistics.strata import Strata
from simulations.statistics.tokens import TokenSample, sessions_of
from simulations.warm import load_while_warm
from simulations.workers import Mapper

# Relaxation times of a warm-up, and those that a pool must have seen. In benchmarks/token_coverage.py at the first
# settled look, with lognormal lengths at load 0.7, where slots fill rarely, 95 % intervals of TTFT's P99 held the
# true value in 86 % of 150 experiments from 1,500, and in 95 % of 100 from 6,000, at a second a pool; those of the
# response's P99 in 97 %. Where arrivals come in clusters, with gaps of a squared coefficient of variation of four, a
# cache that is often full takes four times as many: from 6,000 on they held in 87 % of 60, from 24,000 on in 95 %.
_RELAXATIONS, _RELAXATIONS_SEEN_MIN = 10, 6_000
_RELAXATIONS_SEEN_OF_USERS = 50_000
_SEARCHING = (Stage.SEARCH, Stage.PROBE)
_MEASURED_PER_WARM_UP = 4
# Limits beyond the knee, where no plan is accepted: runs are only long enough for clear refusals.
_FORGOTTEN_MAX, _KNEE_REQUESTS = 200.0, 400_000
_MEASURED_MIN = 2_000
# Times that sessions last, or that queues take to settle, which a pool of sessions must have seen.
_SESSIONS_SEEN_MIN = 200
# Times what settles a fleet that is worth simulating for a verdict, and for narrower intervals: a turn takes some
# hundred times as long as a request without contents.
_SESSIONS_BUDGET, _SESSIONS_WORTH, _SESSIONS_NARROWING = 16, 4, 2
_CACHE_FILLS = 2  # how often caches are filled during a warm-up
_HITS_DRIFT_MAX = 0.005  # drift of the share that caches find within runs which is none
_COOL_DOWN_MIN = 200
# Load above which no P99 is given: an error of the profile of the same size could make it anything.
KNEE = 0.95
# Fewest independent requests beyond the highest quantile for an interval.
_EXCEEDANCES_MIN = 50
# Alternative to a trace that is too short for an interval.
_OR_REPLAY = ", or give --replay for these requests alone"
# And to a file of sessions, whose own times are the arrivals unless others are asked for.
_OR_DRAW = ", or give --arrivals poisson (and a --rate) for sessions like these"
_RESAMPLES = 12
_HEADROOM_SHARE = 0.1
# Shares of the budget that a plan under bursts may take if a confirmation needs no more to settle, what is met may
# take to be narrowed, and a probe of its headroom may: if bursts exceed the capacity by little, the few long ones
# decide, and a few times as many do not help.
_BURSTS_SHARE, _BURSTS_NARROWING_SHARE, _BURSTS_PROBE_SHARE = 0.015, 0.0075, 0.01


def require_tokens_answerable(scenario: TokenScenario) -> float:
    """Load of a scenario, 0 of users; refuses one without a steady state or outside of the profile.

    Users in a closed loop, and queues with a limit, have a steady state at any load.

    Raises:
        UnstableError: the queues would grow; the message names the fewest replicas that would be stable.
        DomainError: settings or lengths beyond what was measured, users in their first order, or who never think.
    """
    plan = scenario.plan
    scenario.profile.require(plan.sequences_max, plan.batched_tokens_max)
    require_lengths(scenario.profile, scenario.lengths, plan.sequences_max)
    if isinstance(scenario.workload, ClosedPopulation):
        scenario.workload.require_thought(rejects=rejects(plan))
        require_turns(scenario, scenario.workload)
        return 0.0
    load = token_load(scenario)
    if load >= 1.0 and not rejects(plan):
        one = saturated(scenario)
        least = max(plan.replicas + 1, one.engines_min(scenario.workload.arrival_rate_rps))
        count = f"{plan.replicas} replica" + ("s" if plan.replicas > 1 else "")
        raise UnstableError(
            f"unstable plan: load {load:.3f} >= 1 ({format_rate(scenario.workload.arrival_rate_rps)} on "
            f"{format_rate(even_replicas(plan) * one.rate_rps)} of {count}); use at least {least} replicas",
            servers_min=least,
        )
    return load


def require_below_knee(scenario: TokenScenario) -> None:
    """Refuse a scenario without an answer, and one so near saturation that the profile's error decides.

    Raises:
        UnstableError: as in `require_tokens_answerable`, or sessions pile up even where none waits at first; the
            message names how many replicas would come back from a backlog.
        DomainError: as in `require_tokens_answerable`.
        InconclusiveError: the load is too near saturation; the message names a rate that has an answer.
    """
    load = require_tokens_answerable(scenario)
    _require_settling(scenario)
    if load > KNEE and scenario.plan.queue_limit is None:
        raise InconclusiveError(
            f"at load {load:.3f}, within 5 % of saturation, an error of 1 % in the profile changes the latency "
            "several times over; add a replica, or ask for a rate below "
            f"{format_rate(KNEE / load * scenario.workload.arrival_rate_rps)}"
        )


def _require_settling(scenario: TokenScenario) -> None:
    load, cold_rps = load_while_warm(scenario), cold_saturation_rps(scenario)
    if cold_rps is None or load <= 1.0:
        return
    rate_rps = scenario.workload.arrival_rate_rps
    enough = math.ceil(rate_rps * scenario.plan.replicas / cold_rps)
    raise UnstableError(
        f"sessions pile up at {format_rate(rate_rps)}: caches stay warm up to {format_rate(rate_rps / load)}; use "
        f"{enough} replicas, which come back even from empty caches and a backlog",
        servers_min=enough,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineCase(Case):
    """A fleet of engines of a language model, and its simulation."""

    scenario: TokenScenario

    @property
    def simulated(self) -> Self:
        """One engine if it represents all and may, else the whole fleet."""
        scenario = self.scenario
        if self.is_whole or self.is_path or isinstance(scenario.workload, ClosedPopulation):
            return self
        plan = scenario.plan
        if are_sessions(scenario.lengths):
            return self._with_sessions_of_one() if plan.routing is Routing.SESSION else self
        alike = BatchPlan(
            profile=plan.profile, replicas=plan.replicas, batch_size_max=1, routing=plan.routing
        )
        workload, one = one_for_all(scenario.workload, alike)
        assert isinstance(workload, Workload)  # noqa: S101  (a rate stays a rate)
        alone = replace(scenario, workload=workload, plan=replace(plan, replicas=one.replicas))
        return replace(self, scenario=alone)

    def _with_sessions_of_one(self) -> Self:
        """One engine with the sessions that a hash sends to it, of sessions that begin independently of each other.

        Source:
            Kingman (1993), Poisson Processes, sec. 5.1 (colouring theorem).
        """
        scenario = self.scenario
        if not isinstance(scenario.workload.arrivals, PoissonArrivals):
            return self
        share = scenario.sized(scenario.workload.arrival_rate_rps / scenario.plan.replicas)
        return replace(self, scenario=replace(share, plan=replace(scenario.plan, replicas=1)))

    @property
    def load(self) -> float | None:
        """Arrival rate over the rate at which the fleet saturates; None of users, who have no rate of their own."""
        return None if isinstance(self.scenario.workload, ClosedPopulation) else token_load(self.scenario)

    def has_forgotten(self, pool: Pool) -> bool:
        """Whether neither durations nor what caches find tell where runs began."""
        if not super(EngineCase, self).has_forgotten(pool):
            return False
        return not are_sessions(self.scenario.lengths) or not drifts(
            np.array([rise for section in pool.sections for rise in sessions_of(section).rises]),
            _HITS_DRIFT_MAX,
        )

    @property
    def may_lose(self) -> bool:
        """Whether requests may be lost: rejected by full queues, or given up."""
        return self.scenario.plan.queue_limit is not None or not is_patient(self.scenario.workload)

    @property
    def serves_all(self) -> bool:
        """False, as an engine stops a request whose client has gone."""
        return False

    @property
    def deciding(self) -> tuple[Measure, ...]:
        """Durations whose quantiles are limited; without limits the two whose intervals must be narrow.

        A well-known response says little about the first token, which rarely waits, and then for many requests at
        once.
        """
        limited = {one.measure for one in self.scenario.objective.limits if one.quantile is not None}
        return tuple(sorted(limited)) or self.narrowed

    @property
    def narrowed(self) -> tuple[Measure, ...]:
        """Times to the first token, and responses."""
        return Measure.TTFT, Measure.RESPONSE

    def is_seen(self, pool: Pool) -> bool:
        """Whether a pool has values of every limited duration; requests of one output token have no TPOT."""
        limited = {one.measure for one in self.scenario.objective.limits if one.measure.is_duration}
        return pool.counted > 0 and all(pool.counts(measure) for measure in limited)

    @property
    def bursts(self) -> BurstRuns | None:
        """Runs under arrivals in bursts; None for other arrivals.

        Spells are not cut: an engine's quantities are counted by time, and not by the stratum of a request.
        """
        workload = self.simulated.scenario.workload
        arrivals = None if isinstance(workload, ClosedPopulation) else modulated(workload.arrivals)
        if arrivals is None:
            return None
        simulated, one = self.simulated.scenario, saturated(self.scenario)
        sustainable_rps = simulated.plan.replicas * one.rate_rps
        burst_rps, _ = arrivals.bursts.rates_rps(workload.arrival_rate_rps)
        steady = Workload(arrival_rate_rps=1.0, arrivals=arrivals.base)
        variability = arrivals_scv(steady) + simulated.lengths.moments.output_scv
        running = forgotten_with(simulated.at_rate(burst_rps), variability)
        fed = Fed(
            load=lambda rate_rps: rate_rps / sustainable_rps,
            sustainable_rps=sustainable_rps,
            queues=simulated.plan.replicas,
            service_s=running / min(burst_rps / simulated.plan.replicas, one.rate_rps),
            variability=variability,
            batch=math.ceil(one.running_mean),
            places=places(simulated),
        )
        return BurstRuns(
            arrivals=arrivals, arrival_rate_rps=workload.arrival_rate_rps, fed=fed, may_cut=False
        )

    @property
    def relaxation_requests(self) -> float:
        """Requests that arrive while the case forgets its start."""
        if (bursts := self.bursts) is not None:
            return bursts.relaxation_requests
        simulated = self.simulated.scenario
        if isinstance(simulated.workload, ClosedPopulation):
            return relaxation_of_users(simulated, simulated.workload)
        replicas, load = simulated.plan.replicas, token_load(simulated)
        variability = arrivals_scv(simulated.workload) + simulated.lengths.moments.output_scv
        in_service = forgotten_with(simulated, variability) * replicas
        most = places(simulated)
        load = min(load, LOAD_MAX) if most is None else load
        lasting, _ = session_requests(simulated)
        return max(lasting, open_relaxation_requests(load, replicas, in_service, variability, most))

    @property
    def length(self) -> Length:
        """Length of one run; all of a recorded path but its start."""
        forgotten = self.relaxation_requests
        if self.simulated.is_beyond_knee:  # such a run may refuse, and never accepts
            forgotten = min(forgotten, _FORGOTTEN_MAX)
        warm_up = math.ceil(_RELAXATIONS * forgotten)
        if is_trace(self.scenario.workload):
            return path_length(len(self.scenario.workload.arrivals.instants_s), warm_up)
        measured = max(_MEASURED_PER_WARM_UP * warm_up, _MEASURED_MIN)
        cool_down = max(_COOL_DOWN_MIN, math.ceil(2 * forgotten))
        if are_sessions(self.scenario.lengths):
            # The longest sessions that count last many times the mean, and must not end in a fleet that others left.
            cool_down = max(_COOL_DOWN_MIN, warm_up)
            warm_up = max(warm_up, math.ceil(_CACHE_FILLS * session_requests(self.simulated.scenario)[1]))
            measured = max(warm_up, _MEASURED_MIN)
        if (bursts := self.bursts) is not None:
            measured = max(measured, math.ceil(CYCLES_A_RUN * bursts.cycle_requests))
        return Length(warm_up=warm_up, measured=measured, cool_down=cool_down)

    def counted_min(self, care: float) -> float:
        """Requests of a pool that has seen enough relaxation times; each run of a path has seen all of its own."""
        beyond = _EXCEEDANCES_MIN / (1.0 - self.scenario.quantile_max)
        if self.is_path:
            return beyond
        if isinstance(self.scenario.workload, ClosedPopulation):  # each user is an observation
            of_each = _RELAXATIONS_SEEN_OF_USERS / self.scenario.workload.users
            return max(care * of_each * self.relaxation_requests, beyond)
        of_each = _RELAXATIONS_SEEN_MIN / self.replicas
        if (bursts := self.bursts) is not None:
            return max(care * bursts.counted_min(of_each), beyond)
        if are_sessions(self.scenario.lengths):
            of_each = min(of_each, _SESSIONS_SEEN_MIN)
        of_each *= max(1.0, arrivals_scv(self.scenario.workload))
        return max(care * of_each * self.relaxation_requests, beyond)

    def tasks(self, length: Length, seed: Seed, numbers: range) -> list[TokenTask]:
        """Replications of these numbers; for every case, the same numbers have the same users."""
        bursts = self.bursts
        one = TokenTask(
            scenario=self.simulated.scenario,
            length=length,
            seed=seed,
            engine=self.engine,
            strata=None if bursts is None else bursts.strata,
        )
        return [replace(one, seed=replace(seed, replication=number)) for number in numbers]

    @property
    def replicate(self) -> Callable[[TokenTask], Sample | Strata]:
        """The function `replicate_tokens`."""
        return replicate_tokens

    def serve_day(self, day: Day, service_times: ServiceTimes | None = None) -> Iterator[ServedRequests]:
        """Requests of a day, all in memory, from the first token to the last, with the time outside of an engine."""
        draws, outcomes = day_outcomes(self._day_task(day), day)
        tokens, outside_s = outcomes.tokens, overheads_s(self.scenario, draws)
        assert tokens is not None  # noqa: S101  (which engines have)
        is_answered = ~np.isnan(tokens.finished_s)
        first_s, ends_s = tokens.first_s + outside_s, tokens.finished_s + outside_s
        yield ServedRequests(tokens.arrived_s, first_s, ends_s, is_answered.astype(np.int64))

    def day_sample(self, day: Day) -> TokenSample:
        """Sample of the observed part of a day.

        Raises:
            InconclusiveError: it has fewer than two requests.
        """
        task = self._day_task(day)
        draws, outcomes = day_outcomes(task, day)
        part = draws.begun(part_of_day(draws.begins_s, day))
        sample = sampler(task, draws, outcomes.tokens)  # type: ignore[arg-type]  # (which engines have)
        found = sample(records=outcomes.tokens, part=part, window_s=day.ends_s - day.begins_s)
        return found if is_patient(self.scenario.workload) else with_attempts(found, outcomes, part)

    def _day_task(self, day: Day) -> TokenTask:
        """Inputs of a day, which has as many requests as come."""
        length = Length(warm_up=0, measured=1, cool_down=0)
        return TokenTask(scenario=self.scenario, length=length, seed=day.seed, engine=self.engine)

    def sections(self, seed: Seed) -> list[Sample]:
        """Consecutive parts of one run of a recorded path."""
        scenario, length = self.scenario, self.length
        draws = draw_tokens(scenario, 0, seed)
        sections = sections_of(length.measured, scenario.quantile_max)
        edges = [
            draws.boundary(length.warm_up + length.measured * at // sections) for at in range(sections + 1)
        ]
        task = TokenTask(scenario=scenario, length=length, seed=seed, engine=self.engine)
        return [reduced(task, draws, slice(a, b)) for a, b in pairwise(edges)]

    def require_answerable(self) -> None:
        """Raises what `require_below_knee` does, and InputError for a profile that fails its own check."""
        self.scenario.require_any_left()
        require_check(self.scenario.profile)
        require_below_knee(self.scenario)

    def require_affordable(self, requests_max: int) -> None:
        """Refuse a recorded path that is too short for its quantile, by an InconclusiveError."""
        mend = _OR_REPLAY if not are_sessions(self.scenario.lengths) else _OR_REPLAY + _OR_DRAW
        require_enough(self.scenario.workload, self.scenario.quantile_max, mend)

    @property
    def search_care(self) -> float:
        """0.05, since a confirmation refuses what is accepted by mistake."""
        return 0.05

    def budget(self, stage: Stage, requests_max: int, effort: int = 1) -> int:
        """Requests worth simulating: beyond the knee for a refusal alone, else what a confirmation needs."""
        is_rate = stage in (Stage.HEADROOM, Stage.PROBE)
        allowed = self._budget_of_rate(stage, requests_max, effort) if is_rate else requests_max
        if are_sessions(self.scenario.lengths):
            return min(allowed, _SESSIONS_BUDGET * self.requests_to_settle)
        if self.is_beyond_knee:
            return min(allowed, _KNEE_REQUESTS)
        enough = math.inf if self.bursts is None else _BURSTS_SHARE * requests_max
        if stage not in _SEARCHING and enough < math.inf:
            enough = max(enough, 2 * self.requests_to_settle)
        return int(min(allowed, enough))

    def _budget_of_rate(self, stage: Stage, requests_max: int, effort: int) -> int:
        """A multiple of what settles a rate, within limits; half of that in a probe."""
        times = effort if stage is Stage.PROBE else 2 * effort
        share = _HEADROOM_SHARE if self.bursts is None else min(_HEADROOM_SHARE, times * _BURSTS_PROBE_SHARE)
        budget = int(share * requests_max)
        if (self.load or 0.0) < 1.0:
            budget = min(budget, times * self.requests_to_settle)
        return max(budget, 1)

    @property
    def is_costly(self) -> bool:
        """Whether requests are turns of sessions."""
        return are_sessions(self.scenario.lengths)

    def affordable(self, requests_max: int) -> int:
        """A few times what settles a fleet with sessions, since one that has not settled by then grows."""
        return (
            min(requests_max, _SESSIONS_WORTH * self.requests_to_settle) if self.is_costly else requests_max
        )

    def narrowing(self, requests_max: int) -> float:
        """A share of the budget for bursts, some times what settles a fleet with sessions, else no limit."""
        if are_sessions(self.scenario.lengths):
            return _SESSIONS_NARROWING * self.requests_to_settle
        return math.inf if self.bursts is None else _BURSTS_NARROWING_SHARE * requests_max

    def refused(self, confidence: float) -> Candidate[TokenPlan] | None:
        """The plan as missed, if its queue grows for ever, or for too long in bursts; None if neither is certain."""
        workload = self.scenario.workload
        rejection = self._refused_from_cold or (
            _refuse_users(self.scenario, workload)
            if isinstance(workload, ClosedPopulation)
            else _refuse_load(self.scenario, token_load(self.scenario))
        )
        return (
            None
            if rejection is None
            else Candidate(plan=self.scenario.plan, verdict=Verdict.MISSED, rejection=rejection)
        )

    @property
    def cold_rps(self) -> float | None:
        """Rate of the whole fleet from empty caches and a backlog; None of requests that are no turns. [turns/s]"""
        return cold_saturation_rps(self.scenario)

    @property
    def replica_rps(self) -> float:
        """Capacity of one engine; of sessions, unless caches may stay warm, that of empty ones with a backlog. [1/s]"""
        cold_rps = None if self.scenario.bistable else self.cold_rps
        return (
            saturated(self.scenario).rate_rps if cold_rps is None else cold_rps / self.scenario.plan.replicas
        )

    @property
    def _refused_from_cold(self) -> Rejection | None:
        """Reason why the fleet would not come back from empty caches, or falls by itself where only that matters."""
        cold_rps, rate_rps = self.cold_rps, getattr(self.scenario.workload, "arrival_rate_rps", 0.0)
        if cold_rps is None or rate_rps <= cold_rps:
            return None
        if not self.scenario.bistable:
            return Rejection(reason=Reason.BISTABLE, allowed=cold_rps, needed=rate_rps)
        load = load_while_warm(self.scenario)
        return Rejection(reason=Reason.STABILITY, allowed=1.0, needed=load) if load > 1.0 else None

    @property
    def knee(self) -> float:
        """Load of 5 % below saturation; none where a queue limit keeps waits short."""
        return KNEE if self.scenario.plan.queue_limit is None else math.inf

    def widened(self, performance: Performance, confidence: float, seed: int, mapper: Mapper) -> Performance:
        """The performance with intervals widened by the scatter under profiles resampled from the measured steps."""
        return self.widened_by(self.resampled_pools(Seed(value=seed), mapper), performance, confidence)

    def resampled_pools(self, seed: Seed, mapper: Mapper) -> list[Pool]:
        """Runs of `resampled_pools`; none if the profile tells no error of its own."""
        return resampled_pools(self, seed, mapper) if has_error(self.scenario.profile) else []

    def widened_by(self, pools: Sequence[Pool], performance: Performance, confidence: float) -> Performance:
        """The performance of the function `widened_by`."""
        return widened_by(pools, performance, confidence)

    def performance(self, pool: Pool, quantiles: Sequence[float], confidence: float) -> Performance:
        """Performance of the whole fleet; for a recorded path, without quantiles that it has too few requests for."""
        if self.is_path:
            asked = {*self.scenario.quantiles, *self.scenario.objective.quantiles}
            quantiles = tellable(quantiles, asked, self.length.measured)
        found = engine_performance(
            pool,
            load=None if are_sessions(self.scenario.lengths) else self.load,
            replicas=self.scenario.plan.replicas,
            simulated=self.replicas,
            quantiles=quantiles,
            confidence=confidence,
            has_limits=bool(self.scenario.objective.together),
            may_lose=self.may_lose,
        )
        cold_rps = cold_saturation(self.scenario, confidence)
        if cold_rps is None or found.hit_share is None:
            return found
        load = load_with_hits(self.scenario, found.hit_share.mean)
        return replace(
            found,
            load=load,
            cold_saturation_rps=cold_rps.value,
            intervals=dict(found.intervals) | {"cold_saturation_rps": cold_rps} if found.intervals else {},
        )


def _refuse_load(scenario: TokenScenario, load: float) -> Rejection | None:
    """Reason why the queue grows for ever, or for too long in bursts above the capacity; None if neither is certain.

    The capacity is taken to be higher by the largest error of the profile.
    """
    if scenario.plan.queue_limit is not None:
        return _refuse_losses(scenario, 1.0 - 1.0 / (KNEE * load))
    if load >= 1.0:
        return Rejection(reason=Reason.STABILITY, allowed=1.0, needed=load)
    arrivals, one = scenario.workload.arrivals, saturated(scenario)
    if not isinstance(arrivals, MmppArrivals):
        return None
    engine = Overload(
        bursts=arrivals,
        arrival_rate_rps=scenario.workload.arrival_rate_rps / scenario.plan.replicas,
        served_rps=one.rate_rps / KNEE,
        variability=1.0 + scenario.lengths.moments.output_scv,
        in_service=one.running_mean,
    )
    return refuse_overload(engine, scenario.objective.limits)


def _refuse_losses(scenario: TokenScenario, lost: float) -> Rejection | None:
    """Reason why engines that lose this share at least lose too many, as lost requests are late; else None."""
    allowed = scenario.objective.loss_allowed
    if allowed is None or lost <= allowed:
        return None
    return Rejection.of_losses(scenario.objective.strictest_of_losses, lost)


def _refuse_users(scenario: TokenScenario, users: ClosedPopulation) -> Rejection | None:
    """Reason why this many users must take longer than a limit on the mean response, or be rejected too often.

    N users who think for Z and are answered at the rate X take N/X - Z each on average, and X is at most the capacity
    of the fleet, which is taken to be higher by the largest error of the profile.

    Source:
        Denning & Buzen (1978), The operational analysis of queueing network models, ACM Computing Surveys 10(3).
    """
    plan, limits = scenario.plan, scenario.objective.limits
    served_rps = plan.replicas * saturated(scenario).rate_rps / KNEE
    if plan.queue_limit is not None:
        places = plan.replicas * (plan.queue_limit + plan.sequences_max)
        return _refuse_losses(scenario, users.lost_min(served_rps, places))
    limit = next((one for one in limits if one.measure is Measure.RESPONSE_MEAN), None)
    if limit is None:
        return None
    mean_s = users.users / served_rps - users.think_time_s
    return Rejection.of(limit, mean_s) if mean_s > limit.allowed else None


def resampled_pools(case: EngineCase, seed: Seed, mapper: Mapper = map) -> list[Pool]:
    """Runs of the same requests under profiles resampled from the measured steps and the bounds of the cache.

    Args:
        seed: its replication gives the profiles; the requests are those of replication 0.
    """
    generator, profile = seed.generator(Purpose.PROFILE), case.scenario.profile
    (one,) = case.tasks(case.length, Seed(value=seed.value), range(1))
    tasks = [
        replace(one, scenario=replace(one.scenario, profile=drawn))
        for drawn in resampled_profiles(profile, _RESAMPLES, generator)
    ]
    return [Pool.of([sample]) for sample in mapper(replicate_tokens, tasks)]
