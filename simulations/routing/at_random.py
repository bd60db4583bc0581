"""Random routing: every replica is as likely as its weight says, as any other where all have their whole share."""

from collections.abc import Sequence

from simulations.compiled import inlined
from simulations.routing.candidates import Chosen, Policy, drawn


def at_random(count: int) -> Policy[Chosen]:
    """Any of the candidates, by the first uniform number."""

    def choose(candidates: Sequence[Chosen], uniforms: Sequence[float]) -> Chosen:
        return drawn(candidates, uniforms[0])

    return choose


@inlined
def place_at_random(uniform: float, count: int) -> int:
    """A place among a number of candidates. Compiled."""
    return int(uniform * count)
