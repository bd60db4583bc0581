"""Recovered: whether, and when, success is as high again as before the trigger."""

import math

import numpy as np
import numpy.typing as npt

from capacity.errors import InconclusiveError
from capacity.recovery.findings import Course, Run
from capacity.recovery.stress import TOLERANCE, TOLERANCE_ERRORS, Stress
from simulations.draws.attempts import Outcomes
from simulations.draws.records import Floats, Integers

# With less success than this before the trigger there is nothing to recover to.
BASELINE_MIN = 0.5
_RESPONSES_MIN = 1000  # behind a P99
_ROUNDING = 1e-9  # of instants and shares: a horizon that is just long enough, a share just within


def run_of(stress: Stress, outcomes: Outcomes, until_s: float, overhead_s: float) -> Run:
    """Findings of one run, for first tries up to `until_s`.

    Raises:
        InconclusiveError: most requests fail before the trigger.
    """
    arrived_s, answered_s = outcomes.arrived_s, outcomes.answered_s
    succeeded = np.zeros(len(arrived_s), dtype=np.bool_)
    succeeded[: len(answered_s)] = ~np.isnan(answered_s)
    sums = np.concatenate([[0], np.cumsum(succeeded)])
    from_s, to_s = stress.baseline_s
    before = _share(arrived_s, sums, np.array([from_s]), to_s)
    baseline = float(before[0][0])
    if baseline < BASELINE_MIN:
        raise InconclusiveError(
            f"only {baseline:.1%} of the requests succeed before the trigger, so there is nothing to come back to; "
            "give more replicas, a lower rate or a longer timeout"
        )
    recovered_s, relapsed = _recovered(stress, arrived_s, sums, baseline, until_s)
    last_s = until_s if recovered_s is None else stress.ends_s + recovered_s
    first, last, counted = np.searchsorted(arrived_s, [stress.begins_s, stress.ends_s, last_s])
    during = slice(first, last)
    responses_s = answered_s[during] - arrived_s[first : first + len(answered_s[during])]
    answers_s = responses_s[~np.isnan(responses_s)] + overhead_s
    return Run(
        recovered_s=recovered_s,
        relapsed=relapsed,
        baseline=baseline,
        goodput_during=float(succeeded[during].mean()) if last > first else baseline,
        lost=_lost(outcomes, succeeded[:counted], stress.begins_s),
        response_p99_s=_p99_s(answers_s),
        course=_course(outcomes, sums, until_s),
    )


def _lost(outcomes: Outcomes, succeeded: npt.NDArray[np.bool_], begins_s: float) -> int:
    """Number of failures among the first requests, except those whose clients gave up before the trigger began."""
    ended_s = outcomes.ended_s[: len(succeeded)]
    before = ~succeeded[: len(ended_s)] & (ended_s < begins_s)
    return int((~succeeded).sum() - before.sum())


def _p99_s(answers_s: Floats) -> float | None:
    if len(answers_s) < _RESPONSES_MIN:
        return None
    return float(np.quantile(answers_s, 0.99, method="inverted_cdf"))


def _share(arrived_s: Floats, sums: Integers, from_s: Floats, to_s: Floats | float) -> tuple[Floats, Floats]:
    """Share of success among those that arrived in each stretch, and their number."""
    first, last = np.searchsorted(arrived_s, from_s), np.searchsorted(arrived_s, to_s)
    count = np.maximum(last - first, 0)
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, (sums[last] - sums[first]) / np.maximum(count, 1), np.nan), count


def _recovered(
    stress: Stress, arrived_s: Floats, sums: Integers, baseline: float, until_s: float
) -> tuple[float | None, bool]:
    """Seconds until all windows are as before for half a minute, and whether there was a relapse."""
    window_s = stress.window_s
    seconds = math.floor(until_s - stress.ends_s - window_s + _ROUNDING)
    starts_s = stress.ends_s + np.arange(seconds + 1.0)
    share, count = _share(arrived_s, sums, starts_s, starts_s + window_s)
    error = np.sqrt(baseline * (1.0 - baseline) / np.maximum(count, 1.0))
    below = baseline - share
    fine = (count == 0) | (below <= np.maximum(TOLERANCE, TOLERANCE_ERRORS * error) + _ROUNDING)
    steady = math.ceil(stress.steady_s)
    in_row = np.convolve(fine, np.ones(steady + 1), "valid") > steady + 0.5
    if not in_row.any():
        return None, False
    first = int(np.argmax(in_row))
    return float(first), not bool(fine[first:].all())


def _course(outcomes: Outcomes, sums: Integers, until_s: float) -> Course:
    """The course second by second; `sums` are the cumulative successes among the first requests."""
    seconds = math.floor(until_s)
    places = np.searchsorted(outcomes.arrived_s, np.arange(seconds + 1.0))
    came, good = np.diff(places), np.diff(sums[places])
    sent = np.zeros(math.floor(min(until_s, outcomes.stopped_s)), dtype=np.int64)
    known = outcomes.sent[: len(sent)]
    sent[: len(known)] = known
    return Course(came=tuple(came.tolist()), succeeded=tuple(good.tolist()), sent=tuple(sent.tolist()))
