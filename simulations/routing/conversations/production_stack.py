"""production-stack: any of the replicas that were sent most of the prompt, whatever their load; nothing is forgotten.

Source:
    production-stack, src/vllm_router/routers/routing_logic.py (PrefixAwareRouter) and prefix/hashtrie.py. It compares
    parts of 128 characters; here it is blocks of the prompt.
"""

from collections.abc import Sequence
from typing import Any

from simulations.compiled import inlined
from simulations.routing.conversations.beliefs import Beliefs, longest
from simulations.routing.conversations.index import Everything, find_matches, note_sent
from simulations.routing.conversations.seen import Asked, Fleet, Router, Seen, least


class ProductionStackRouter(Router):
    """The longest prefix, and chance."""

    def __init__(self, fleet: Fleet) -> None:
        self._index = Everything(fleet)

    def choose(
        self, engines: Sequence[Seen], request: Asked, uniforms: Sequence[float], now_s: float
    ) -> Seen:
        """Any of the replicas that were sent the longest part of the prompt."""
        matches = self._index.matches(engines, request)
        chosen = least(engines, [-match for match in matches], uniforms[0])
        self._index.sent(chosen.index, request)
        return chosen


@inlined
def choose_by_trie(beliefs: Beliefs, request: int, uniform: float, cache: Any, holds: Any) -> int:
    """`ProductionStackRouter.choose`."""
    find_matches(beliefs, request, cache, holds)
    chosen = longest(beliefs, uniform)
    note_sent(beliefs, chosen, request)
    return int(chosen)
