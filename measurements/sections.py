"""Sections: intervals for what was measured on one path, whose requests depend on each other.

The path is cut into consecutive sections, long enough to be nearly independent; what a mean scatters by
between them is what the whole path may be wrong by.

Source:
    Law (2015), Simulation Modeling and Analysis, sec. 9.5.3, for batch means;
    Woodruff (1952), JASA 47(260), for the interval of a quantile by way of the share beyond it.
"""

import math
from dataclasses import replace

import numpy as np

from capacity.performance import Interval
from capacity.share_interval import share_high
from measurements.mean_interval import SECTIONS_MAX, SECTIONS_MIN, half_width, student_t, widened
from measurements.schedule import Floats

# Requests of a section on the rarer side of a quantile, below which its share there is mostly rounding.
_RARE_PER_SECTION = 5
_MEAN_PER_SECTION = 10


# Fewest values that an interval of a mean or a share takes.
MEAN_REQUESTS_MIN = SECTIONS_MIN * _MEAN_PER_SECTION


def requests_min(quantile: float) -> int:
    """Fewest requests that an interval for a quantile takes."""
    return math.ceil(SECTIONS_MIN * _RARE_PER_SECTION / _rare_share(quantile))


def _rare_share(quantile: float) -> float:
    return round(min(quantile, 1.0 - quantile), 12)


def mean_interval(values: Floats, confidence: float) -> Interval | None:
    """Mean of values in the order in which they came; None where they are too few for an interval."""
    count = min(SECTIONS_MAX, len(values) // _MEAN_PER_SECTION)
    if count < SECTIONS_MIN:
        return None
    value = float(values.mean())
    half = _half_width(values, count, confidence)
    return Interval(value=value, low=max(0.0, value - half), high=value + half)


def quantile_interval(
    values: Floats, quantile: float, confidence: float, at_most: Floats | None = None
) -> Interval | None:
    """Quantile of values in the order in which they came; None where they are too few for an interval.

    The share beyond the quantile is a mean, whose scatter between sections is known; the values that lie
    that much of a share lower and higher are the ends. Quantiles of sections would be biased, and hardly
    feel a burst.

    Args:
        at_most: where some values are only known to be reached, as of a request that was given up: what each
            is at most, which may be infinite; the interval is then open above where it reaches these.
    """
    count = min(SECTIONS_MAX, int(_rare_share(quantile) * len(values) / _RARE_PER_SECTION + 1e-9))
    if count < SECTIONS_MIN:
        return None
    value = _quantile(values, quantile)
    lower = quantile - _half_width((values >= value).astype(np.float64), count, confidence)
    higher = quantile + _half_width((values > value).astype(np.float64), count, confidence)
    return Interval(
        value=value,
        low=_quantile(values, max(0.0, lower)),
        high=_quantile(values if at_most is None else at_most, min(1.0, higher)),
    )


def share_interval(happened: Floats, confidence: float) -> Interval | None:
    """Share of ones among ones and zeros: by sections, as they may come in clusters, and by their number."""
    interval = mean_interval(happened, confidence)
    if interval is None:
        return None
    exact = share_high(int(happened.sum()), len(happened), confidence)
    return replace(interval, high=min(1.0, max(interval.high, exact)))


def rate_interval(instants_s: Floats, start_s: float, end_s: float, confidence: float) -> Interval | None:
    """Events per second within a window, from their numbers in equal parts of it; None where too few."""
    if end_s <= start_s or len(instants_s) < SECTIONS_MAX * _MEAN_PER_SECTION:
        return None
    counts, _ = np.histogram(instants_s, bins=SECTIONS_MAX, range=(start_s, end_s))
    rates_rps = counts * (SECTIONS_MAX / (end_s - start_s))
    value = float(rates_rps.mean())
    half = half_width(rates_rps.tolist(), confidence)
    return Interval(value=value, low=max(0.0, value - half), high=value + half)


def rise_interval(values: Floats, confidence: float) -> Interval | None:
    """Mean of the second half less that of the first; None where the values are too few.

    Chance is what sections scatter by within their halves, since a rise is not to be in its own measure.
    """
    if len(values) < SECTIONS_MAX * _MEAN_PER_SECTION:
        return None
    means = np.array([section.mean() for section in np.array_split(values, SECTIONS_MAX)])
    halves = means.reshape(2, SECTIONS_MAX // 2)
    apart = halves - halves.mean(axis=1, keepdims=True)
    rise = float(halves[1].mean() - halves[0].mean())
    squares, degrees = float((apart**2).sum()), SECTIONS_MAX - 2
    if squares == 0.0:
        return Interval.exact(rise)
    products = float((apart[:, 1:] * apart[:, :-1]).sum())
    error = math.sqrt(squares / degrees * 4.0 / SECTIONS_MAX)
    error *= widened(products / squares, SECTIONS_MAX // 2)
    half = student_t(confidence, degrees) * error
    return Interval(value=rise, low=rise - half, high=rise + half)


def _quantile(values: Floats, quantile: float) -> float:
    """The smallest value that at least this share of the values stays within."""
    return float(np.quantile(values, quantile, method="inverted_cdf"))


def _half_width(values: Floats, sections: int, confidence: float) -> float:
    """Of the mean, seen between so many consecutive sections of the values."""
    return half_width([float(section.mean()) for section in np.array_split(values, sections)], confidence)
