"""Judge: decides on plans by simulation, in sequential looks that share the allowed error."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from capacity.performance import Interval
from capacity.profile.sampling import reach
from capacity.question.candidate import Candidate, Doubt, LikeIt, Reason, Rejection, Verdict
from capacity.question.objective import Limit, Measure, Objective
from capacity.question.overload import Saturation
from capacity.units import QUANTILES
from simulations.case import Case
from simulations.draws.arrivals import Seed, Stage
from simulations.looks import REQUESTS_MAX, look_at_sections, looks, surge_looks
from simulations.replication import Engine
from simulations.servers import case_of
from simulations.statistics.intervals import ResampledQuantile, resamples_for
from simulations.statistics.pool import Pool, ProfileError
from simulations.statistics.verdict import (
    Errors,
    Look,
    counted_for_losses,
    decide,
    excess,
    found,
    is_clear,
    is_of_few,
    near_to,
    open_limits,
    share_of_error,
    tightest,
)
from simulations.workers import Mapper

# Share of the budget that resampled profiles may take if runs have not settled.
_UNSETTLED_SHARE = 0.05
# Shares of its budget after which a candidate may be put off, and after which it is even if no look could accept it.
_BRIEF_SHARES = (0.02, 0.125)
_ASIDE = 4  # part of the budget of a candidate that only stands beside an answer, if that may settle
# Stages that accept nothing for good: a search, and a probe that only finds where rates end.
_SEARCHING = (Stage.SEARCH, Stage.PROBE)
# Measures that may be about 0, so that their error is relative to the limit.
_NEAR_0 = (Measure.LOSS, Measure.WAIT, Measure.MISSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationJudge:
    """Decides on plans for any kind of server by simulation; a `capacity.question.candidate.Judge`.

    Attributes:
        confidence: confidence of the intervals and, over all candidates and looks together, of the verdicts.
        precision: largest relative half-width of the binding quantity in a confirmation.
        requests_max: budget of simulated requests for one plan; not a time, so that results do not depend on the
            speed of the machine.
        mapper: distribution of replications over workers.
    """

    seed: int = 0
    confidence: float = 0.95
    precision: float = 0.02
    requests_max: int = REQUESTS_MAX
    engine: Engine = Engine.KERNEL
    mapper: Mapper = field(default=map, repr=False)

    def saturated(self, scenario: Any) -> Saturation:
        """Saturation of one engine, with requests that always wait."""
        from simulations.saturation import saturated

        return saturated(scenario)

    def requests_to_settle(self, scenario: Any) -> int:
        """Fewest requests after which `accepts` may accept."""
        case = case_of(scenario, engine=self.engine)
        return case.requests_with(case.rate_care)

    def search(self, scenario: Any, attempt: int, *, is_aside: bool = False) -> Any:
        """Candidate with a verdict from looks that end once it is clear, and that may be put off before.

        A candidate refused by mistake is lost, one accepted by mistake is still confirmed: so only refusals are
        corrected for the number of candidates and looks, and near their limit they allow for the profile's error too.
        """
        trial = self._trial(scenario, Stage.SEARCH, attempt)
        if is_aside:
            least = max(trial.case.requests_with(trial.care), trial.requests_for_losses)
            few = min(max(trial.requests_max // _ASIDE, least), trial.requests_max)
            trial = replace(trial, indifference=1.0, is_aside=True, requests_max=few)
        if (refused := trial.case.refused(self.confidence)) is not None:
            return refused
        return self._search_on(trial, self._seen(trial), _Seen())

    def _search_on(self, trial: "_Trial", coming: "Iterator[_Seen]", last: "_Seen") -> Any:
        """Candidate after the next look that might have accepted it, or that took a share of the budget.

        What is put off goes on with the same looks, each with its own share of the error.
        """
        seen = last
        for seen in coming:
            if seen.is_last or self._may_be_put_off(trial, seen):
                break
        else:
            seen = replace(seen, is_last=True)
        judged = self._candidate(trial, seen)
        if not seen.is_last:
            return replace(judged, further=partial(self._search_on, trial, coming, seen))
        if (
            judged.verdict is Verdict.MISSED
            and not trial.is_aside  # what it leaves open is not accepted either
            and seen.look is not None
            and _is_near(trial.case, seen.look.pool)
        ):
            return self._with_profile_error(trial, judged, seen.look)
        return judged

    def certify(self, scenario: Any, attempt: int, requests_first: int = 0) -> Any:
        """Candidate with a verdict from looks of fresh seeds, which end once it is clear and the interval narrow."""
        trial = self._trial(scenario, Stage.CERTIFY, attempt)
        trial = replace(trial, requests_first=requests_first, precision=self.precision)
        confirmed = self._with_profile_error(trial, *self._judge(trial))
        confirmed = self._widened(trial.case, confirmed)
        if not trial.case.is_path or confirmed.performance is None:
            return confirmed
        return replace(confirmed, like_it=self._like_it(trial, confirmed.verdict))

    def accepts(
        self,
        scenario: Any,
        effort: int = 1,
        requests_max: int | None = None,
        likely: tuple[float, float] = (1.0, 1.0),
    ) -> Any:
        """Candidate with a verdict within a short budget, or a multiple of it; the same users at every rate."""
        trial = self._trial(scenario, Stage.HEADROOM, 1, effort, requests_max)
        trial = replace(trial, gives_up=effort > 1, likely=likely)
        return self._with_profile_error(trial, *self._judge(trial))

    def probe(self, scenario: Any, requests_max: int | None = None) -> Any:
        """Candidate with a verdict as long as `accepts` may still accept it; the same users at every rate."""
        return self._judge(self._trial(scenario, Stage.PROBE, 1, 1, requests_max))[0]

    def _trial(
        self, scenario: Any, stage: Stage, attempt: int, effort: int = 1, requests_max: int | None = None
    ) -> "_Trial":
        case = case_of(scenario, engine=self.engine)
        case = case if stage is Stage.CERTIFY else case.in_search
        case = case.confirmed_later if stage in _SEARCHING else case
        budget = case.budget(stage, self.requests_max, effort)
        return _Trial(
            case=case,
            seed=Seed(value=self.seed, stage=stage),
            error=1.0 - self.confidence,
            attempt=attempt,
            requests_max=budget if requests_max is None else max(1, min(budget, requests_max)),
            narrowing=case.narrowing(self.requests_max),
            indifference=case.indifference,
        )

    def _may_be_put_off(self, trial: "_Trial", seen: "_Seen") -> bool:
        """Whether a search knows enough to try others first: a limit is open that this look might have settled."""
        look, objective = seen.look, trial.case.scenario.objective
        least, most = (share * trial.requests_max for share in _BRIEF_SHARES)
        if look is None or not least <= look.requests < most:
            return look is not None and look.requests >= most
        open_ones = open_limits(look.pool, objective, seen.errors, trial.case.replicas)
        return look.settled and not all(is_of_few(look.pool, one) for one in open_ones)

    def _judge(self, trial: "_Trial") -> tuple[Candidate, Look | None]:
        """The candidate by its simulation, and the last look."""
        if (refused := trial.case.refused(self.confidence)) is not None:
            return refused, None
        seen = _Seen()
        for seen in self._seen(trial):
            if seen.is_last:
                break
        return self._candidate(trial, replace(seen, is_last=True)), seen.look

    def _seen(self, trial: "_Trial") -> "Iterator[_Seen]":
        """What each look says, and whether it is the last that is worth it."""
        objective, replicas, precise = trial.case.scenario.objective, trial.case.replicas, False
        settled = 0
        for number, look in enumerate(trial.looks(self.mapper), start=1):
            settled += look.settled
            errors = trial.errors(number, settled)
            verdict, rejection = self._decide(trial, look, errors)
            is_last = verdict is Verdict.MISSED
            if not is_last:
                precise = self._width(look.pool, objective, replicas) <= trial.precision
                is_narrow = precise or look.requests >= trial.narrowing
                is_last = (verdict is Verdict.MET and is_narrow) or self._may_stay_open(trial, look, errors)
            yield _Seen(
                errors=errors,
                look=look,
                verdict=verdict,
                rejection=rejection,
                is_precise=precise,
                is_last=is_last,
            )

    def _candidate(self, trial: "_Trial", seen: "_Seen") -> Candidate:
        """The candidate by what was seen of it."""
        case, look, verdict, rejection, doubt = trial.case, seen.look, seen.verdict, seen.rejection, None
        if case.is_beyond_knee and verdict is Verdict.MET:
            verdict = Verdict.INCONCLUSIVE
        if verdict is Verdict.INCONCLUSIVE:
            doubt, rejection = self._left_open(trial, seen)
        return Candidate(
            plan=case.scenario.plan,
            verdict=verdict,
            rejection=rejection,
            doubt=doubt,
            is_precise=look is None or seen.is_precise,
            **self._figures(case, look),
        )

    def _decide(self, trial: "_Trial", look: Look, errors: Errors) -> tuple[Verdict, Rejection | None]:
        """Verdict of a look; a fleet that fell into a retry storm is refused, whatever its limits are."""
        case = trial.case
        if (storm := case.fallen(look.pool)) is not None:
            return Verdict.MISSED, storm
        return decide(look, case.scenario.objective, errors, case.replicas)

    def _figures(self, case: Case, look: Look | None) -> dict[str, Any]:
        """Fields of a candidate from its last look."""
        if look is None:
            return {"settled": False}
        return {
            "settled": look.settled,
            "performance": self._performance(case, look.pool),
            "batch_size_largest": look.pool.batch_size_largest,
            "requests": look.requests,
        }

    def _may_stay_open(self, trial: "_Trial", look: Look, errors: Errors) -> bool:
        """Whether more requests are not worth it.

        They are not near a limit, nor if a probe is unlikely to accept, nor where a rate or a large fleet holds as far
        as is seen and the budget ends before that may be said.
        """
        if trial.seed.stage is Stage.PROBE:
            return not self._may_be_met(trial, look)
        if trial.seed.stage is Stage.HEADROOM and trial.case.requests_with(trial.care) > trial.requests_max:
            return self._holds(trial.case, look)
        if trial.seed.stage is Stage.SEARCH and trial.case.is_unconfirmable(trial.requests_max):
            return look.requests >= trial.short_requests and self._holds(trial.case, look)
        if trial.gives_up and look.settled and not self._may_be_told(trial, look):
            return True
        if look.settled and self._is_marginal(trial, look.pool, errors):
            return True
        is_search = trial.seed.stage is Stage.SEARCH and look.settled
        return is_search and trial.narrower(look) ** 2 < self._times_enough(trial, look)

    def _holds(self, case: Case, look: Look) -> bool:
        """Whether all intervals are within their limits, settled or not."""
        return all(
            self._found(case, look.pool, one).high <= one.allowed for one in case.scenario.objective.limits
        )

    def _may_be_met(self, trial: "_Trial", look: Look) -> bool:
        """Whether all intervals would lie within their limits at the end of the budget if no estimate changed."""
        return all(high <= limit.allowed for limit, _, high in self._at_end(trial, look))

    def _may_be_told(self, trial: "_Trial", look: Look) -> bool:
        """Whether a verdict is likely by the end of the budget."""
        is_missed = any(low > limit.allowed for limit, low, _ in self._at_end(trial, look))
        return is_missed or self._may_be_met(trial, look)

    def _times_enough(self, trial: "_Trial", look: Look) -> float:
        """How many times the requests of a pool may tell on which side a limit is, or that it is near.

        That is if the value is half an interval's half-width, some standard error, farther from its limit: 4 at most.
        It is 1 while an interval has no end, as then nothing says how it narrows.
        """
        case = trial.case
        width = self._width(look.pool, case.scenario.objective, case.replicas)
        near = width / (trial.indifference * self.precision)
        missed: list[float] = []
        met = [1.0]
        for limit in case.scenario.objective.limits:
            one = self._found(case, look.pool, limit)
            if not math.isfinite(one.high):
                return 1.0
            is_above = one.value > limit.allowed
            side, known = (missed, one.value - one.low) if is_above else (met, one.high - one.value)
            off = abs(limit.allowed - one.value) + known / 2.0
            side.append(known / off if off > 0.0 else 0.0)
        return float(min(near, min(missed) if missed else max(met)) ** 2)

    def _at_end(self, trial: "_Trial", look: Look) -> Iterator[tuple[Limit, float, float]]:
        """Each limit with the ends of its interval at the end of the budget, if no estimate changed.

        The profile's samples are likely to leave no less open, however long the simulation.

        Source:
            Lan, Simon & Halperin (1982), Stochastically curtailed tests in long-term clinical trials, Sequential
            Analysis 1(3).
        """
        narrower = trial.narrower(look)
        for limit in trial.case.scenario.objective.limits:
            one = self._found(trial.case, look.pool, limit)
            low = one.value - (one.value - one.low) / narrower
            high = one.value + (one.high - one.value) / narrower
            yield limit, min(low, one.value * trial.likely[0]), max(high, one.value * trial.likely[1])

    def _is_marginal(self, trial: "_Trial", pool: Pool, errors: Errors) -> bool:
        """Whether all undecided limits are so near that a search need not know the side.

        It is an indifference zone, as in the selection of the best (Kim & Nelson 2001, ACM TOMACS 11(3)). A limit
        that is undecided for lack of requests, such as a loss limit with too few losses, is not near.
        """
        if trial.seed.stage is not Stage.SEARCH:
            return False
        replicas = trial.case.replicas
        open_ones = open_limits(pool, trial.case.scenario.objective, errors, replicas)
        return all(
            found(pool, one, 1.0 - errors.accept, replicas).high > one.allowed
            and self._width_of(pool, one, replicas) <= trial.indifference * self.precision
            for one in open_ones
        )

    def _left_open(self, trial: "_Trial", seen: "_Seen") -> tuple[Doubt, Rejection]:
        """Reason why a trial is undecided: a limit in doubt, a budget that was too small, or that it is put off."""
        look, errors = seen.look, seen.errors
        if trial.case.is_beyond_knee:
            return trial.case.beyond_knee()
        if look is not None and look.settled and self._is_marginal(trial, look.pool, errors):
            limit, interval = self._tightest(trial.case, look.pool, errors)
            return Doubt.MARGIN, Rejection.of(limit, interval.high)
        least = trial.case.requests_with(trial.care)
        spent = look.requests if look is not None and (look.settled or look.requests >= least) else 0
        # Each look has twice the requests of the last, so that of twice as many one has enough.
        needed = max(2 * spent, least, 2 * trial.requests_for_losses)
        if seen.is_last and look is not None and look.settled and trial.seed.stage is Stage.SEARCH:
            needed = max(needed, math.ceil(look.requests * self._times_enough(trial, look)))
        allowed = trial.requests_max if look is None or seen.is_last else look.requests
        return Doubt.REQUESTS, Rejection(reason=Reason.BUDGET, allowed=allowed, needed=needed)

    def _tightest(self, case: Case, pool: Pool, errors: Errors) -> tuple[Limit, Interval]:
        """The limit that is closest or exceeded, of the undecided ones if there are any."""
        objective = case.scenario.objective
        open_ones = open_limits(pool, objective, errors, case.replicas)
        return tightest(open_ones or objective.limits, lambda one: self._found(case, pool, one))

    def _found(self, case: Case, pool: Pool, limit: Limit) -> Interval:
        return found(pool, limit, self.confidence, case.replicas)

    def _like_it(self, trial: "_Trial", verdict: Verdict) -> LikeIt:
        """Verdict on traffic like a recorded path, given that on the path itself."""
        case, objective = trial.case, trial.case.scenario.objective
        errors = Errors(accept=trial.error, refuse=trial.error / len(objective.limits))
        look = look_at_sections(case, trial.seed)
        if look is None or not look.settled:
            return LikeIt(verdict=Verdict.INCONCLUSIVE, limit=objective.limits[0], found=None)
        by_sections, _ = decide(look, objective, errors, case.scenario.plan.replicas)
        limit, interval = self._tightest(case, look.pool, errors)
        says_nothing = interval.high <= limit.allowed and is_of_few(look.pool, limit)
        told = LikeIt(verdict=by_sections, limit=limit, found=None if says_nothing else interval)
        return told.limited_by(verdict)

    def _width(self, pool: Pool, objective: Objective, replicas: int) -> float:
        """Relative half-width of the value that is nearest to its limit."""
        values = {p: found(pool, p, self.confidence, replicas).value / p.allowed for p in objective.limits}
        return self._width_of(pool, max(values, key=lambda limit: values[limit]), replicas)

    def _width_of(self, pool: Pool, limit: Limit, replicas: int) -> float:
        """Relative half-width of a limited value; for a value that may be about 0, half-width over the limit."""
        interval = found(pool, limit, self.confidence, replicas)
        if limit.measure in _NEAR_0:
            return interval.half_width / limit.allowed
        return interval.relative_half_width

    def _performance(self, case: Case, pool: Pool) -> Any:
        quantiles = sorted({*QUANTILES, *case.scenario.objective.quantiles})
        return case.performance(pool, quantiles, self.confidence)

    def _widened(self, case: Case, judged: Candidate) -> Any:
        """The candidate with the profile's own error, if its pool lacks it; a met limit may become undecided."""
        if judged.performance is None:
            return judged
        performance = case.widened(judged.performance, self.confidence, self.seed, self.mapper)
        if performance is judged.performance:
            return judged
        in_doubt = [
            Rejection.of(limit, interval.high)
            for limit in case.scenario.objective.limits
            if (interval := limit.found(performance)) is not None and interval.high > limit.allowed
        ]
        wider = replace(judged, performance=performance)
        if not (judged.accepted and in_doubt):
            return wider
        return replace(wider, verdict=Verdict.INCONCLUSIVE, rejection=in_doubt[0], doubt=Doubt.PROFILE)

    def _with_profile_error(self, trial: "_Trial", judged: Candidate, look: Look | None) -> Any:
        """The candidate with the error of the profile's samples in its intervals and its verdict.

        Runs that have not settled, near saturation where runs are longest, give a lower bound at best: a refusal by
        them stays, unless it is near its limit and the runs are not so long.
        """
        if look is None:
            return judged
        case, length = trial.case.surge or (trial.case, trial.case.length)
        if not look.settled and judged.verdict is not Verdict.MET:
            cost = (1 + resamples_for(self.confidence)) * length.requests
            if cost > _UNSETTLED_SHARE * self.requests_max or not _is_near(trial.case, look.pool):
                return judged

        def is_enough(few: ProfileError) -> bool:
            return self._is_clear(trial, replace(look.pool, profile_error=few), judged.verdict)

        error = case.profile_error(length, self.confidence, trial.seed, self.mapper, is_enough)
        if error is None:
            return judged
        pool = replace(look.pool, profile_error=error)
        judged = replace(
            judged,
            performance=self._performance(trial.case, pool),
            requests=judged.requests + error.requests,
            requests_resampled=error.requests,
            is_resampled=len(error.halves) == error.wanted,
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
        """Whether a few resampled profiles show that no verdict changes.

        A confirmation always uses all of them; and a long trial in doubt, whose interval tells where to try others.
        """
        if trial.seed.stage is Stage.CERTIFY or verdict is Verdict.INCONCLUSIVE:
            return trial.seed.stage is not Stage.CERTIFY and not trial.gives_up
        is_kept = verdict is Verdict.MET
        clear = [
            is_clear(pool, limit, trial.case.replicas, is_kept=is_kept)
            for limit in trial.case.scenario.objective.limits
        ]
        return all(clear) if is_kept else any(clear)

    def _in_doubt(self, case: Case, pool: Pool, verdict: Verdict) -> tuple[Rejection, float] | None:
        """The limit that the profile's error leaves undecided, and the factor of the samples that would decide it."""
        ends = {one: self._found(case, pool, one) for one in case.scenario.objective.limits}
        above = [one for one, interval in ends.items() if reach(interval) > one.allowed]
        if verdict is Verdict.INCONCLUSIVE or not above:
            return None
        if verdict is Verdict.MISSED and any(ends[one].low > one.allowed for one in above):
            return None
        worst = max(above, key=lambda one: reach(ends[one]) / one.allowed)
        return Rejection.of(worst, reach(ends[worst])), self._samples_times(pool, worst)

    def _samples_times(self, pool: Pool, limit: Limit) -> float:
        """Factor of the samples that would tell a value from its limit, if they were alike."""
        if limit.quantile is None:
            return math.inf
        estimate = pool.of_measure(limit.measure, limit.quantile)
        if not isinstance(estimate, ResampledQuantile):
            return math.inf
        return estimate.times_enough(
            lambda interval: reach(interval) <= limit.allowed or interval.low > limit.allowed, self.confidence
        )


def _is_near(case: Case, pool: Pool) -> bool:
    """Whether a refusal is so near its limit that the profile's samples may leave it undecided."""
    known = case.known_samples
    return known is not None and all(
        excess(pool, limit, case.replicas) <= near_to(limit, known)
        for limit in case.scenario.objective.limits
    )


_NONE = Errors(accept=0.0, refuse=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What the looks of a trial say so far.

    Attributes:
        errors: allowed to the last look, of which none may decide before the first.
        is_last: whether no further look is worth it.
    """

    errors: Errors = _NONE
    look: Look | None = None
    verdict: Verdict = Verdict.INCONCLUSIVE
    rejection: Rejection | None = None
    is_precise: bool = False
    is_last: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    """A case with its seed, budget and allowed error.

    Attributes:
        indifference: share of the asked precision within which a search need not know the side of a limit.
        is_aside: whether it only stands beside an answer, without the profile's own error.
        gives_up: whether it ends once no verdict is likely within its budget, which is a long one.
        likely: as in `accepts`.
    """

    case: Case
    seed: Seed
    error: float
    attempt: int
    requests_max: int
    narrowing: float
    indifference: float
    requests_first: int = 0
    precision: float = math.inf
    is_aside: bool = False
    gives_up: bool = False
    likely: tuple[float, float] = (1.0, 1.0)

    def looks(self, mapper: Mapper) -> Iterator[Look]:
        """Consecutive looks; none in a search whose budget is too small for its limits of losses."""
        if self.seed.stage is Stage.SEARCH and self.requests_for_losses > self.requests_max:
            return iter(())
        if self.case.surge is not None:
            return surge_looks(self.case, self.seed, self.requests_max, mapper)
        return looks(self.case, self.seed, self.requests_max, mapper, self.requests_first, self.care)

    @property
    def care(self) -> float:
        """Share of the relaxation times that is enough: less in a search, and for a rate that is not today's."""
        if self.seed.stage in _SEARCHING:
            return self.case.search_care
        return self.case.rate_care if self.seed.stage is Stage.HEADROOM else 1.0

    @property
    def requests_for_losses(self) -> int:
        """Requests with which enough are counted to keep its limits of losses; 0 without one, or of a recording."""
        if self.case.is_path:
            return 0
        length, counted = self.case.length, counted_for_losses(self.case.scenario.objective)
        return math.ceil(counted * length.requests / length.measured)

    def narrower(self, look: Look) -> float:
        """How many times as narrow an interval of a look is at the end of the budget."""
        left = self.requests_max - look.given_up
        return math.sqrt(max(1.0, left / (look.requests - look.given_up)))

    @property
    def short_requests(self) -> int:
        """Requests of all short runs before the first of full length."""
        return self.case.first_runs * sum(short.requests for short in self.case.before(self.care))

    def errors(self, look: int, settled: int) -> Errors:
        """Error allowed to the `look`-th look, the `settled`-th that may accept; in a search no acceptance is final.

        Any one limit refuses, so the limits share the error allowed to a refusal.
        """
        allowed = self.error * share_of_error(self.attempt)
        accept = self.error if self.seed.stage in _SEARCHING else allowed * share_of_error(max(1, settled))
        refuse = allowed * share_of_error(look)
        return Errors(accept=accept, refuse=refuse / len(self.case.scenario.objective.limits))
