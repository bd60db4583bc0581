"""Percentiles: whether they have enough requests, belong to the same ones, are fine enough, and are no averages."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from capacity.confidence import share_high
from capacity.evidence.finding import FEW, Belief, CheckFinding, beyond, decisive, finding_of
from capacity.formats.load_test import LoadRun, LoadTest, Loop
from capacity.performance import Interval
from capacity.units import format_duration, format_quantile

# Allowed difference between figures of one run, such as its counts and the resolution of its clock.
_TOLERANCE = 0.05
_NONE = 1  # requests beyond a quantile, below which it is the maximum
_WIDE = 0.25  # width of a bucket, as a share of its upper end, that matters
_SAME, _TELLING = 1e-3, 3  # difference of two averages that is rounding; percentiles needed to tell
# Distance between parts at which an average of theirs shows: times the smaller one, and times the rounding.
_EXACT_APART, _ROUNDED_APART, _FAR = 1.1, 2.0, 20.0
_RARE = 0.1  # largest share of requests of an endpoint that cannot decide the whole
_MERGE = "percentiles cannot be averaged; merge the histograms or the single requests"
_NO_AVERAGES = "percentiles of all are no averages of those of the parts"
_OTHERS = "they are not of the same requests"


def samples(run: LoadRun) -> CheckFinding | None:
    """Whether enough requests lie beyond the percentiles, and whether these describe the requests at all."""
    if run.succeeded is None and run.counted is None:
        message = "how many requests the percentiles are of is not said"
        return finding_of(run, "samples", Belief.UNKNOWN, message)
    count = run.succeeded if run.counted is None else run.counted
    if run.counted is not None and run.succeeded and abs(run.counted / run.succeeded - 1.0) > _TOLERANCE:
        message = (
            f"the percentiles are of {run.counted} durations, and {run.succeeded} requests were answered: "
        )
        message += "the rest was filled in by the tool"
        fix = "read percentiles of what was measured: keep single requests, or use a generator that records due times"
        numbers = {"counted": float(run.counted), "succeeded": float(run.succeeded)}
        return finding_of(run, "samples", Belief.BROKEN, message, fix, numbers=numbers)
    quantile = decisive(run)
    if (count or 0) < FEW:
        message = f"{count} requests say nothing of a percentile"
        return finding_of(run, "samples", Belief.BROKEN, message, "send at least 1000 requests")
    if not count or quantile not in run.quantiles_s:
        return None
    name, many = format_quantile(quantile), beyond(count, quantile)
    if many >= FEW:
        message = f"{many:.0f} of {count} requests lie beyond {name}{_ranks(quantile, count)}"
        higher = min((q for q in run.quantiles_s if quantile < q < 1.0 and q <= 0.99), default=None)
        fix = "" if higher is None else f"for {format_quantile(higher)} send at least {_wanted(higher)}"
        return finding_of(run, "samples", Belief.HOLDS, message, fix, numbers={"beyond": many})
    known = [format_quantile(q) for q in run.quantiles_s if q >= 0.5 and beyond(count, q) >= FEW]
    message = f"{count} requests have {many:.2g} beyond {name}" + (
        ": it is the slowest request" if many < _NONE else _ranks(quantile, count)
    )
    until = f"use percentiles up to {known[-1]}, or " if known else ""
    belief = Belief.BROKEN if many < _NONE else Belief.DOUBTFUL
    fix = f"{until}send at least {_wanted(quantile)} requests"
    return finding_of(run, "samples", belief, message, fix, numbers={"beyond": many})


def rare_parts(test: LoadTest) -> dict[str, CheckFinding]:
    """Endpoints with too few requests to judge, by name, each with its finding.

    None if all endpoints are such: the whole is then no more than these. A server's page has no whole; each metric is
    one, with a series for each endpoint.
    """
    series: dict[str, list[LoadRun]] = defaultdict(list)
    for run in test.runs:
        if run.name != test.whole and (test.whole or run.loop is Loop.SERVED):
            series["" if test.whole else run.name.partition("{")[0]].append(run)
    return {run.name: _too_few(run) for parts in series.values() for run in _rare(parts)}


def _rare(parts: Sequence[LoadRun]) -> list[LoadRun]:
    total = sum(run.requests or 0 for run in parts)
    rare = [run for run in parts if _is_few(run) and (run.requests or 0) <= _RARE * total]
    return rare if len(rare) < len(parts) else []


def _is_few(run: LoadRun) -> bool:
    """Whether too few requests lie beyond the highest reported percentile."""
    count = run.requests if run.counted is None else run.counted
    return count is not None and (count < FEW or beyond(count, decisive(run)) < FEW)


def _too_few(run: LoadRun) -> CheckFinding:
    count = run.requests or 0
    failed = f", of which {run.failed} failed" if run.failed else ""
    message = f"too few requests to judge: {count}{failed}"
    fix = f"send at least {_wanted(0.99)} to know its P99, or look at the others alone"
    numbers = {"requests": float(count), "failed": run.failed}
    return finding_of(run, "endpoint-samples", Belief.UNKNOWN, message, fix, numbers=numbers)


def _wanted(quantile: float) -> int:
    """Number of requests for which enough lie beyond a quantile."""
    return math.ceil(round(FEW / (1.0 - quantile), 6))


def _ranks(quantile: float, count: int) -> str:
    """Range of percentiles that holds the true one at 95 %, if requests were independent."""
    events = round(count * (1.0 - quantile))
    high = share_high(events, count, 0.95)
    low = 1.0 - share_high(count - events, count, 0.95)
    return f"; it may be anything from P{100.0 * (1.0 - high):.5g} to P{100.0 * (1.0 - low):.5g}"


def percentiles(run: LoadRun) -> CheckFinding | None:
    """Whether percentiles rise, lie between the extremes, and fit the mean."""
    known = list(run.quantiles_s.items())
    if not known:
        return None
    for (q, low), (p, high) in pairwise(known):
        if high.high < low.low:
            above, below = (
                f"{format_quantile(x)} ({format_duration(one.value)})" for x, one in ((p, high), (q, low))
            )
            message = f"{above} lies below {below}"
            return finding_of(run, "percentiles", Belief.BROKEN, message, _OTHERS)
    if run.max_s is not None and (over := [(q, x) for q, x in known if x.low > run.max_s * (1.0 + 1e-9)]):
        return finding_of(run, "percentiles", Belief.BROKEN, _above(over[-1], run.max_s), _OTHERS)
    mean = _mean_bounds(known, run)
    if run.mean_s is not None and mean is not None and not mean[0] <= run.mean_s <= mean[1]:
        message = (
            f"the mean is {format_duration(run.mean_s)}, and percentiles like these have one from "
            f"{format_duration(mean[0])} to {format_duration(mean[1])}"
        )
        fix = "mean and percentiles are not of the same requests; were percentiles averaged?"
        return finding_of(run, "percentiles", Belief.BROKEN, message, fix, numbers={"mean_s": run.mean_s})
    return finding_of(run, "percentiles", Belief.HOLDS, "they rise, and allow for mean and maximum")


def _above(one: tuple[float, Interval], max_s: float) -> str:
    q, found = one
    return f"{format_quantile(q)} of {format_duration(found.value)} lies above the maximum of {format_duration(max_s)}"


def _mean_bounds(known: Sequence[tuple[float, Interval]], run: LoadRun) -> tuple[float, float] | None:
    """Smallest and largest mean of a distribution with these quantiles, allowing for their rounding. [s]"""
    if run.max_s is None:
        return None
    ends = [q for q, _ in known] + [1.0]
    low = sum((b - a) * one.low for (a, one), b in zip(known, ends[1:], strict=True))
    starts = [0.0] + [q for q, _ in known]
    high = sum((b - a) * one.high for a, (b, one) in zip(starts, known, strict=False))
    high += (1.0 - known[-1][0]) * max(run.max_s, known[-1][1].high)
    slack = 1e-6 * high + run.resolution_s
    if run.succeeded:  # a percentile is one of the requests, which may lie a rank away
        slack += (max(run.max_s, high)) / run.succeeded
    return low - slack, high + slack


def buckets(run: LoadRun) -> CheckFinding | None:
    """Whether buckets, rounding or a coarse clock leave a percentile open."""
    quantile = decisive(run)
    found = run.quantiles_s.get(quantile)
    if found is None or found.low == found.high:
        if run.resolution_s and found is not None and run.resolution_s > _TOLERANCE * max(found.value, 1e-12):
            shown = f"{format_quantile(quantile)} is {format_duration(found.value)}"
            message = f"durations are whole multiples of {format_duration(run.resolution_s)}, and {shown}"
            return finding_of(
                run, "resolution", Belief.DOUBTFUL, message, "use a tool that keeps microseconds"
            )
        return None
    name = format_quantile(quantile)
    if not math.isfinite(found.high):
        message = (
            f"{name} lies beyond the last bound, {format_duration(found.low)}, and may be anything above"
        )
        fix = "add bounds above it to the histogram"
        return finding_of(run, "resolution", Belief.BROKEN, message, fix, numbers={"low_s": found.low})
    width = (found.high - found.low) / found.high
    message = f"{name} lies between {format_duration(found.low)} and {format_duration(found.high)}"
    numbers = {"low_s": found.low, "high_s": found.high}
    if width > _WIDE:
        fix = "add bounds near your objective to the histogram (or use native histograms); what lies between is a guess"
        return finding_of(run, "resolution", Belief.DOUBTFUL, message, fix, numbers=numbers)
    return finding_of(run, "resolution", Belief.HOLDS, message, numbers=numbers)


def averaged(test: LoadTest) -> Iterator[CheckFinding]:
    """Whether the percentiles of all runs can be those of their requests, or are averages of percentiles."""
    whole = next((run for run in test.runs if run.name == test.whole), None)
    parts = [run for run in test.runs if run is not whole and run.succeeded and run.quantiles_s]
    if whole is None or len(parts) < 2:
        return
    if whole.samples is not None:  # of which its percentiles are, with requests that belong to no part
        yield finding_of(whole, "averages", Belief.HOLDS, _NO_AVERAGES)
        return
    common = [q for q in whole.quantiles_s if 0.5 <= q < 1.0 and all(q in run.quantiles_s for run in parts)]
    for q in common:
        found, ends = whole.quantiles_s[q], [run.quantiles_s[q] for run in parts]
        if found.high < min(one.low for one in ends) or found.low > max(one.high for one in ends):
            name = format_quantile(q)
            message = f"{name} of all, {format_duration(found.value)}, lies outside those of its parts"
            yield finding_of(whole, "averages", Belief.BROKEN, message, _OTHERS)
            return
    impossible = next(((q, told) for q in common if (told := _outside(whole, parts, q))), None)
    if impossible is not None:
        name, value = format_quantile(impossible[0]), format_duration(whole.quantiles_s[impossible[0]].value)
        message = f"{name} of all cannot be {value}: {impossible[1]}"
        yield finding_of(whole, "averages", Belief.BROKEN, message, _MERGE)
        return
    apart = [q for q in common if _differ(whole, parts, q)]
    is_rounded = any(_rounding_s(whole, q) > _SAME * whole.quantiles_s[q].value for q in apart)
    for weights in ([_count(run) for run in parts], [1.0] * len(parts)):
        if len(apart) > is_rounded and all(_is_average(whole, parts, q, weights) for q in apart):
            # One or two percentiles may equal an average by chance; more hardly ever do.
            belief = Belief.BROKEN if len(apart) >= _TELLING else Belief.DOUBTFUL
            names = ", ".join(map(format_quantile, apart))
            are = "are the averages" if len(apart) > 1 else "is the average"
            message = f"{names} of all {are} of those of the parts"
            yield finding_of(whole, "averages", belief, message, _MERGE)
            return
    yield finding_of(whole, "averages", Belief.HOLDS, _NO_AVERAGES)


def _outside(whole: LoadRun, parts: Sequence[LoadRun], q: float) -> str:
    """Why the parts leave no room for a quantile of the whole; empty if they do.

    In each part, a share of at least 1 - p lies at or above its p-quantile, and a share p at or below it.
    """
    found, total = whole.quantiles_s[q], math.fsum(_count(run) for run in parts)
    above = math.fsum(_count(run) * (1.0 - _least_above(run, found.high)) for run in parts) / total
    below = math.fsum(_count(run) * _most_below(run, found.low) for run in parts) / total
    slack = len(parts) / total  # a percentile is one of the requests, up to a rank away
    if above > 1.0 - q + slack:
        return f"{100.0 * above:.2g} % of the requests of its parts lie above it, and {100.0 * (1.0 - q):.2g} % may"
    if below > q + slack:
        return f"{100.0 * below:.4g} % of the requests of its parts lie below it, and {100.0 * q:.4g} % may"
    return ""


def _least_above(run: LoadRun, value_s: float) -> float:
    """Lowest level whose quantile is certainly above a duration; 1 if there is none."""
    return min((q for q, one in run.quantiles_s.items() if one.low > value_s), default=1.0)


def _most_below(run: LoadRun, value_s: float) -> float:
    """Highest level whose quantile is certainly below a duration; 0 if there is none."""
    return max((q for q, one in run.quantiles_s.items() if one.high < value_s), default=0.0)


def _count(run: LoadRun) -> float:
    return float(run.requests or 0)


def _differ(whole: LoadRun, parts: Sequence[LoadRun], q: float) -> bool:
    """Whether quantiles of the parts are so far apart that the whole could equal their average only by chance."""
    values, rounding_s = [run.quantiles_s[q].value for run in parts], _rounding_s(whole, q)
    is_rounded = rounding_s > _SAME * whole.quantiles_s[q].value
    times = _ROUNDED_APART if is_rounded else _EXACT_APART
    return max(values) > times * min(values) and max(values) - min(values) > _FAR * rounding_s


def _rounding_s(whole: LoadRun, q: float) -> float:
    """Largest rounding error of a quantile. [s]"""
    found = whole.quantiles_s[q]
    half_s = (found.high - found.low) / 2.0 if math.isfinite(found.high) else 0.0
    return max(_SAME * found.value, half_s, whole.resolution_s / 2.0)


def _is_average(whole: LoadRun, parts: Sequence[LoadRun], q: float, weights: Sequence[float]) -> bool:
    values = [run.quantiles_s[q].value for run in parts]
    average = float(np.average(values, weights=weights))
    return abs(whole.quantiles_s[q].value - average) <= max(_SAME * average, _rounding_s(whole, q))
