"""Steadiness: whether the start of a run is counted, and whether its second half is like the first."""

import math
from collections.abc import Sequence

import numpy as np

from capacity.confidence import student_t
from capacity.evidence.finding import Belief, CheckFinding, finding_of
from capacity.formats.load_test import Floats, LoadRun, Loop, Moment, Samples
from capacity.units import format_duration, format_quantile, format_rate

# Relative difference in latency between halves of a run, or between its start and the rest, that matters.
_DRIFT, _COLD = 0.1, 0.5
# Multiple of the median that no queue and no spread of service times reaches up to P95; an exponential law has 4.3.
_STOPPED, _COMMON = 20.0, 0.95
_RAMP_MAX = 0.05  # largest share of a run in which users may be added
_SECTION_MIN = 5  # requests that give a median
_SECTIONS, _SAMPLES_MIN, _MOMENTS_MIN = 20, 200, 6
_CONFIDENCE = 0.99


def ramp(run: LoadRun) -> CheckFinding | None:
    """Whether the time in which users were added is counted; None if the number of users over time is unknown."""
    found = _ramp(run.history)
    if found is None:
        return None
    ramp_s, whole_s = found
    share = ramp_s / whole_s
    message = f"users were being added for {format_duration(ramp_s)} of {format_duration(whole_s)}, which is counted"
    if share > _RAMP_MAX:
        fix = "reset the statistics after the ramp (such as Locust's --reset-stats), or run for longer"
        return finding_of(run, "ramp", Belief.DOUBTFUL, message, fix, numbers={"ramp_share": share})
    return finding_of(run, "ramp", Belief.HOLDS, message, numbers={"ramp_share": share})


def warm_up(run: LoadRun) -> CheckFinding:
    """Whether a cold start is counted: by the responses over time, else by the rate of answers."""
    values = _medians(run)
    if values is not None:
        return _warm_up_of(run, values)
    rates = _rates(run)
    if rates is not None:
        return _warm_up_of(run, 1.0 / rates)
    message = "not known: the file does not say, over time, what requests took"
    fix = "leave the beginning out, or keep single requests or a history, such as Locust's _stats_history.csv"
    return finding_of(run, "warm-up", Belief.UNKNOWN, message, fix)


def _warm_up_of(run: LoadRun, values: Floats) -> CheckFinding:
    """Compare the first parts of a run with the rest, by median response or by the time between answers."""
    cold = _cold(values)
    usual = float(np.median(values[cold:]))
    first = float(np.median(values[: max(cold, 1)]))
    is_of_rates = _medians(run) is None
    numbers = (
        {"first_rps": 1.0 / first, "rest_rps": 1.0 / usual}
        if is_of_rates
        else {"first_s": first, "rest_s": usual}
    )
    if not cold:
        return finding_of(run, "warm-up", Belief.HOLDS, "the beginning is like the rest", numbers=numbers)
    share = f"the first {100.0 * cold / len(values):.0f} % of the run"
    if is_of_rates:
        rates = f"answered {format_rate(1.0 / first)}, the rest {format_rate(1.0 / usual)}"
        found = f"{rates}: a warm-up or a ramp of users is counted"
    else:
        found = f"has a median of {format_duration(first)}, the rest {format_duration(usual)}: a warm-up is counted"
    return finding_of(
        run, "warm-up", Belief.DOUBTFUL, f"{share} {found}", "leave the beginning out", numbers=numbers
    )


def _cold(values: Floats) -> int:
    """Number of first parts that all took half as long again as the rest, and more than its scatter; 0 for none."""
    for cold in range(1, len(values) // 2 + 1):
        least, rest = float(values[:cold].min()), values[cold:]
        usual = float(np.median(rest))
        scatter = float(np.quantile(rest, 0.95)) - usual
        if least > (1.0 + _COLD) * usual and least > usual + 2.0 * scatter:
            return cold
    return 0


def _ramp(history: Sequence[Moment]) -> tuple[float, float] | None:
    """How long users were added, and how long the run lasted. [s]"""
    known = [(one.t_s, one.users) for one in history if one.users is not None]
    if len(known) < _MOMENTS_MIN:
        return None
    most = max(users for _, users in known)
    full_s = next(t_s for t_s, users in known if users == most)
    whole_s = known[-1][0] - known[0][0]
    return (full_s - known[0][0], whole_s) if whole_s > 0.0 else None


def stalls(run: LoadRun) -> CheckFinding | None:
    """Whether enough requests took much longer than the median to show that a server must have stopped.

    Requests that wait for one pause are late together. A percentile among them depends on the number of pauses, which
    is far smaller than the number of requests beyond it.
    """
    median = run.quantiles_s.get(0.5)
    slow = [(q, one) for q, one in run.quantiles_s.items() if 0.5 < q <= _COMMON]
    found = next(((q, one) for q, one in slow if median and one.low > _STOPPED * median.high), None)
    if median is None or found is None:
        return None
    q, late = found
    message = (
        f"{format_quantile(q)} of {format_duration(late.value)} is {late.value / median.value:.0f} times the median of "
        f"{format_duration(median.value)}: the server stops at times, or answers of two kinds are mixed"
    )
    fix = (
        "percentiles then tell how often it stopped in this run, whatever their number of requests: find the pauses, "
        "and run for long enough to have many; audit answers of two kinds apart"
    )
    return finding_of(
        run, "stalls", Belief.DOUBTFUL, message, fix, numbers={"ratio": late.value / median.value}
    )


def stationary(run: LoadRun) -> CheckFinding | None:
    """Whether the second half is like the first."""
    values = _medians(run)
    if values is None or len(values) < _MOMENTS_MIN:
        return None
    first, second = values[: len(values) // 2], values[len(values) // 2 :]
    low, high = float(first.mean()), float(second.mean())
    if low <= 0.0:
        return None
    rise = high / low - 1.0
    error = math.hypot(first.std(ddof=1) / math.sqrt(len(first)), second.std(ddof=1) / math.sqrt(len(second)))
    is_sure = abs(high - low) > student_t(_CONFIDENCE, len(values) - 2) * error
    message = f"median response of the second half {100.0 * rise:+.0f} % from that of the first"
    if is_sure and abs(rise) > _DRIFT:
        fix = "no steady state: queues may still grow, or caches fill; run for longer and leave the beginning out"
        return finding_of(run, "stationarity", Belief.DOUBTFUL, message, fix, numbers={"rise": rise})
    return finding_of(run, "stationarity", Belief.HOLDS, message, numbers={"rise": rise})


def _sections(samples: Samples) -> list[Floats]:
    """Responses to requests sent in equal spans of time; by equal numbers if most were sent at once.

    Users who wait send little while a server is slow, so a slow start has few of the requests.
    """
    since_s, span_s = samples.sent_s - samples.sent_s[0], float(np.ptp(samples.sent_s))
    if span_s > 0.0:
        ends = np.searchsorted(since_s, span_s * np.arange(1, _SECTIONS) / _SECTIONS)
        found = [part for part in np.split(samples.response_s, ends) if len(part) >= _SECTION_MIN]
        if len(found) >= _MOMENTS_MIN:
            return found
    return np.array_split(samples.response_s, _SECTIONS)


def _rates(run: LoadRun) -> Floats | None:
    """Answers in each whole second of a closed loop, whose users slow down with the server."""
    found = [one.rate_rps for one in run.history[1:-1] if one.rate_rps]
    return np.array(found) if run.loop is Loop.CLOSED and len(found) >= _MOMENTS_MIN else None


def _medians(run: LoadRun) -> Floats | None:
    """Median responses of consecutive parts of the run. [s]"""
    if run.samples is not None and len(run.samples.response_s) >= _SAMPLES_MIN:
        return np.array([np.median(part) for part in _sections(run.samples)])
    full = max((one.users for one in run.history if one.users is not None), default=None)
    steady = [one.median_s for one in run.history if one.median_s and (full is None or one.users == full)]
    return np.array(steady) if len(steady) >= _MOMENTS_MIN else None
