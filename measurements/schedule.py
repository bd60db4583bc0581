"""Schedule: the instants at which a load test means to send, drawn before it begins."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from capacity.errors import InputError
from capacity.units import format_duration, format_rate
from capacity.workload import (
    ArrivalProcess,
    DeterministicArrivals,
    GammaArrivals,
    MmppArrivals,
    PoissonArrivals,
    TraceArrivals,
    Workload,
)

Floats = npt.NDArray[np.float64]
# Gaps are drawn for so many standard deviations of a Poisson count more than are expected; then again.
_SPARE_DEVIATIONS, _SPARE_GAPS = 6.0, 16
# Bursts and calm stretches that a schedule is drawn from, one at a time.
_PHASES_MAX = 200_000
_FEWER = "shorten --duration, make fewer --runs, or raise --requests-max"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Schedule:
    """When requests are meant to be sent, whatever became of those before: an open loop.

    Attributes:
        instants_s: from the start of the run, not falling, within the duration, shape `(requests,)`. [s]
        duration_s: of the run, warm-up included; of a trace that ends earlier, until its end. [s]
    """

    instants_s: Floats
    duration_s: float

    def __post_init__(self) -> None:
        if len(self.instants_s) < 2:
            raise InputError(
                f"{len(self.instants_s)} requests are too few for a load test; raise --rate or --duration"
            )
        ordered = bool((np.diff(self.instants_s, prepend=0.0) >= 0.0).all())
        if not ordered or self.instants_s[-1] > self.duration_s:
            raise InputError("a schedule must not fall, and lies within its duration")

    @property
    def requests(self) -> int:
        """How many are to be sent."""
        return len(self.instants_s)


def draw_schedule(
    workload: Workload,
    duration_s: float,
    generator: np.random.Generator,
    requests_max: float = math.inf,
) -> Schedule:
    """The requests of one run: a renewal process from its beginning, bursts, or a trace from its beginning.

    Args:
        duration_s: of the run, warm-up included.
        requests_max: where more come, no more are drawn.

    Raises:
        InputError: fewer than two requests, or more than so many.
    """
    arrivals, rate_rps = workload.arrivals, workload.arrival_rate_rps
    if isinstance(arrivals, TraceArrivals):
        return _of_trace(arrivals, rate_rps, duration_s, requests_max)
    if isinstance(arrivals, MmppArrivals):
        instants_s = _bursts(arrivals, rate_rps, duration_s, generator, requests_max)
    else:
        instants_s = _renewals(arrivals, rate_rps, duration_s, generator, requests_max)
    return Schedule(instants_s=instants_s, duration_s=duration_s)


def check_expected(workload: Workload, duration_s: float, runs: int, requests_max: int) -> None:
    """Refuse at once what would be too many requests on average; a trace has its own number.

    Raises:
        InputError: with their number, and the mend.
    """
    expected = runs * workload.arrival_rate_rps * duration_s
    if expected > requests_max and not isinstance(workload.arrivals, TraceArrivals):
        raise InputError(
            f"{runs} x {format_duration(duration_s)} at {format_rate(workload.arrival_rate_rps)} are "
            f"about {expected:.0f} requests, and {requests_max} are allowed; {_FEWER}"
        )


def check_requests(schedules: Sequence[Schedule], before: int, requests_max: int) -> None:
    """Refuse more requests than are allowed before any is sent.

    Args:
        before: requests that are sent before and between the schedules.

    Raises:
        InputError: with their number, and the mend.
    """
    drawn = sum(schedule.requests for schedule in schedules)
    if drawn + before > requests_max:
        raise InputError(
            f"{drawn} requests of {len(schedules)} runs, and {before} before them, are {drawn + before}, and "
            f"{requests_max} are allowed; {_FEWER}"
        )


def _refuse_above(most: float, drawn: int) -> None:
    """Where one run alone is more than may be sent."""
    if drawn > most:
        raise InputError(f"the arrivals of a run are more than the {most:.0f} that are left to it; {_FEWER}")


def _of_trace(trace: TraceArrivals, rate_rps: float, duration_s: float, most: float) -> Schedule:
    """The trace at the asked rate, cut where the run ends."""
    recorded_s = np.asarray(trace.instants_s)
    instants_s = (recorded_s - recorded_s[0]) * (trace.rate_rps / rate_rps)
    kept_s = instants_s[instants_s <= duration_s]
    _refuse_above(most, len(kept_s))
    return Schedule(instants_s=kept_s, duration_s=min(duration_s, float(instants_s[-1])))


def _renewals(
    arrivals: ArrivalProcess, rate_rps: float, duration_s: float, generator: np.random.Generator, most: float
) -> Floats:
    """Gaps of one law after each other, until the run ends."""
    expected = rate_rps * duration_s
    count = math.ceil(expected + _SPARE_DEVIATIONS * math.sqrt(expected)) + _SPARE_GAPS
    instants_s = np.zeros(1)
    while instants_s[-1] <= duration_s:
        more_s = np.cumsum(_unit_gaps(arrivals, count, generator)) / rate_rps
        instants_s = np.concatenate([instants_s, instants_s[-1] + more_s])
        _refuse_above(most, int((instants_s[1:] <= duration_s).sum()))
    drawn_s = instants_s[1:]
    return drawn_s[drawn_s <= duration_s]


def _unit_gaps(arrivals: ArrivalProcess, count: int, generator: np.random.Generator) -> Floats:
    """Gaps of mean 1."""
    match arrivals:
        case PoissonArrivals():
            return generator.standard_exponential(count)
        case GammaArrivals(cv=cv):
            return generator.standard_gamma(1.0 / cv**2, count) * cv**2
        case DeterministicArrivals():
            return np.ones(count)
    raise InputError(f"arrivals of the kind {type(arrivals).__name__} cannot be sent; use --arrivals poisson")


def _bursts(
    arrivals: MmppArrivals, rate_rps: float, duration_s: float, generator: np.random.Generator, most: float
) -> Floats:
    """Given how many arrive in a phase, their instants in it are independent and uniform."""
    parts, drawn = [np.zeros(0)], 0
    for start_s, end_s, phase_rps in _phases(arrivals, rate_rps, duration_s, generator):
        count = int(generator.poisson(phase_rps * (end_s - start_s)))
        drawn += count
        _refuse_above(most, drawn)
        parts.append(np.sort(generator.uniform(start_s, end_s, count)))
    return np.concatenate(parts)


def _phases(
    arrivals: MmppArrivals, rate_rps: float, duration_s: float, generator: np.random.Generator
) -> Iterator[tuple[float, float, float]]:
    """Start, end and rate of bursts and calm stretches by turns, the first as in the long run."""
    expected = 2.0 * duration_s / (arrivals.burst_mean_s + arrivals.calm_mean_s)
    if expected > _PHASES_MAX:
        raise InputError(
            f"mmpp would switch about {expected:.3g} times in a run of {format_duration(duration_s)}, above "
            f"{_PHASES_MAX}; use poisson, which it can hardly be told from, or longer bursts"
        )
    burst_rps, calm_rps = arrivals.rates_rps(rate_rps)
    is_burst, start_s = bool(generator.random() < arrivals.burst_share), 0.0
    while start_s < duration_s:
        mean_s = arrivals.burst_mean_s if is_burst else arrivals.calm_mean_s
        end_s = min(duration_s, start_s + mean_s * generator.standard_exponential())
        yield start_s, end_s, burst_rps if is_burst else calm_rps
        is_burst, start_s = not is_burst, end_s
