"""Recovered: whether, and when, success is as high again as before the trigger."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from capacity.errors import InconclusiveError
from capacity.recovery.findings import Course, Run, SessionsCourse
from capacity.recovery.stress import TOLERANCE, TOLERANCE_ERRORS, Stress
from capacity.units import format_percent
from simulations.draws.attempts import Outcomes
from simulations.draws.records import Floats, Integers

# With less success than this before the trigger there is nothing to recover to.
BASELINE_MIN = 0.5
_SOON = 2.0  # times the mean time to first token before, from which on windows are not as calm
Flags = npt.NDArray[np.bool_]
Sums = Callable[[Floats, Floats], Floats]
_RESPONSES_MIN = 1000  # behind a P99
_ROUNDING = 1e-9  # of instants and shares: a horizon that is just long enough, a share just within


def run_of(
    stress: Stress,
    outcomes: Outcomes,
    until_s: float,
    overhead_s: float,
    sessions: SessionsCourse | None = None,
) -> Run:
    """Findings of one run, for first tries up to `until_s`.

    Args:
        sessions: their course, where requests are turns: no more are live after a recovery than before.

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
            f"only {format_percent(baseline, 1)} of the requests succeed before the trigger, so there is nothing to "
            "come back to; give more replicas, a lower rate or a longer timeout"
        )
    fine = _as_successful(stress, arrived_s, sums, baseline, until_s)
    if sessions is not None:
        fine &= _as_calm(stress, sessions, len(fine))
    recovered_s, relapsed = _recovered(stress, fine)
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
        sessions=sessions,
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


def _as_successful(
    stress: Stress, arrived_s: Floats, sums: Integers, baseline: float, until_s: float
) -> Flags:
    """Whether success is as before in the window that begins with each second after the trigger's end."""
    window_s = stress.window_s
    seconds = math.floor(until_s - stress.ends_s - window_s + _ROUNDING)
    starts_s = stress.ends_s + np.arange(seconds + 1.0)
    share, count = _share(arrived_s, sums, starts_s, starts_s + window_s)
    error = np.sqrt(baseline * (1.0 - baseline) / np.maximum(count, 1.0))
    below = baseline - share
    fine: Flags = (count == 0) | (below <= np.maximum(TOLERANCE, TOLERANCE_ERRORS * error) + _ROUNDING)
    return fine


def _as_calm(stress: Stress, sessions: SessionsCourse, seconds: int) -> Flags:
    """Whether first tokens come about as soon as before, or no more sessions are live, in the same windows.

    Where clients never give up, a fleet whose caches do not fill again loses no request: waits grow, and sessions pile
    up. The number of these scatters as that of independent visits does, both before and after.
    """
    from_s, to_s = (np.array([one]) for one in (stress.baseline_s[0], stress.begins_s))
    starts_s = stress.ends_s + np.arange(float(seconds))
    ends_s = starts_s + stress.window_s
    waited_s, firsts, live = (_sums_of(one) for one in (sessions.waited_s, sessions.firsts, sessions.live))

    def means(above: Sums, below: Sums, from_s: Floats, to_s: Floats) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            found: Floats = above(from_s, to_s) / below(from_s, to_s)
        return found

    soon = means(waited_s, firsts, starts_s, ends_s) <= _SOON * means(waited_s, firsts, from_s, to_s)
    length = _sums_of(np.ones(len(sessions.live)))
    before = means(live, length, from_s, to_s)
    more = np.maximum(TOLERANCE * before, TOLERANCE_ERRORS * np.sqrt(2.0 * before))
    fine: Flags = soon | (means(live, length, starts_s, ends_s) <= before + more)
    return fine


def _sums_of(by_second: Sequence[float] | Floats) -> Sums:
    """The sum over the whole seconds between two instants, of each pair of some."""
    sums = np.concatenate([[0.0], np.cumsum(by_second)])

    def found(from_s: Floats, to_s: Floats) -> Floats:
        first, last = (np.minimum(np.floor(one).astype(np.int64), len(sums) - 1) for one in (from_s, to_s))
        between: Floats = sums[last] - sums[first]
        return between

    return found


def _recovered(stress: Stress, fine: Flags) -> tuple[float | None, bool]:
    """Seconds until all windows are as before for half a minute, and whether there was a relapse."""
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
