"""Pool: the samples of many replications together, and the intervals that they deserve."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from capacity.performance import Interval, Kind, Performance
from simulations.records import Floats
from simulations.replication import Sample

_SAME = 1e-9  # share of a response below which a difference is rounding
_START_LEVEL = 1e-3  # how often a run without a trace of its start is taken for one with
SECTIONS = 20  # groups of replications between which the scatter of an estimate is seen


def student_t(confidence: float, degrees: int) -> float:
    """Two-sided quantile of Student's t."""
    return float(stdtrit(degrees, 0.5 + confidence / 2.0))


def quantile_of(values: Floats, quantile: float) -> float:
    """Smallest value that a share `quantile` of the values does not exceed; an atom comes out exactly."""
    rank = max(math.ceil(quantile * len(values) - 1e-9), 1) - 1
    return float(np.partition(values, rank)[rank])


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A statistic with its standard error and the degrees of freedom of that."""

    value: float
    standard_error: float
    degrees: int

    def interval(self, confidence: float) -> Interval:
        """Student-t interval; a duration or a probability is never below 0."""
        half_width = student_t(confidence, self.degrees) * self.standard_error
        return Interval(value=self.value, low=max(0.0, self.value - half_width), high=self.value + half_width)


@dataclass(frozen=True, slots=True)
class Pool:
    """Samples in the order of their replications; replication i belongs to section i mod `SECTIONS`."""

    samples: Sequence[Sample]

    @property
    def counted(self) -> int:
        """Requests that count."""
        return sum(len(sample.response_s) for sample in self.samples)

    @property
    def responses_s(self) -> Floats:
        """All counted response times, shape `(counted,)`. [s]"""
        return np.concatenate([sample.response_s for sample in self.samples])

    @property
    def settled(self) -> bool:
        """Whether nothing is left of the start: the first half of each run against its second.

        A one-sided t-test over replications of the difference of their means, in the spirit of
        Schruben, Singh & Tierney (1983), Operations Research 31(6), for a start that is too calm.
        """
        rises_s = np.array([_rise_s(sample.response_s) for sample in self.samples])
        error_s = float(rises_s.std(ddof=1)) / math.sqrt(len(rises_s))
        if error_s <= _SAME * float(np.abs(self.samples[0].response_s).max()):
            return True  # nothing is left to chance: all runs are one run, in its cycle by now
        return float(rises_s.mean()) <= student_t(1.0 - 2.0 * _START_LEVEL, len(rises_s) - 1) * error_s

    @property
    def batch_size_largest(self) -> int:
        """Largest batch of any replication."""
        return max(sample.batch_size_largest for sample in self.samples)

    def response_quantile(self, quantile: float) -> "Estimate":
        """Quantile of the pooled responses. [s]"""
        return self.estimate(lambda x: quantile_of(x, quantile), _responses)

    def wait_quantile(self, quantile: float) -> "Estimate":
        """Quantile of the pooled waits. [s]"""
        return self.estimate(lambda x: quantile_of(x, quantile), _waits)

    def exceedance(self, limit_s: float) -> "Estimate":
        """Share of the responses above a limit."""
        return self.estimate(lambda x: float(np.mean(x > limit_s)), _responses)

    def estimate(
        self, statistic: Callable[[Floats], float], values: Callable[[Sample], Floats]
    ) -> "Estimate":
        """Statistic of the pooled values, its standard error by sectioning.

        Source:
            Asmussen & Glynn (2007), Stochastic Simulation, sec. III.5a: the scatter of the sections'
            quantiles is taken around the pooled one, not around their mean, which is biased.
        """
        sections = [np.concatenate([values(sample) for sample in group]) for group in self._sections]
        pooled = statistic(np.concatenate(sections))
        return _estimate_around(pooled, [statistic(section) for section in sections])

    def ratio(self, above: Callable[[Sample], float], below: Callable[[Sample], float]) -> "Estimate":
        """Ratio of two sums over the samples, its standard error by sectioning."""

        def of(samples: Sequence[Sample]) -> float:
            return math.fsum(map(above, samples)) / math.fsum(map(below, samples))

        return _estimate_around(of(self.samples), [of(group) for group in self._sections])

    @property
    def _sections(self) -> list[Sequence[Sample]]:
        return [self.samples[first::SECTIONS] for first in range(min(SECTIONS, len(self.samples)))]

    def performance(
        self, *, load: float | None, quantiles: Sequence[float], confidence: float
    ) -> Performance:
        """All quantities of a steady state, with intervals for the quantiles."""
        window_s = math.fsum(sample.window_s for sample in self.samples)

        def over_time(value: Callable[[Sample], float]) -> float:
            return math.fsum(value(sample) * sample.window_s for sample in self.samples) / window_s

        waits_s = np.concatenate([sample.wait_s for sample in self.samples])
        lost = math.fsum(sample.lost for sample in self.samples)
        return Performance(
            kind=Kind.SIMULATION,
            load=load,
            utilization=over_time(lambda sample: sample.busy_share),
            throughput_rps=sum(sample.finished for sample in self.samples) / window_s,
            batch_size_mean=self.counted / math.fsum(sample.batches for sample in self.samples),
            wait_probability=float(np.mean(waits_s > 0.0)),
            queue_length_mean=over_time(lambda sample: sample.queue_length_mean),
            in_system_mean=over_time(lambda sample: sample.in_system_mean),
            wait_mean_s=float(waits_s.mean()),
            response_mean_s=float(self.responses_s.mean()),
            loss_probability=lost / (lost + self.counted),
            wait_quantiles_s={q: self.wait_quantile(q).interval(confidence) for q in quantiles},
            response_quantiles_s={q: self.response_quantile(q).interval(confidence) for q in quantiles},
        )


def _estimate_around(pooled: float, sections: Sequence[float]) -> Estimate:
    squares = math.fsum((section - pooled) ** 2 for section in sections)
    degrees = len(sections) - 1
    return Estimate(
        value=pooled,
        standard_error=math.sqrt(squares / degrees / len(sections)),
        degrees=degrees,
    )


def _rise_s(responses_s: Floats) -> float:
    """Mean of the second half less that of the first."""
    half = len(responses_s) // 2
    return float(responses_s[half:].mean() - responses_s[:half].mean())


def _responses(sample: Sample) -> Floats:
    return sample.response_s


def _waits(sample: Sample) -> Floats:
    return sample.wait_s
