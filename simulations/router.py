"""Router: the load balancer, which sends each request to a replica on its arrival, for good."""

from collections.abc import Callable, Sequence

from capacity.plan import Routing
from simulations.replica import Replica

# Which replica a request goes to, given its number in order of arrival.
Policy = Callable[[int], Replica]


def routing_policy(routing: Routing, replicas: Sequence[Replica], uniforms: Sequence[float]) -> Policy:
    """The rule behind a routing name.

    Args:
        replicas: the fleet, by index.
        uniforms: two per request, used by `random` (the first) and `power-of-two`.
    """
    count = len(replicas)
    outstanding = replicas[0].outstanding

    def round_robin(request: int) -> Replica:
        return replicas[request % count]

    def random(request: int) -> Replica:
        return replicas[int(uniforms[2 * request] * count)]

    def least_outstanding(request: int) -> Replica:
        return replicas[outstanding.index(min(outstanding))]

    def power_of_two(request: int) -> Replica:
        first = int(uniforms[2 * request] * count)
        second = (first + 1 + int(uniforms[2 * request + 1] * (count - 1))) % count
        return replicas[min((outstanding[first], first), (outstanding[second], second))[1]]

    def shared_queue(request: int) -> Replica:
        return replicas[0]  # all stand at one queue, so any of them leads to it

    return {
        Routing.ROUND_ROBIN: round_robin,
        Routing.RANDOM: random,
        Routing.LEAST_OUTSTANDING: least_outstanding,
        Routing.POWER_OF_TWO: power_of_two,
        Routing.SHARED_QUEUE: shared_queue,
    }[routing]
