"""Relaxation: how soon queues with a limit, and closed populations, forget how they began."""

import math

from capacity.plan import Plan, Routing
from capacity.stability import relaxation_requests
from capacity.workload import ClosedPopulation

# A limited queue whose input varies less than this fills and empties by its drift.
_VARIABILITY_MIN = 0.2
_WALK = 1.5


def limited_relaxation_requests(
    load: float, queues: int, requests_in_service: float, variability: float, places: int
) -> float:
    """Requests that arrive within one relaxation time of queues with so many places each.

    Without a limit and away from load 1 it is `relaxation_requests`, below the load and above it. Two
    walls hasten it: of M/M/1/K the rate is λ + μ - 2√(λμ) cos(π/(K + 1)), whose part from the walls
    grows with the variance of the input, as the part from the drift falls with it.

    Args:
        load: ρ, of any size.
        queues, requests_in_service, variability: as in `relaxation_requests`.
        places: of one queue, a batch in service included.

    Source:
        Morse (1958), Queues, Inventories and Maintenance, ch. 6, for M/M/1/K; its extension by the
        variance of the net input, as in a diffusion between two walls.
    """
    factor = max(_VARIABILITY_MIN, variability) / 2.0
    walls = 2.0 * (1.0 - math.cos(math.pi / (places + 1))) / math.sqrt(load) * factor
    drift = (1.0 - math.sqrt(load)) ** 2 / load / max(1.0, factor)
    return max(queues / (walls + drift), requests_in_service, 1.0)


def is_pooled(plan: Plan) -> bool:
    """Whether replicas fill and empty as one, since work goes to whoever is free.

    With batches the least outstanding replica need not be the one that is free first: replicas that
    started together stay together, and forget the start as slowly as queues of their own (an observation
    on fleets of 30 and 300, whose runs went on rising after ten relaxation times of one queue).
    """
    least_outstanding = plan.routing is Routing.LEAST_OUTSTANDING and plan.batch_size_max == 1
    return plan.replicas == 1 or plan.routing is Routing.SHARED_QUEUE or least_outstanding


def closed_relaxation_requests(population: ClosedPopulation, plan: Plan) -> float:
    """Requests of one relaxation time of a closed population: one from each user or so.

    Users come back at the rate 1/Z each, whatever the queue, and no cycle is shorter than a thought:
    one request of each. Behind a router that does not look, N users who do not think walk among c
    queues; their chain forgets within 1.5 N (1 + N/c) requests, computed for up to 6 queues.
    """
    users = float(population.users)
    return users if is_pooled(plan) else _WALK * users * (1.0 + users / plan.replicas)


def open_relaxation_requests(
    load: float, queues: int, requests_in_service: float, variability: float, places: int | None
) -> float:
    """Requests of one relaxation time of queues with a limit or without."""
    if places is None:
        return relaxation_requests(load, queues, requests_in_service, variability)
    return limited_relaxation_requests(load, queues, requests_in_service, variability, places)
