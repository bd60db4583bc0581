"""Pool: the samples of many replications together, and their means, shares and quantiles."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import pairwise
from typing import Any, Self

import numpy as np

from capacity.confidence import share_high, student_t
from capacity.performance import Interval
from capacity.question.objective import Measure
from simulations.draws.records import Floats
from simulations.statistics.intervals import (
    Estimate,
    QuantileEstimate,
    ResampledEstimate,
    ResampledQuantile,
    level_of,
    like_many,
    without_noise,
)
from simulations.statistics.sample import Sample
from simulations.statistics.strata import Strata
from simulations.statistics.tally import EXACT_MAX, Tally

_SAME = 1e-9  # share of a response below which a difference is rounding
_START_LEVEL = 1e-3  # probability that a run without a trace of its start seems to have one
# Share of the mean response by which the halves of runs may differ that start near the steady state.
_DRIFT_MAX = 0.005
_FOLD = 32  # largest number of a section's samples that are kept apart
_CORRELATION_MAX = 0.9  # of neighbours; few sections cannot tell more from a trend
SECTIONS = 20  # groups of replications between which the scatter of an estimate is seen


Pair = tuple[Sample, Sample]


@dataclass(frozen=True, kw_only=True, eq=False)
class ProfileError:
    """Runs under the measured profile, and the same requests under profiles resampled from it.

    Attributes:
        halves: by resampled profile, two independent pairs: a run as measured, and the same requests under that
            profile. Several profiles share the runs as measured, but not all do, since the chance of one run would
            move them all alike.
        wanted: number of resampled profiles that an interval's percentiles take; fewer are enough for a normal law.
        known: number of independent samples behind a quantile of each batch size in use.
        run_requests: number of requests in each run.
    """

    halves: tuple[tuple[Pair, Pair], ...]
    wanted: int
    known: Callable[[float], Sequence[float]]
    run_requests: int

    @property
    def requests(self) -> int:
        """Number of requests simulated for it."""
        measured = {id(sample) for halves in self.halves for sample, _ in halves}
        return (len(measured) + 2 * len(self.halves)) * self.run_requests

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """Both halves joined, for each resampled profile: as measured, and the same requests under that profile."""
        whole: dict[tuple[int, int], Sample] = {}
        found = []
        for (measured, moved), (measured_too, moved_too) in self.halves:
            key = (id(measured), id(measured_too))
            if key not in whole:
                whole[key] = merged([measured, measured_too])
            found.append((whole[key], merged([moved, moved_too])))
        return tuple(found)

    def estimate(self, plain: Estimate, statistic: Callable[[Sample], float]) -> ResampledEstimate:
        """An estimate of a statistic, with its shifts by resampled profiles."""
        return ResampledEstimate(
            value=plain.value,
            standard_error=plain.standard_error,
            degrees=plain.degrees,
            moves=self._moves(statistic),
        )

    def quantile(self, plain: QuantileEstimate, tally: Callable[[Sample], Tally]) -> ResampledQuantile:
        """An estimate of a quantile, with its values under resampled profiles."""
        q = plain.quantile
        moved = [tally(one).quantile_s(q) for _, one in self.pairs]

        def level(pair: Pair) -> float:
            measured, moved = pair
            return level_of(tally(measured), tally(moved).quantile_s(q), q)

        levels = self._without_noise(level)
        return ResampledQuantile(
            quantile=q,
            value=plain.value,
            tally=plain.tally,
            above=plain.above,
            from_value=plain.from_value,
            levels=levels,
            moved=np.resize(moved, len(levels)),
            samples=self._samples_beyond(plain, tally),
        )

    def _moves(self, statistic: Callable[[Sample], float]) -> Floats:
        """Shifts of a statistic by resampled profiles, for the same requests, shape `(resamples,)`."""
        return self._without_noise(lambda pair: statistic(pair[1]) - statistic(pair[0]))

    def _without_noise(self, move: Callable[[Pair], float]) -> Floats:
        """Effect of each resampled profile, without the chance of its runs, shape `(resamples,)`."""
        whole = np.array([move(pair) for pair in self.pairs])
        own = without_noise(whole, np.array([[move(one), move(other)] for one, other in self.halves]))
        return own if len(own) == self.wanted else like_many(own, self.wanted)

    def _samples_beyond(self, plain: QuantileEstimate, tally: Callable[[Sample], Tally]) -> float:
        """Number of independent samples that would know the share beyond a quantile as well.

        It follows from the design effect (Kish 1965, Survey Sampling, sec. 8.2), between the smallest and the largest
        number measured of any size: no response is quicker than its service, whatever the queue adds.
        """
        known = self.known(plain.quantile)
        squares = float(np.mean(self._moves(lambda sample: tally(sample).share_from(plain.value)) ** 2))
        if squares == 0.0:
            return max(known)
        share = float(np.mean([tally(measured).share_from(plain.value) for measured, _ in self.pairs]))
        return min(max(known), max(min(known), share * (1.0 - share) / squares))


def drifts(rises: Floats, allowed: float) -> bool:
    """Whether second halves of runs are apart from the first by more than is allowed, beyond chance."""
    error = student_t(1.0 - _START_LEVEL, len(rises) - 1) * float(rises.std(ddof=1)) / math.sqrt(len(rises))
    return abs(float(rises.mean())) - allowed > error


@dataclass(frozen=True)
class Pool:
    """Replications in the order in which they came; the i-th belongs to section i mod `SECTIONS`.

    Attributes:
        parts: the samples of each section as one, or those of its strata.
        replications: number of replications.
        is_path: whether the sections are consecutive parts of one path, not independent runs.
        profile_error: the error of the profile's samples; None if it is left out or unknown.
        start_error: standard error that the start of the runs leaves in means, as a share of the mean response.
    """

    parts: tuple[Sample, ...] | tuple[Strata, ...]
    replications: int
    is_path: bool = False
    profile_error: ProfileError | None = None
    start_error: float = 0.0

    @classmethod
    def of(cls, samples: Iterable[Sample | Strata], start_error: float = 0.0) -> Self:
        """A pool of some replications."""
        return cls((), 0, start_error=start_error).extended(samples)

    @classmethod
    def of_path(cls, parts: Sequence[Sample]) -> Self:
        """A pool of the consecutive parts of one path."""
        return replace(cls.of(parts), is_path=True)

    def extended(self, samples: Iterable[Sample | Strata]) -> Self:
        """The pool with more replications."""
        groups: list[list[Any]] = [[part] for part in self.parts]
        replications = self.replications
        for sample in samples:
            if len(groups) < SECTIONS:
                groups.append([])
            group = groups[replications % SECTIONS]
            group.append(sample)
            if len(group) == _FOLD:  # so that memory does not grow with the replications
                group[:] = [type(sample).merged(group)]
            replications += 1
        parts = tuple(type(group[0]).merged(group) for group in groups)
        if sum(part.counted for part in parts) > EXACT_MAX:
            parts = tuple(part.in_cells() for part in parts)  # as the whole will be
        return replace(self, parts=parts, replications=replications)

    @cached_property
    def sections(self) -> tuple[Sample, ...]:
        """One sample of each section."""
        return tuple(part.as_one for part in self.parts)

    @cached_property
    def whole(self) -> Sample:
        """All replications as one sample."""
        return merged(self.parts)

    @property
    def counted(self) -> int:
        """Number of counted requests."""
        return sum(part.counted for part in self.parts)

    @property
    def batch_size_largest(self) -> int:
        """Largest batch of any replication."""
        return max(section.batch_size_largest for section in self.sections)

    @property
    def is_level(self) -> bool:
        """Whether no trace of an empty start is left, by the first half of each run against its second.

        The test is a one-sided t-test over replications of the difference of their means, in the spirit of Schruben,
        Singh & Tierney (1983), Operations Research 31(6), for a start that is too calm.
        """
        return self._rise_within(1.0 - 2.0 * _START_LEVEL, both_sides=False)

    @property
    def is_steady(self) -> bool:
        """Whether no more than a small trace is left of a start near the steady state, which may err to either side.

        As `is_level`, but two-sided, and a difference that is smaller than any precision asked for is no trace.
        """
        return self._rise_within(1.0 - _START_LEVEL, both_sides=True)

    def _rise_within(self, confidence: float, *, both_sides: bool) -> bool:
        """Whether the second halves of runs are as long as the first, as far as chance tells."""
        rises_s = np.array([rise_s for section in self.sections for rise_s in section.rises_s])
        error_s = float(rises_s.std(ddof=1)) / math.sqrt(len(rises_s))
        if error_s <= _SAME * float(self.sections[0].responses.values_s[-1]):
            return True  # nothing is random: all runs are the same run, which is in its cycle by now
        if both_sides:
            return not drifts(rises_s, _DRIFT_MAX * self.mean_s(Measure.RESPONSE_MEAN))
        return float(rises_s.mean()) <= student_t(confidence, len(rises_s) - 1) * error_s

    def response_quantile(self, quantile: float) -> QuantileEstimate:
        """Quantile of the pooled responses of served requests. [s]"""
        return self.quantile(quantile, responses)

    def wait_quantile(self, quantile: float) -> QuantileEstimate:
        """Quantile of the pooled waits of served requests. [s]"""
        return self.quantile(quantile, served(Measure.WAIT))

    def of_measure(self, measure: Measure, quantile: float) -> QuantileEstimate:
        """Quantile of a duration, counting a lost request as infinitely late. [s]"""
        return self.quantile(quantile, partial(with_lost, measure))

    def beyond(self, measure: Measure, limit_s: float) -> Estimate:
        """Share of the requests lost or later than a limit, exact if the limit was set beforehand."""

        def share(sample: Sample) -> float:
            return with_lost(measure, sample).share_above(limit_s)

        return self._resampled(self._share(share), share)

    def counts(self, measure: Measure) -> int:
        """The number of durations behind a measure, or behind its mean."""
        return self.whole.durations(measure.durations).count

    def mean(self, measure: Measure) -> Estimate:
        """The mean of a duration of served requests, with the error that the start leaves in it. [s]"""
        found = self.ratio(lambda sample: sample.total(measure)[0], lambda sample: sample.total(measure)[1])
        if self.start_error == 0.0:
            return found
        start_s = self.start_error * self.mean_s(Measure.RESPONSE_MEAN)
        return replace(found, standard_error=math.hypot(found.standard_error, start_s))

    def quantile_s(self, measure: Measure, quantile: float) -> float:
        """A quantile without an interval, such as of a single run. [s]"""
        return with_lost(measure, self.whole).quantile_s(quantile)

    def mean_s(self, measure: Measure) -> float:
        """A mean without an interval. [s]"""
        total_s, count = self.whole.total(measure)
        return total_s / count

    def mean_deviations_s(self, measure: Measure) -> Floats:
        """Deviation of each section's mean from the overall mean, shape `(sections,)`. [s]"""
        pairs = [section.total(measure) for section in self.sections]
        return np.array([total_s / count for total_s, count in pairs]) - self.mean_s(measure)

    @property
    def loss(self) -> Estimate:
        """Share of the requests that were rejected."""
        return self.ratio(lambda sample: sample.lost, lambda sample: sample.lost + sample.counted)

    @property
    def attempts(self) -> Estimate:
        """Mean attempts at a request, answered or not."""
        return self.ratio(lambda sample: sample.attempts, lambda sample: sample.lost + sample.counted)

    @property
    def retried(self) -> Estimate:
        """Share of the requests that took more than one attempt."""
        return self.ratio(lambda sample: sample.retried, lambda sample: sample.lost + sample.counted)

    def utilization(self, replicas: int) -> Estimate:
        """Share of time that each of this many replicas is busy."""
        return self.ratio(lambda sample: sample.busy_s, lambda sample: replicas * sample.window_s)

    @property
    def missed(self) -> Estimate:
        """Share of the requests beyond any limit of the objective, as lost ones are."""
        return self.ratio(lambda sample: sample.missed, lambda sample: sample.lost + sample.counted)

    def independent_exceedances(
        self, quantile: float, measures: Iterable[Measure] = (Measure.RESPONSE,)
    ) -> float:
        """How many independent durations beyond a quantile would say as much about it, of the measure known least.

        Lost requests count as beyond it.

        Durations come in bursts: what lies beyond a quantile comes from few busy periods. From the scatter
        of the sections, p(1 - p)/SE² independent ones say as much about the share p beyond (Kish 1965,
        Survey Sampling, sec. 8.2, the design effect).
        """
        return min(self.of_measure(measure, quantile).independent_exceedances for measure in measures)

    def ratio(self, above: Callable[[Sample], float], below: Callable[[Sample], float]) -> Estimate:
        """Ratio of two sums over the samples, its standard error by sectioning, each by its weight.

        Source:
            Cochran (1977), Sampling Techniques, sec. 6.4: by residuals, since a section may be one instant.
        """
        over = [below(section) for section in self.sections]
        total = math.fsum(over)
        pooled = math.fsum(map(above, self.sections)) / total
        mean = total / len(over)
        residuals = (above(section) - pooled * x for section, x in zip(self.sections, over, strict=True))
        plain = self._around(pooled, [pooled + residual / mean for residual in residuals])
        return self._resampled(plain, lambda sample: above(sample) / below(sample))

    def quantile(self, quantile: float, tally: Callable[[Sample], Tally]) -> QuantileEstimate:
        """Quantile of the pooled durations that `tally` picks. [s]"""
        whole = tally(self.whole)
        value = whole.quantile_s(quantile)
        plain = QuantileEstimate(
            quantile=quantile,
            value=value,
            tally=whole,
            above=self._share(lambda sample: tally(sample).share_above(value)),
            from_value=self._share(lambda sample: tally(sample).share_from(value)),
        )
        return plain if self.profile_error is None else self.profile_error.quantile(plain, tally)

    def _resampled(self, plain: Estimate, statistic: Callable[[Sample], float]) -> Estimate:
        return plain if self.profile_error is None else self.profile_error.estimate(plain, statistic)

    def _share(self, share: Callable[[Sample], float]) -> Estimate:
        """A share of the durations, its standard error by sectioning.

        Source:
            Asmussen & Glynn (2007), Stochastic Simulation, sec. III.5a.
        """
        return self._around(share(self.whole), [share(section) for section in self.sections])

    def _around(self, pooled: float, sections: Sequence[float]) -> Estimate:
        """The pooled value, with the error from the scatter of the sections around it.

        Correlated sections of one path are worth fewer independent ones: their error grows by √((1 + r)/(1 - r)) for
        a correlation r > 0 of neighbours, as for a process that forgets geometrically (Box, Jenkins & Reinsel 1994,
        Time Series Analysis, sec. 2.1.6). The sample's r is low by (1 + 3r)/n (Marriott & Pope 1954, Biometrika 41).
        """
        squares = math.fsum((section - pooled) ** 2 for section in sections)
        degrees = len(sections) - 1
        error = math.sqrt(squares / degrees / len(sections))
        if self.is_path and squares > 0.0:
            products = math.fsum((a - pooled) * (b - pooled) for a, b in pairwise(sections))
            count = len(sections)
            alike = (products / squares + 1.0 / count) / max(1.0 - 3.0 / count, 0.25)
            alike = min(max(0.0, alike), _CORRELATION_MAX)
            error *= math.sqrt((1.0 + alike) / (1.0 - alike))
        return Estimate(value=pooled, standard_error=error, degrees=degrees)

    def loss_interval(self, confidence: float) -> Interval:
        """Interval of the share of lost requests: by sections, since they come in clusters, and by number."""
        whole = self.whole
        exact = share_high(whole.lost, whole.lost + whole.counted, confidence)
        interval = self.loss.interval(confidence)
        return within_one(replace(interval, high=max(interval.high, exact)))

    def retried_interval(self, confidence: float) -> Interval:
        """Interval of the share of requests with more than one attempt: by sections, and by their number."""
        whole, interval = self.whole, self.retried.interval(confidence)
        exact = share_high(whole.retried, whole.lost + whole.counted, confidence)
        return within_one(replace(interval, high=max(interval.high, exact)))

    def missed_interval(self, confidence: float) -> Interval:
        """Interval of the share of requests beyond any limit: by sections, and by their number."""
        whole = self.whole
        exact = share_high(whole.missed, whole.lost + whole.counted, confidence)
        if not whole.missed:
            return Interval(value=0.0, low=0.0, high=exact)
        found = self.missed.interval(confidence)
        return Interval(value=found.value, low=found.low, high=min(1.0, max(found.high, exact)))


def merged(parts: Sequence[Sample | Strata]) -> Sample:
    """Several runs, with or without strata, as one sample."""
    kind: Any = type(parts[0])
    whole: Sample = kind.merged(parts).as_one
    return whole


def within_one(interval: Interval) -> Interval:
    """The interval of a share, which is never above 1."""
    value, low, high = (min(1.0, x) for x in (interval.value, interval.low, interval.high))
    return Interval(value=value, low=low, high=high)


def responses(sample: Sample) -> Tally:
    """The responses of served requests."""
    return sample.responses


def served(measure: Measure) -> Callable[[Sample], Tally]:
    """The durations of served requests in a sample."""
    return lambda sample: sample.durations(measure)


def with_lost(measure: Measure, sample: Sample) -> Tally:
    """The durations of a measure, those of lost requests infinite."""
    return sample.durations(measure).with_lost(sample.lost_of(measure))
