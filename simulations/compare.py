"""Paired comparison: fleets under the same requests, so that what they share cancels from their differences."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import NormalDist
from typing import Any

import numpy as np

from capacity.confidence import student_t
from capacity.errors import InconclusiveError
from capacity.performance import Interval, Width
from capacity.question.comparison import Comparison, Difference
from capacity.question.objective import Measure
from capacity.units import QUANTILES
from simulations.case import Case
from simulations.draws.arrivals import Seed, Stage
from simulations.draws.records import Floats
from simulations.looks import REQUESTS_MAX, is_settled, run_counts, why_unsettled
from simulations.replication import Engine
from simulations.servers import case_of
from simulations.statistics.intervals import (
    Estimate,
    QuantileEstimate,
    moved_interval,
    normal_scores,
    width_of,
)
from simulations.statistics.path import require_enough
from simulations.statistics.pool import Pool, responses, served
from simulations.statistics.profile_error import apart, scatter
from simulations.statistics.sample import Length, Sample
from simulations.statistics.tally import Tally
from simulations.statistics.tokens import sessions_of
from simulations.statistics.verdict import Look
from simulations.workers import Mapper


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedSimulation:
    """Comparison of fleets.

    Each fleet is simulated whole, not by one replica for all, with the same arrivals and the same random numbers,
    request by request (common random numbers), in as many and as long runs as the most demanding fleet needs.

    Attributes:
        precision: largest relative half-width at the highest quantile of each fleet.
        requests_max: budget of simulated requests for one fleet.
        mapper: distribution of replications over workers.

    Source:
        Law (2015), Simulation Modeling and Analysis, 5th ed., sec. 10.2.1 (paired comparison) and 11.2
        (common random numbers).
    """

    seed: int = 0
    confidence: float = 0.95
    precision: float = 0.02
    requests_max: int = REQUESTS_MAX
    engine: Engine = Engine.KERNEL
    quantiles: Sequence[float] = QUANTILES
    mapper: Mapper = field(default=map, repr=False)

    def __call__(self, scenarios: Sequence[Any]) -> Comparison:
        """Performances of scenarios that differ in their plans and profiles alone, and their differences.

        Raises:
            UnstableError: a fleet cannot sustain the arrival rate.
            DomainError: a plan is outside of what its profile was measured for.
            InconclusiveError: the budget is too small for runs that settle, or a fleet is too near saturation.
        """
        asked = [replace(one, quantiles=tuple(self.quantiles)) for one in scenarios]
        cases: list[Any] = [case_of(one, engine=self.engine, is_whole=True) for one in asked]
        for case in cases:
            case.require_answerable()
        cases = list(cases[0].alike(cases))
        found = [
            self._with_errors(case, pool, _place(case, cases))
            for case, pool in zip(cases, self._pools(cases), strict=True)
        ]
        return Comparison(
            performances=tuple(map(self._performance, cases, found)),
            differences=tuple(self._difference(one, found[0]) for one in found[1:]),
            widths=tuple(self._width(one.pool) for one in found),
        )

    @property
    def _seed(self) -> Seed:
        return Seed(value=self.seed, stage=Stage.COMPARE)

    def _pools(self, cases: Sequence[Case]) -> list[Pool]:
        """The first pools that have all settled and are all precise enough, else the last settled ones."""
        settled, last = None, None
        for last in self._looks(cases):
            settled = last if all(look.settled for look in last) else None
            if settled is not None and all(map(self._is_enough, cases, settled)):
                break
        if settled is None:
            in_doubt = (0, None) if last is None else _unsettled(last)
            raise InconclusiveError(why_unsettled(cases[in_doubt[0]], in_doubt[1], self.requests_max))
        return [look.pool for look in settled]

    def _looks(self, cases: Sequence[Case]) -> Iterator[list[Look]]:
        """Looks at all fleets after the same replications, twice as many each time."""
        for case in cases:
            require_enough(case.scenario.workload, case.scenario.quantile_max)
        length, pools = longest([case.length for case in cases]), [Pool.of(()) for _ in cases]
        most = min(case.affordable(self.requests_max) for case in cases)
        for wanted in run_counts(most // length.requests, is_path=cases[0].is_repeated):
            numbers = range(pools[0].replications, wanted)
            tasks = [task for case in cases for task in case.tasks(length, self._seed, numbers)]
            samples = iter(self.mapper(cases[0].replicate, tasks))
            pools = [pool.extended([next(samples) for _ in numbers]) for pool in pools]
            for case, pool in zip(cases, pools, strict=True):
                case.require_lasting(pool)
            yield [
                Look(pool=pool, settled=is_settled(pool, case), requests=wanted * length.requests)
                for pool, case in zip(pools, cases, strict=True)
            ]

    def _is_enough(self, case: Case, look: Look) -> bool:
        """Whether a settled look is precise, or more requests would take too long for what they tell."""
        is_long = case.is_costly and look.requests >= case.narrowing(self.requests_max)
        return is_long or self._is_precise(look.pool)

    def _is_precise(self, pool: Pool) -> bool:
        simulated = pool.response_quantile(max(self.quantiles)).simulated(self.confidence)
        return simulated.relative_half_width <= self.precision

    def _width(self, pool: Pool) -> Width:
        return width_of(pool.response_quantile(max(self.quantiles)), self.precision, self.confidence)

    def _with_errors(self, case: Case, pool: Pool, number: int) -> "_Found":
        """A pool with the error of its profile.

        Fleets of one profile, by its `number`, have the same resamples, others independent ones.
        """
        seed = replace(self._seed, replication=number)
        error = case.profile_error(case.length, self.confidence, seed, self.mapper)
        moved = tuple(case.resampled_pools(seed, self.mapper))
        return _Found(pool=replace(pool, profile_error=error), moved=moved)

    def _performance(self, case: Case, found: "_Found") -> Any:
        performance = case.performance(found.pool, self.quantiles, self.confidence)
        return case.widened_by(found.moved, performance, self.confidence)

    def _difference(self, found: "_Found", first: "_Found") -> Difference:
        """All means and quantiles minus those of the first fleet; the error of a shared profile cancels."""
        one, other = found.pool, first.pool
        fields: dict[str, Any] = {}
        for measure in found.measures:
            mean = measure.mean
            moved_s = found.moved_apart(first, partial(_mean_s, mean), self.confidence)
            fields[mean.value] = apart(mean_difference(one, other, mean, self.confidence), moved_s)
            fields[measure.value] = {
                q: apart(
                    quantile_difference(one, other, q, self.confidence, served(measure)),
                    found.moved_apart(first, partial(_quantile_s, measure, q), self.confidence),
                )
                for q in self.quantiles
            }
        hits = hit_share_difference(one, other, self.confidence)
        if hits is not None:
            hits = apart(hits, found.moved_apart(first, _hits_of, self.confidence))
        return Difference(**fields, hit_share=hits)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """Results of a fleet: its pool, and pools under resampled profiles if the first does not have that error."""

    pool: Pool
    moved: tuple[Pool, ...] = ()

    @property
    def measures(self) -> list[Measure]:
        """Durations to compare, which are all that requests have."""
        return [one for one in self.pool.whole.compared if self.pool.counts(one)]

    def moved_apart(self, first: "_Found", value: Callable[[Pool], float], confidence: float) -> float:
        """Half-width that the errors of the profiles give a difference. [s]"""
        known = [np.array([value(one) for one in each.moved]) for each in (self, first) if each.moved]
        if not known:
            return 0.0
        return scatter(known[0] - known[1] if len(known) == 2 else known[0], confidence)


def _hits_of(pool: Pool) -> float:
    return sessions_of(pool.whole).hit_share


def _mean_s(measure: Measure, pool: Pool) -> float:
    return pool.mean_s(measure)


def _quantile_s(measure: Measure, quantile: float, pool: Pool) -> float:
    return pool.quantile_s(measure, quantile)


def _place(case: Case, cases: Sequence[Case]) -> int:
    """Place of the first case with the same profile."""
    return next(
        number for number, other in enumerate(cases) if other.scenario.profile == case.scenario.profile
    )


def longest(lengths: Sequence[Length]) -> Length:
    """Length that is enough for all."""
    return Length(
        warm_up=max(length.warm_up for length in lengths),
        measured=max(length.measured for length in lengths),
        cool_down=max(length.cool_down for length in lengths),
    )


def quantile_difference(
    pool: Pool,
    first: Pool,
    quantile: float,
    confidence: float,
    tally: Callable[[Sample], Tally] = responses,
) -> Interval:
    """Quantile of the pooled durations minus that of another pool of the same requests. [s]

    The ends of the two intervals are combined with the correlation of their errors, which is that of the shares
    beyond the pooled quantiles, section by section of the same requests. If both are symmetric this is the paired
    Student t. A cell of a tally is known only to its width, which is added. The error of the profiles is included if
    the pools have it, from the difference of both quantiles under resampled profiles.

    Source:
        Zou & Donner (2008), Construction of confidence limits about effect measures: a general approach,
        Statistics in Medicine 27(10), 1693-1702, with the correlation by sectioning.
    """
    one, other = pool.quantile(quantile, tally), first.quantile(quantile, tally)
    if _same(one.tally, other.tally):  # the fleets served the same requests alike
        return Interval.exact(0.0)
    alike = correlation(_shares(pool, one, tally), _shares(first, other, tally))
    difference = together(one.simulated(confidence), other.simulated(confidence), alike)
    cells_s = sum(each.tally.relative_error_of(each.value) * each.value for each in (one, other))
    return _with_moves(_plus(difference, cells_s), (one, other), confidence)


def mean_difference(pool: Pool, first: Pool, measure: Measure, confidence: float) -> Interval:
    """Mean minus that of another pool of the same requests: the paired Student t. [s]"""
    one, other = (each.mean(measure) for each in (pool, first))
    alike = correlation(pool.mean_deviations_s(measure), first.mean_deviations_s(measure))
    difference = together(one.simulated(confidence), other.simulated(confidence), alike)
    return _with_moves(difference, (one, other), confidence)


def hit_share_difference(pool: Pool, first: Pool, confidence: float) -> Interval | None:
    """Share of prompts found in caches minus that of another pool of the same sessions: the paired Student t."""
    shares = [[_hit_share(one) for one in each.sections] for each in (pool, first)]
    if any(share is None for each in shares for share in each):
        return None
    apart_by = np.subtract(*(np.array(each, dtype=np.float64) for each in shares))
    half = student_t(confidence, len(apart_by) - 1) * float(apart_by.std(ddof=1)) / math.sqrt(len(apart_by))
    mean = float(apart_by.mean())
    return Interval(value=mean, low=mean - half, high=mean + half)


def _hit_share(sample: Sample) -> float | None:
    """Share of the prompts of a sample's sessions found in caches; None if it has none."""
    totals = getattr(sample, "sessions", None)
    return None if totals is None else totals.hit_share


def _with_moves(
    difference: Interval, both: Sequence[Estimate | QuantileEstimate], confidence: float
) -> Interval:
    """The difference, widened by the shifts of both values under resampled profiles."""
    moved = [each.moved_by for each in both]
    if not any(moves is not None and moves.any() for moves in moved):
        return difference
    one, other = (np.zeros(1) if moves is None else moves for moves in moved)
    shifts = one - other
    scores = normal_scores(len(shifts))
    errors = np.where(scores > 0.0, difference.high - difference.value, difference.value - difference.low)
    noise = scores * errors / NormalDist().inv_cdf(0.5 + confidence / 2.0)
    return moved_interval(difference, difference.value + shifts + noise, confidence)


def together(one: Interval, other: Interval, correlation: float) -> Interval:
    """The difference of two values whose errors are correlated."""
    value = one.value - other.value

    def width(up: float, down: float) -> float:
        return math.sqrt(max(0.0, up**2 + down**2 - 2.0 * correlation * up * down))

    return Interval(
        value=value,
        low=value - width(one.value - one.low, other.high - other.value),
        high=value + width(one.high - one.value, other.value - other.low),
    )


def correlation(one: Floats, other: Floats) -> float:
    """Correlation of deviations from known middles; 0 if one does not scatter."""
    scale = math.sqrt(float(one @ one) * float(other @ other))
    return float(one @ other) / scale if scale > 0.0 else 0.0


def _shares(pool: Pool, estimate: QuantileEstimate, tally: Callable[[Sample], Tally]) -> Floats:
    """Deviation of each section's share beyond the pooled quantile, counting half of an atom at it."""
    value, pooled = estimate.value, (estimate.above.value + estimate.from_value.value) / 2.0
    found = [tally(one) for one in pool.sections]
    shares = [(one.share_above(value) + one.share_from(value)) / 2.0 for one in found]
    return np.array(shares) - pooled


def _same(one: Tally, other: Tally) -> bool:
    return np.array_equal(one.values_s, other.values_s) and np.array_equal(one.counts, other.counts)


def _plus(interval: Interval, extra: float) -> Interval:
    """The interval, wider on both sides."""
    return Interval(value=interval.value, low=interval.low - extra, high=interval.high + extra)


def _unsettled(looks: Sequence[Look]) -> tuple[int, Look]:
    """The first fleet that has not settled."""
    return next((number, look) for number, look in enumerate(looks) if not look.settled)
