"""One replica of a fleet, written independently: neither code nor seeds of the package have a part in it."""

import numba
import numpy as np
from numpy.typing import NDArray

from capacity.profile.profile import ServiceProfile
from capacity.question.plan import Routing
from capacity.server.batch.plan import BatchPlan

Floats = NDArray[np.float64]


def quantile_s(
    profile: ServiceProfile,
    plan: BatchPlan,
    rate_rps: float,
    quantile: float,
    requests: int,
    seed: int,
    gap_cv: float = 1.0,
) -> float:
    """Response quantile of this many requests at one replica, after a tenth more that do not count. [s]

    Round-robin hands every c-th request to it, random routing a c-th of a Poisson stream.
    """
    generator = np.random.default_rng([seed, 20261125])
    total = requests + requests // 10
    if plan.routing is Routing.ROUND_ROBIN:
        shape = plan.replicas / gap_cv**2
    else:
        assert plan.routing is Routing.RANDOM
        assert gap_cv == 1.0
        shape = 1.0
    gaps_s = generator.gamma(shape, plan.replicas / rate_rps / shape, total)
    grid, durations_s = table(profile, plan.batch_size_max)
    responses_s = batches(
        np.cumsum(gaps_s),
        generator.random(total),
        grid,
        durations_s,
        plan.batch_size_max,
        plan.batch_wait_max_s,
    )
    responses_s = responses_s[total - requests :] + profile.request_overhead_s
    return float(np.quantile(responses_s, quantile, method="inverted_cdf"))


def table(profile: ServiceProfile, batch_size_max: int) -> tuple[Floats, Floats]:
    """Quantile functions of all batch sizes on one grid of probabilities; straight in between."""
    laws = [profile.law(size) for size in range(1, batch_size_max + 1)]
    grid = np.unique(np.concatenate([law.probabilities for law in laws]))
    return grid, np.array([np.interp(grid, law.probabilities, law.durations_s) for law in laws])


@numba.njit
def batches(
    arrived_s: Floats, uniforms: Floats, grid: Floats, durations_s: Floats, size_max: int, wait_s: float
) -> Floats:
    """Responses of one queue: a batch starts when the replica is free and it is full or its oldest has waited."""
    count = len(arrived_s)
    responses_s = np.empty(count)
    first, free_s = 0, 0.0
    while first < count:
        due_s = max(free_s, arrived_s[first] + wait_s)
        if first + size_max <= count:
            due_s = min(due_s, max(free_s, arrived_s[first + size_max - 1]))
        after = first + 1
        while after < count and after - first < size_max and arrived_s[after] <= due_s:
            after += 1
        took_s = np.interp(uniforms[first], grid, durations_s[after - first - 1])
        free_s = due_s + took_s
        for request in range(first, after):
            responses_s[request] = free_s - arrived_s[request]
        first = after
    return responses_s
