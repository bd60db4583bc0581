"""Policies: the register of routing, by name for the readable model and by number for compiled code."""

from collections.abc import Callable, Sequence
from typing import Any

from capacity.question.plan import Routing
from simulations.compiled import inlined
from simulations.draws.records import Floats
from simulations.routing.at_random import at_random, place_at_random
from simulations.routing.candidates import Chosen, Policy, fewer_outstanding
from simulations.routing.least_outstanding import in_smooth_turn, least_outstanding, longest_unchanged
from simulations.routing.power_of_two import power_of_two, second_of_equal, second_place, with_replacement
from simulations.routing.round_robin import in_turn, round_robin

ROUTINGS = (
    Routing.ROUND_ROBIN,
    Routing.RANDOM,
    Routing.LEAST_OUTSTANDING,
    Routing.POWER_OF_TWO,
    Routing.SHARED_QUEUE,
    Routing.LEAST_OUTSTANDING_HAPROXY,
    Routing.LEAST_OUTSTANDING_NGINX,
    Routing.POWER_OF_TWO_HAPROXY,
    Routing.POWER_OF_TWO_NGINX,
)
ROUND_ROBIN, RANDOM, LEAST_OUTSTANDING, POWER_OF_TWO, SHARED_QUEUE = range(5)
LEAST_OUTSTANDING_HAPROXY, LEAST_OUTSTANDING_NGINX, POWER_OF_TWO_HAPROXY, POWER_OF_TWO_NGINX = range(5, 9)

# Each is made for a fleet of this many replicas; a shared queue has no policy, as any replica leads to it.
POLICIES: dict[Routing, Callable[[int], Policy[Any]]] = {
    Routing.ROUND_ROBIN: round_robin,
    Routing.RANDOM: at_random,
    Routing.LEAST_OUTSTANDING: least_outstanding,
    Routing.POWER_OF_TWO: power_of_two,
    Routing.LEAST_OUTSTANDING_HAPROXY: longest_unchanged,
    Routing.LEAST_OUTSTANDING_NGINX: in_smooth_turn,
    Routing.POWER_OF_TWO_HAPROXY: with_replacement,
    Routing.POWER_OF_TWO_NGINX: second_of_equal,
}


def router(
    routing: Routing, replicas: Sequence[Chosen], uniforms: Sequence[float]
) -> Callable[[int], Chosen]:
    """Which replica each request goes to, in order of arrival, where any may be chosen.

    Args:
        uniforms: two a request.
    """
    if routing is Routing.SHARED_QUEUE:
        return lambda request: replicas[0]
    policy: Policy[Chosen] = POLICIES[routing](len(replicas))
    return lambda request: policy(replicas, uniforms[2 * request : 2 * request + 2])


@inlined
def base_of(routing: int) -> int:
    """The number of `Routing.base`. Compiled."""
    if routing in (LEAST_OUTSTANDING_HAPROXY, LEAST_OUTSTANDING_NGINX):
        return LEAST_OUTSTANDING
    if routing in (POWER_OF_TWO_HAPROXY, POWER_OF_TWO_NGINX):
        return POWER_OF_TWO
    return routing


@inlined
def first_place(routing: int, turn: int, uniforms: Floats, at: int, count: int) -> int:
    """The place that a policy looks at first, of this many candidates.

    Args:
        turn: whose turn it is.
        uniforms: this one's at `at`, and behind it that of the second place; not read by policies without chance.
    """
    if routing == ROUND_ROBIN:
        return int(in_turn(turn, count))
    if routing == RANDOM or base_of(routing) == POWER_OF_TWO:
        return int(place_at_random(uniforms[at], count))
    return 0


@inlined
def other_place(routing: int, first: int, uniforms: Floats, at: int, count: int) -> int:
    """The place that a policy looks at besides, of this many candidates; the first itself if there is none."""
    if routing in (POWER_OF_TWO, POWER_OF_TWO_NGINX):
        return int(second_place(first, uniforms[at + 1], count))
    if routing == POWER_OF_TWO_HAPROXY:
        return int(place_at_random(uniforms[at + 1], count))
    return first


@inlined
def less_busy(routing: int, replicas: Any, one: int, two: int) -> int:
    """The choice among both replicas that a policy looks at.

    Args:
        replicas: structs with a field `outstanding`, by index.
    """
    if routing == POWER_OF_TWO:
        return int(fewer_outstanding(replicas, one, two))
    return one if replicas[two].outstanding > replicas[one].outstanding else two
