"""Verdict: whether a pool of runs meets the limits of an objective, with bounded probabilities of error."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from capacity.performance import Interval
from capacity.question.candidate import Rejection, Verdict
from capacity.question.objective import Limit, Measure, Objective
from simulations.statistics.intervals import Estimate
from simulations.statistics.pool import Pool

# Fewest losses that must have been possible within the limit: intervals from fewer, in bursts, say little.
_LOSSES_MIN = 300
# Multiple of the limit up to which a refusal needs more than few samples, at least; and standard errors of the number
# of samples beyond a quantile, which chance exceeds once in 10,000 times or less.
_NEAR, _NEAR_ERRORS = 3.0, 4.0
# Standard errors of the profile beyond which it changes no verdict.
_CLEAR = 6.0


def share_of_error(number: int) -> float:
    """Share of the allowed error that the `number`-th of infinitely many tests may spend.

    6/(π²k²) sums to 1 over k = 1, 2, ..., so all tests together err no more often than one test may (union bound).
    """
    return 6.0 / (math.pi * number) ** 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Probabilities with which one look may accept or refuse wrongly."""

    accept: float
    refuse: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Results after some replications.

    Attributes:
        settled: whether the runs were long enough to forget their start, are level after it, and contain enough
            independent durations beyond the highest quantile.
        requests: number simulated for this look and those before it.
        given_up: number of them that are not in the pool, in runs that were too short.
    """

    pool: Pool
    settled: bool
    requests: int
    given_up: int = 0


def decide(
    look: Look, objective: Objective, errors: Errors, replicas: int = 1
) -> tuple[Verdict, Rejection | None]:
    """Verdict of a look, and the refusal if it is missed; a quantile counts by its value and by its late share.

    It is met only if the upper ends of all are within the limits, and missed if a lower end is above a limit (for a
    quantile, that of the late share). Runs that have not settled underestimate a busy fleet and may only refuse.
    """
    missed: list[Rejection] = []
    met = look.settled
    for limit in objective.limits:
        value, low_is_above, high_is_within = _held(look.pool, limit, errors, replicas)
        if low_is_above:
            missed.append(broken(look.pool, limit, value))
        met = met and high_is_within
    if missed:
        return Verdict.MISSED, max(missed, key=lambda rejection: rejection.needed / rejection.allowed)
    return (Verdict.MET if met else Verdict.INCONCLUSIVE), None


def open_limits(pool: Pool, objective: Objective, errors: Errors, replicas: int = 1) -> list[Limit]:
    """Limits that are neither surely met nor surely missed."""
    held = {limit: _held(pool, limit, errors, replicas) for limit in objective.limits}
    return [limit for limit, (_, broken, kept) in held.items() if not broken and not kept]


def _held(pool: Pool, limit: Limit, errors: Errors, replicas: int) -> tuple[float, bool, bool]:
    """Value of a limited quantity, whether it is surely above the limit, and whether it is surely within."""
    accept, refuse = 1.0 - errors.accept, 1.0 - errors.refuse
    if limit.quantile is None:
        low, high = found(pool, limit, refuse, replicas), found(pool, limit, accept, replicas)
        is_kept = high.high <= limit.allowed and not is_of_few(pool, limit)
        return low.value, low.low > limit.allowed, is_kept
    late, allowed_share = pool.beyond(limit.measure, limit.allowed), 1.0 - limit.quantile
    interval = found(pool, limit, accept, replicas)
    return (
        interval.value,
        late.interval(refuse).low > allowed_share,
        late.interval(accept).high <= allowed_share and interval.high <= limit.allowed,
    )


def is_of_few(pool: Pool, limit: Limit) -> bool:
    """Whether the limit is one of losses of which too few were possible."""
    return limit.measure is Measure.LOSS and limit.allowed * pool.counted < _LOSSES_MIN


def counted_for_losses(objective: Objective) -> float:
    """Fewest counted requests with which its limits of losses may be kept; 0 without one."""
    shares = (limit.allowed for limit in objective.limits if limit.measure is Measure.LOSS)
    return max((_LOSSES_MIN / share for share in shares), default=0.0)


def _measured(pool: Pool, limit: Limit, replicas: int) -> tuple[Estimate, float]:
    """The limited quantity and its largest value: a share of late requests, or the figure itself."""
    if limit.quantile is not None:
        return pool.beyond(limit.measure, limit.allowed), 1.0 - limit.quantile
    return _figure(pool, limit.measure, replicas), limit.allowed


def _figure(pool: Pool, measure: Measure, replicas: int) -> Estimate:
    """Estimate of a mean or a share."""
    match measure:
        case Measure.LOSS:
            return pool.loss
        case Measure.MISSED:
            return pool.missed
        case Measure.UTILIZATION:
            return pool.utilization(replicas)
        case _:
            return pool.mean(measure)


def excess(pool: Pool, limit: Limit, replicas: int) -> float:
    """Value of the limited quantity over the limit."""
    estimate, allowed = _measured(pool, limit, replicas)
    return estimate.value / allowed


def near_to(limit: Limit, known: Callable[[float], Sequence[float]]) -> float:
    """Multiple of the limit up to which a refusal needs more than few samples."""
    if limit.quantile is None:
        return _NEAR
    expected = min(known(limit.quantile)) * (1.0 - limit.quantile)
    return max(_NEAR, 1.0 + _NEAR_ERRORS / math.sqrt(expected))


def is_clear(pool: Pool, limit: Limit, replicas: int, *, is_kept: bool) -> bool:
    """Whether a limit is so clearly met, or missed, that the profile's error in the pool cannot change it.

    It is judged by the scatter of a few resampled profiles: Student's t is beyond 6 once in 4000 times for 7 degrees
    of freedom.
    """
    estimate, allowed = _measured(pool, limit, replicas)
    moves = estimate.moved_by
    if moves is None or not np.isfinite(moves).all():
        return False
    distance = allowed - estimate.value if is_kept else estimate.value - allowed
    return distance > _CLEAR * math.sqrt(float(np.mean(moves**2)))


def broken(pool: Pool, limit: Limit, value: float) -> Rejection:
    """The refusal for a missed limit; if all requests beyond the quantile are lost, by their share."""
    if math.isfinite(value):
        return Rejection.of(limit, value)
    return Rejection.of_losses(limit, pool.loss.value)


def found(pool: Pool, limit: Limit, confidence: float, replicas: int) -> Interval:
    """Interval of the limited quantity in a pool."""
    if limit.quantile is not None:
        return pool.of_measure(limit.measure, limit.quantile).interval(confidence)
    match limit.measure:
        case Measure.LOSS:
            return pool.loss_interval(confidence)
        case Measure.MISSED:
            return pool.missed_interval(confidence)
        case measure:
            return _figure(pool, measure, replicas).interval(confidence)


def tightest(limits: Iterable[Limit], find: Callable[[Limit], Interval]) -> tuple[Limit, Interval]:
    """The limit whose upper end is nearest to it, or farthest above, with its interval."""
    held = [(limit, find(limit)) for limit in limits]
    return max(held, key=lambda one: one[1].high / one[0].allowed)
