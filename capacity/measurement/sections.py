"""Sections: intervals of what was measured in sequence, by consecutive sections.

Consecutive samples are alike if a machine has slow spells or a queue has busy periods, and an interval that took them
for independent would be too narrow. Sections that are long enough are nearly independent; the correlation that is
left widens the interval.

Source:
    Law (2015), Simulation Modeling and Analysis, sec. 9.5.3, for batch means;
    Woodruff (1952), JASA 47(260), for the interval of a quantile by way of the share beyond it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import curve_fit
from scipy.special import ndtri

from capacity.confidence import share_high, student_t
from capacity.errors import InconclusiveError
from capacity.measurement.rounds import TimedBatch
from capacity.performance import Interval
from capacity.profile.profile import Spells

Floats = npt.NDArray[np.float64]
Values = Sequence[float] | Floats

SECTIONS_MAX = 20  # as many as the simulator takes
SECTIONS_MIN = 10  # fewer do not tell how alike neighbours are
_CORRELATION_MAX = 0.9  # of neighbours; few sections cannot tell more from a trend
# Requests in a section on the rarer side of a quantile, below which its share there is mostly rounding.
_RARE_PER_SECTION = 5
# Fewest requests for an interval of a mean or a share; and of a rate.
REQUESTS_MIN, _EVENTS_MIN = 100, 200
DRIFT_SAMPLES_MIN, _DRIFT_SECTIONS = 20, 10  # samples in both halves together; sections of one half
# A batch beyond three times the median stalled; or beyond the median by 10 ms, about a scheduler's time slice, unless
# batches are so long that this is their ordinary spread.
_STALL_RATIO, _STALL_RATIO_MIN, _STALL_BEYOND_S = 3.0, 1.5, 0.010


def sections(samples: Values, count: int) -> list[Values]:
    """Stretches of samples of equal length; each sample alone if there are fewer than two to a section."""
    if len(samples) < 2 * count:
        count = len(samples)
    ends = [round(k * len(samples) / count) for k in range(count + 1)] if count else [0]
    return [samples[low:high] for low, high in pairwise(ends)]


def mean_interval(samples: Values, confidence: float) -> Interval | None:
    """Mean with its interval, by Student's t over sections; None with a single sample."""
    if len(samples) < 2:
        return None
    half = half_width([_mean(section) for section in sections(samples, SECTIONS_MAX)], confidence)
    mean, least = _mean(samples), float(np.min(samples))
    low = min(mean, max(mean - half, least))  # a mean may come out a digit below equal samples
    return Interval(value=mean, low=low, high=mean + half)


def ratio_interval(sums: Sequence[float], counts: Sequence[float], confidence: float) -> Interval | None:
    """Sum over count with its interval, from the sum and count of consecutive sections.

    None if fewer than ten sections had any. A section counts in proportion to its content: the scatter is that of its
    sum less its count times the overall mean.

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


def requests_min(quantile: float) -> int:
    """Fewest requests for the interval of a quantile."""
    return math.ceil(SECTIONS_MIN * _RARE_PER_SECTION / _rare_share(quantile))


def _rare_share(quantile: float) -> float:
    return round(min(quantile, 1.0 - quantile), 12)


def quantile_interval(
    values: Floats, quantile: float, confidence: float, at_most: Floats | None = None
) -> Interval | None:
    """Quantile of values in order of time; None if they are too few for an interval.

    The share beyond the quantile is a mean, whose scatter between sections is known; the ends are the values at that
    many standard errors of the share lower and higher. Quantiles of sections would be biased, and hardly notice a
    burst.

    Args:
        at_most: upper bounds of values that are only known to be reached, such as of a request that was given up; may
            be infinite. The interval is open above if it reaches these.
    """
    count = min(SECTIONS_MAX, int(_rare_share(quantile) * len(values) / _RARE_PER_SECTION + 1e-9))
    if count < SECTIONS_MIN:
        return None
    value = smallest_reaching(values, quantile)
    lower, higher = (
        half_width([_mean(section) for section in sections(beyond.astype(np.float64), count)], confidence)
        for beyond in (values >= value, values > value)
    )
    return Interval(
        value=value,
        low=smallest_reaching(values, max(0.0, quantile - lower)),
        high=smallest_reaching(values if at_most is None else at_most, min(1.0, quantile + higher)),
    )


def smallest_reaching(values: Floats, quantile: float) -> float:
    """The smallest value that at least this share of the values stays within."""
    return float(np.quantile(values, quantile, method="inverted_cdf"))


def share_interval(happened: Floats, confidence: float) -> Interval | None:
    """Share of ones among ones and zeros: by sections, as they may come in clusters, and by their number."""
    interval = mean_interval(happened, confidence)
    if interval is None or len(happened) < REQUESTS_MIN:
        return None
    exact = share_high(int(happened.sum()), len(happened), confidence)
    return replace(interval, high=min(1.0, max(interval.high, exact)))


def rate_interval(instants_s: Floats, end_s: float, confidence: float) -> Interval | None:
    """Events per second from 0 to an end, from their numbers in equal parts of it; None with too few."""
    if end_s <= 0.0 or len(instants_s) < _EVENTS_MIN:
        return None
    counts, _ = np.histogram(instants_s, bins=SECTIONS_MAX, range=(0.0, end_s))
    rates_rps = (counts * (SECTIONS_MAX / end_s)).tolist()
    value, half = _mean(rates_rps), half_width(rates_rps, confidence)
    return Interval(value=value, low=max(0.0, value - half), high=value + half)


def half_width(means: Sequence[float], confidence: float) -> float:
    """Student's t times the standard error of the mean of consecutive sections.

    Fewer than ten sections, which cannot show how alike neighbours are, count as independent.
    """
    count = len(means)
    apart = np.asarray(means) - _mean(means)
    squares = float(apart @ apart)
    if squares == 0.0:
        return 0.0
    error = math.sqrt(squares / (count - 1) / count)
    if count >= SECTIONS_MIN:
        error *= _widened(float(apart[1:] @ apart[:-1]) / squares, count)
    return student_t(confidence, count - 1) * error


def _widened(alike: float, count: int) -> float:
    """Factor by which an error grows because sections resemble their neighbours.

    The error grows by sqrt((1 + r)/(1 - r)) for a correlation r > 0, as for a process that forgets geometrically
    (Box, Jenkins & Reinsel 1994, Time Series Analysis, sec. 2.1.6). The sample's r, `alike`, is low by (1 + 3r)/n
    (Marriott & Pope 1954, Biometrika 41).
    """
    alike = min(max(0.0, (alike + 1.0 / count) / (1.0 - 3.0 / count)), _CORRELATION_MAX)
    return math.sqrt((1.0 + alike) / (1.0 - alike))


def _mean(values: Values) -> float:
    return float(np.mean(values))


def drift(samples_s: Values, confidence: float, level: Callable[[Values], float] = median) -> Interval | None:
    """Relative shift from the first half to the second, 0.05 if it took 5 % longer; None with few samples.

    Logarithms are compared, by Welch (1938), Biometrika 29, so that a shift is a ratio: of the levels of sections, by
    default medians, which a few stalled batches do not move. Slow spells that come and go are noise that both halves
    share; what is left of them between sections widens the interval.
    """
    if len(samples_s) < DRIFT_SAMPLES_MIN:
        return None
    middle = len(samples_s) // 2
    halves = [
        np.log([level(section) for section in sections(half, _DRIFT_SECTIONS)])
        for half in (samples_s[:middle], samples_s[middle:])
    ]
    shift = float(halves[1].mean() - halves[0].mean())
    parts = [float(half.var(ddof=1)) / len(half) for half in halves]
    spread = sum(parts)
    if spread == 0.0:
        return Interval.exact(math.expm1(shift))
    freedom = spread**2 / sum(part**2 / (len(half) - 1) for part, half in zip(parts, halves, strict=True))
    reach = student_t(confidence, freedom) * math.sqrt(spread)
    if (
        middle >= 2 * _DRIFT_SECTIONS
    ):  # else they are single samples, too few to tell how alike neighbours are
        apart = [half - half.mean() for half in halves]
        alike = sum(float(one[1:] @ one[:-1]) for one in apart) / sum(float(one @ one) for one in apart)
        reach *= _widened(alike, _DRIFT_SECTIONS)
    return Interval(value=math.expm1(shift), low=math.expm1(shift - reach), high=math.expm1(shift + reach))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stalls:
    """Samples so much longer than usual that something else used the machine; they stay among the samples."""

    count: int
    share: float  # share of all samples
    limit_s: float  # a longer sample is a stall
    largest_s: float | None  # None if there was none


def stalls(samples_s: Sequence[float]) -> Stalls:
    """Samples beyond three times the median, or 10 ms over it if that is less and half as much again."""
    usual_s = median(samples_s)
    limit_s = min(_STALL_RATIO * usual_s, max(_STALL_RATIO_MIN * usual_s, usual_s + _STALL_BEYOND_S))
    beyond = [sample for sample in samples_s if sample > limit_s]
    share = len(beyond) / len(samples_s)
    return Stalls(count=len(beyond), share=share, limit_s=limit_s, largest_s=max(beyond, default=None))


# Fewer samples show no correlation that would matter.
_SAMPLES_MIN = 200
# A correlation of neighbours below this many standard errors counts as chance.
_ERRORS_MIN = 4.0
_SHARE_MAX = 0.99
# Lags up to this share of the whole time are used, so that each is seen several times.
_DISTANCE_SHARE = 0.1
_DISTANCES = 16
_NO_FIT = (
    "service times of nearby batches are correlated, but not in the way that spells are, so the profile "
    "has no spells; measure again, or for longer"
)


class Correlation(NamedTuple):
    """Correlation of scores at one lag, from a number of pairs."""

    apart_s: float
    value: float
    pairs: int


def fit_spells(batches: Mapping[int, Sequence[TimedBatch]]) -> Spells | None:
    """Spells in batches in the order they were served; None if none shows.

    Raises InconclusiveError: a correlation that no exponential fits.
    """
    instants_s, scores = _scores(batches)
    if len(scores) < _SAMPLES_MIN:
        return None
    seen = list(_correlations(instants_s, scores))
    if not seen or seen[0].value < _ERRORS_MIN / np.sqrt(len(scores)):
        return None
    return _fitted(seen, float(instants_s[-1] - instants_s[0]))


def _scores(batches: Mapping[int, Sequence[TimedBatch]]) -> tuple[Floats, Floats]:
    """Instants, rising, and the normal score of each."""
    instants_s = np.array([one.ended_s for found in batches.values() for one in found])
    scores = [normal_scores(np.array([one.service_s for one in found])) for found in batches.values()]
    order = np.argsort(instants_s, kind="stable")
    return instants_s[order], np.concatenate(scores)[order]


def normal_scores(values: Floats) -> Floats:
    """Normal scores by rank: the quantile of the normal law at the middle of each rank (Hazen, 1914)."""
    ranks = np.empty(len(values))
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values))
    return np.asarray(ndtri((ranks + 0.5) / len(values)), dtype=np.float64)


def _correlations(instants_s: Floats, scores: Floats) -> list[Correlation]:
    """Correlations at lags about evenly spaced on a logarithmic scale, from neighbours on."""
    span_s = instants_s[-1] - instants_s[0]
    steps = np.unique(np.geomspace(1, len(scores) // 10, _DISTANCES).astype(int))
    found = []
    for step in steps.tolist():
        apart_s = float((instants_s[step:] - instants_s[:-step]).mean())
        if apart_s <= _DISTANCE_SHARE * span_s:
            value = float((scores[step:] * scores[:-step]).mean())
            found.append(Correlation(apart_s, value, len(scores) - step))
    return found


def _fitted(seen: Sequence[Correlation], span_s: float) -> Spells | None:
    """The least-squares exponential."""
    apart_s, values = (np.array([getattr(one, name) for one in seen]) for name in ("apart_s", "value"))

    def decay(distance_s: Floats, share: float, log_lasting: float) -> Floats:
        return np.asarray(share * np.exp(-distance_s / np.exp(log_lasting)))

    first = [min(_SHARE_MAX, max(0.05, values[0])), np.log(apart_s[len(apart_s) // 2])]
    bounds = ([0.0, np.log(apart_s[0] / 10.0)], [_SHARE_MAX, np.log(span_s)])
    try:
        (share, log_lasting), _ = curve_fit(decay, apart_s, values, p0=first, bounds=bounds)
    except (RuntimeError, ValueError) as error:
        raise InconclusiveError(_NO_FIT) from error
    return Spells(share=float(share), lasting_s=float(np.exp(log_lasting))) if share > 0.0 else None
