"""Session: all turns of a session go to one replica, by a hash; those of a replica that is lost are spread.

The replica of a session is the one whose hash with it is largest (rendezvous hashing), so that only the sessions of a
replica that leaves move, to all others alike, and come back with it, as on production-stack's ring of hashes with many
points for each replica.

Source:
    Thaler & Ravishankar (1998), Using name-based mappings to increase hit rates, IEEE/ACM Trans. Networking 6(1);
    production-stack, src/vllm_router/routers/routing_logic.py (SessionRouter).
"""

from collections.abc import Sequence

import numpy as np

from simulations.compiled import inlined
from simulations.draws.tokens import MIX_ONE, MIX_TWO, PASS_STEP, REPLICA_STEP
from simulations.routing.conversations.beliefs import NOWHERE, Beliefs
from simulations.routing.conversations.seen import Asked, Fleet, Router, Seen

_WORD = 2**64 - 1


class SessionRouter(Router):
    """Sends a session to the replica with the largest hash."""

    def __init__(self, fleet: Fleet) -> None:
        self._seed = fleet.seed

    def choose(
        self, engines: Sequence[Seen], request: Asked, uniforms: Sequence[float], now_s: float
    ) -> Seen:
        """The replica of the session, among those that are there."""
        return max(engines, key=lambda engine: session_hash(self._seed, request.session, engine.index))


def session_hash(seed: int, session: int, replica: int) -> int:
    """A number of 64 bits for a session and a replica.

    Source:
        Steele, Lea & Flood (2014), Fast splittable pseudorandom number generators, OOPSLA, fig. 16 (SplitMix64).
    """
    word = mixed((seed + (session + 1) * PASS_STEP) & _WORD)
    return mixed((word + (replica + 1) * REPLICA_STEP) & _WORD)


def mixed(word: int) -> int:
    """A word of 64 bits, mixed."""
    word = ((word ^ (word >> 30)) * MIX_ONE) & _WORD
    word = ((word ^ (word >> 27)) * MIX_TWO) & _WORD
    return word ^ (word >> 31)


@inlined
def choose_by_session(beliefs: Beliefs, request: int) -> int:
    """`SessionRouter.choose`."""
    chosen, highest = NOWHERE, np.uint64(0)
    step = np.uint64(PASS_STEP)
    word = _scrambled(beliefs.seed + np.uint64(beliefs.session[request] + 1) * step)
    for r in range(len(beliefs.replicas)):
        if beliefs.replicas[r].here:
            hashed = _scrambled(word + np.uint64(r + 1) * np.uint64(REPLICA_STEP))
            if chosen == NOWHERE or hashed > highest:
                chosen, highest = r, hashed
    return chosen


@inlined
def _scrambled(word: np.uint64) -> np.uint64:
    """`mixed`."""
    word = (word ^ (word >> np.uint64(30))) * np.uint64(MIX_ONE)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(MIX_TWO)
    return word ^ (word >> np.uint64(31))
