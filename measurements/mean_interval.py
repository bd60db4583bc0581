"""Interval of a mean, from samples in the order in which they were taken."""

import math
from collections.abc import Sequence
from itertools import pairwise

from capacity.performance import Interval

_SECTIONS = 20  # as many as the simulator takes


def mean_interval(samples: Sequence[float], confidence: float) -> Interval | None:
    """Mean with the ends of its interval, by Student's t over sections; None of a single sample.

    Samples that follow each other are alike where a machine has slow spells, and an interval that took them
    for independent would be too narrow; means of long sections are nearly independent (Law & Kelton 2000,
    Simulation Modeling and Analysis, sec. 9.5.3).
    """
    if len(samples) < 2:
        return None
    mean = math.fsum(samples) / len(samples)
    means = [math.fsum(section) / len(section) for section in sections(samples, _SECTIONS)]
    half = student_t(confidence, len(means) - 1) * math.sqrt(variance(means) / len(means))
    low = min(mean, max(mean - half, min(samples)))  # a mean may come out a digit below equal samples
    return Interval(value=mean, low=low, high=mean + half)


def sections(samples: Sequence[float], count: int) -> list[Sequence[float]]:
    """Stretches of samples, equally long; each sample alone where there are fewer than two to a section."""
    if len(samples) < 2 * count:
        return [[sample] for sample in samples]
    ends = [round(k * len(samples) / count) for k in range(count + 1)]
    return [samples[low:high] for low, high in pairwise(ends)]


def variance(values: Sequence[float]) -> float:
    """Unbiased sample variance of two values at least."""
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)


def student_t(confidence: float, freedom: float) -> float:
    """How many standard errors an interval reaches to either side."""
    from scipy.special import stdtrit  # heavy, and not to be loaded before what is measured

    return float(stdtrit(freedom, 0.5 + confidence / 2.0))
