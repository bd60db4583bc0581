"""Batch waits: where they hold hardly any batch, and how much they help at most."""

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from capacity.profile.profile import ServiceProfile
from capacity.question.objective import Limit, Measure
from capacity.question.plan import Routing
from capacity.server.batch.batching import BatchTimer
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import (
    Demand,
    DeterministicArrivals,
    GammaArrivals,
    MmppArrivals,
    PoissonArrivals,
    Workload,
)

_Floats = npt.NDArray[np.float64]

# Longest that a wait may hold batches on average, over the time that they take, to change nothing that matters: by the
# exact law P99 moves by 0.02 % then. And levels at which service times are looked at, each as if all were as fast.
_HELD_MAX = 2e-3
_DEVIATIONS = 8.0  # standard ones beyond the mean of a Poisson count, which practically never come
_LEVELS = tuple((place + 0.5) / 8.0 for place in range(8))
# Shortest bursts that count as long, over a batch with its wait, and the least ratio of their rate to the calm one.
_BURST_MIN, _RATIO_MIN = 100.0, 2.0
# Largest share by which a wait was seen to shorten responses. Of constant batches, by the exact law: this over the
# square of a batch, and of what lies beyond P99 or elsewhere. Of others, by simulation.
_GAIN_OF_SIZE, _GAIN_OF_TAIL, _GAIN = 1.5, 0.01, 0.03
_TAIL, _GAIN_OF_SPREAD = 0.99, 1.0 / 3.0
_CONSTANT = 0.05  # largest deviation, as a share of the mean, of batches that count as constant


def holds_hardly_any(profile: ServiceProfile, workload: Demand, plan: BatchPlan, quantile: float) -> bool:
    """Whether a batch wait holds batches for so little time that the fleet is the same as without it.

    While a batch is served others ask, and whoever has waited for as long as a batch may is not held again. Where
    many ask meanwhile, nearly every batch starts at once, whatever the wait.

    Args:
        quantile: the lowest of responses that matters; 0 if their mean does.
    """
    if plan.starts_at_once or plan.timer is not BatchTimer.OLDEST or not isinstance(workload, Workload):
        return False
    is_plain = plan.queue_limit is None and plan.outstanding_max is None
    if plan.routing is Routing.SHARED_QUEUE or not is_plain:
        return False
    rate_rps = _deciding_rate_rps(profile, workload, plan, quantile)
    if rate_rps is None:
        return False
    size, wait_s = plan.batch_size_max, plan.batch_wait_max_s
    return held_share(profile, rate_rps / plan.replicas, size, wait_s) <= _HELD_MAX


def _deciding_rate_rps(
    profile: ServiceProfile, workload: Workload, plan: BatchPlan, quantile: float
) -> float | None:
    """The rate while the responses come about that decide, if requests come as evenly as at random then; else None.

    In long bursts of twice the calm rate or more these are the responses to requests that come in bursts, where more
    come in them than may be late: what comes in a calm stretch is answered sooner, and a wait would only delay it.
    """
    arrivals, rate_rps = workload.arrivals, workload.arrival_rate_rps
    if isinstance(arrivals, MmppArrivals):
        longest_s = _BURST_MIN * (profile.law(plan.batch_size_max).mean_s + plan.batch_wait_max_s)
        is_long = min(arrivals.burst_mean_s, arrivals.calm_mean_s) >= longest_s
        burst_rps = arrivals.rates_rps(rate_rps)[0]
        decides = arrivals.burst_share * burst_rps > (1.0 - quantile) * rate_rps
        return burst_rps if is_long and decides and arrivals.ratio >= _RATIO_MIN else None
    if isinstance(arrivals, GammaArrivals):
        smooth = math.sqrt(plan.replicas) if plan.routing is Routing.ROUND_ROBIN else 1.0
        return rate_rps if arrivals.cv <= smooth else None
    return rate_rps if isinstance(arrivals, PoissonArrivals | DeterministicArrivals) else None


@lru_cache(maxsize=256)
def held_share(profile: ServiceProfile, rate_rps: float, size_max: int, wait_s: float) -> float:
    """How long a wait holds a batch on average, over the time that it takes, where requests come at random.

    As if all batches started at once, and each took what came during the last, at least one: leftovers, and what
    comes while a batch is held, make batches larger, so that others are held less.

    Args:
        rate_rps: of arrivals at the replica.
        wait_s: since the arrival of a batch's oldest request.
    """
    shares = [_held(times_s, law, rate_rps, wait_s) for times_s, law in _batches(profile, rate_rps, size_max)]
    return math.fsum(shares) / len(shares)


@lru_cache(maxsize=16)
def _batches(profile: ServiceProfile, rate_rps: float, size_max: int) -> list[tuple[_Floats, _Floats]]:
    """Times of batches of 1, 2, ... and how often each forms, at some levels of the laws of their times. [s]"""
    levels = [_that_form(times_s, rate_rps) for times_s in _times_s(profile, size_max)]
    return [(times_s, _formed(times_s, rate_rps)) for times_s in levels]


@lru_cache(maxsize=8)
def _times_s(profile: ServiceProfile, size_max: int) -> _Floats:
    """Times of batches of 1, 2, ... at some levels of their laws, shape `(levels, size_max)`. [s]"""
    laws = [profile.law(size) for size in range(1, size_max + 1)]
    return np.array([[law.quantile_s(level) for law in laws] for level in _LEVELS])


def _that_form(times_s: _Floats, rate_rps: float) -> _Floats:
    """Times of batches up to one during which never more come than it holds, so that no larger one forms."""
    came, sizes = rate_rps * times_s, np.arange(1, len(times_s) + 1)
    enough = np.flatnonzero(sizes - came > _DEVIATIONS * np.sqrt(np.maximum(came, 1.0)))
    return times_s if len(enough) == 0 else times_s[: enough[0] + 1]


def _formed(times_s: _Floats, rate_rps: float) -> _Floats:
    """How often batches of 1, 2, ... form, which take these times: each of what came during the last, at least one."""
    sizes = np.arange(len(times_s))
    came = rate_rps * times_s[:, None]
    logs = sizes * np.log(came) - came - np.cumsum(np.log(np.maximum(sizes, 1)))
    moves = np.zeros((len(times_s), len(times_s)))
    moves[:, :-1] = np.exp(logs[:, 1:])
    moves[:, 0] += np.exp(logs[:, 0])
    moves[:, -1] = np.maximum(0.0, 1.0 - moves[:, :-1].sum(axis=1))
    balance = moves.T - np.eye(len(times_s))
    balance[-1] = 1.0
    return np.linalg.solve(balance, np.eye(len(times_s))[-1])


def _held(times_s: _Floats, law: _Floats, rate_rps: float, wait_s: float) -> float:
    """How long a wait holds a batch, over its time, where batches take these times and form as often as the law says.

    The next oldest request comes A after the start of a batch of time s, and holds the next batch until A + wait, if
    that is later than s: (A - s + wait)^+, at most the wait, whose mean is an integral of P(A > x) = e^-λx.
    """
    late_s = np.maximum(times_s - wait_s, 0.0)
    until_s = (np.exp(-rate_rps * late_s) - np.exp(-rate_rps * times_s)) / rate_rps
    held_s = np.maximum(wait_s - times_s, 0.0) + until_s
    return float(law @ held_s) / float(law @ times_s)


def helped_at_most(profile: ServiceProfile, workload: Demand, plan: BatchPlan, limit: Limit) -> float:
    """How many times its limit a fleet may miss whose batches start at once, for a batch wait to mend it.

    A wait saves what a partly filled batch takes from others, which is little if batches are large: by the exact law of
    constant batches it shortens P99 by up to 17 % if they hold two, by 7 % with four and by 1 % with eight or more,
    whatever the load, the replicas and how times grow. Where times vary, fewer batches are also fewer slow ones: up to
    14 % of P99 and 30 % of the median were seen. That is of responses to Poisson arrivals, and taken to hold for
    rougher ones. Else it is infinite, as where a larger batch is faster: batches of 20 for one that is seldom slow.
    """
    arrivals = workload.arrivals if isinstance(workload, Workload) else None
    is_rough = isinstance(arrivals, PoissonArrivals | MmppArrivals) or (
        isinstance(arrivals, GammaArrivals) and arrivals.cv >= 1.0
    )
    is_own = plan.replicas == 1 or plan.routing is not Routing.SHARED_QUEUE
    is_plain = plan.timer is BatchTimer.OLDEST and plan.queue_limit is None and plan.outstanding_max is None
    is_timed = limit.measure.durations is Measure.RESPONSE
    if not (is_rough and is_own and is_plain and is_timed and _is_monotone(profile)):
        return math.inf
    return 1.0 / (1.0 - _gain(profile, plan.batch_size_max, limit.quantile or 0.0))


def _gain(profile: ServiceProfile, size: int, quantile: float) -> float:
    """Largest share by which a wait shortens responses."""
    if max(law.scv for law in profile.laws) > _CONSTANT**2:
        return _GAIN_OF_SPREAD
    return max(_GAIN if quantile < _TAIL else _GAIN_OF_TAIL, _GAIN_OF_SIZE / size**2)


@lru_cache(maxsize=8)
def _is_monotone(profile: ServiceProfile) -> bool:
    """Whether larger batches take at least as long, quantile by quantile, which takes some time to see."""
    return profile.is_monotone
