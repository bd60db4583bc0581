"""Dynamo: the replica where the blocks to compute, ahead of the request and of its own, and those to hold are fewest.

To compute: tokens in flight as in `llm_d`, and those of the request that the replica's cache does not hold, in blocks.
To hold: different full blocks of all prompts that were sent there and are not answered, with the request's own.

Source:
    dynamo, lib/kv-router/src/scheduling/selector/default.rs (`worker_logit`, weights as by default) and
    lib/kv-router/src/sequences (`potential_blocks_and_tokens`: unique blocks of prompts; output is not tracked).
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from simulations.compiled import callee, inlined
from simulations.routing.conversations.beliefs import NOWHERE, Beliefs, Structs, content_of
from simulations.routing.conversations.beliefs import least as cheapest
from simulations.routing.conversations.index import Exact, find_matches, prompt_held
from simulations.routing.conversations.llm_d import InFlight, end_flight, send, unline
from simulations.routing.conversations.seen import Asked, Fleet, Router, Seen, least


class DynamoRouter(Router):
    """The least blocks to compute and to hold."""

    def __init__(self, fleet: Fleet) -> None:
        self._block_tokens, self._index = fleet.block_tokens, Exact(fleet)
        self._flying = InFlight(fleet.replicas)
        self._users: list[Counter[int]] = [Counter() for _ in range(fleet.replicas)]  # of each content
        self._sent: dict[int, tuple[int, list[int]]] = {}

    def choose(
        self, engines: Sequence[Seen], request: Asked, uniforms: Sequence[float], now_s: float
    ) -> Seen:
        """The replica with the least cost, counted in tokens; of equal ones any."""
        matches = self._index.matches(engines, request)
        costs = [
            self._flying.tokens[engine.index]
            + request.input
            + self._block_tokens * (self._held(engine.index, request) - match)
            for engine, match in zip(engines, matches, strict=True)
        ]
        chosen = least(engines, costs, uniforms[0])
        match = dict(zip([engine.index for engine in engines], matches, strict=True))[chosen.index]
        self._flying.send(request.number, chosen.index, request.input - match * self._block_tokens)
        contents = [request.content(block) for block in range(request.input // self._block_tokens)]
        self._sent[request.number] = chosen.index, contents
        self._users[chosen.index].update(contents)
        return chosen

    def first_token(self, request: int) -> None:
        """A request's tokens are computed."""
        self._flying.end(request)

    def done(self, request: int) -> None:
        """A request's blocks are given up."""
        self._flying.end(request)
        replica, contents = self._sent.pop(request, (0, []))
        users = self._users[replica]
        users.subtract(contents)
        for content in contents:
            if not users[content]:
                del users[content]

    def left(self, replica: int) -> None:
        """Forget the requests of a replica."""
        self._flying.left(replica)
        self._users[replica].clear()
        self._sent = {request: sent for request, sent in self._sent.items() if sent[0] != replica}

    def _held(self, replica: int, request: Asked) -> int:
        """Blocks that a replica holds if it gets a request, whose shared ones are counted once."""
        users, blocks = self._users[replica], request.input // self._block_tokens
        return len(users) + blocks - prompt_held(request, blocks, users.__contains__)


@inlined
def _is_shared(beliefs: Beliefs, one: int, other: int, block: int) -> bool:
    """Whether two prompts have the same content up to a block."""
    return bool(content_of(beliefs, one, block) == content_of(beliefs, other, block))


@callee
def _shared_blocks(beliefs: Beliefs, r: int, request: int) -> int:
    """How many blocks of a request's prompt others in the line of a replica have as well.

    Most of those in line are looked at once: whether they have one block more than the best before.
    """
    best, tokens = 0, beliefs.block_tokens
    prompt, other = beliefs.input[request], beliefs.replicas[r].first
    while other != NOWHERE and (best + 1) * tokens <= prompt:
        if (best + 1) * tokens <= beliefs.input[other] and _is_shared(beliefs, request, other, best):
            best, high = best + 1, min(prompt, beliefs.input[other]) // tokens
            while best < high:
                middle = (best + high + 1) // 2
                if _is_shared(beliefs, request, other, middle - 1):
                    best = middle
                else:
                    high = middle - 1
        other = beliefs.sent[other].behind
    return int(best)


@inlined
def give_blocks(beliefs: Beliefs, r: int, request: int) -> None:
    """A request that is no longer in line gives up the blocks that no other has."""
    blocks = beliefs.input[request] // beliefs.block_tokens
    beliefs.replicas[r].held -= blocks - _shared_blocks(beliefs, r, request)


@callee
def _settle(beliefs: Beliefs, rows: Structs, now_s: float) -> None:
    """End the flight of requests that have their first token by now, and give up the blocks of those that are done."""
    for r in range(len(beliefs.replicas)):
        before, request = NOWHERE, beliefs.replicas[r].first
        while request != NOWHERE:
            behind = beliefs.sent[request].behind
            if beliefs.sent[request].tokens and 0.0 < rows[request].first_s <= now_s:
                end_flight(beliefs, r, request)
            if 0.0 < rows[request].finished_s <= now_s:
                unline(beliefs, r, request, before)
                give_blocks(beliefs, r, request)
            else:
                before = request
            request = behind


@inlined
def choose_by_blocks(
    beliefs: Beliefs, rows: Structs, request: int, uniform: float, now_s: float, cache: Any, holds: Any
) -> int:
    """`DynamoRouter.choose`."""
    replicas, tokens = beliefs.replicas, beliefs.block_tokens
    blocks = beliefs.input[request] // tokens
    _settle(beliefs, rows, now_s)
    find_matches(beliefs, request, cache, holds)
    for r in range(len(replicas)):
        replicas[r].may = replicas[r].here
        if replicas[r].here:
            replicas[r].added = blocks - _shared_blocks(beliefs, r, request)
            held = replicas[r].held + replicas[r].added
            computed = replicas[r].inflight + beliefs.input[request]
            replicas[r].cost = computed + tokens * (held - replicas[r].match)
    chosen = cheapest(beliefs, uniform)
    replicas[chosen].held += replicas[chosen].added
    send(beliefs, chosen, request, beliefs.input[request] - replicas[chosen].match * tokens)
    return int(chosen)
