"""Power of two: of two different replicas at random, the one with fewer requests outstanding."""

from collections.abc import Sequence

from simulations.compiled import inlined
from simulations.routing.candidates import Chosen, Policy, fewest_outstanding


def power_of_two(count: int) -> Policy[Chosen]:
    """Two candidates by the two uniform numbers, of which the less busy one is chosen."""

    def choose(candidates: Sequence[Chosen], uniforms: Sequence[float]) -> Chosen:
        among = len(candidates)
        first = int(uniforms[0] * among)
        second = (first + 1 + int(uniforms[1] * (among - 1))) % among
        return fewest_outstanding([candidates[first], candidates[second]])

    return choose


@inlined
def second_place(first: int, uniform: float, count: int) -> int:
    """Another place than the first, among a number of candidates; the first itself if it is alone. Compiled."""
    second = first + 1 + int(uniform * (count - 1))
    return second - count if second >= count else second
