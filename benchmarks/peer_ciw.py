"""ciw's models: networks of nodes whose records have the times of each customer.

A node of ciw serves customers one by one (its batches are of arrivals, its slotted services start at fixed
times), so that batches up to a size with a timer are beyond it and left out.
"""

import ciw
import numpy as np
from systems import LEAST, MM8, Floats


def _responses_s(network: ciw.network.Network, seed: int, requests: int) -> Floats:
    ciw.seed(seed)
    simulation = ciw.Simulation(network)
    simulation.simulate_until_max_customers(requests)
    stays = [x for x in simulation.get_all_records() if x.service_time > 0.0]
    return np.array([stay.exit_date - stay.arrival_date for stay in stays])


def shared_queue(seed: int, requests: int) -> Floats:
    network = ciw.create_network(
        arrival_distributions=[ciw.dists.Exponential(rate=MM8.rate_rps)],
        service_distributions=[ciw.dists.Exponential(rate=1.0)],
        number_of_servers=[MM8.replicas],
    )
    return _responses_s(network, seed, requests)


class TwoChoices(ciw.routing.LoadBalancing):
    """Load balancing between two of the destinations, drawn again for each customer."""

    def next_node(self, ind: ciw.Individual) -> ciw.Node:
        everywhere = self.destinations
        first = ciw.random_choice(everywhere)
        second = ciw.random_choice([node for node in everywhere if node != first])
        self.destinations = sorted((first, second))
        try:
            return super().next_node(ind)
        finally:
            self.destinations = everywhere


def _own_queues(seed: int, requests: int, router: type[ciw.routing.LoadBalancing]) -> Floats:
    """Serve with own queues: the first node is the balancer, which takes no time; the replicas are the others."""
    count = LEAST.replicas
    network = ciw.create_network(
        arrival_distributions=[ciw.dists.Exponential(rate=LEAST.rate_rps), *[None] * count],
        service_distributions=[ciw.dists.Deterministic(0.0), *[ciw.dists.Exponential(rate=1.0)] * count],
        number_of_servers=[float("inf"), *[1] * count],
        routing=ciw.routing.NetworkRouting(
            routers=[
                router(destinations=list(range(2, count + 2)), tie_break="order"),
                *[ciw.routing.Leave() for _ in range(count)],
            ]
        ),
    )
    return _responses_s(network, seed, requests)


def least_outstanding(seed: int, requests: int) -> Floats:
    return _own_queues(seed, requests, ciw.routing.LoadBalancing)


def power_of_two(seed: int, requests: int) -> Floats:
    return _own_queues(seed, requests, TwoChoices)
