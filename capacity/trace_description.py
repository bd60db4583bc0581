"""Trace description: how much and how irregular recorded traffic is, and whether it can be Poisson."""

from dataclasses import dataclass

from capacity.burstiness import EVENTS_MIN, WINDOWS_MIN, WINDOWS_S, Burstiness, measure
from capacity.errors import DomainError, InputError
from capacity.performance import Interval
from capacity.plan import Plan
from capacity.poisson_tests import LEVEL, PoissonTest, poisson_tests
from capacity.workload import TraceArrivals

# Windows of traffic that is over before ten of the usual ones.
_SHORT_WINDOWS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceDescription:
    """What a trace says about the traffic that it recorded.

    Attributes:
        tests: of the hypothesis that the arrivals are a Poisson stream of one rate.
        left_out: why a test was not made, a clause each.
    """

    trace: TraceArrivals
    burstiness: Burstiness
    tests: tuple[PoissonTest, ...]
    left_out: tuple[str, ...]

    @property
    def is_poisson(self) -> bool:
        """Whether no test refuses Poisson; a short trace refuses little."""
        return not any(test.rejects for test in self.tests)

    @property
    def verdict(self) -> str:
        """Whether it is Poisson, in words, with the test that says so."""
        if self.is_poisson:
            return f"nothing speaks against Poisson, in {len(self.tests)} tests at {LEVEL:g} together"
        worst = min(self.tests, key=lambda test: (test.p_value_adjusted, test.p_value))
        refused = sum(test.rejects for test in self.tests)
        return (
            f"not Poisson: {refused} of {len(self.tests)} tests refuse it at {LEVEL:g} together, most of all "
            f"that of {worst.name}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PoissonError:
    """What the assumption of Poisson arrivals does to a quantile of the response time of one plan.

    Attributes:
        by_trace, by_poisson: the quantile by simulation of the trace, and of Poisson arrivals at its rate;
            both intervals hold together with `confidence`. [s]
    """

    plan: Plan
    arrival_rate_rps: float
    quantile: float
    by_trace: Interval
    by_poisson: Interval
    confidence: float

    @property
    def relative_error(self) -> Interval:
        """Poisson over trace, less 1: below 0 where Poisson promises too much."""
        return Interval(
            value=self.by_poisson.value / self.by_trace.value - 1.0,
            low=self.by_poisson.low / self.by_trace.high - 1.0,
            high=self.by_poisson.high / self.by_trace.low - 1.0,
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
            f"{trace.name} has {len(trace.instants_s)} arrivals; to describe traffic takes {EVENTS_MIN} at "
            "least: record for longer"
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
