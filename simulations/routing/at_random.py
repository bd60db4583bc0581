"""Random routing: every replica is as likely as any other."""

from collections.abc import Sequence

from simulations.compiled import inlined
from simulations.routing.candidates import Chosen, Policy


def at_random(count: int) -> Policy[Chosen]:
    """Any of the candidates, by the first uniform number."""

    def choose(candidates: Sequence[Chosen], uniforms: Sequence[float]) -> Chosen:
        return candidates[int(uniforms[0] * len(candidates))]

    return choose


@inlined
def place_at_random(uniform: float, count: int) -> int:
    """A place among a number of candidates. Compiled."""
    return int(uniform * count)
