"""The balancer routes as the simulator's load balancer does, which is another implementation."""

import numpy as np
import pytest

from capacity.errors import InputError
from capacity.plan import Routing
from capacity.verification.send import Balancer
from simulations.router import routing_policy

SEVERAL = [routing for routing in Routing if routing is not Routing.SHARED_QUEUE]


class StandIn:
    """A replica for the simulator's router."""

    def __init__(self, index, outstanding):
        self.index, self.outstanding = index, outstanding


@pytest.mark.parametrize("replicas", [1, 2, 3, 7])
@pytest.mark.parametrize("routing", SEVERAL)
def test_it_picks_what_the_simulator_would_pick(routing, replicas):
    requests, ends = 6000, np.random.default_rng(1)
    balancer = Balancer(routing, replicas, np.random.default_rng(7))
    uniforms = np.random.default_rng(7).random(2 * requests)
    if routing is Routing.RANDOM:  # takes one a request, and the simulator the first of two
        uniforms = np.repeat(uniforms, 2)
    outstanding = [0] * replicas
    policy = routing_policy(routing, [StandIn(i, outstanding) for i in range(replicas)], uniforms)
    flying = []
    for request in range(requests):
        wanted = policy(request).index
        assert balancer.pick() == wanted
        outstanding[wanted] += 1
        flying.append(wanted)
        while flying and ends.random() < 0.55:
            ended = flying.pop(ends.integers(len(flying)))
            outstanding[ended] -= 1
            balancer.release(ended)
        assert balancer.outstanding == outstanding


def test_round_robin_takes_turns_and_ties_go_to_the_lowest():
    generator = np.random.default_rng(0)
    turns = Balancer(Routing.ROUND_ROBIN, 3, generator)
    assert [turns.pick() for _ in range(7)] == [0, 1, 2, 0, 1, 2, 0]
    least = Balancer(Routing.LEAST_OUTSTANDING, 3, generator)
    assert [least.pick() for _ in range(4)] == [0, 1, 2, 0]
    least.release(2)
    assert least.pick() == 2
    assert least.outstanding == [2, 1, 1]


def test_a_shared_queue_is_behind_one_url_or_nowhere():
    assert Balancer(Routing.SHARED_QUEUE, 1, np.random.default_rng(0)).pick() == 0
    with pytest.raises(InputError, match="2 urls cannot share a queue"):
        Balancer(Routing.SHARED_QUEUE, 2, np.random.default_rng(0))
