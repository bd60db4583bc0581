"""Interval of a mean, from samples in the order in which they were taken."""

import math
from collections.abc import Sequence
from itertools import pairwise

from capacity.performance import Interval

SECTIONS_MAX = 20  # as many as the simulator takes
SECTIONS_MIN = 10  # fewer do not tell how alike neighbours are
_CORRELATION_MAX = 0.9  # of neighbours; few sections cannot tell more from a trend


def mean_interval(samples: Sequence[float], confidence: float) -> Interval | None:
    """Mean with the ends of its interval, by Student's t over sections; None of a single sample.

    Samples that follow each other are alike where a machine has slow spells, and an interval that took them
    for independent would be too narrow; means of long sections are nearly independent (Law & Kelton 2000,
    Simulation Modeling and Analysis, sec. 9.5.3), and what is left of their likeness widens it.
    """
    if len(samples) < 2:
        return None
    mean = math.fsum(samples) / len(samples)
    half = half_width(section_means(samples), confidence)
    low = min(mean, max(mean - half, min(samples)))  # a mean may come out a digit below equal samples
    return Interval(value=mean, low=low, high=mean + half)


def ratio_interval(sums: Sequence[float], counts: Sequence[float], confidence: float) -> Interval | None:
    """Sum over count with the ends of its interval, from what consecutive sections had of each.

    None where fewer than ten sections had any. A section counts by as much as was in it: what scatters is
    its sum less its count times the mean of all.

    Source:
        Cochran (1977), Sampling Techniques, 3rd ed., sec. 6.3, for the error of a ratio.
    """
    parts = [(sum_, count) for sum_, count in zip(sums, counts, strict=True) if count > 0.0]
    if len(parts) < SECTIONS_MIN:
        return None
    total = math.fsum(count for _, count in parts)
    mean = math.fsum(sum_ for sum_, _ in parts) / total
    half = half_width([sum_ - mean * count for sum_, count in parts], confidence) * len(parts) / total
    return Interval(value=mean, low=max(0.0, mean - half), high=mean + half)


def half_width(means: Sequence[float], confidence: float) -> float:
    """Student's t times the standard error of the mean of consecutive sections.

    Fewer than ten sections, which tell nothing of how alike neighbours are, are taken for independent.
    """
    count = len(means)
    middle = math.fsum(means) / count
    apart = [mean - middle for mean in means]
    squares = math.fsum(one * one for one in apart)
    if squares == 0.0:
        return 0.0
    error = math.sqrt(squares / (count - 1) / count)
    if count >= SECTIONS_MIN:
        error *= widened(math.fsum(one * other for one, other in pairwise(apart)) / squares, count)
    return student_t(confidence, count - 1) * error


def widened(alike: float, sections: int) -> float:
    """How many times larger an error is where sections resemble their neighbours.

    They are worth fewer independent ones: the error grows by sqrt((1 + r)/(1 - r)) for a correlation r > 0,
    as of a process that forgets geometrically (Box, Jenkins & Reinsel 1994, Time Series Analysis,
    sec. 2.1.6). The sample's r is low by (1 + 3r)/n (Marriott & Pope 1954, Biometrika 41).

    Args:
        alike: r of the sample.
        sections: n, that were about one mean.
    """
    alike = min(max(0.0, (alike + 1.0 / sections) / (1.0 - 3.0 / sections)), _CORRELATION_MAX)
    return math.sqrt((1.0 + alike) / (1.0 - alike))


def section_means(samples: Sequence[float]) -> list[float]:
    """Of twenty sections."""
    return [math.fsum(section) / len(section) for section in sections(samples, SECTIONS_MAX)]


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
