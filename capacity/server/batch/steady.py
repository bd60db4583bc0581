"""Steady batches: what each replica of a large fleet serves again and again where the router looks at queues."""

import math
from dataclasses import dataclass

from capacity.profile.profile import ServiceProfile
from capacity.question.plan import Routing
from capacity.server.batch.batching import Batching
from capacity.server.batch.plan import BatchPlan

# Fewest replicas of a large fleet; and requests of a batch below which replicas are idle at times.
LARGE, _SIZE_MIN = 100, 2.0


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


def is_always_at_work(plan: BatchPlan) -> bool:
    """Whether no replica is idle for long, as hundreds of replicas share what comes, by the requests that each has.

    A queue limit, and batches of other rules than Triton's, are left out.
    """
    is_level = plan.routing in (Routing.POWER_OF_TWO, Routing.LEAST_OUTSTANDING) and plan.replicas >= LARGE
    return (
        is_level
        and plan.queue_limit is None
        and plan.batching is Batching.TRITON
        and not plan.preferred_sizes
    )


def steady_batch(profile: ServiceProfile, rate_rps: float, size_max: int) -> SteadyBatch | None:
    """The smallest batch that lasts as long as its requests take to arrive; None if there is none.

    Args:
        rate_rps: of arrivals at one replica.
        size_max: the largest batch.
    """
    sizes = [*(size for size in profile.batch_sizes if size < size_max), size_max]
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


def is_wait_over(profile: ServiceProfile, rate_rps: float, plan: BatchPlan) -> bool:
    """Whether a batch wait is over before a replica is free, so that it changes nothing.

    Args:
        rate_rps: of arrivals at the fleet.
    """
    if plan.starts_at_once or not is_always_at_work(plan):
        return False
    steady = steady_batch(profile, rate_rps / plan.replicas, plan.batch_size_max)
    return steady is not None and 2.0 * plan.batch_wait_max_s <= steady.service_s
