"""Stability: how much work a plan can sustain, and how soon it forgets how it began."""

import math
from fractions import Fraction

from capacity.plan import Plan
from capacity.profile import ServiceProfile


def sustainable_rate_rps(profile: ServiceProfile, plan: Plan) -> float:
    """Largest arrival rate below which the queues do not grow for ever. [requests/s]

    A long queue always fills the batch, so that full batches decide: c·B/s_B, and not the best
    throughput of any batch size.
    """
    return plan.replicas * profile.throughput_rps(plan.batch_size_max)


def load(profile: ServiceProfile, arrival_rate_rps: float, plan: Plan) -> float:
    """Arrival rate over the sustainable rate, λ·s_B/(c·B); stable below 1."""
    return arrival_rate_rps / sustainable_rate_rps(profile, plan)


def replicas_stable_min(profile: ServiceProfile, arrival_rate_rps: float, batch_size_max: int) -> int:
    """Fewest replicas whose load is below 1."""
    throughput_rps = profile.throughput_rps(batch_size_max)
    replicas = math.floor(Fraction(arrival_rate_rps) / Fraction(throughput_rps)) + 1
    if arrival_rate_rps >= replicas * throughput_rps:  # by rounding alone
        replicas += 1
    return replicas


def relaxation_requests(load: float, queues: int, requests_in_service: float, variability: float) -> float:
    """Requests that arrive within one relaxation time of the queues.

    A queue forgets at the rate of exp(-t/τ) with τ = (ca² + cs²)/(2.8·μ(1-√ρ)²). Here (ca² + B·cs²)/2
    stands for the first factor: longer by 1.4, and per request, since one draw of a batch's service
    time moves B requests at once. During τ each queue receives ρ/(1-√ρ)² requests times that factor; none
    forgets sooner than a batch in service ends, nor is the factor taken below that of M/M/1.

    Args:
        load: ρ, below 1.
        queues: how many queues share the arrivals.
        requests_in_service: arrivals during one service of a full batch.
        variability: ca² + B·cs², of the gaps and of the service of a full batch.

    Source:
        Odoni & Roth (1983), Operations Research 31(3), 432-455, the time constant of a single queue; its
        extension to batches by the variance of the net input, as in a diffusion approximation.
    """
    factor = max(1.0, variability / 2.0)
    return max(queues * factor * load / (1.0 - math.sqrt(load)) ** 2, requests_in_service, 1.0)
