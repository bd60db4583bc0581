"""Coordinated omission: the responses of requests that were not sent because others were still unanswered."""

import math
from dataclasses import dataclass

import numpy as np

from capacity.formats.load_test import Floats, LoadRun, Loop
from capacity.performance import Interval

_POINTS = 20_000  # points of a distribution that is known by its quantiles or bounds
_MATTERS = 0.1  # relative change of a quantile that is worth reporting
_STEPS = 200  # steps of a bisection, more than a float has digits


@dataclass(frozen=True, slots=True, kw_only=True)
class Omission:
    """Change of a quantile when requests that were held back are counted.

    Attributes:
        reported_s, scheduled_s: the quantile as reported, and as users on a schedule would have seen it. [s]
        cycle_s: mean time from one request of a user to the next. [s]
        unsent_share: share of the scheduled requests that were not sent.
    """

    quantile: float
    reported_s: float
    scheduled_s: float
    cycle_s: float
    unsent_share: float

    @property
    def change(self) -> float:
        """Relative change: how far the reported quantile is too low."""
        return self.scheduled_s / self.reported_s - 1.0 if self.reported_s else 0.0


def worst_omission(run: LoadRun, decisive: float) -> Omission | None:
    """The omission of the decisive quantile if it changes by more than a tenth, else the largest one."""
    found = omission(run, decisive)
    if found is None or found.change > _MATTERS:
        return found
    others = (omission(run, q) for q in run.quantiles_s if 0.5 <= q < 1.0)
    return max((found, *(one for one in others if one is not None)), key=lambda one: one.change)


def omission(run: LoadRun, quantile: float) -> Omission | None:
    """The omission of a closed loop; None if the run does not say enough.

    A user who waits for a long answer does not send the requests that were due meanwhile. Each response longer than
    the user's usual cycle stands for requests that would have come one cycle, two cycles and so on later, and would
    have waited that much less.

    Source:
        Tene, HdrHistogram, `copyCorrectedForCoordinatedOmission(expectedIntervalBetweenValueSamples)`.
    """
    found = _responses(run)
    if run.loop is not Loop.CLOSED or not run.users or not run.throughput_rps or found is None:
        return None
    values_s, weights = found
    cycle_s = run.users / run.throughput_rps
    reported = run.quantiles_s.get(quantile)
    sent_s = _quantile(values_s, weights, math.inf, quantile)
    reported_s = sent_s if reported is None else reported.value
    total = float(weights.sum())
    scheduled = _beyond(values_s, weights, cycle_s, -1.0)
    with_others_s = _quantile(values_s, weights, cycle_s, quantile)
    # Points may be rougher than the report; that difference is not an omission.
    is_same = with_others_s <= (1.0 + _MATTERS) * sent_s
    scheduled_s = reported_s if is_same else max(reported_s, with_others_s)
    return Omission(
        quantile=quantile,
        reported_s=reported_s,
        scheduled_s=scheduled_s,
        cycle_s=cycle_s,
        unsent_share=1.0 - total / scheduled,
    )


def unsent_share_max(run: LoadRun) -> float | None:
    """Upper bound on the share of a schedule's requests that was held back; None if too little is known.

    A response r longer than a cycle stands for r / cycle - 1 requests that were not sent. No r exceeds the maximum,
    so r - cycle <= r (1 - cycle / maximum), whose mean is known.
    """
    if not run.users or not run.throughput_rps or run.mean_s is None or run.max_s is None:
        return None
    cycle_s = run.users / run.throughput_rps
    if run.max_s <= cycle_s:
        return 0.0
    others = run.mean_s * (1.0 - cycle_s / run.max_s) / cycle_s
    return others / (1.0 + others)


def has_tail(run: LoadRun) -> bool:
    """Whether single responses, or percentiles up to the maximum, are known."""
    return _responses(run) is not None


def _responses(run: LoadRun) -> tuple[Floats, Floats] | None:
    """Responses and their weights: single ones, else those of a histogram, else points on the quantiles."""
    samples = run.samples if run.answered is None else run.answered  # failed requests were waited for too
    if samples is not None and len(samples.response_s):
        return np.sort(samples.response_s), np.ones(len(samples.response_s))
    if run.histogram is not None and run.histogram.total and math.isfinite(run.histogram.edges_s[-1]):
        edges = np.array(run.histogram.edges_s)
        return (edges[1:] + edges[:-1]) / 2.0, np.array(run.histogram.counts, dtype=float)
    known = {q: one.value for q, one in run.quantiles_s.items()}
    if run.max_s is not None:
        known[1.0] = run.max_s
    if len(known) < 3 or max(known) < 0.999:
        return None
    known.setdefault(0.0, run.min_s or 0.0)
    at = sorted(known)
    values = np.maximum.accumulate([min(known[q], run.max_s or math.inf) for q in at])
    return np.interp((np.arange(_POINTS) + 0.5) / _POINTS, at, values), np.ones(_POINTS)


def _beyond(values_s: Floats, weights: Floats, cycle_s: float, limit_s: float) -> float:
    """Weight of responses above a limit, including those that a schedule would have added."""
    besides = np.floor((values_s - max(limit_s, cycle_s)) / cycle_s) if math.isfinite(cycle_s) else 0.0
    return float((weights * ((values_s > limit_s) + np.maximum(besides, 0.0))).sum())


def _quantile(values_s: Floats, weights: Floats, cycle_s: float, quantile: float) -> float:
    """Smallest duration that a share `quantile` of the weight stays within, by bisection. [s]"""
    allowed = (1.0 - quantile) * _beyond(values_s, weights, cycle_s, -1.0)
    low_s, high_s = 0.0, float(values_s.max())
    for _ in range(_STEPS):
        middle_s = (low_s + high_s) / 2.0
        if middle_s in (low_s, high_s):
            break
        if _beyond(values_s, weights, cycle_s, middle_s) > allowed:
            low_s = middle_s
        else:
            high_s = middle_s
    return high_s


def from_schedule(run: LoadRun, quantile: float) -> Interval | None:
    """Quantile of responses counted from when they were due: exact from single requests, else between bounds. [s]

    A sum above a + b has a part above its own bound: P(delay + response > a + b) <= P(delay > a) + P(response > b).
    """
    samples = run.samples
    if samples is not None and len(samples.due_s):
        value_s = float(
            np.quantile(samples.sent_s + samples.response_s - samples.due_s, quantile, method="higher")
        )
        return Interval.exact(value_s)
    response, delay_s = run.quantiles_s.get(quantile), run.schedule_delay_p99_s
    if response is None or delay_s is None or quantile != 0.99:
        return None
    low_s = max(response.value, delay_s)
    return Interval(value=low_s, low=low_s, high=math.inf)
