"""Power of two: of two replicas at random, the one with fewer requests outstanding.

Ours are two different replicas, and the lower index of equal ones. Balancers take the second of equal ones, which is
either at random; HAProxy's two may be the same.

Source:
    HAProxy 3.0.11, src/backend.c, get_server_rnd. nginx 1.26.3,
    src/http/modules/ngx_http_upstream_random_module.c, ngx_http_upstream_get_random2_peer, for equal weights. HAProxy
    compares requests for each unit of weight.
"""

from collections.abc import Sequence

from simulations.compiled import inlined
from simulations.routing.candidates import Chosen, Policy, drawn, fewest_outstanding, load


def power_of_two(count: int) -> Policy[Chosen]:
    """Two candidates by the two uniform numbers, of which the less busy one is chosen."""

    def choose(candidates: Sequence[Chosen], uniforms: Sequence[float]) -> Chosen:
        return fewest_outstanding(_two_different(candidates, uniforms))

    return choose


def second_of_equal(count: int) -> Policy[Chosen]:
    """Two different candidates; the second, unless it has more requests."""

    def choose(candidates: Sequence[Chosen], uniforms: Sequence[float]) -> Chosen:
        first, second = _two_different(candidates, uniforms)
        return first if second.outstanding > first.outstanding else second

    return choose


def with_replacement(count: int) -> Policy[Chosen]:
    """Two candidates, which may be the same; the second, unless it has more requests."""

    def choose(candidates: Sequence[Chosen], uniforms: Sequence[float]) -> Chosen:
        first, second = (drawn(candidates, uniform) for uniform in uniforms[:2])
        return first if load(second) > load(first) else second

    return choose


def _two_different(candidates: Sequence[Chosen], uniforms: Sequence[float]) -> tuple[Chosen, Chosen]:
    """Two candidates by two uniform numbers; twice the same if it is alone."""
    first = drawn(candidates, uniforms[0])
    at = candidates.index(first)
    others = [*candidates[at + 1 :], *candidates[:at]]
    return first, drawn(others, uniforms[1]) if others else first


@inlined
def second_place(first: int, uniform: float, count: int) -> int:
    """Another place than the first, among a number of candidates; the first itself if it is alone. Compiled."""
    second = first + 1 + int(uniform * (count - 1))
    return second - count if second >= count else second
