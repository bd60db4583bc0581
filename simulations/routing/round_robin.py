"""Round robin: replicas in turn; who may not be chosen is passed over.

A replica that has a part of its whole share takes that part of its turns: each turn it is owed its weight more, and
once that is a whole share it takes the turn and pays.
"""

from collections.abc import Sequence

from capacity.recovery.protection import WEIGHT
from simulations.compiled import inlined
from simulations.routing.candidates import Chosen, Policy


def round_robin(count: int) -> Policy[Chosen]:
    """Replicas of a fleet of this many in turn."""
    turn, owed = 0, [0] * count

    def choose(candidates: Sequence[Chosen], uniforms: Sequence[float]) -> Chosen:
        nonlocal turn
        while True:
            chosen = min(candidates, key=lambda candidate: (candidate.index - turn) % count)
            turn = (chosen.index + 1) % count
            owed[chosen.index] += chosen.weight
            if owed[chosen.index] >= WEIGHT:
                owed[chosen.index] -= WEIGHT
                return chosen

    return choose


@inlined
def in_turn(turn: int, count: int) -> int:
    """The place whose turn it is, of a number that only grows. Compiled."""
    return turn % count
