"""llm-d's scores: the largest weighted sum of a short queue, a free cache, a known prompt, and rest from cold prompts.

Queue lengths and KV use are as they were read last. A prompt is *cold* if no replica knows any of it: the replica that
has had no cold one for longest scores 1, the last to have had one 0. All score 0.5 for other prompts.

Source:
    llm-d-router, pkg/epp/framework/plugins/scheduling/scorer/{queuedepth,kvcacheutilization,prefix,nohitlru} and
    picker/maxscore; weights of its guide to precise prefix-cache routing. Equal scores: any, where the picker rotates.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from simulations.compiled import callee, inlined
from simulations.routing.conversations.beliefs import Beliefs, Structs
from simulations.routing.conversations.beliefs import least as cheapest
from simulations.routing.conversations.index import find_matches, index_of, note_sent, units_of
from simulations.routing.conversations.seen import Asked, Engine, Fleet, Router, Seen, least


class LlmDScoresRouter(Router):
    """The replica with the largest score."""

    def __init__(self, fleet: Fleet) -> None:
        self._rules, self._index = fleet.rules, index_of(fleet)
        self.tick_s = fleet.rules.read_s
        self._queue, self._used = [0] * fleet.replicas, [0.0] * fleet.replicas
        self._cold: list[int] = []  # replicas that have had cold prompts, the last one at the end

    def choose(
        self, engines: Sequence[Seen], request: Asked, uniforms: Sequence[float], now_s: float
    ) -> Seen:
        """The replica with the largest score; of equal ones any."""
        matches = self._index.matches(engines, request)
        is_cold = not any(matches)
        rest = self._rests(engines) if is_cold else [0.5] * len(engines)
        units, queues = request.input // self._index.unit_tokens, [self._queue[one.index] for one in engines]
        lowest, highest = min(queues), max(queues)
        scores = []
        for engine, match, cold, queue in zip(engines, matches, rest, queues, strict=True):
            short = 1.0 if highest == lowest else (highest - queue) / (highest - lowest)
            free = 1.0 - self._used[engine.index]
            share = match / units if units else 0.0
            scores.append(self._weighted(short, free, share, cold))
        chosen = least(engines, [-score for score in scores], uniforms[0])
        self._index.sent(chosen.index, request)
        if is_cold:
            self._cold = [one for one in self._cold if one != chosen.index] + [chosen.index]
        return chosen

    def left(self, replica: int) -> None:
        """Forget what a replica held."""
        self._index.left(replica)

    def read(self, engines: Sequence[Engine]) -> None:
        """Note the queue and the KV use of each replica."""
        for engine in engines:
            self._queue[engine.index] = engine.waiting
            self._used[engine.index] = (engine.blocks - engine.blocks_free) / engine.blocks

    def _weighted(self, short: float, free: float, share: float, cold: float) -> float:
        rules = self._rules
        return rules.queue * short + rules.kv * free + rules.match * share + rules.cold * cold

    def _rests(self, engines: Sequence[Seen]) -> list[float]:
        """Scores of replicas by how long they have had no cold prompt: those that never had one first."""
        if len(engines) == 1:
            return [1.0]
        fresh = [engine.index for engine in engines if engine.index not in self._cold]
        order = [*fresh, *self._cold]
        return [max(0.0, 1.0 - order.index(engine.index) / (len(engines) - 1)) for engine in engines]


@callee
def read_replicas(beliefs: Beliefs, engines: Structs) -> None:
    """`LlmDScoresRouter.read`."""
    for r in range(len(beliefs.replicas)):
        if beliefs.replicas[r].here:
            beliefs.replicas[r].queue = engines[r].outstanding - engines[r].count
            beliefs.replicas[r].used = (beliefs.blocks - engines[r].free) / beliefs.blocks


@inlined
def _rest(beliefs: Beliefs, r: int, here: int) -> float:
    """`LlmDScoresRouter._rests` of one replica, of a number that are here."""
    replicas = beliefs.replicas
    if here == 1:
        return 1.0
    place = 0
    for other in range(len(replicas)):
        if replicas[other].cold == 0:
            place += replicas[other].here and (replicas[r].cold > 0 or other < r)
        else:
            place += replicas[other].cold < replicas[r].cold
    return float(max(0.0, 1.0 - place / (here - 1)))


@inlined
def _end_rest(beliefs: Beliefs, chosen: int) -> None:
    """A replica is the last to have had a cold prompt."""
    last = 0
    for r in range(len(beliefs.replicas)):
        last = max(last, beliefs.replicas[r].cold)
    beliefs.replicas[chosen].cold = last + 1


@inlined
def choose_by_scores(beliefs: Beliefs, request: int, uniform: float, cache: Any, holds: Any) -> int:
    """`LlmDScoresRouter.choose`."""
    replicas, units, weights = beliefs.replicas, units_of(beliefs, request), beliefs.weights
    find_matches(beliefs, request, cache, holds)
    is_cold, here, lowest, highest = True, 0, np.iinfo(np.int64).max, -1
    for r in range(len(replicas)):
        replicas[r].may = replicas[r].here
        if replicas[r].here:
            here += 1
            is_cold = is_cold and replicas[r].match == 0
            lowest, highest = min(lowest, replicas[r].queue), max(highest, replicas[r].queue)
    for r in range(len(replicas)):
        short = 1.0
        if highest != lowest:
            short = (highest - replicas[r].queue) / (highest - lowest)
        share = replicas[r].match / units if units else 0.0
        cold = _rest(beliefs, r, here) if is_cold else 0.5
        free = 1.0 - replicas[r].used
        replicas[r].cost = -(weights[0] * short + weights[1] * free + weights[2] * share + weights[3] * cold)
    chosen = cheapest(beliefs, uniform)
    note_sent(beliefs, chosen, request)
    if is_cold:
        _end_rest(beliefs, chosen)
    return int(chosen)
