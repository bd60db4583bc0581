"""Tokens: fleets of engines of language models, simulated to the asked precision, and their plans judged."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise

import numpy as np

from capacity.confidence import student_t
from capacity.errors import DomainError, InconclusiveError, InputError, UnstableError
from capacity.performance import Interval, Kind, Performance
from capacity.profile.llm_sampling import has_spread, resampled_steps
from capacity.question.candidate import Candidate, Doubt, LikeIt, Limit, Rejection, Verdict
from capacity.question.grid import Answer, Outcome
from capacity.question.objective import Measure, Objective, Promise
from capacity.question.overload import Overload
from capacity.question.plan import Plan
from capacity.question.refusal import refuse_overload
from capacity.question.stability import relaxation_requests
from capacity.question.tokens import (
    Saturation,
    TokenPlan,
    TokenScenario,
    replicas_stable_min,
    require_lengths,
)
from capacity.traffic.lengths import LengthRows
from capacity.traffic.workload import MmppArrivals, TraceArrivals, Workload
from capacity.units import QUANTILES, format_rate
from simulations.case import arrivals_scv, modulated, one_for_all
from simulations.draws.arrivals import Purpose, Seed, Stage, Stream
from simulations.draws.phases import PhaseStrata
from simulations.draws.records import Floats
from simulations.draws.tokens import ALWAYS, EngineRules, TokenDraws, TokenRecords
from simulations.judge import Errors, share_of_error, tightest
from simulations.kernel.continuous import serve_engines
from simulations.looks import has_runs, run_counts
from simulations.reference.engine import run_engines
from simulations.replication import Engine
from simulations.saturation import saturated, settling_requests, token_load
from simulations.statistics.bursts import CYCLES_A_RUN, BurstRuns, Fed
from simulations.statistics.path import (
    INDEPENDENT_MIN,
    path_length,
    require_enough,
    sections_of,
    tellable,
)
from simulations.statistics.pool import SECTIONS
from simulations.statistics.profile_error import widened
from simulations.statistics.sample import Length
from simulations.statistics.strata import Strata
from simulations.statistics.tokens import Part, TokenPool, TokenSample, token_sample
from simulations.workers import Mapper, leave_if_abandoned

# Relaxation times after which a run counts, and that a pool must have seen. By benchmarks/token_coverage.py at
# the first settled look, of lognormal lengths at load 0.7, where slots fill rarely, 95 % intervals of TTFT's P99
# held the true value in 86 % of 150 experiments from 1,500, and in 95 % of 100 from 6,000, at a second a pool;
# those of the response's P99 in 97 %.
_RELAXATIONS, _RELAXATIONS_SEEN_MIN = 10, 6_000
# Of these, how many a search must have seen, which accepts nothing for good.
_SEARCH_CARE, _SEARCHING = 0.05, (Stage.SEARCH, Stage.PROBE)
_MEASURED_PER_WARM_UP = 4
# Beyond the knee, where nothing is accepted, runs are no longer than it takes to refuse what is clear.
_FORGOTTEN_MAX, _KNEE_REQUESTS = 200.0, 400_000
_MEASURED_MIN = 2_000
_COOL_DOWN_MIN = 200
_LOAD_MAX = 0.999  # that relaxation times are told for
# Nearer to saturation than this no P99 is given: an error of the profile as large could make it anything.
KNEE = 0.95
# Independent requests beyond the highest quantile without which there is no interval.
_EXCEEDANCES_MIN = 50
# What a trace that is too short for an interval still allows.
_OR_REPLAY = ", or give --replay for these requests alone"
_RESAMPLES = 12
_INDIFFERENCE = 0.25
_HEADROOM_SHARE = 0.1
# Of the budget, how much a plan under bursts may take, where a confirmation needs no more to settle, and a probe of its
# headroom: where bursts exceed by little what engines serve, the few long ones decide, and no few times as many help.
_BURSTS_SHARE, _BURSTS_PROBE_SHARE = 0.025, 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenTask:
    """All that a worker needs for one run; `strata` as of `simulations.replication.Task`."""

    scenario: TokenScenario
    length: Length
    seed: Seed
    engine: Engine = Engine.KERNEL
    strata: PhaseStrata | None = None


def rules_of(scenario: TokenScenario) -> EngineRules:
    """What the engines of a scenario go by."""
    plan = scenario.plan
    return EngineRules.of(scenario.profile, plan.sequences_max, plan.batched_tokens_max)


def serve(
    scenario: TokenScenario, draws: TokenDraws, engine: Engine, window_s: tuple[float, float] = ALWAYS
) -> TokenRecords:
    """Serve requests under a plan; a step beyond what was measured is refused."""
    run = serve_engines if engine is Engine.KERNEL else run_engines
    plan, profile = scenario.plan, scenario.profile
    records = run(profile.table, rules_of(scenario), plan.replicas, plan.routing, draws, window_s)
    records.require_measured(profile.table, profile.name)
    return records


def draw_tokens(scenario: TokenScenario, requests: int, seed: Seed) -> TokenDraws:
    """The requests of one run; the same users at every rate and under every plan."""
    stream = Stream(scenario.workload, requests, seed)
    count = stream.requests
    if scenario.in_order:
        assert isinstance(scenario.lengths, LengthRows)  # noqa: S101  (who else has an order)
        given, got = (
            np.array(column, dtype=np.int64)
            for column in (scenario.lengths.input_tokens, scenario.lengths.output_tokens)
        )
    else:
        given, got = scenario.lengths.draw(seed.generator(Purpose.LENGTHS).random((count, 2)))
    return TokenDraws(
        arrived_s=stream.arrived_s(count),
        input_tokens=given,
        output_tokens=got,
        cached_tokens=np.floor(scenario.cached_share * given).astype(np.int64),
        routing=stream.routing(count),
        noise_seed=int(seed.generator(Purpose.STEPS).integers(2**62)),
    )


def overheads_s(scenario: TokenScenario, draws: TokenDraws) -> Floats:
    """Time of each request outside its engine. [s]"""
    overhead = scenario.profile.overhead
    return np.asarray(overhead.request_s + overhead.per_input_token_s * draws.input_tokens, dtype=np.float64)


def replicate_tokens(task: TokenTask) -> TokenSample | Strata:
    """Run one replication, and reduce it to a sample; of arrivals in bursts each stratum by itself."""
    leave_if_abandoned()
    draws = draw_tokens(task.scenario, task.length.requests, task.seed)
    part = slice(task.length.warm_up, len(draws.arrived_s) - task.length.cool_down)
    return _reduced(task, draws, part) if task.strata is None else _by_strata(task, draws, part, task.strata)


def _reduced(task: TokenTask, draws: TokenDraws, part: slice) -> TokenSample:
    """The sample of some requests; what is counted by time counts while these arrive."""
    records, window_s = _served(task, draws, part)
    return _sample(task, draws, records, part, window_s)


def _by_strata(task: TokenTask, draws: TokenDraws, part: slice, strata: PhaseStrata) -> Strata:
    """The samples of the strata of these requests, each for the time that its requests take at its rate."""
    records, window_s = _served(task, draws, part)
    labels = strata.labels(strata.clock(task.seed.generator(Purpose.PHASES)), draws.arrived_s)
    labels[: part.start] = labels[part.stop :] = -1
    samples, half = [], (part.start + part.stop) // 2
    for label, rate_rps in enumerate(strata.rates_rps):
        chosen = np.flatnonzero(labels == label)
        lasting_s, middle = len(chosen) / rate_rps, int(np.searchsorted(chosen, half))
        samples.append(_sample(task, draws, records.stratum(lasting_s / window_s), chosen, lasting_s, middle))
    return Strata(weights=strata.weights, samples=tuple(samples))


def _served(task: TokenTask, draws: TokenDraws, part: slice) -> tuple[TokenRecords, float]:
    """What became of all requests, and how long some of them took to arrive, in which time is counted. [s]"""
    arrived_s = draws.arrived_s[part]
    gap_s = (arrived_s[-1] - arrived_s[0]) / (len(arrived_s) - 1)
    window_s = (float(arrived_s[0]), float(arrived_s[-1] + gap_s))
    return serve(task.scenario, draws, task.engine, window_s), window_s[1] - window_s[0]


def _sample(
    task: TokenTask,
    draws: TokenDraws,
    records: TokenRecords,
    part: Part,
    window_s: float,
    middle: int | None = None,
) -> TokenSample:
    return token_sample(
        draws,
        records,
        task.scenario.objective,
        overhead_s=overheads_s(task.scenario, draws),
        part=part,
        window_s=window_s,
        blocks=rules_of(task.scenario).blocks,
        middle=middle,
    )


def require_tokens_answerable(scenario: TokenScenario) -> float:
    """Refuse at once what has no steady state or lies beyond the profile; the load.

    Raises:
        UnstableError: names the fewest replicas that would be stable.
        DomainError: settings or lengths beyond what was measured.
    """
    plan = scenario.plan
    scenario.profile.require(plan.sequences_max, plan.batched_tokens_max)
    require_lengths(scenario.profile, scenario.lengths, plan.sequences_max)
    load = token_load(scenario)
    if load >= 1.0:
        one = saturated(scenario)
        least = replicas_stable_min(scenario.workload.arrival_rate_rps, one)
        count = f"{plan.replicas} replica" + ("s" if plan.replicas > 1 else "")
        raise UnstableError(
            f"unstable plan: load {load:.3f} >= 1 ({format_rate(scenario.workload.arrival_rate_rps)} on "
            f"{format_rate(plan.replicas * one.rate_rps)} of {count}); use at least {least} replicas",
            servers_min=least,
        )
    return load


def require_below_knee(scenario: TokenScenario) -> None:
    """Refuse what has no answer, and what is so near saturation that the profile's error decides.

    Raises:
        UnstableError, DomainError: as of `require_tokens_answerable`.
        InconclusiveError: names a rate below which there is an answer.
    """
    load = require_tokens_answerable(scenario)
    if load > KNEE:
        raise InconclusiveError(
            f"at load {load:.3f}, within 5 % of saturation, an error of 1 % in the profile changes the latency "
            "several times over; add a replica, or ask for a rate below "
            f"{format_rate(KNEE / load * scenario.workload.arrival_rate_rps)}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCase:
    """A scenario, what is simulated for it, and how long its runs are.

    Attributes:
        is_whole: whether the whole fleet is simulated even where one engine stands for all.
    """

    scenario: TokenScenario
    engine: Engine = Engine.KERNEL
    is_whole: bool = False

    @property
    def simulated(self) -> TokenScenario:
        """One engine where it stands for all and may, else the whole fleet."""
        scenario = self.scenario
        if self.is_whole or isinstance(scenario.workload.arrivals, TraceArrivals):
            return scenario
        plan = scenario.plan
        alike = Plan(profile=plan.profile, replicas=plan.replicas, batch_size_max=1, routing=plan.routing)
        workload, one = one_for_all(scenario.workload, alike)
        assert isinstance(workload, Workload)  # noqa: S101  (a rate stays a rate)
        return replace(scenario, workload=workload, plan=replace(plan, replicas=one.replicas))

    @property
    def is_path(self) -> bool:
        """Whether the arrivals happened once."""
        return isinstance(self.scenario.workload.arrivals, TraceArrivals)

    @property
    def measures(self) -> tuple[Measure, ...]:
        """Durations whose quantiles are promised; without promises the two whose intervals are to be narrow.

        Of the first token little is known where the response is known well: it waits rarely, and then many do.
        """
        promised = {one.measure for one in self.scenario.objective.limits if one.quantile is not None}
        return tuple(sorted(promised)) or (Measure.TTFT, Measure.RESPONSE)

    def is_seen(self, pool: TokenPool) -> bool:
        """Whether a pool has seen every duration that is promised; requests of one output token have no TPOT."""
        promised = {one.measure for one in self.scenario.objective.limits} - {Measure.MISSED}
        return all(pool.counts(measure) for measure in promised)

    @property
    def bursts(self) -> BurstRuns | None:
        """How runs under arrivals in bursts are made; None for other arrivals.

        Spells are not cut: what an engine does is counted by time, and not by the stratum of a request.
        """
        workload = self.simulated.workload
        arrivals = modulated(workload.arrivals)
        if arrivals is None:
            return None
        simulated, one = self.simulated, saturated(self.scenario)
        sustainable_rps = simulated.plan.replicas * one.rate_rps
        burst_rps, _ = arrivals.bursts.rates_rps(workload.arrival_rate_rps)
        steady = Workload(arrival_rate_rps=1.0, arrivals=arrivals.base)
        variability = arrivals_scv(steady) + simulated.lengths.moments.output_scv
        running = _forgotten_with(simulated.at_rate(burst_rps), variability)
        fed = Fed(
            load=lambda rate_rps: rate_rps / sustainable_rps,
            sustainable_rps=sustainable_rps,
            queues=simulated.plan.replicas,
            service_s=running / min(burst_rps / simulated.plan.replicas, one.rate_rps),
            variability=variability,
            batch=math.ceil(one.running_mean),
        )
        return BurstRuns(
            arrivals=arrivals, arrival_rate_rps=workload.arrival_rate_rps, fed=fed, may_cut=False
        )

    @property
    def relaxation_requests(self) -> float:
        """Requests that arrive while what is simulated forgets its start."""
        if (bursts := self.bursts) is not None:
            return bursts.relaxation_requests
        simulated = self.simulated
        replicas, load = simulated.plan.replicas, min(token_load(simulated), _LOAD_MAX)
        variability = arrivals_scv(simulated.workload) + simulated.lengths.moments.output_scv
        in_service = _forgotten_with(simulated, variability) * replicas
        return relaxation_requests(load, replicas, in_service, variability)

    @property
    def length(self) -> Length:
        """Of one run; of a recorded path all of it but its start."""
        forgotten = self.relaxation_requests
        if token_load(self.simulated) > KNEE:  # such a run may refuse, and never accepts
            forgotten = min(forgotten, _FORGOTTEN_MAX)
        warm_up = math.ceil(_RELAXATIONS * forgotten)
        if isinstance(self.scenario.workload.arrivals, TraceArrivals):
            return path_length(len(self.scenario.workload.arrivals.instants_s), warm_up)
        measured = max(_MEASURED_PER_WARM_UP * warm_up, _MEASURED_MIN)
        if (bursts := self.bursts) is not None:
            measured = max(measured, math.ceil(CYCLES_A_RUN * bursts.cycle_requests))
        return Length(
            warm_up=warm_up, measured=measured, cool_down=max(_COOL_DOWN_MIN, math.ceil(2 * forgotten))
        )

    def counted_min(self, care: float) -> float:
        """Requests that have seen enough relaxation times; each run of a path has seen all that there are."""
        beyond = _EXCEEDANCES_MIN / (1.0 - self.scenario.quantile_max)
        if self.is_path:
            return beyond
        of_each = _RELAXATIONS_SEEN_MIN / self.simulated.plan.replicas
        if (bursts := self.bursts) is not None:
            return max(care * bursts.counted_min(of_each), beyond)
        return max(care * of_each * self.relaxation_requests, beyond)

    @property
    def requests_to_settle(self) -> int:
        """Requests of the first look that may settle."""
        length, runs = self.length, SECTIONS
        while runs * length.measured < self.counted_min(1.0):
            runs *= 2
        return runs * length.requests

    def performance(self, pool: TokenPool, quantiles: Sequence[float], confidence: float) -> Performance:
        """Of the whole fleet; of a recorded path without quantiles that it has too few requests for."""
        if self.is_path:
            asked = {*self.scenario.quantiles, *self.scenario.objective.quantiles}
            quantiles = tellable(quantiles, asked, self.length.measured)
        return pool.tokens_performance(
            load=token_load(self.scenario),
            replicas=self.scenario.plan.replicas,
            simulated=self.simulated.plan.replicas,
            quantiles=quantiles,
            confidence=confidence,
            has_limits=bool(self.scenario.objective.together),
        )


def _forgotten_with(scenario: TokenScenario, variability: float) -> float:
    """Requests that come to an engine while those that run in it are forgotten.

    A request takes its output tokens' steps, of engines that run fewer at once than when they saturate, and far
    fewer where a step of few is much shorter.
    """
    running = min(token_load(scenario), _LOAD_MAX) * saturated(scenario).running_mean
    return min(running, max(1.0, variability / 2.0) * settling_requests(scenario))


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLook:
    """What is known after some runs, and after how many requests; whether its intervals may be believed."""

    pool: TokenPool
    settled: bool
    requests: int


def token_tasks(case: TokenCase, length: Length, seed: Seed, replications: range) -> list[TokenTask]:
    """The runs of a case; the same numbers are the same users for every case."""
    bursts = case.bursts
    one = TokenTask(
        scenario=case.simulated,
        length=length,
        seed=seed,
        engine=case.engine,
        strata=None if bursts is None else bursts.strata,
    )
    return [replace(one, seed=replace(seed, replication=number)) for number in replications]


def token_looks(
    case: TokenCase, seed: Seed, requests_max: int, mapper: Mapper = map, care: float = 1.0, first: int = 0
) -> Iterator[TokenLook]:
    """Look after look, each with twice the runs of the one before; as of `simulations.looks.looks`."""
    length = case.length
    require_enough(case.scenario.workload, case.scenario.quantile_max, _OR_REPLAY)
    affordable, pool = requests_max // length.requests, TokenPool.of(())
    first, is_bursty = first // length.requests, case.bursts is not None
    for wanted in run_counts(affordable, first, care=care, is_path=case.is_path, is_bursty=is_bursty):
        tasks = token_tasks(case, length, seed, range(pool.replications, wanted))
        pool = pool.extended(mapper(replicate_tokens, tasks))
        if case.is_seen(pool):
            yield look_at_runs(case, pool, wanted * length.requests, care)


def look_at_runs(case: TokenCase, pool: TokenPool, requests: int, care: float = 1.0) -> TokenLook:
    """Whether what some runs say may be believed."""
    found = pool.independent_exceedances_of(case.measures, case.scenario.quantile_max)
    is_level = case.is_path or (pool.is_level and has_runs(pool, care))
    settled = found >= _EXCEEDANCES_MIN and is_level and pool.counted >= case.counted_min(care)
    return TokenLook(pool=pool, settled=settled, requests=requests)


def look_at_token_sections(case: TokenCase, seed: Seed) -> TokenLook:
    """One run of a recorded path, cut into consecutive sections: what traffic like it would do."""
    scenario, length = case.scenario, case.length
    draws = draw_tokens(scenario, 0, seed)
    sections = sections_of(length.measured, scenario.quantile_max)
    edges = [length.warm_up + length.measured * at // sections for at in range(sections + 1)]
    task = TokenTask(scenario=scenario, length=length, seed=seed, engine=case.engine)
    pool = TokenPool.of_path([_reduced(task, draws, slice(a, b)) for a, b in pairwise(edges)])
    independent = pool.independent_exceedances_of(case.measures, scenario.quantile_max)
    return TokenLook(pool=pool, settled=independent >= INDEPENDENT_MIN, requests=length.requests)


def precise_token_look(
    case: TokenCase, seed: Seed, requests_max: int, precision: float, confidence: float, mapper: Mapper = map
) -> TokenLook:
    """The first settled look whose intervals of the response and of the first token are narrow enough, else the last.

    Raises:
        InconclusiveError: no look within the budget has settled.
    """
    settled, last, q = None, None, case.scenario.quantile_max
    for last in token_looks(case, seed, requests_max, mapper):
        if not last.settled:
            continue
        settled = last
        pool = last.pool
        widths = [
            pool.of_measure(measure, q).interval(confidence).relative_half_width
            for measure in (Measure.TTFT, Measure.RESPONSE)
        ]
        if max(widths) <= precision:
            break
    if settled is None:
        load = token_load(case.scenario)
        seen = "no run fits the budget" if last is None else f"{last.requests} requests do not settle"
        raise InconclusiveError(
            f"{seen} at load {load:.3f}, and {requests_max} are allowed; raise --requests-max, or ask "
            "for a lower "
            "quantile or a lower rate"
        )
    return settled


def found_tokens(pool: TokenPool, promise: Promise, confidence: float) -> Interval:
    """What a pool says of a limit."""
    if promise.quantile is not None:
        return pool.of_measure(promise.measure, promise.quantile).interval(confidence)
    if promise.measure is Measure.MISSED:
        return pool.missed_interval(confidence)
    return pool.mean(promise.measure).interval(confidence)


def _held(pool: TokenPool, promise: Promise, errors: Errors) -> tuple[Interval, bool, bool]:
    """What was found of a limit, whether it is surely missed, and whether it is surely met."""
    interval = found_tokens(pool, promise, 1.0 - errors.accept)
    if promise.quantile is None:
        low = found_tokens(pool, promise, 1.0 - errors.refuse).low
        return interval, low > promise.allowed, interval.high <= promise.allowed
    beyond, allowed = pool.beyond(promise.measure, promise.allowed), 1.0 - promise.quantile
    is_missed = beyond.interval(1.0 - errors.refuse).low > allowed
    is_met = beyond.interval(1.0 - errors.accept).high <= allowed and interval.high <= promise.allowed
    return interval, is_missed, is_met


def _tightest(pool: TokenPool, objective: Objective, errors: Errors) -> tuple[Promise, Interval]:
    """The limit that is closest or exceeded, among those that are open if any is, and what was found of it."""
    open_ones = [one for one in objective.limits if not any(_held(pool, one, errors)[1:])]
    return tightest(
        open_ones or objective.limits, lambda promise: found_tokens(pool, promise, 1.0 - errors.accept)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenJudge:
    """Judges plans for language models by simulation; attributes as of `simulations.judge.SimulationJudge`."""

    seed: int = 0
    confidence: float = 0.95
    precision: float = 0.02
    requests_max: int = 100_000_000
    engine: Engine = Engine.KERNEL
    mapper: Mapper = field(default=map, repr=False)

    def saturated(self, scenario: TokenScenario) -> Saturation:
        """What one engine does while requests always wait."""
        return saturated(scenario)

    def search(self, scenario: TokenScenario, attempt: int) -> Candidate[TokenPlan]:
        """Look until the verdict is clear; refusals are corrected for the number of candidates and looks."""
        return self._judge(scenario, Stage.SEARCH, attempt, math.inf, self.requests_max)

    def certify(self, scenario: TokenScenario, attempt: int) -> Candidate[TokenPlan]:
        """Look, with seeds of its own, until the verdict is clear and the interval narrow."""
        found = self._judge(scenario, Stage.CERTIFY, attempt, self.precision, self.requests_max)
        return self._beside_traffic_like_it(scenario, self._with_profile_error(scenario, found))

    def accepts(
        self, scenario: TokenScenario, effort: int = 1, requests_max: int | None = None
    ) -> Candidate[TokenPlan]:
        """Look for a while, or so many times as long; the same users at every rate."""
        budget = self._headroom_budget(scenario, 2 * effort, requests_max)
        return self._judge(scenario, Stage.HEADROOM, 1, math.inf, budget)

    def probe(self, scenario: TokenScenario, requests_max: int | None = None) -> Candidate[TokenPlan]:
        """Look as long as `accepts` may still say yes; the same users at every rate."""
        budget = self._headroom_budget(scenario, 1, requests_max)
        return self._judge(scenario, Stage.PROBE, 1, math.inf, budget)

    def _headroom_budget(self, scenario: TokenScenario, times: int, requests_max: int | None = None) -> int:
        """So many times what settles a rate, within reason. [requests]"""
        case = TokenCase(scenario=scenario)
        share = _HEADROOM_SHARE
        if case.bursts is not None:
            share = min(share, times * _BURSTS_PROBE_SHARE)
        budget = int(share * self.requests_max)
        budget = budget if requests_max is None else min(budget, requests_max)
        if token_load(scenario) < 1.0:
            budget = min(budget, times * case.requests_to_settle)
        return max(budget, 1)

    def _judge(
        self, scenario: TokenScenario, stage: Stage, attempt: int, precision: float, requests_max: int
    ) -> Candidate[TokenPlan]:
        load = token_load(scenario)
        if (refused := _refuse_load(scenario, load)) is not None:
            return Candidate(plan=scenario.plan, verdict=Verdict.MISSED, rejection=refused)
        case = TokenCase(scenario=scenario, engine=self.engine)
        requests_max = int(min(requests_max, self._worth(case, load, stage)))
        verdict, is_precise = Verdict.INCONCLUSIVE, False
        rejection: Rejection | None = None
        look: TokenLook | None = None
        care = _SEARCH_CARE if stage in _SEARCHING else 1.0
        seed = Seed(value=self.seed, stage=stage)
        number = 0
        for number, look in enumerate(token_looks(case, seed, requests_max, self.mapper, care), start=1):
            verdict, rejection = self._decide(
                scenario.objective, look, self._errors(scenario, stage, attempt, number)
            )
            is_precise = self._width(look.pool, scenario.objective) <= precision
            is_narrow = is_precise or look.requests >= self._narrowing(case)
            if verdict is Verdict.MISSED or (verdict is Verdict.MET and is_narrow):
                break
            if self._may_stay_open(stage, look, scenario.objective, requests_max):
                break
        if load > KNEE and verdict is Verdict.MET:
            verdict = Verdict.INCONCLUSIVE
        doubt = None
        if verdict is Verdict.INCONCLUSIVE:
            errors = self._errors(scenario, stage, attempt, max(1, number))
            doubt, rejection = self._left_open(case, look, load, requests_max, errors)
        return Candidate(
            plan=scenario.plan,
            verdict=verdict,
            rejection=rejection,
            performance=None if look is None else self._performance(case, look.pool),
            doubt=doubt,
            requests=0 if look is None else look.requests,
            is_precise=is_precise or math.isinf(precision),
        )

    def _worth(self, case: TokenCase, load: float, stage: Stage) -> float:
        """Most requests that are worth it; a search goes on above what they leave in doubt."""
        if load > KNEE:
            return _KNEE_REQUESTS
        enough = self._narrowing(case)
        if math.isinf(enough) or stage in _SEARCHING:
            return enough
        return max(enough, 2 * case.requests_to_settle)

    def _narrowing(self, case: TokenCase) -> float:
        """Requests after which the interval of what is decided is narrowed no further."""
        return math.inf if case.bursts is None else _BURSTS_SHARE * self.requests_max

    def _errors(self, scenario: TokenScenario, stage: Stage, attempt: int, look: int) -> Errors:
        """As in `simulations.judge`: any one limit refuses, and a search accepts nothing for good."""
        error = 1.0 - self.confidence
        corrected = error * share_of_error(attempt) * share_of_error(look)
        accept = error if stage in _SEARCHING else corrected
        return Errors(accept=accept, refuse=corrected / len(scenario.objective.limits))

    def _decide(
        self, objective: Objective, look: TokenLook, errors: Errors
    ) -> tuple[Verdict, Rejection | None]:
        missed, met = [], look.settled
        for promise in objective.limits:
            interval, is_missed, is_met = _held(look.pool, promise, errors)
            if is_missed:
                missed.append(Rejection.of(promise, interval.value))
            met = met and is_met
        if missed:
            return Verdict.MISSED, max(missed, key=lambda one: one.needed / one.allowed)
        return (Verdict.MET if met else Verdict.INCONCLUSIVE), None

    def _width(self, pool: TokenPool, objective: Objective) -> float:
        """Relative half-width of what is nearest to its limit."""
        found = [(found_tokens(pool, p, self.confidence), p) for p in objective.limits]
        interval, promise = max(found, key=lambda one: one[0].value / one[1].allowed)
        if promise.measure is Measure.MISSED:
            return interval.half_width / promise.allowed
        return interval.relative_half_width

    def _may_stay_open(self, stage: Stage, look: TokenLook, objective: Objective, requests_max: int) -> bool:
        """Whether more requests are not worth it, for a search near a limit and a probe that is unlikely to accept."""
        if stage is Stage.SEARCH:
            return look.settled and self._is_marginal(look.pool, objective)
        return stage is Stage.PROBE and not self._may_be_met(look, objective, requests_max)

    def _is_marginal(self, pool: TokenPool, objective: Objective) -> bool:
        """Whether what is open is so near its limit that a search does not want to know on which side."""
        return self._width(pool, objective) <= _INDIFFERENCE * self.precision

    def _may_be_met(self, look: TokenLook, objective: Objective, requests_max: int) -> bool:
        """Whether all intervals would lie within their limits after all that may be simulated, if no estimate moved.

        Source:
            Lan, Simon & Halperin (1982), Stochastically curtailed tests in long-term clinical trials, Sequential
            Analysis 1(3).
        """
        narrower = math.sqrt(max(1.0, requests_max / look.requests))
        found = [(found_tokens(look.pool, p, self.confidence), p.allowed) for p in objective.limits]
        return all(one.value + (one.high - one.value) / narrower <= allowed for one, allowed in found)

    def _left_open(
        self, case: TokenCase, look: TokenLook | None, load: float, requests_max: int, errors: Errors
    ) -> tuple[Doubt, Rejection]:
        """Why a trial ended without a verdict."""
        if load > KNEE:
            return Doubt.PROFILE, Rejection(limit=Limit.STABILITY, allowed=KNEE, needed=load)
        if look is not None and look.settled:
            promise, interval = _tightest(look.pool, case.scenario.objective, errors)
            return Doubt.REQUESTS, Rejection.of(promise, interval.high)
        needed = 2 * look.requests if look is not None else SECTIONS * case.length.requests
        return Doubt.REQUESTS, Rejection(limit=Limit.BUDGET, allowed=requests_max, needed=needed)

    def _beside_traffic_like_it(
        self, scenario: TokenScenario, found: Candidate[TokenPlan]
    ) -> Candidate[TokenPlan]:
        """The candidate with what traffic like a recorded path would do, if there is one, and a steady state."""
        case = TokenCase(scenario=scenario, engine=self.engine)
        if not case.is_path or found.performance is None:
            return found
        return replace(found, like_it=self._like_it(case).beside(found.verdict))

    def _like_it(self, case: TokenCase) -> LikeIt:
        objective = case.scenario.objective
        look = look_at_token_sections(case, Seed(value=self.seed, stage=Stage.CERTIFY))
        if not look.settled:
            return LikeIt(verdict=Verdict.INCONCLUSIVE, promise=objective.limits[0], found=None)
        error = 1.0 - self.confidence
        errors = Errors(accept=error, refuse=error / len(objective.limits))
        verdict, _ = self._decide(objective, look, errors)
        promise, interval = _tightest(look.pool, objective, errors)
        return LikeIt(verdict=verdict, promise=promise, found=interval)

    def _performance(self, case: TokenCase, pool: TokenPool) -> Performance:
        quantiles = sorted({*QUANTILES, *case.scenario.objective.quantiles})
        return case.performance(pool, quantiles, self.confidence)

    def _with_profile_error(
        self, scenario: TokenScenario, found: Candidate[TokenPlan]
    ) -> Candidate[TokenPlan]:
        """The candidate with the error of the profile's own measurements in its intervals."""
        if found.performance is None:
            return found
        performance = with_step_error(scenario, found.performance, self.confidence, self.seed, self.mapper)
        in_doubt = [
            Rejection.of(promise, interval.high)
            for promise in scenario.objective.limits
            if (interval := promise.found(performance)) is not None and interval.high > promise.allowed
        ]
        if found.accepted and in_doubt:
            return replace(
                found,
                verdict=Verdict.INCONCLUSIVE,
                rejection=in_doubt[0],
                performance=performance,
                doubt=Doubt.PROFILE,
            )
        return replace(found, performance=performance)


def _refuse_load(scenario: TokenScenario, load: float) -> Rejection | None:
    """Why the line would grow for ever, or for too long in bursts that exceed what the engines serve.

    What they serve in a burst is taken to be as much more as an error of the profile could make it.
    """
    if load >= 1.0:
        return Rejection(limit=Limit.STABILITY, allowed=1.0, needed=load)
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


def resampled_pools(case: TokenCase, seed: Seed, mapper: Mapper = map) -> list[TokenPool]:
    """The same requests under profiles resampled from the measured steps, a run each.

    Args:
        seed: of the profiles by its replication; the requests are those of replication 0.
    """
    generator, profile = seed.generator(Purpose.PROFILE), case.scenario.profile
    (one,) = token_tasks(case, case.length, Seed(value=seed.value), range(1))
    tasks = [
        replace(one, scenario=replace(one.scenario, profile=resampled_steps(profile, generator)))
        for _ in range(_RESAMPLES)
    ]
    return [TokenPool.of([sample]) for sample in mapper(replicate_tokens, tasks)]


def with_step_error(
    scenario: TokenScenario, performance: Performance, confidence: float, seed: int, mapper: Mapper = map
) -> Performance:
    """Intervals widened by what the same requests do under profiles resampled from the measured steps.

    Source:
        Barton & Schruben (2001), Resampling methods for input modeling, Proc. Winter Simulation Conf.
    """
    if not has_spread(scenario.profile):
        return performance
    pools = resampled_pools(TokenCase(scenario=scenario), Seed(value=seed), mapper)
    return widened_by(pools, performance, confidence)


def widened_by(pools: Sequence[TokenPool], performance: Performance, confidence: float) -> Performance:
    """Intervals widened by what pools under resampled profiles differ by; no pools, no change."""
    if not pools:
        return performance
    spread = student_t(confidence, len(pools) - 1)

    def extra(value: Callable[[TokenPool], float]) -> float:
        values = np.array([value(pool) for pool in pools])
        return spread * float(np.std(np.log(np.maximum(values, 1e-12)), ddof=1))

    def wider(measure: Measure) -> dict[float, Interval]:
        known: dict[float, Interval] = getattr(performance, measure.value)
        moved = {q: partial(_quantile_of, measure, q) for q in known}
        return {q: widened(interval, extra(moved[q])) for q, interval in known.items()}

    means = {
        name: widened(interval, extra(partial(_mean_of, Measure(name))))
        if Measure(name).is_duration
        else interval
        for name, interval in performance.intervals.items()
    }
    return replace(
        performance,
        ttft_quantiles_s=wider(Measure.TTFT),
        tpot_quantiles_s=wider(Measure.TPOT),
        itl_quantiles_s=wider(Measure.ITL),
        response_quantiles_s=wider(Measure.RESPONSE),
        intervals=means,
    )


def _quantile_of(measure: Measure, quantile: float, pool: TokenPool) -> float:
    """What is resampled: a quantile. [s]"""
    return pool.quantile_s(measure, quantile)


def _mean_of(measure: Measure, pool: TokenPool) -> float:
    """A mean likewise. [s]"""
    return pool.mean_s(measure)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSimulation:
    """How one plan for a language model is simulated; attributes as of `simulations.simulate.Simulation`."""

    seed: int = 0
    confidence: float = 0.95
    precision: float = 0.02
    requests_max: int = 100_000_000
    engine: Engine = Engine.KERNEL
    quantiles: Sequence[float] = QUANTILES
    mapper: Mapper = field(default=map, repr=False)

    def __call__(self, scenario: TokenScenario) -> Performance:
        """Performance of a plan, with the profile's own error in its intervals.

        Raises:
            UnstableError: the plan cannot sustain the arrival rate.
            InconclusiveError: so near to saturation that the profile's error decides, or no run settles.
        """
        require_below_knee(scenario)
        asked = replace(scenario, quantiles=tuple(self.quantiles))
        case = TokenCase(scenario=asked, engine=self.engine)
        look = precise_token_look(
            case,
            Seed(value=self.seed, stage=Stage.CERTIFY),
            self.requests_max,
            self.precision,
            self.confidence,
            self.mapper,
        )
        performance = case.performance(look.pool, self.quantiles, self.confidence)
        return with_step_error(asked, performance, self.confidence, self.seed, self.mapper)

    def like_it(self, scenario: TokenScenario) -> LikeIt | None:
        """The highest quantile of the response under traffic like a recorded path; None without one."""
        case = TokenCase(scenario=replace(scenario, quantiles=tuple(self.quantiles)), engine=self.engine)
        if not case.is_path:
            return None
        look = look_at_token_sections(case, Seed(value=self.seed, stage=Stage.CERTIFY))
        told = Promise(measure=Measure.RESPONSE, quantile=max(self.quantiles), allowed=math.inf)
        found = found_tokens(look.pool, told, self.confidence) if look.settled else None
        return LikeIt(verdict=None, promise=told, found=found)


def token_answer(simulation: TokenSimulation, cell: TokenScenario) -> Answer:
    """The performance of one cell of a sweep, or why it has none."""
    try:
        performance = simulation(cell)
    except UnstableError as error:
        return Answer(outcome=Outcome.UNSTABLE, reason=str(error))
    except DomainError as error:
        return Answer(outcome=Outcome.PROFILE_RANGE, reason=str(error))
    except (InconclusiveError, InputError) as error:
        return Answer(outcome=Outcome.INCONCLUSIVE, reason=str(error))
    return Answer(outcome=Outcome.ANSWERED, performance=performance)


def replay(
    scenario: TokenScenario, quantiles: Sequence[float], engine: Engine = Engine.KERNEL
) -> tuple[TokenDraws, TokenRecords, Performance]:
    """Exactly the requests of a trace, served from an empty fleet; every one counts, and quantiles are points."""
    draws = draw_tokens(scenario, 0, Seed(value=0))
    records = serve(scenario, draws, engine)
    span_s = float(records.finished_s.max() - draws.arrived_s[0])
    sample = token_sample(
        draws,
        records,
        scenario.objective,
        overhead_s=overheads_s(scenario, draws),
        part=slice(0, len(draws.arrived_s)),
        window_s=span_s,
        blocks=rules_of(scenario).blocks,
    )
    pool = TokenPool.of([sample])
    performance = pool.tokens_performance(
        load=_load_of_replay(scenario),
        replicas=scenario.plan.replicas,
        simulated=scenario.plan.replicas,
        quantiles=quantiles,
        confidence=0.95,
        has_limits=bool(scenario.objective.together),
        kind=Kind.REPLAY,
    )
    return draws, records, performance


def _load_of_replay(scenario: TokenScenario) -> float | None:
    """Rate of the trace over the rate at which the fleet saturates; None where that is beyond what was measured."""
    try:
        return token_load(scenario)
    except DomainError:
        return None
