"""Users of batches: how long runs of a closed population must be at replicas that serve batches."""

import math
from typing import TYPE_CHECKING

import numpy as np

from capacity.profile.distribution import ServiceLaw
from capacity.profile.profile import ServiceProfile
from capacity.question.plan import Routing
from capacity.server.batch.batching import Batching
from capacity.server.batch.plan import BatchPlan
from capacity.server.batch.stability import sustainable_rate_rps
from capacity.traffic.workload import ClosedPopulation
from simulations.statistics.pool import SECTIONS
from simulations.statistics.relaxation import (
    closed_relaxation_requests,
    full_walk_requests,
    is_pooled,
    pace_of_users,
    relaxation_requests,
    turns_requests,
)
from simulations.statistics.sample import Length

if TYPE_CHECKING:
    from simulations.cases.batch import BatchCase

# Orders of users that a pool must have seen; each run has another order.
TURNS_SEEN_MIN = 2_000
_TURNS_WAITED_FOR = 10  # requests of each user within which the order changes
# Requests of each user while a run settles into an order of users, if they are not too many in all: for 8 users of
# one replica, whose batches take 28 to 30 ms, P99 is then right to 0.1 %, and the mean to 1 % even if the think time
# is a 30th of a batch, so that the order does not change within a year.
_SETTLING_MIN, _SETTLING, _SETTLING_REQUESTS = 200, 1000, 50_000

_SERVED_TOGETHER = 1.5  # batches at a queue whose batches are all just full: in service, and coming meanwhile


def run_length(users: int, warm_up: int, enough: float, last: int, *, by_turns: bool) -> Length:
    """Length of a replication of a closed population; each user is an observation, so a run need not be long.

    The more runs with an order of their own there are, the shorter they may be.
    """
    settling = 0
    if by_turns:
        settling = max(_SETTLING_MIN * users, min(_SETTLING * users, _SETTLING_REQUESTS))
        enough *= min(1.0, SECTIONS * users / TURNS_SEEN_MIN)
    measured, warm_up = max(warm_up, math.ceil(enough)), max(warm_up, settling)
    return Length(warm_up=warm_up, measured=measured, cool_down=min(last, measured // 10))


def turns_requests_of(case: "BatchCase") -> float:
    """Requests within which the order of users changes; 0 if all batches are full."""
    users, plan = case.scenario.workload, case.scenario.plan
    assert isinstance(users, ClosedPopulation)  # noqa: S101  (who else takes turns)
    if users.think_time_s == 0.0 or users.users >= 2 * plan.replicas * plan.batch_size_max:
        return 0.0
    return turns_requests(users, service_by_turns(case))


def service_by_turns(case: "BatchCase") -> ServiceLaw:
    """Service law of the batches of users who come in order: half of a replica's users each."""
    assert isinstance(case.scenario.workload, ClosedPopulation)  # noqa: S101
    size = case.scenario.workload.users // (2 * case.scenario.plan.replicas)
    return case.scenario.profile.law(min(max(1, size), case.scenario.plan.batch_size_max))


def is_by_turns(case: "BatchCase") -> bool:
    """Whether users keep their first order for longer than a simulation can last."""
    assert isinstance(case.scenario.workload, ClosedPopulation)  # noqa: S101  (who else takes turns)
    return turns_requests_of(case) > max(
        _TURNS_WAITED_FOR * case.scenario.workload.users, walk_requests(case)
    )


def forgotten_requests(case: "BatchCase") -> float:
    """Requests within which a closed population forgets the numbers at its queues.

    Where users think for so long that no queue is always full, a long one shrinks faster than it walks: it is a queue
    that requests reach at the rate of all users, whatever its length, and forgets as soon as one with that load.
    """
    users, plan, walk = case.scenario.workload, case.scenario.plan, steady_walk_requests(case)
    assert isinstance(users, ClosedPopulation)  # noqa: S101  (who else walks)
    if is_pooled(plan) or plan.batching is Batching.RAY_SERVE:  # whose queues long or short shrink alike
        return walk
    profile, size = case.scenario.profile, plan.batch_size_max
    rate_rps, service = rate_at_most_rps(users, plan, profile), profile.law(size)
    load = rate_rps / sustainable_rate_rps(profile, plan)
    if load >= 1.0:
        return walk
    in_service, variability = rate_rps * service.mean_s * case.slowdown, 1.0 + size * service.scv
    return max(users.users, min(walk, relaxation_requests(load, plan.replicas, in_service, variability)))


def rate_at_most_rps(users: ClosedPopulation, plan: BatchPlan, profile: ServiceProfile) -> float:
    """Rate of the requests of users, at most: each waits for half of another batch, unless a replica is idle.

    At the rate x a replica serves batches of b = x·s_b on average, and finds its queue empty when one ends with
    probability exp(-b). A rate is that of as many users as think or are answered meanwhile (Little 1961).
    """
    sizes = np.arange(1, plan.batch_size_max + 1)
    means_s = np.interp(sizes, profile.batch_sizes, [law.mean_s for law in profile.laws])
    rates_rps = plan.replicas * sizes / means_s
    response_s = means_s * (1.0 + 0.5 * (1.0 - np.exp(-sizes)))
    enough = np.flatnonzero(rates_rps * (users.think_time_s + response_s) >= users.users)
    if not len(enough):
        return math.inf
    if enough[0] == 0:
        return users.users / (users.think_time_s + float(means_s[0]))
    return float(rates_rps[enough[0]])


def walk_requests(case: "BatchCase") -> float:
    """Requests within which the numbers of a closed population at its queues change as by a random walk."""
    users, plan = case.scenario.workload, case.scenario.plan
    assert isinstance(users, ClosedPopulation)  # noqa: S101  (who else walks)
    return closed_relaxation_requests(users, plan, sustainable_rate_rps(case.scenario.profile, plan))


def steady_walk_requests(case: "BatchCase") -> float:
    """Requests of that walk, which is slower the less service varies, where nothing else moves users between queues.

    Under round-robin each of c queues that are never empty gets its c-th part of all requests, whoever thinks. Its
    length is changed only by how many more the others serve than it does: in full batches of B with a squared
    coefficient of variation v by a variance of B·v a request, which is 1 where single requests take exponential times.
    Full queues have the users who are left where N - XZ are at the queues (Little 1961), B at each in service and B/2
    that come meanwhile, even when the most think that do by chance within the walk, which sees other thinkers with
    every N requests: a queue too short to fill its batches catches up by itself. Batches that all take equally long
    change nothing: queues stay as at the start.
    """
    users, plan, profile = case.scenario.workload, case.scenario.plan, case.scenario.profile
    assert isinstance(users, ClosedPopulation)  # noqa: S101  (who else walks)
    walk, varies = walk_requests(case), plan.batch_size_max * profile.law(plan.batch_size_max).scv
    thinking = min(users.users, sustainable_rate_rps(profile, plan) * users.think_time_s)
    full = users.users - thinking - _SERVED_TOGETHER * plan.replicas * plan.batch_size_max
    if is_pooled(plan) or plan.routing is not Routing.ROUND_ROBIN or full <= 0.0 or not 0.0 < varies < 1.0:
        return walk
    times = max(1.0, full_walk_requests(full, plan.replicas) / varies / users.users)
    full -= math.sqrt(2.0 * math.log(times) * thinking * (1.0 - thinking / users.users))
    return max(walk, full_walk_requests(max(0.0, full), plan.replicas) / varies)


def pace(case: "BatchCase") -> float:
    """How many times as fast requests of users come as without a queue limit."""
    users, plan, profile = case.scenario.workload, case.scenario.plan, case.scenario.profile
    assert isinstance(users, ClosedPopulation)  # noqa: S101  (who else comes back)
    service_s = profile.law(plan.batch_size_max).mean_s
    return pace_of_users(users, plan.queue_limit, sustainable_rate_rps(profile, plan), service_s)
