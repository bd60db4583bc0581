"""Relaxation: how soon queues with a limit, closed populations and bursts forget how they began."""

import cmath
import math
from collections.abc import Callable, Sequence

import numpy as np

from capacity.profile.distribution import ServiceLaw
from capacity.question.plan import Routing
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import ClosedPopulation, MmppArrivals

# Relaxation times after which the start, an empty fleet or another phase, is forgotten: exp(-10) of it is left.
RELAXATIONS = 10
# A limited queue whose input varies less than this fills and empties by its drift.
_VARIABILITY_MIN = 0.2
# Least share of the relaxation time of M/M/1 at the same load that is forgotten by smoother queues.
FACTOR_MIN = 0.2
_WALK = 1.5
_CHANCE = 3.0  # standard deviations of users who come together by chance
_LEVELS = 200  # of a service time, over which the probability of changing turns is averaged
# How much less walls hasten bursts than smooth arrivals.
_SLACK = 2.0
_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


def limited_relaxation_requests(
    load: float,
    queues: int,
    requests_in_service: float,
    variability: float,
    places: int,
    factor_min: float = 1.0,
) -> float:
    """Requests that arrive within one relaxation time of queues with a limited number of places each.

    Without a limit and away from load 1 it is `relaxation_requests`, below the load and above it. Two walls hasten
    it: for M/M/1/K the rate is λ + μ - 2√(λμ) cos(π/(K + 1)), whose part from the walls grows with the variance of
    the input, as the part from the drift falls with it.

    Args:
        load: ρ, of any size.
        queues, requests_in_service, variability, factor_min: as in `relaxation_requests`.
        places: number in one queue, including a batch in service.

    Source:
        Morse (1958), Queues, Inventories and Maintenance, ch. 6, for M/M/1/K; its extension by the
        variance of the net input, as in a diffusion between two walls.
    """
    factor = max(_VARIABILITY_MIN, variability) / 2.0
    walls = 2.0 * (1.0 - math.cos(math.pi / (places + 1))) / math.sqrt(load) * factor
    drift = (1.0 - math.sqrt(load)) ** 2 / load / max(factor_min, factor)
    return max(queues / (walls + drift), requests_in_service, 1.0)


def is_pooled(plan: BatchPlan) -> bool:
    """Whether replicas fill and empty as one, since work goes to a free replica.

    With batches the least outstanding replica need not be the one that is free first: replicas that started together
    stay together, and forget the start as slowly as queues of their own (observed on fleets of 30 and 300, whose runs
    went on rising after ten relaxation times of one queue).
    """
    least_outstanding = plan.routing.base is Routing.LEAST_OUTSTANDING and plan.batch_size_max == 1
    return plan.replicas == 1 or plan.routing is Routing.SHARED_QUEUE or least_outstanding


def closed_relaxation_requests(
    population: ClosedPopulation, plan: BatchPlan, sustainable_rps: float | None = None
) -> float:
    """Requests of one relaxation time of a closed population: about one from each user.

    Users return at the rate 1/Z each, whatever the queue, and no cycle is shorter than a think time: one request of
    each. Behind a router that does not look at queues, N users who do not think walk among c queues; their chain
    forgets within 1.5 N (1 + N/c) requests, computed for up to 6 queues. Of users who think, only those walk who
    exceed what is served within a think time.

    Args:
        sustainable_rps: rate of all replicas; None is as if no user thought.
    """
    users = float(population.users)
    if is_pooled(plan):
        return users
    walking = users if sustainable_rps is None else _walking(population, plan, sustainable_rps)
    return max(users, full_walk_requests(walking, plan.replicas))


def full_walk_requests(users: float, queues: int) -> float:
    """Requests within which users at queues that are always full change these, where service is exponential."""
    return _WALK * users * (1.0 + users / queues)


def _walking(population: ClosedPopulation, plan: BatchPlan, sustainable_rps: float) -> float:
    """Users at the queues at busy times: those who exceed what the replicas serve within a think time.

    If these are few or none, as many as wait at that load, or as chance brings at load 1.
    """
    users, fed = population.users, sustainable_rps * population.think_time_s
    spare = 1.0 - users / fed if fed > users else 0.0
    by_chance = min(plan.replicas / spare if spare > 0.0 else math.inf, _CHANCE * math.sqrt(users))
    return min(users, max(0.0, users - fed) + by_chance + plan.replicas * plan.batch_size_max)


def pace_of_users(
    population: ClosedPopulation, queue_limit: int | None, sustainable_rps: float, service_s: float
) -> float:
    """How many times as fast requests come as without a queue limit, at most.

    It is N/Z over N/(Z + R), with the asymptotic response R = max(S, N/X - Z). A limit takes states from the chain of
    the users, and so it forgets no later: what is constant beyond the limit varies more over all states than within
    those that are left, and costs no more. But users whom full queues reject send again after a think time, so that
    more requests come meanwhile.

    Args:
        sustainable_rps: X, rate of all replicas. [requests/s]
        service_s: S, mean service time of a full batch. [s]

    Source:
        Denning & Buzen (1978), ACM Computing Surveys 10(3), for R.
    """
    think_s = population.think_time_s
    if queue_limit is None or queue_limit >= population.users:
        return 1.0
    return max(1.0 + service_s / think_s, population.users / (sustainable_rps * think_s))


def turns_requests(population: ClosedPopulation, service: ServiceLaw) -> float:
    """Requests within which users change the turns in which they are served; infinite if they never do.

    If users are served in two batches in turn, a user joins the other batch by thinking for longer than it takes, in
    each turn with probability P(think > S) = E[exp(-S/Z)]. Who joins which is forgotten at twice that rate.

    Args:
        service: service time of a batch as large as when users are served in turns.
    """
    if population.think_time_s == 0.0:
        return math.inf
    levels = (np.arange(_LEVELS) + 0.5) / _LEVELS
    thinks = np.array([service.quantile_s(level) for level in levels]) / population.think_time_s
    change = float(np.exp(-thinks).mean())
    return population.users / (2.0 * change) if change > 0.0 else math.inf


def open_relaxation_requests(
    load: float,
    queues: int,
    requests_in_service: float,
    variability: float,
    places: int | None,
    factor_min: float = 1.0,
) -> float:
    """Requests of one relaxation time of queues with or without a limit; arguments as of `relaxation_requests`."""
    if places is None:
        return relaxation_requests(load, queues, requests_in_service, variability, factor_min)
    return limited_relaxation_requests(load, queues, requests_in_service, variability, places, factor_min)


def modulated_relaxation_requests(
    arrivals: MmppArrivals,
    arrival_rate_rps: float,
    load: float,
    queues: int,
    requests_in_service: float,
    variability: float,
    places: int | None,
) -> float:
    """Requests of one relaxation time of queues whose arrivals come in bursts.

    Such a queue forgets no sooner than the phases do, and in bursts above its capacity far more slowly: MMPP/M/1 at
    the rate -min χ(x) of the larger eigenvalue χ of Q + Λ(exp(x) - 1) + μI(exp(-x) - 1), which without bursts is (√μ
    - √λ)². The walls of a limit hasten it: χ is taken at x + iπ/(K + 1), as without bursts, with a safety factor
    (chains of up to 200 places needed up to 1.9). More variable service stretches it as in `relaxation_requests`: as
    if several requests moved as one.

    Args:
        load: ρ, of all queues on average.
        variability: as in `relaxation_requests`, with the gaps within a phase, which are Poisson.

    Source:
        Asmussen (2003), Applied Probability and Queues, sec. XI.2, for χ, the exponent of a Markov additive
        process; that its minimum is the rate, tests see in the spectrum of truncated chains.
    """
    phases = arrival_rate_rps / arrivals.switching_per_s
    together = max(1.0, variability / 2.0)
    served_rps = arrival_rate_rps / load / queues / together
    rates_rps = [rate_rps / queues / together for rate_rps in arrivals.rates_rps(arrival_rate_rps)]

    def exponent_per_s(tilt: complex) -> float:
        return _largest_eigenvalue(arrivals, rates_rps, served_rps, tilt).real

    least = _least(exponent_per_s, *(0.5 * math.log(served_rps / rate_rps) for rate_rps in rates_rps))
    if places is None:
        queue = -arrival_rate_rps / exponent_per_s(least)
        return max(phases, queue, requests_in_service, 1.0)
    walls = math.pi / (places / together + 1.0)
    queue = -arrival_rate_rps / exponent_per_s(complex(least, walls))
    return phases + _SLACK * queue + requests_in_service


def _largest_eigenvalue(
    arrivals: MmppArrivals, rates_rps: Sequence[float], served_rps: float, tilt: complex
) -> complex:
    """χ of `modulated_relaxation_requests`. [1/s]"""
    more, fewer = cmath.exp(tilt) - 1.0, cmath.exp(-tilt) - 1.0
    out, back = 1.0 / arrivals.burst_mean_s, 1.0 / arrivals.calm_mean_s
    burst, calm = (rate_rps * more + served_rps * fewer for rate_rps in rates_rps)
    half = (burst - out - calm + back) / 2.0
    root = cmath.sqrt(half * half + out * back)  # of the two, the one to the right
    return (burst - out + calm - back) / 2.0 + root


def _least(function: Callable[[float], float], low: float, high: float) -> float:
    """Smallest value of a convex function between two ends, by golden section."""
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = function(left), function(right)
    for _ in range(60):
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = function(right)
    return left


def relaxation_requests(
    load: float, queues: int, requests_in_service: float, variability: float, factor_min: float = 1.0
) -> float:
    """Requests that arrive within one relaxation time of the queues.

    A queue forgets at the rate of exp(-t/τ) with τ = (ca² + cs²)/(2.8·μ(1-√ρ)²). Here (ca² + B·cs²)/2
    replaces the first factor: longer by 1.4, and per request, since one draw of a batch's service
    time moves B requests at once. During τ each queue receives ρ/(1-√ρ)² requests times that factor; none
    forgets sooner than a batch in service ends.

    Args:
        load: ρ, below 1.
        queues: number of queues that share the arrivals.
        requests_in_service: arrivals during one service of a full batch.
        variability: ca² + B·cs², of the gaps and of the service of a full batch.
        factor_min: least value of the factor; 1 is that of M/M/1.

    Source:
        Odoni & Roth (1983), Operations Research 31(3), 432-455, the time constant of a single queue; its
        extension to batches by the variance of the net input, as in a diffusion approximation.
    """
    factor = max(factor_min, variability / 2.0)
    return max(queues * factor * load / (1.0 - math.sqrt(load)) ** 2, requests_in_service, 1.0)
