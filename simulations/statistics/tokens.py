"""Token samples: runs of a language model's fleet, reduced to what statistics need, and pools of them."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np
import numpy.typing as npt

from capacity.confidence import share_high
from capacity.performance import Interval, Kind, Performance
from capacity.question.objective import Measure, Objective
from simulations.draws.cells import edges, middle
from simulations.draws.records import Floats, Integers
from simulations.draws.tokens import TokenDraws, TokenRecords
from simulations.statistics.intervals import Estimate, QuantileEstimate
from simulations.statistics.pool import Pool
from simulations.statistics.sample import Sample, Tally, mixed

Flags = npt.NDArray[np.bool_]
Part = slice | Integers  # requests of a run, by their numbers
_NO_MARKS = np.zeros(0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TokenSample(Sample):
    """Observations of one run of the counted requests, or of several; `waits` are times to first token.

    Attributes:
        tpot: tally of requests with two or more output tokens.
        itl: tally of times between output tokens, while the counted requests arrived.
        missed: number of requests that missed a limit.
        output_tokens, preemptions: totals of the counted requests.
        engine_s: total time of the counted requests at their engine. [s]
        running_s, block_s: integrals over that time of running requests and of the share of the cache in use.
    """

    tpot: Tally = field(repr=False)
    itl: Tally = field(repr=False)
    missed: float
    output_tokens: float
    preemptions: float
    engine_s: float
    running_s: float
    block_s: float

    def in_cells(self) -> "TokenSample":
        """The sample with its durations in cells."""
        return replace(
            self, waits=self.waits.in_cells(), responses=self.responses.in_cells(), tpot=self.tpot.in_cells()
        )

    @classmethod
    def merged(cls, samples: Sequence[Sample]) -> "TokenSample":
        """Several runs as one."""
        ours = cast("Sequence[TokenSample]", samples)
        if len(ours) == 1:
            return ours[0]
        whole = Sample.merged(ours)
        return cls(
            **{name: getattr(whole, name) for name in Sample.__slots__},
            tpot=Tally.merged([one.tpot for one in ours]),
            itl=Tally.merged([one.itl for one in ours]),
            missed=sum(one.missed for one in ours),
            output_tokens=sum(one.output_tokens for one in ours),
            preemptions=sum(one.preemptions for one in ours),
            engine_s=math.fsum(one.engine_s for one in ours),
            running_s=math.fsum(one.running_s for one in ours),
            block_s=math.fsum(one.block_s for one in ours),
        )

    @classmethod
    def mixed(cls, samples: Sequence[Sample], factors: Sequence[float]) -> "TokenSample":
        """Samples of the same runs as one, each counted with its factor, whole or not."""
        ours = cast("Sequence[TokenSample]", samples)
        whole = Sample.mixed(ours, factors)
        return cls(
            **{name: getattr(whole, name) for name in Sample.__slots__},
            tpot=Tally.mixed([one.tpot for one in ours], factors),
            itl=Tally.mixed([one.itl for one in ours], factors),
            missed=mixed([one.missed for one in ours], factors),
            output_tokens=mixed([one.output_tokens for one in ours], factors),
            preemptions=mixed([one.preemptions for one in ours], factors),
            engine_s=mixed([one.engine_s for one in ours], factors),
            running_s=mixed([one.running_s for one in ours], factors),
            block_s=mixed([one.block_s for one in ours], factors),
        )


def token_sample(
    draws: TokenDraws,
    records: TokenRecords,
    objective: Objective,
    *,
    overhead_s: Floats,
    part: Part,
    window_s: float,
    blocks: int,
    middle: int | None = None,
) -> TokenSample:
    """The sample of some requests of a run, by their numbers.

    Args:
        overhead_s: time of each request outside the engine, added to its first token and all that follow. [s]
        window_s: time that the counted requests stand for. [s]
        blocks: number of blocks in one cache.
        middle: how many of them are of the first half of the run; None for half of them. In a stratum with one burst
            these would be its beginning, which is always calmer than its end.
    """
    arrived_s, output = draws.arrived_s[part], draws.output_tokens[part]
    ttft_s = records.first_s[part] - arrived_s + overhead_s[part]
    response_s = records.finished_s[part] - arrived_s + overhead_s[part]
    has_more = output > 1
    tpot_s = (records.finished_s[part] - records.first_s[part])[has_more] / (output[has_more] - 1)
    gaps_s = float((records.finished_s[part] - records.first_s[part]).sum())
    middle = len(response_s) // 2 if middle is None else middle
    return TokenSample(
        waits=Tally.of(ttft_s, _marks(objective.by_quantile(Measure.TTFT))),
        responses=Tally.of(response_s, _marks(objective.by_quantile(Measure.RESPONSE))),
        tpot=Tally.of(tpot_s, _marks(objective.by_quantile(Measure.TPOT))),
        itl=_gaps(records.gap_counts, gaps_s),
        missed=_missed(objective, ttft_s, response_s, tpot_s, has_more),
        window_s=window_s,
        busy_s=records.busy_s,
        batches=float(records.steps),
        batch_size_largest=int(records.largest[0]),
        lost=0,
        rises_s=(_rise_s(response_s[:middle], response_s[middle:]),),
        output_tokens=int(output.sum()),
        preemptions=int(records.preemptions[part].sum()),
        engine_s=float((records.finished_s[part] - arrived_s).sum()),
        running_s=records.running_s,
        block_s=records.block_s / blocks,
    )


def _rise_s(before_s: Floats, after_s: Floats) -> float:
    """The rise of the mean from the first half to the second; 0 if a half has no durations. [s]"""
    return float(after_s.mean() - before_s.mean()) if len(before_s) and len(after_s) else 0.0


def _marks(limits: object) -> Floats:
    return np.unique(np.array(sorted(cast("dict[float, float]", limits).values()), dtype=float))


def _missed(objective: Objective, ttft_s: Floats, response_s: Floats, tpot_s: Floats, has_more: Flags) -> int:
    """Number of requests beyond any limit; a request's own gaps are as long as their mean."""
    limits = objective.together
    late = np.zeros(len(ttft_s), dtype=bool)
    late |= ttft_s > limits.get(Measure.TTFT, math.inf)
    late |= response_s > limits.get(Measure.RESPONSE, math.inf)
    late[has_more] |= tpot_s > min(limits.get(Measure.TPOT, math.inf), limits.get(Measure.ITL, math.inf))
    return int(late.sum())


def _gaps(counts: Integers, total_s: float) -> Tally:
    """The tally of gaps that were counted in cells."""
    used = np.flatnonzero(counts)
    low_s, high_s = edges(used - 1)
    return Tally(
        values_s=middle(low_s, high_s),
        counts=counts[used],
        total_s=total_s,
        marks_s=_NO_MARKS,
        is_exact=False,
    )


TALLIES: dict[Measure, Callable[[Sample], Tally]] = {
    Measure.TTFT: lambda sample: sample.waits,
    Measure.RESPONSE: lambda sample: sample.responses,
    Measure.TPOT: lambda sample: cast("TokenSample", sample).tpot,
    Measure.ITL: lambda sample: cast("TokenSample", sample).itl,
}
MEANS = {
    Measure.TTFT_MEAN: Measure.TTFT,
    Measure.TPOT_MEAN: Measure.TPOT,
    Measure.ITL_MEAN: Measure.ITL,
    Measure.RESPONSE_MEAN: Measure.RESPONSE,
}


def _total(measure: Measure, sample: Sample) -> tuple[float, float]:
    """Sum of the durations [s] and their number; gaps are counted by requests, whose responses they fill."""
    tally = TALLIES[MEANS[measure]](sample)
    gaps = cast("TokenSample", sample).output_tokens - sample.counted
    return tally.total_s, max(1, gaps if measure is Measure.ITL_MEAN else tally.count)


class TokenPool(Pool):
    """Replications of a language model's fleet together."""

    def of_measure(self, measure: Measure, quantile: float) -> QuantileEstimate:
        """A quantile of one of the four durations. [s]"""
        return self.quantile(quantile, TALLIES[measure])

    def independent_exceedances_of(self, measures: Iterable[Measure], quantile: float) -> float:
        """The smallest number of independent exceedances of any measure."""
        return min(self.of_measure(measure, quantile).independent_exceedances for measure in measures)

    def counts(self, measure: Measure) -> int:
        """The number of durations behind a measure, or behind its mean."""
        return TALLIES[MEANS.get(measure, measure)](self.whole).count

    def quantile_s(self, measure: Measure, quantile: float) -> float:
        """A quantile without an interval, for example of a single run."""
        return TALLIES[measure](self.whole).quantile_s(quantile)

    def mean_s(self, measure: Measure) -> float:
        """A mean duration without an interval."""
        total_s, count = _total(measure, self.whole)
        return total_s / count

    def beyond(self, measure: Measure, limit_s: float) -> Estimate:
        """The share of one of the four durations beyond a limit."""
        return self._share(lambda sample: TALLIES[measure](sample).share_above(limit_s))

    def mean(self, measure: Measure) -> Estimate:
        """A mean duration. [s]"""
        return self.ratio(
            lambda sample: _total(measure, sample)[0], lambda sample: _total(measure, sample)[1]
        )

    def mean_deviations_s(self, measure: Measure) -> Floats:
        """Deviation of each section's mean from the overall mean. [s]"""
        pairs = [_total(measure, section) for section in self.sections]
        return np.array([total_s / count for total_s, count in pairs]) - self.mean_s(measure)

    @property
    def missed(self) -> Estimate:
        """Share of requests beyond any limit."""
        return self.ratio(lambda sample: cast("TokenSample", sample).missed, lambda sample: sample.counted)

    def tokens_performance(
        self,
        *,
        load: float | None,
        replicas: int,
        simulated: int,
        quantiles: Sequence[float],
        confidence: float,
        has_limits: bool,
        kind: Kind = Kind.SIMULATION,
    ) -> Performance:
        """All quantities of the fleet, with intervals for its quantiles and means.

        Args:
            replicas, simulated: replicas of the fleet, and how many of them were simulated for it.
        """
        whole = cast("TokenSample", self.whole)
        times = replicas / simulated
        has_intervals = len(self.sections) > 1

        def found(measure: Measure, q: float) -> Interval:
            if has_intervals:
                return self.of_measure(measure, q).interval(confidence)
            return Interval.exact(TALLIES[measure](whole).quantile_s(q))

        def by_quantile(measure: Measure) -> dict[float, Interval]:
            return {q: found(measure, q) for q in quantiles} if TALLIES[measure](whole).count else {}

        means = {m: self.mean(m) if has_intervals else None for m in MEANS}
        gaps = whole.output_tokens - whole.counted
        return Performance(
            kind=kind,
            load=load,
            utilization=min(1.0, whole.busy_s / (simulated * whole.window_s)),
            throughput_rps=times * whole.counted / whole.window_s,
            output_tokens_per_s=times * whole.output_tokens / whole.window_s,
            ttft_mean_s=whole.waits.total_s / whole.counted,
            tpot_mean_s=whole.tpot.total_s / whole.tpot.count if whole.tpot.count else None,
            itl_mean_s=whole.itl.total_s / gaps if gaps else None,
            response_mean_s=whole.responses.total_s / whole.counted,
            goodput=1.0 - whole.missed / whole.counted if has_limits else None,
            preemption_rate=whole.preemptions / whole.counted,
            kv_utilization=whole.block_s / whole.busy_s if whole.busy_s else 0.0,
            running_mean=times * whole.running_s / whole.window_s,
            queue_length_mean=times * max(0.0, (whole.engine_s - whole.running_s) / whole.window_s),
            in_system_mean=times * whole.responses.total_s / whole.window_s,
            ttft_quantiles_s=by_quantile(Measure.TTFT),
            tpot_quantiles_s=by_quantile(Measure.TPOT),
            itl_quantiles_s=by_quantile(Measure.ITL),
            response_quantiles_s=by_quantile(Measure.RESPONSE),
            intervals=self._token_intervals(means, confidence, has_limits=has_limits)
            if has_intervals
            else {},
        )

    def _token_intervals(
        self, means: "dict[Measure, Estimate | None]", confidence: float, *, has_limits: bool
    ) -> dict[str, Interval]:
        """Intervals of means, by field name, and of the share of requests beyond a limit."""
        found = {
            measure.value: estimate.interval(confidence)
            for measure, estimate in means.items()
            if estimate is not None and estimate.value > 0.0
        }
        if has_limits:
            found["missed_share"] = self.missed_interval(confidence)
        return found

    def missed_interval(self, confidence: float) -> Interval:
        """Interval of the share of requests beyond any limit: by sections, and by their number."""
        whole = cast("TokenSample", self.whole)
        exact = share_high(whole.missed, whole.counted, confidence)
        if not whole.missed:
            return Interval(value=0.0, low=0.0, high=exact)
        found = self.missed.interval(confidence)
        return Interval(value=found.value, low=found.low, high=min(1.0, max(found.high, exact)))
