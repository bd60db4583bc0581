"""SGLang: the replica that knows most of the prompt, unless loads differ much or no replica knows enough of it.

Source:
    sglang, sgl-model-gateway/src/policies/cache_aware.rs, with the defaults of its command line (src/main.rs). Its tree
    compares characters; here it is blocks of the prompt, and the tree has no limit.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from simulations.compiled import inlined
from simulations.routing.conversations.beliefs import Beliefs, Structs, longest
from simulations.routing.conversations.beliefs import least_loaded as idlest_of
from simulations.routing.conversations.index import Everything, find_matches, note_sent
from simulations.routing.conversations.seen import Asked, Fleet, Router, Seen, least, least_loaded


class SglangRouter(Router):
    """Knowledge if loads are alike, else load."""

    def __init__(self, fleet: Fleet) -> None:
        self._rules, self._index = fleet.rules, Everything(fleet)

    def choose(
        self, engines: Sequence[Seen], request: Asked, uniforms: Sequence[float], now_s: float
    ) -> Seen:
        """The replica that knows most of the prompt, or the least loaded one."""
        chosen = self._best(engines, request, uniforms[0])
        self._index.sent(chosen.index, request)
        return chosen

    def _best(self, engines: Sequence[Seen], request: Asked, uniform: float) -> Seen:
        loads = [engine.outstanding for engine in engines]
        busiest, idlest = max(loads), min(loads)
        if busiest - idlest > self._rules.balance_abs and busiest > self._rules.balance_rel * idlest:
            return least_loaded(engines, uniform)
        matches = self._index.matches(engines, request)
        if max(matches) * self._index.unit_tokens / request.input > self._rules.cache_threshold:
            return least(engines, [-match for match in matches], uniform)
        return least_loaded(engines, uniform)


@inlined
def choose_by_tree(
    beliefs: Beliefs, engines: Structs, request: int, uniform: float, cache: Any, holds: Any
) -> int:
    """`SglangRouter.choose`."""
    replicas, weights = beliefs.replicas, beliefs.weights
    idlest, busiest, most = np.iinfo(np.int64).max, -1, 0
    for r in range(len(replicas)):
        if replicas[r].here:
            idlest, busiest = min(idlest, engines[r].outstanding), max(busiest, engines[r].outstanding)
    if not (busiest - idlest > weights[0] and busiest > weights[1] * idlest):
        find_matches(beliefs, request, cache, holds)
        for r in range(len(replicas)):
            if replicas[r].here:
                most = max(most, replicas[r].match)
    if most * beliefs.block_tokens / beliefs.input[request] > weights[2]:
        chosen = longest(beliefs, uniform)
    else:
        chosen = idlest_of(beliefs, engines, uniform)
    note_sent(beliefs, chosen, request)
    return int(chosen)
