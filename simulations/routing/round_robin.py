"""Round robin: replicas in turn; who may not be chosen is passed over."""

from collections.abc import Sequence

from simulations.compiled import inlined
from simulations.routing.candidates import Chosen, Policy


def round_robin(count: int) -> Policy[Chosen]:
    """Replicas of a fleet of this many in turn."""
    turn = 0

    def choose(candidates: Sequence[Chosen], uniforms: Sequence[float]) -> Chosen:
        nonlocal turn
        chosen = min(candidates, key=lambda candidate: (candidate.index - turn) % count)
        turn = (chosen.index + 1) % count
        return chosen

    return choose


@inlined
def in_turn(turn: int, count: int) -> int:
    """The place whose turn it is, of a number that only grows. Compiled."""
    return turn % count
