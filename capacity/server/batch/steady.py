"""Steady batches: what each replica of a large fleet serves, where the router looks at queues or all share one."""

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from capacity.profile.profile import ServiceProfile
from capacity.question.plan import Routing
from capacity.server.batch.batching import Batching
from capacity.server.batch.plan import BatchPlan

# Fewest replicas of a large fleet; and requests of a batch below which replicas are idle at times.
LARGE, _SIZE_MIN = 100, 2.0
_HALVINGS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class SteadyBatch:
    """The batch that lasts as long as its requests take to arrive.

    Attributes:
        size: mean number of requests, whole or not.
        service_s: its time. [s]
        of_each_s: how much longer it takes with one request more. [s]
    """

    size: float
    service_s: float
    of_each_s: float

    @property
    def fixed_s(self) -> float:
        """The part of its time that does not grow with the batch. [s]"""
        return self.service_s - self.size * self.of_each_s


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SharedBatches:
    """The batches that hundreds of replicas take from one queue, each as soon as it is free.

    Attributes:
        sizes: their law: the probability of each size from 1 on.
        times_s: mean time of a batch of each size. [s]
        waiting: mean number of requests that wait.
    """

    sizes: npt.NDArray[np.float64]
    times_s: npt.NDArray[np.float64]
    waiting: float


def is_always_at_work(plan: BatchPlan) -> bool:
    """Whether no replica is idle for long, as hundreds of replicas share what comes, by the requests that each has.

    Limits, and batches of other rules than Triton's, are left out. So are balancers' own ties of all replicas,
    which move the sizes of batches away from those that stay where ties go by the index.
    """
    is_level = plan.routing.base is Routing.POWER_OF_TWO or plan.routing is Routing.LEAST_OUTSTANDING
    return is_level and _is_plain_and_large(plan)


def is_always_fed(plan: BatchPlan) -> bool:
    """Whether hundreds of replicas take batches from one queue at once, by the rules of `is_always_at_work`."""
    return plan.routing is Routing.SHARED_QUEUE and _is_plain_and_large(plan) and plan.starts_at_once


def _is_plain_and_large(plan: BatchPlan) -> bool:
    """Whether there are hundreds of replicas, without a limit, with batches by Triton's rules."""
    is_unlimited = plan.queue_limit is None and plan.outstanding_max is None
    is_plain = is_unlimited and plan.batching is Batching.TRITON and not plan.preferred_sizes
    return is_plain and plan.replicas >= LARGE


def steady_batch(profile: ServiceProfile, rate_rps: float, size_max: int) -> SteadyBatch | None:
    """The smallest batch that lasts as long as its requests take to arrive; None if there is none.

    Args:
        rate_rps: of arrivals at one replica.
        size_max: the largest batch.
    """
    sizes = profile.sizes_up_to(size_max)
    times_s = [profile.service_mean_s(size) for size in sizes]
    lacking = [rate_rps * time_s - size for size, time_s in zip(sizes, times_s, strict=True)]
    after = next((place for place, more in enumerate(lacking) if more <= 0.0), 0)
    if after == 0:  # the smallest is idle at times, or the largest is too small
        return None
    share = lacking[after - 1] / (lacking[after - 1] - lacking[after])
    size = sizes[after - 1] + share * (sizes[after] - sizes[after - 1])
    of_each_s = (times_s[after] - times_s[after - 1]) / (sizes[after] - sizes[after - 1])
    found = SteadyBatch(size=size, service_s=size / rate_rps, of_each_s=of_each_s)
    return found if size >= _SIZE_MIN and found.fixed_s > 0.0 and math.isfinite(size) else None


@lru_cache(maxsize=64)
def shared_batches(
    profile: ServiceProfile, rate_rps: float, replicas: int, size_max: int
) -> SharedBatches | None:
    """The batches of many replicas at one queue, as if batches ended at the instants of a Poisson process.

    With the arrival rate λ and θ batches a second, q > 0 requests wait at a random instant with the probability
    p·z^q, where z < 1 solves θ·z^(B + 1) - (λ + θ)·z + λ = 0, and i replicas are idle with p·(θ/λ)^i. A replica that
    becomes free takes what waits, up to B; if nothing waits it rests, and then takes one request alone. All replicas
    serve, so θ times the mean time of a batch is their number.

    Args:
        rate_rps: of arrivals at the fleet.
        size_max: B, the largest batch.

    Returns:
        None if batches have fewer than two requests on average, or the fleet cannot keep up.

    Source:
        Gross, Shortle, Thompson & Harris (2008), Fundamentals of Queueing Theory, 4th ed., sec. 3.2.2, for a bulk
        service of up to B; idle replicas, and θ from their number, are worked out here.
    """
    times_s = np.array([profile.service_mean_s(size) for size in range(1, size_max + 1)])
    slowest, fastest = rate_rps / size_max, rate_rps / _SIZE_MIN
    if slowest * times_s[-1] >= replicas or size_max <= _SIZE_MIN:
        return None

    def busy(batches_rps: float) -> float:
        return batches_rps * float(_law_of_sizes(rate_rps / batches_rps, size_max)[0] @ times_s)

    if busy(fastest) < replicas:
        return None
    for _ in range(_HALVINGS):
        middle = (slowest + fastest) / 2.0
        slowest, fastest = (middle, fastest) if busy(middle) < replicas else (slowest, middle)
    sizes, waiting = _law_of_sizes(rate_rps / slowest, size_max)
    return SharedBatches(sizes=sizes, times_s=times_s, waiting=waiting)


def _law_of_sizes(mean: float, size_max: int) -> tuple[npt.NDArray[np.float64], float]:
    """The law of the sizes of `shared_batches`, by their mean λ/θ, and the mean number of requests that wait."""
    low, high = 0.0, 1.0 - 1e-12  # of z, where z = 1 solves the equation too
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        # Divided by 1 - z it is λ - θ(z + ... + z^B), which falls as z rises.
        is_low = mean > middle * (1.0 - middle**size_max) / (1.0 - middle)
        low, high = (middle, high) if is_low else (low, middle)
    idle = 1.0 / (mean - 1.0)  # over p, as what follows
    sizes = low ** np.arange(1, size_max + 1)
    sizes[0] += 1.0 + idle
    sizes[-1] /= 1.0 - low
    whole = idle + 1.0 / (1.0 - low)
    return np.asarray(sizes / whole, dtype=np.float64), low / (1.0 - low) ** 2 / whole


def is_wait_vain(profile: ServiceProfile, rate_rps: float, plan: BatchPlan) -> bool:
    """Whether no batch wait helps a large fleet by much, as its replicas are always at work if batches start at once.

    A replica whose batches take s(b) serves b = r·T in each cycle of T = s(r·T), r being the rate of its arrivals. One
    that waits has T >= s(r·T), so that its cycles are no shorter and its batches no smaller. At one queue a wait makes
    all batches full, and at once none takes longer than a full one: it saves what some wait there, 0.4 % of P99 of 120
    replicas at load 0.93.

    Args:
        rate_rps: of arrivals at the fleet.
    """
    if plan.starts_at_once:
        return False
    at_once, size_max = replace(plan, batch_wait_max_s=0.0), plan.batch_size_max
    if is_always_fed(at_once):
        return shared_batches(profile, rate_rps, plan.replicas, size_max) is not None
    is_busy = is_always_at_work(plan)
    return is_busy and steady_batch(profile, rate_rps / plan.replicas, size_max) is not None
