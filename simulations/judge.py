"""Judge by simulation: sequential looks, each with its share of the error that is allowed."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from capacity.performance import Interval, Performance
from capacity.profile.sampling import has_samples, known_samples, reach
from capacity.question.candidate import Candidate, Doubt, LikeIt, Limit, Rejection, Verdict
from capacity.question.objective import Measure, Objective, Promise
from capacity.question.refusal import floor_candidate, floor_doubt
from capacity.question.scenario import Scenario
from capacity.units import QUANTILES
from simulations.case import Case, run_length
from simulations.draws.arrivals import Seed, Stage
from simulations.looks import (
    REQUESTS_MAX,
    Look,
    look_at_sections,
    looks,
    requests_to_settle,
    spike_looks,
    surge,
)
from simulations.replication import Engine
from simulations.statistics.intervals import (
    Estimate,
    QuantileEstimate,
    ResampledQuantile,
    resamples_for,
)
from simulations.statistics.pool import SECTIONS, Pool, ProfileError
from simulations.statistics.profile_error import profile_error
from simulations.workers import Mapper

# At least this many losses must have been possible within what is allowed: of few, in bursts, intervals say
# little.
_LOSSES_MIN = 300


def share_of_error(number: int) -> float:
    """Share of the allowed error that the `number`-th of infinitely many tests may spend.

    6/(π²k²) sums to 1 over k = 1, 2, ..., so all tests together err as rarely as one test
    may (union bound).
    """
    return 6.0 / (math.pi * number) ** 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Probabilities with which one look may accept or refuse wrongly."""

    accept: float
    refuse: float


def decide(
    look: Look, objective: Objective, errors: Errors, replicas: int = 1
) -> tuple[Verdict, Rejection | None]:
    """Whether a look settles the matter; a quantile by its value and by its share of late requests.

    Met only when the upper ends of all stay within what the objective allows; missed when a lower end is
    above it (for a quantile, that of the late share). Runs that have not settled understate a busy fleet and
    may only refuse.
    """
    missed: list[Rejection] = []
    met = look.settled
    for promise in objective.limits:
        value, low_is_above, high_is_within = _held(look.pool, promise, errors, replicas)
        if low_is_above:
            missed.append(broken(look.pool, promise, value))
        met = met and high_is_within
    if missed:
        return Verdict.MISSED, max(missed, key=lambda rejection: rejection.needed / rejection.allowed)
    return (Verdict.MET if met else Verdict.INCONCLUSIVE), None


def open_promises(pool: Pool, objective: Objective, errors: Errors, replicas: int = 1) -> list[Promise]:
    """Promises that are neither surely kept nor surely broken."""
    held = {promise: _held(pool, promise, errors, replicas) for promise in objective.limits}
    return [promise for promise, (_, broken, kept) in held.items() if not broken and not kept]


def _held(pool: Pool, promise: Promise, errors: Errors, replicas: int) -> tuple[float, bool, bool]:
    """What was found of a promise, whether it is surely broken, and whether it is surely kept."""
    accept, refuse = 1.0 - errors.accept, 1.0 - errors.refuse
    if promise.quantile is None:
        low, high = found(pool, promise, refuse, replicas), found(pool, promise, accept, replicas)
        is_kept = high.high <= promise.allowed and not _is_of_few(pool, promise)
        return low.value, low.low > promise.allowed, is_kept
    late, allowed_share = _late(pool, promise), 1.0 - promise.quantile
    interval = found(pool, promise, accept, replicas)
    return (
        interval.value,
        late.interval(refuse).low > allowed_share,
        late.interval(accept).high <= allowed_share and interval.high <= promise.allowed,
    )


def _is_of_few(pool: Pool, promise: Promise) -> bool:
    """Whether it is about losses of which too few were possible."""
    return promise.measure is Measure.LOSS and promise.allowed * pool.counted < _LOSSES_MIN


def _measured(pool: Pool, promise: Promise, replicas: int) -> tuple[Estimate, float]:
    """What a promise allows so much of: requests beyond a quantile's limit, or the figure itself."""
    if promise.quantile is not None:
        return _late(pool, promise), 1.0 - promise.quantile
    if promise.measure is Measure.RESPONSE_MEAN:
        return pool.response_mean, promise.allowed
    return (pool.loss if promise.measure is Measure.LOSS else pool.utilization(replicas)), promise.allowed


def _late(pool: Pool, promise: Promise) -> Estimate:
    """Share of the requests beyond the limit of a quantile."""
    is_wait = promise.measure is Measure.WAIT
    return pool.wait_exceedance(promise.allowed) if is_wait else pool.exceedance(promise.allowed)


def _excess(pool: Pool, promise: Promise, replicas: int) -> float:
    """How many times what is allowed was found."""
    estimate, allowed = _measured(pool, promise, replicas)
    return estimate.value / allowed


def _near(promise: Promise, known: Callable[[float], list[float]]) -> float:
    """Times what is allowed up to which few samples may be behind a refusal."""
    if promise.quantile is None:
        return _NEAR
    expected = min(known(promise.quantile)) * (1.0 - promise.quantile)
    return max(_NEAR, 1.0 + _NEAR_ERRORS / math.sqrt(expected))


def _is_clear(pool: Pool, promise: Promise, replicas: int, *, is_kept: bool) -> bool:
    """Whether a promise is so clearly kept, or broken, that the profile's error in the pool cannot turn it.

    By the scatter of a few resampled profiles: Student's t is beyond 6 once in 4000 times for 7 degrees of freedom.
    """
    estimate, allowed = _measured(pool, promise, replicas)
    moves = estimate.moved_by
    if moves is None or not np.isfinite(moves).all():
        return False
    distance = allowed - estimate.value if is_kept else estimate.value - allowed
    return distance > _CLEAR * math.sqrt(float(np.mean(moves**2)))


def broken(pool: Pool, promise: Promise, value: float) -> Rejection:
    """The refusal of a broken promise; if all beyond the quantile are lost, by the share of these."""
    if math.isfinite(value):
        return Rejection.of(promise, value)
    return Rejection.of_losses(promise, pool.loss.value)


def quantile_found(pool: Pool, promise: Promise) -> QuantileEstimate | None:
    """The quantile that a promise is about; None if it is about a mean or a share."""
    if promise.quantile is None:
        return None
    if promise.measure is Measure.WAIT:
        return pool.wait_quantile_with_losses(promise.quantile)
    return pool.response_quantile_with_losses(promise.quantile)


def found(pool: Pool, promise: Promise, confidence: float, replicas: int) -> Interval:
    """What a pool says of a promise."""
    quantile = quantile_found(pool, promise)
    if quantile is not None:
        return quantile.interval(confidence)
    match promise.measure:
        case Measure.RESPONSE_MEAN:
            return pool.response_mean.interval(confidence)
        case Measure.LOSS:
            return pool.loss_interval(confidence)
        case _:
            return pool.utilization(replicas).interval(confidence)


def tightest(promises: Iterable[Promise], find: Callable[[Promise], Interval]) -> tuple[Promise, Interval]:
    """The promise whose upper end is nearest to what is allowed, or farthest beyond it, and what was found of it."""
    held = [(promise, find(promise)) for promise in promises]
    return max(held, key=lambda one: one[1].high / one[0].allowed)


_HEADROOM_BUDGET_SHARES = (0.05, 0.1)
_INDIFFERENCE = 0.25  # share of the asked precision
# Times what is allowed up to which few samples may be behind a refusal, at least; and standard errors of the number of
# samples beyond a quantile, of which more are found by chance once in 10,000 times or less.
_NEAR, _NEAR_ERRORS = 3.0, 4.0
# Standard errors of the profile beyond which it turns no verdict.
_CLEAR = 6.0
# Share of the budget that a search may take for a candidate under bursts, whose runs are long.
_BURSTS_SHARE = 0.2
# Share of the budget that resampled profiles may take where runs have not settled.
_UNSETTLED_SHARE = 0.05
# Of the relaxation times that a confirmation sees: it will refuse what is accepted by mistake.
_SEARCH_CARE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationJudge:
    """Judges plans by simulation; a `capacity.question.candidate.Judge`.

    Attributes:
        confidence: of the intervals and, over all candidates and looks together, of the verdicts.
        precision: relative half-width asked of what binds in a confirmation.
        requests_max: budget of simulated requests for one plan; not a time, so that results do not
            depend on the machine's speed.
        mapper: how replications are spread over workers.
    """

    seed: int = 0
    confidence: float = 0.95
    precision: float = 0.02
    requests_max: int = REQUESTS_MAX
    engine: Engine = Engine.KERNEL
    mapper: Mapper = field(default=map, repr=False)

    def search(self, scenario: Scenario, attempt: int) -> Candidate:
        """Look until the verdict is clear.

        A candidate refused by mistake is lost, one accepted by mistake still faces the confirmation: only
        refusals are corrected for the number of candidates and looks, and if they are near their limit they
        must stand the profile's own error as well.
        """
        trial = self._trial(scenario, Stage.SEARCH, attempt)
        if trial.case.bursts is not None:
            enough = max(int(_BURSTS_SHARE * self.requests_max), trial.requests_least)
            trial = replace(trial, requests_max=min(self.requests_max, enough))
        judged, look = self._judge(trial)
        if judged.verdict is Verdict.MISSED and look is not None and self._is_near(trial.case, look.pool):
            return self._with_profile_error(trial, judged, look)
        return judged

    def certify(self, scenario: Scenario, attempt: int, requests_first: int) -> Candidate:
        """Look, with seeds of its own, until the verdict is clear and the interval narrow."""
        trial = self._trial(scenario, Stage.CERTIFY, attempt)
        trial = replace(trial, requests_first=requests_first, precision=self.precision)
        found = self._with_profile_error(trial, *self._judge(trial))
        like_it = self._like_it(trial, found.verdict) if trial.case.is_path else None
        return replace(found, like_it=like_it)

    def accepts(self, scenario: Scenario, effort: int = 1) -> Candidate:
        """Look for a while, or so many times as long; the same users at every rate."""
        trial = self._trial(scenario, Stage.HEADROOM, 1)
        least, most = (int(min(1.0, effort * share) * self.requests_max) for share in _HEADROOM_BUDGET_SHARES)
        budget = min(max(least, 2 * trial.requests_least), most)  # twice what settles it, within reason
        trial = replace(trial, requests_max=budget)
        return self._with_profile_error(trial, *self._judge(trial))

    def _trial(self, scenario: Scenario, stage: Stage, attempt: int) -> "_Trial":
        return _Trial(
            case=Case(scenario=scenario, engine=self.engine),
            seed=Seed(value=self.seed, stage=stage),
            error=1.0 - self.confidence,
            attempt=attempt,
            requests_max=self.requests_max,
        )

    def _judge(self, trial: "_Trial") -> tuple[Candidate, Look | None]:
        """What the simulation says, and its last look."""
        objective, replicas = trial.case.scenario.objective, trial.case.simulated.scenario.plan.replicas
        doubt_of_floor = self._floor_doubt(trial.case.scenario)
        if doubt_of_floor is not None:
            return doubt_of_floor, None
        number, look, verdict, rejection, precise = 1, None, Verdict.INCONCLUSIVE, None, False
        for number, look in enumerate(trial.looks(self.mapper), start=1):
            verdict, rejection = decide(look, objective, trial.errors(number), replicas)
            if verdict is Verdict.MISSED:
                break
            precise = self._width(look.pool, objective, replicas) <= trial.precision
            if verdict is Verdict.MET and precise:
                break
            if look.settled and self._is_marginal(trial, look.pool, trial.errors(number), replicas):
                break
        doubt = None
        if verdict is Verdict.INCONCLUSIVE:
            errors = trial.errors(number)
            doubt = self._why_open(trial, look, errors, replicas)
            rejection = self._left_open(trial, look, doubt, errors)
        judged = Candidate(
            plan=trial.case.scenario.plan,
            verdict=verdict,
            rejection=rejection,
            settled=look is not None and look.settled,
            doubt=doubt,
            is_precise=look is None or precise,
        )
        if look is None:
            return judged, None
        judged = replace(
            judged,
            performance=self._performance(trial, look.pool),
            batch_size_largest=look.pool.batch_size_largest,
            requests=look.requests,
        )
        return judged, look

    def _is_marginal(self, trial: "_Trial", pool: Pool, errors: Errors, replicas: int) -> bool:
        """Whether all that is open is so near its limit that a search need not know on which side.

        An indifference zone, as in the selection of the best (Kim & Nelson 2001, ACM TOMACS 11(3)). A
        promise that is open for lack of requests, like a loss limit with too few losses, is not near.
        """
        open_ones = open_promises(pool, trial.case.scenario.objective, errors, replicas)
        return trial.seed.stage is Stage.SEARCH and all(
            found(pool, one, 1.0 - errors.accept, replicas).high > one.allowed
            and self._width_of(pool, one, replicas) <= _INDIFFERENCE * self.precision
            for one in open_ones
        )

    def _why_open(self, trial: "_Trial", look: Look | None, errors: Errors, replicas: int) -> Doubt:
        """Why a trial ended without a verdict."""
        if look is not None and look.settled and self._is_marginal(trial, look.pool, errors, replicas):
            return Doubt.MARGIN
        return Doubt.REQUESTS

    def _left_open(self, trial: "_Trial", look: Look | None, doubt: Doubt, errors: Errors) -> Rejection:
        """What a trial left open: a promise in doubt, or a budget that was too small."""
        if look is not None and doubt is not Doubt.REQUESTS:
            promise, interval = self._tightest(trial.case, look.pool, errors)
            return Rejection.of(promise, interval.high)
        least = trial.requests_least
        spent = look.requests if look is not None and (look.settled or look.requests >= least) else 0
        needed = max(2 * spent, least)
        return Rejection(limit=Limit.BUDGET, allowed=trial.requests_max, needed=needed)

    def _tightest(self, case: Case, pool: Pool, errors: Errors) -> tuple[Promise, Interval]:
        """The promise that is closest to its limit or beyond it, among those that are open if any is."""
        objective, replicas = case.scenario.objective, case.simulated.scenario.plan.replicas
        open_ones = open_promises(pool, objective, errors, replicas)
        return tightest(
            open_ones or objective.limits, lambda promise: found(pool, promise, self.confidence, replicas)
        )

    def _like_it(self, trial: "_Trial", verdict: Verdict) -> LikeIt:
        """What traffic like a recorded path would do, beside the verdict on the path itself."""
        case, objective = trial.case, trial.case.scenario.objective
        errors = Errors(accept=trial.error, refuse=trial.error / len(objective.limits))
        look = look_at_sections(case, trial.seed)
        if look is None or not look.settled:
            return LikeIt(verdict=Verdict.INCONCLUSIVE, promise=objective.limits[0], found=None)
        by_sections, _ = decide(look, objective, errors, case.scenario.plan.replicas)
        promise, interval = self._tightest(case, look.pool, errors)
        says_nothing = interval.high <= promise.allowed and _is_of_few(look.pool, promise)
        told = LikeIt(verdict=by_sections, promise=promise, found=None if says_nothing else interval)
        return told.beside(verdict)

    def _width(self, pool: Pool, objective: Objective, replicas: int) -> float:
        """Relative half-width of what is nearest to its limit."""
        values = {p: found(pool, p, self.confidence, replicas).value / p.allowed for p in objective.limits}
        return self._width_of(pool, max(values, key=lambda promise: values[promise]), replicas)

    def _width_of(self, pool: Pool, promise: Promise, replicas: int) -> float:
        """Relative half-width of what was found of a promise; of what may be about 0, over its limit."""
        interval = found(pool, promise, self.confidence, replicas)
        if promise.measure in (Measure.LOSS, Measure.WAIT):
            return interval.half_width / promise.allowed
        return interval.relative_half_width

    def _performance(self, trial: "_Trial", pool: Pool) -> Performance:
        quantiles = sorted({*QUANTILES, *trial.case.scenario.objective.quantiles})
        return trial.case.performance(pool, quantiles, self.confidence)

    def _floor_doubt(self, scenario: Scenario) -> Candidate | None:
        """The plan in doubt, if the samples cannot tell its service time from a limit; no simulation could."""
        plan, confidence = scenario.plan, self.confidence
        doubt = floor_doubt(scenario.profile, scenario.objective, plan.batch_size_max, confidence)
        return None if doubt is None else floor_candidate(plan, doubt)

    def _is_near(self, case: Case, pool: Pool) -> bool:
        """Whether a refusal is so near its limit that the profile's samples may leave it open."""
        profile, plan = case.scenario.profile, case.simulated.scenario.plan
        if not has_samples(profile):
            return False
        known = known_samples(profile, plan.batch_size_max)
        return all(
            _excess(pool, promise, plan.replicas) <= _near(promise, known)
            for promise in case.scenario.objective.limits
        )

    def _with_profile_error(self, trial: "_Trial", judged: Candidate, look: Look | None) -> Candidate:
        """The candidate with the error of the profile's samples in its intervals and its verdict.

        Runs that have not settled are a lower bound at best, near saturation, where runs are longest: a refusal
        by them stays as it is, unless it is near its limit and the runs are not so long.
        """
        if look is None:
            return judged
        spike = trial.case.scenario.spike
        case, length = (trial.case, run_length(trial.case)) if spike is None else surge(trial.case, spike)
        if not look.settled and judged.verdict is not Verdict.MET:
            cost = (1 + resamples_for(self.confidence)) * length.requests
            if cost > _UNSETTLED_SHARE * self.requests_max or not self._is_near(trial.case, look.pool):
                return judged

        def is_enough(few: ProfileError) -> bool:
            return self._is_clear(trial, replace(look.pool, profile_error=few), judged.verdict)

        error = profile_error(case, length, self.confidence, trial.seed, self.mapper, is_enough)
        if error is None:
            return judged
        pool = replace(look.pool, profile_error=error)
        judged = replace(
            judged,
            performance=self._performance(trial, pool),
            requests=judged.requests + error.requests,
            requests_resampled=error.requests,
        )
        in_doubt = self._in_doubt(trial.case, pool, judged.verdict)
        if in_doubt is None:
            return judged
        return replace(
            judged,
            verdict=Verdict.INCONCLUSIVE,
            rejection=in_doubt[0],
            doubt=Doubt.PROFILE,
            samples_times=in_doubt[1],
        )

    def _is_clear(self, trial: "_Trial", pool: Pool, verdict: Verdict) -> bool:
        """Whether a few resampled profiles show that the samples turn no verdict; a confirmation wants all of them."""
        if trial.seed.stage is Stage.CERTIFY or verdict is Verdict.INCONCLUSIVE:
            return trial.seed.stage is not Stage.CERTIFY
        replicas, is_kept = trial.case.simulated.scenario.plan.replicas, verdict is Verdict.MET
        clear = [
            _is_clear(pool, promise, replicas, is_kept=is_kept)
            for promise in trial.case.scenario.objective.limits
        ]
        return all(clear) if is_kept else any(clear)

    def _in_doubt(self, case: Case, pool: Pool, verdict: Verdict) -> tuple[Rejection, float] | None:
        """The promise that the profile's error leaves open though a simulation decides it, and what would settle it."""
        replicas = case.simulated.scenario.plan.replicas
        ends = {one: found(pool, one, self.confidence, replicas) for one in case.scenario.objective.limits}
        above = [one for one, interval in ends.items() if reach(interval) > one.allowed]
        if verdict is Verdict.INCONCLUSIVE or not above:
            return None
        if verdict is Verdict.MISSED and any(ends[one].low > one.allowed for one in above):
            return None
        worst = max(above, key=lambda one: reach(ends[one]) / one.allowed)
        return Rejection.of(worst, reach(ends[worst])), self._samples_times(pool, worst)

    def _samples_times(self, pool: Pool, promise: Promise) -> float:
        """How many times the samples would tell what a promise is about from its limit, if they were alike."""
        estimate = quantile_found(pool, promise)
        if not isinstance(estimate, ResampledQuantile):
            return math.inf
        return estimate.times_enough(
            lambda interval: reach(interval) <= promise.allowed or interval.low > promise.allowed,
            self.confidence,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    """A scenario before the judge."""

    case: Case
    seed: Seed
    error: float
    attempt: int
    requests_max: int
    requests_first: int = 0
    precision: float = math.inf

    def looks(self, mapper: Mapper) -> Iterator[Look]:
        if self.case.scenario.spike is not None:
            return spike_looks(self.case, self.case.scenario.spike, self.seed, self.requests_max, mapper)
        care = _SEARCH_CARE if self.seed.stage is Stage.SEARCH else 1.0
        return looks(self.case, self.seed, self.requests_max, mapper, self.requests_first, care)

    @property
    def requests_least(self) -> int:
        """Requests of the first look that may settle."""
        if self.case.scenario.spike is None:
            return requests_to_settle(self.case)
        _, length = surge(self.case, self.case.scenario.spike)
        return SECTIONS * length.requests

    def errors(self, look: int) -> Errors:
        """The error allowed to the `look`-th look; in a search no acceptance is final.

        Any one limit refuses, so the limits share the error allowed to a refusal.
        """
        corrected = self.error * share_of_error(self.attempt) * share_of_error(look)
        accept = self.error if self.seed.stage is Stage.SEARCH else corrected
        return Errors(accept=accept, refuse=corrected / len(self.case.scenario.objective.limits))
