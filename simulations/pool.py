"""Pool: the samples of many replications together, and the intervals that they deserve."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from capacity.performance import Interval, Kind, Performance
from simulations.records import Floats
from simulations.replication import Sample

SECTIONS = 20  # groups of replications between which the scatter of an estimate is seen


def student_t(confidence: float, degrees: int) -> float:
    """Two-sided quantile of Student's t."""
    return float(stdtrit(degrees, 0.5 + confidence / 2.0))


def quantile_of(values: Floats, quantile: float) -> float:
    """Smallest value that a share `quantile` of the values does not exceed; an atom comes out exactly."""
    rank = max(math.ceil(quantile * len(values) - 1e-9), 1) - 1
    return float(np.partition(values, rank)[rank])


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
        """Whether most replications found a level after their warm-up."""
        return 2 * sum(sample.warm_up_found for sample in self.samples) > len(self.samples)

    @property
    def batch_size_largest(self) -> int:
        """Largest batch of any replication."""
        return max(sample.batch_size_largest for sample in self.samples)

    def response_quantile(self, quantile: float, confidence: float) -> Interval:
        """Quantile of the pooled responses, its half-width by sectioning. [s]

        Source:
            Asmussen & Glynn (2007), Stochastic Simulation, sec. III.5a (sectioning): the scatter of the
            sections' quantiles is taken around the pooled one, not around their mean, which is biased.
        """
        return self._sectioned(lambda x: quantile_of(x, quantile), _responses, confidence)

    def wait_quantile(self, quantile: float, confidence: float) -> Interval:
        """Quantile of the pooled waits, its half-width by sectioning. [s]"""
        return self._sectioned(lambda x: quantile_of(x, quantile), _waits, confidence)

    def exceedance(self, limit_s: float, confidence: float) -> Interval:
        """Share of the responses above a limit."""
        return self._sectioned(lambda x: float(np.mean(x > limit_s)), _responses, confidence)

    def mean(self, values: Callable[[Sample], Floats], confidence: float) -> Interval:
        """Mean over requests of what `values` takes from each sample."""
        return self._sectioned(lambda x: float(x.mean()), values, confidence)

    def performance(self, *, load: float, quantiles: Sequence[float], confidence: float) -> Performance:
        """All quantities of a steady state, with intervals for the quantiles."""
        window_s = math.fsum(sample.window_s for sample in self.samples)

        def over_time(value: Callable[[Sample], float]) -> float:
            return math.fsum(value(sample) * sample.window_s for sample in self.samples) / window_s

        waits_s = np.concatenate([sample.wait_s for sample in self.samples])
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
            loss_probability=0.0,
            wait_quantiles_s={q: self.wait_quantile(q, confidence) for q in quantiles},
            response_quantiles_s={q: self.response_quantile(q, confidence) for q in quantiles},
        )

    def _sectioned(
        self,
        statistic: Callable[[Floats], float],
        values: Callable[[Sample], Floats],
        confidence: float,
    ) -> Interval:
        """Statistic of the pooled values, with Student-t ends from its scatter over sections."""
        groups = [self.samples[first::SECTIONS] for first in range(min(SECTIONS, len(self.samples)))]
        sections = [np.concatenate([values(sample) for sample in group]) for group in groups]
        pooled = statistic(np.concatenate(sections))
        squares = math.fsum((statistic(section) - pooled) ** 2 for section in sections)
        count = len(sections)
        half_width = student_t(confidence, count - 1) * math.sqrt(squares / (count - 1) / count)
        return Interval(value=pooled, low=max(0.0, pooled - half_width), high=pooled + half_width)


def _responses(sample: Sample) -> Floats:
    return sample.response_s


def _waits(sample: Sample) -> Floats:
    return sample.wait_s
