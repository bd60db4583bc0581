"""Trace description: how heavy and irregular recorded traffic is, and whether it can be Poisson."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from capacity.errors import DomainError, InputError
from capacity.traffic.burstiness import EVENTS_MIN, WINDOWS_MIN, WINDOWS_S, Burstiness, measure
from capacity.traffic.workload import TraceArrivals

Floats = NDArray[np.float64]
# Probability that all tests together reject a Poisson stream.
LEVEL = 0.01
# Fewest arrivals in a window for the counts to be near their limit law.
_COUNT_MEAN_MIN = 1.0
# Tick of the clock, in gaps, times the root of their number: below this no test sees the rounding.
_TICK_MAX = 0.5
_WHOLE = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class PoissonTest:
    """One test of the hypothesis that arrivals are Poisson.

    Attributes:
        name: name of the test.
        statistic: chi-square of counts over its degrees of freedom, Kolmogorov-Smirnov distance, or lag-1
            correlation.
        p_value: how often a Poisson stream is at least as far off.
        p_value_adjusted: the p-value as if it were the only test, by Holm's rule for all tests made.
    """

    name: str
    statistic: float
    p_value: float
    p_value_adjusted: float

    @property
    def rejects(self) -> bool:
        """Whether the test rejects Poisson."""
        return self.p_value_adjusted < LEVEL


def poisson_tests(
    instants_s: Sequence[float], burstiness: Burstiness
) -> tuple[tuple[PoissonTest, ...], tuple[str, ...]]:
    """The tests that these arrivals allow, and why others were left out.

    Dispersion of counts in each window (two-sided chi-square), whether the rate is constant (instants are uniform
    given their number), whether gaps are exponential (uniform after Durbin's transformation, following Lewis: the
    sharpest against other laws of the gap), and whether a gap predicts the next.

    Args:
        instants_s: in order, at least 20, shape `(arrivals,)`. [s]

    Source:
        Cox & Lewis (1966), The Statistical Analysis of Series of Events, ch. 6; Kim & Whitt (2014), Naval
        Research Logistics 61(1), 66-90; Durbin (1961), Biometrika 48, 41-55; Holm (1979), Scandinavian
        Journal of Statistics 6, 65-70.

    Assumes:
        The first and the last arrival are like any other.
    """
    since = np.asarray(instants_s, dtype=float) - instants_s[0]
    gaps = np.diff(since)
    found, left_out = list(_dispersion(burstiness)), []
    found.append(("constant rate", *_uniform(since[1:-1] / since[-1])))
    tick_s = clock_tick_s(gaps)
    if tick_s * burstiness.rate_rps * math.sqrt(len(gaps)) > _TICK_MAX:
        left_out.append(f"the clock ticks every {tick_s:.3g} s, too coarse to tell the law of gaps")
    else:
        found.append(("exponential gaps", *_uniform(_durbin(gaps))))
    if burstiness.gap_correlation is not None:
        correlation = burstiness.gap_correlation
        p_value = 2.0 * float(stats.norm.sf(abs(correlation) * math.sqrt(len(gaps))))
        found.append(("independent gaps", correlation, p_value))
    return _adjusted(found), tuple(left_out)


def clock_tick_s(gaps_s: Floats) -> float:
    """Tick of which all gaps are whole multiples; 0 if none shows. [s]

    >>> clock_tick_s(np.array([0.5, 0.0, 2.0])), clock_tick_s(np.array([0.5, 0.7]))
    (0.5, 0.0)
    """
    shortest = float(gaps_s[gaps_s > 0.0].min())
    ticks = gaps_s / shortest
    return shortest if float(np.abs(ticks - np.round(ticks)).max()) < _WHOLE else 0.0


def _dispersion(burstiness: Burstiness) -> Iterator[tuple[str, float, float]]:
    for counts in burstiness.counts:
        if burstiness.rate_rps * counts.window_s < _COUNT_MEAN_MIN:
            continue
        free = counts.windows - 1
        below = float(stats.chi2.cdf(free * counts.dispersion, free))
        above = float(stats.chi2.sf(free * counts.dispersion, free))
        yield f"counts in {counts.window_s:.3g} s", counts.dispersion, min(1.0, 2.0 * min(below, above))


def _uniform(points: Floats) -> tuple[float, float]:
    """Kolmogorov-Smirnov distance to the uniform law on [0, 1], and its p-value."""
    test = stats.kstest(np.clip(points, 0.0, 1.0), "uniform")
    return float(test.statistic), float(test.pvalue)


def _durbin(gaps: Floats) -> Floats:
    """Points that are ordered uniforms if gaps are exponential: sums of the normalized spacings of gaps."""
    rising = np.sort(gaps) / gaps.sum()
    spacings = np.diff(rising, prepend=0.0) * np.arange(len(gaps), 0, -1)
    return np.cumsum(spacings)[:-1]


def _adjusted(found: Sequence[tuple[str, float, float]]) -> tuple[PoissonTest, ...]:
    """Holm's rule: the smallest p-value times the number of tests, the next times one less, and none below it."""
    adjusted, highest = [0.0] * len(found), 0.0
    order = sorted(range(len(found)), key=lambda place: found[place][2])
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(found) - rank) * found[place][2]))
        adjusted[place] = highest
    return tuple(
        PoissonTest(name=name, statistic=statistic, p_value=p_value, p_value_adjusted=holm)
        for (name, statistic, p_value), holm in zip(found, adjusted, strict=True)
    )


# Windows for a trace that ends before ten of the usual ones.
_SHORT_WINDOWS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceDescription:
    """What a trace says about its traffic.

    Attributes:
        tests: tests of the hypothesis that the arrivals are a Poisson stream of one rate.
        left_out: why each missing test was not made, a clause each.
    """

    trace: TraceArrivals
    burstiness: Burstiness
    tests: tuple[PoissonTest, ...]
    left_out: tuple[str, ...]

    @property
    def is_poisson(self) -> bool:
        """Whether no test rejects Poisson; a short trace rejects little."""
        return not any(test.rejects for test in self.tests)

    @property
    def verdict(self) -> str:
        """Whether the trace is Poisson, in words, with the deciding test."""
        if self.is_poisson:
            return (
                f"consistent with Poisson: none of {len(self.tests)} tests rejects it, at {LEVEL:g} jointly"
            )
        worst = min(self.tests, key=lambda test: (test.p_value_adjusted, test.p_value))
        refused = sum(test.rejects for test in self.tests)
        return (
            f"not Poisson: {refused} of {len(self.tests)} tests reject it at a joint level of {LEVEL:g}, "
            f"most strongly the test of {worst.name}"
        )


def describe(trace: TraceArrivals) -> TraceDescription:
    """Describe a trace.

    Raises:
        InputError: fewer than 20 arrivals.

    >>> about = describe(TraceArrivals(instants_s=tuple(0.5 * k for k in range(101))))
    >>> about.burstiness.rate_rps, about.is_poisson, about.tests[-1].name
    (2.0, False, 'constant rate')
    """
    if len(trace.instants_s) < EVENTS_MIN:
        raise InputError(
            f"{trace.name} has {len(trace.instants_s)} arrivals; describing traffic needs at least "
            f"{EVENTS_MIN}: record for longer"
        )
    windows_s = None
    if trace.duration_s < WINDOWS_MIN * WINDOWS_S[0]:
        windows_s = (trace.duration_s / _SHORT_WINDOWS,)
    try:
        burstiness = measure(trace.instants_s, windows_s)
    except DomainError as error:
        raise InputError(f"{trace.name}: {error}") from None
    tests, left_out = poisson_tests(trace.instants_s, burstiness)
    return TraceDescription(trace=trace, burstiness=burstiness, tests=tests, left_out=left_out)
