"""llm-d: replicas that know a prompt, unless they are too far behind; of these the one with the least prefill ahead.

A replica is *sticky* if it knows 0.8 of the prompt. All replicas are considered if none is, or if the least prefill in
flight among the sticky ones exceeds the least among the others by more than the gate: 18 s of prefill. Tokens are in
flight from when a request is sent until its first token; those that its replica is believed to hold do not count.

Source:
    llm-d-router, pkg/epp/framework/plugins/scheduling/filter/prefixcacheaffinity/plugin.go (threshold and gate),
    scheduling/scorer/tokenload/token_load.go, requestcontrol/dataproducer/inflightload/producer.go.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from simulations.compiled import callee, inlined
from simulations.routing.conversations.beliefs import NOWHERE, Beliefs, Structs
from simulations.routing.conversations.beliefs import least as cheapest
from simulations.routing.conversations.index import find_matches, index_of, note_sent, units_of
from simulations.routing.conversations.seen import Asked, Fleet, Router, Seen, least


class InFlight:
    """Tokens of prompts that were sent to each replica and are not computed yet."""

    def __init__(self, replicas: int) -> None:
        self.tokens = [0] * replicas
        self._sent: dict[int, tuple[int, int]] = {}

    def send(self, request: int, replica: int, tokens: int) -> None:
        """A request with tokens to compute is sent to a replica."""
        self._sent[request] = replica, tokens
        self.tokens[replica] += tokens

    def end(self, request: int) -> None:
        """A request's prompt is computed, or given up."""
        replica, tokens = self._sent.pop(request, (0, 0))
        self.tokens[replica] -= tokens

    def left(self, replica: int) -> None:
        """A replica has left with all requests that were sent there."""
        self._sent = {request: sent for request, sent in self._sent.items() if sent[0] != replica}
        self.tokens[replica] = 0


class LlmDRouter(Router):
    """Affinity first, then the least tokens."""

    def __init__(self, fleet: Fleet) -> None:
        self._index, self._flying = index_of(fleet), InFlight(fleet.replicas)
        self._sticky = fleet.rules.sticky
        self._gate_tokens = fleet.rules.gate_s * fleet.prefill_tokens_per_s

    def choose(
        self, engines: Sequence[Seen], request: Asked, uniforms: Sequence[float], now_s: float
    ) -> Seen:
        """The replica with the least tokens ahead of the request and its own, among those considered."""
        matches = self._index.matches(engines, request)
        uncached = {
            engine.index: request.input - match * self._index.unit_tokens
            for engine, match in zip(engines, matches, strict=True)
        }
        considered = self._considered(engines, request, matches)
        costs = [self._flying.tokens[engine.index] + uncached[engine.index] for engine in considered]
        chosen = least(considered, costs, uniforms[0])
        self._flying.send(request.number, chosen.index, uncached[chosen.index])
        self._index.sent(chosen.index, request)
        return chosen

    def first_token(self, request: int) -> None:
        """A request's tokens are computed."""
        self._flying.end(request)

    def done(self, request: int) -> None:
        """A request that is lost has no tokens in flight."""
        self._flying.end(request)

    def left(self, replica: int) -> None:
        """Forget what a replica held and had to do."""
        self._index.left(replica)
        self._flying.left(replica)

    def _considered(self, engines: Sequence[Seen], request: Asked, matches: Sequence[int]) -> Sequence[Seen]:
        """Sticky replicas, or all."""
        units = request.input // self._index.unit_tokens
        if units == 0:
            return engines
        is_sticky = [match / units >= self._sticky for match in matches]
        sticky = [engine for engine, is_one in zip(engines, is_sticky, strict=True) if is_one]
        others = [engine for engine, is_one in zip(engines, is_sticky, strict=True) if not is_one]
        if not sticky or (others and self._ahead(sticky) - self._ahead(others) > self._gate_tokens > 0.0):
            return engines
        return sticky

    def _ahead(self, engines: Sequence[Seen]) -> int:
        """The least tokens in flight among some replicas."""
        return min(self._flying.tokens[engine.index] for engine in engines)


@inlined
def send(beliefs: Beliefs, r: int, request: int, tokens: int) -> None:
    """`InFlight.send`: a request comes to the end of the line of its replica."""
    replica, sent = beliefs.replicas[r], beliefs.sent
    sent[request].replica, sent[request].tokens, sent[request].behind = r, tokens, NOWHERE
    replica.inflight += tokens
    if replica.last == NOWHERE:
        replica.first = request
    else:
        sent[replica.last].behind = request
    replica.last = request


@inlined
def unline(beliefs: Beliefs, r: int, request: int, before: int) -> None:
    """Take a request out of the line of its replica, where it is behind `before`."""
    replica, sent = beliefs.replicas[r], beliefs.sent
    if before == NOWHERE:
        replica.first = sent[request].behind
    else:
        sent[before].behind = sent[request].behind
    if replica.last == request:
        replica.last = before
    sent[request].replica = NOWHERE


@inlined
def end_flight(beliefs: Beliefs, r: int, request: int) -> None:
    """A request has no more tokens in flight."""
    beliefs.replicas[r].inflight -= beliefs.sent[request].tokens
    beliefs.sent[request].tokens = 0


@callee
def _settle(beliefs: Beliefs, rows: Structs, now_s: float) -> None:
    """End the flight of all requests that have their first token by now."""
    for r in range(len(beliefs.replicas)):
        before, request = NOWHERE, beliefs.replicas[r].first
        while request != NOWHERE:
            behind = beliefs.sent[request].behind
            if 0.0 < rows[request].first_s <= now_s:
                end_flight(beliefs, r, request)
                unline(beliefs, r, request, before)
            else:
                before = request
            request = behind


@inlined
def _consider(beliefs: Beliefs, units: int) -> None:
    """`LlmDRouter._considered`."""
    replicas = beliefs.replicas
    sticky_ahead, others_ahead = np.inf, np.inf
    for r in range(len(replicas)):
        replicas[r].may = 0
        if replicas[r].here:
            if units > 0 and replicas[r].match / units >= beliefs.weights[0]:
                replicas[r].may = 1
                sticky_ahead = min(sticky_ahead, replicas[r].inflight)
            else:
                others_ahead = min(others_ahead, replicas[r].inflight)
    gate = beliefs.weights[1]
    if sticky_ahead == np.inf or (others_ahead < np.inf and sticky_ahead - others_ahead > gate > 0.0):
        for r in range(len(replicas)):
            replicas[r].may = replicas[r].here


@inlined
def choose_by_affinity(
    beliefs: Beliefs, rows: Structs, request: int, uniform: float, now_s: float, cache: Any, holds: Any
) -> int:
    """`LlmDRouter.choose`."""
    replicas, unit_tokens = beliefs.replicas, beliefs.unit_blocks * beliefs.block_tokens
    _settle(beliefs, rows, now_s)
    find_matches(beliefs, request, cache, holds)
    _consider(beliefs, units_of(beliefs, request))
    for r in range(len(replicas)):
        replicas[r].cost = replicas[r].inflight + beliefs.input[request] - replicas[r].match * unit_tokens
    chosen = cheapest(beliefs, uniform)
    send(beliefs, chosen, request, beliefs.input[request] - replicas[chosen].match * unit_tokens)
    note_sent(beliefs, chosen, request)
    return int(chosen)
