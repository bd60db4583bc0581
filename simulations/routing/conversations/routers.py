"""Routers: the register of routers of conversations, by name for the readable model and by number for compiled code."""

from collections.abc import Callable
from typing import Any

from capacity.profile.steps import StepTable
from capacity.question.plan import Routing
from capacity.server.engine.router import RouterRules
from simulations.compiled import callee, inlined
from simulations.draws.tokens import EngineRules, TokenDraws
from simulations.routing.conversations.beliefs import (
    NOWHERE,
    PREFIX_DYNAMO,
    PREFIX_LLM_D,
    PREFIX_LLM_D_SCORES,
    PREFIX_SGLANG,
    SESSION,
    SESSION_COOKIE,
    SESSION_HAPROXY,
    SESSION_NGINX,
    Beliefs,
    Structs,
)
from simulations.routing.conversations.dynamo import DynamoRouter, choose_by_blocks, give_blocks
from simulations.routing.conversations.index import forget_index
from simulations.routing.conversations.llm_d import LlmDRouter, choose_by_affinity, end_flight, unline
from simulations.routing.conversations.llm_d_scores import LlmDScoresRouter, choose_by_scores
from simulations.routing.conversations.production_stack import ProductionStackRouter, choose_by_trie
from simulations.routing.conversations.ring import choose_on_ring, haproxys_ring, nginxs_ring
from simulations.routing.conversations.seen import Fleet, Router
from simulations.routing.conversations.session import SessionRouter, choose_by_session
from simulations.routing.conversations.session_cookie import SessionCookieRouter, choose_by_cookie
from simulations.routing.conversations.sglang import SglangRouter, choose_by_tree

ROUTERS: dict[Routing, Callable[[Fleet], Router]] = {
    Routing.SESSION: SessionRouter,
    Routing.SESSION_COOKIE: SessionCookieRouter,
    Routing.SESSION_HAPROXY: haproxys_ring,
    Routing.SESSION_NGINX: nginxs_ring,
    Routing.PREFIX_LLM_D: LlmDRouter,
    Routing.PREFIX_LLM_D_SCORES: LlmDScoresRouter,
    Routing.PREFIX_SGLANG: SglangRouter,
    Routing.PREFIX_DYNAMO: DynamoRouter,
    Routing.PREFIX_PRODUCTION_STACK: ProductionStackRouter,
}


def fleet_seen(
    table: StepTable, rules: EngineRules, replicas: int, draws: TokenDraws, told: RouterRules | None
) -> Fleet:
    """What a router is made for in front of engines; the seed of a run is that of the noise of its passes."""
    return Fleet(
        replicas=replicas,
        blocks=rules.blocks,
        block_tokens=rules.block_tokens,
        prefill_tokens_per_s=rules.tokens_max / table.mean_s(rules.tokens_max),
        seed=draws.noise_seed,
        rules=told or RouterRules(),
        names=() if draws.sessions is None else draws.sessions.names,
    )


@inlined
def choose_router(
    beliefs: Beliefs,
    engines: Structs,
    rows: Structs,
    request: int,
    uniform: float,
    now_s: float,
    cache: Any,
    holds: Any,
) -> int:
    """The replica that a request is sent to now, as `Router.choose`, which the router notes.

    First tokens and answers are not told but found, in the rows of the requests that were sent.

    Args:
        engines: structs with `outstanding`, by replica, as they are now.
        rows: structs with `first_s` and `finished_s`, by request; not above 0 until they are known, and so again where
            a lost request is sent again.
        cache: what the caches hold, for the compiled `holds(cache, replica, content)`.
    """
    rule = beliefs.rule
    if rule == SESSION:
        return int(choose_by_session(beliefs, request))
    if rule in (SESSION_HAPROXY, SESSION_NGINX):
        return int(choose_on_ring(beliefs, request))
    if rule == SESSION_COOKIE:
        return int(choose_by_cookie(beliefs, engines, request, uniform, now_s))
    if rule == PREFIX_LLM_D:
        return int(choose_by_affinity(beliefs, rows, request, uniform, now_s, cache, holds))
    if rule == PREFIX_LLM_D_SCORES:
        return int(choose_by_scores(beliefs, request, uniform, cache, holds))
    if rule == PREFIX_SGLANG:
        return int(choose_by_tree(beliefs, engines, request, uniform, cache, holds))
    if rule == PREFIX_DYNAMO:
        return int(choose_by_blocks(beliefs, rows, request, uniform, now_s, cache, holds))
    return int(choose_by_trie(beliefs, request, uniform, cache, holds))


@callee
def leave(beliefs: Beliefs, r: int) -> None:
    """A replica leaves the pool, as `Router.left`: it is not chosen until it is `here` again."""
    replica, sent = beliefs.replicas[r], beliefs.sent
    replica.here = replica.inflight = replica.held = 0
    while replica.first != NOWHERE:
        request = replica.first
        sent[request].replica, replica.first = NOWHERE, sent[request].behind
    replica.last = NOWHERE
    forget_index(beliefs, r)


@callee
def lose(beliefs: Any, request: int) -> None:
    """A request will get neither a token nor an answer, as `Router.done`."""
    r = beliefs.sent[request].replica
    if r == NOWHERE:
        return
    before, at = NOWHERE, beliefs.replicas[r].first
    while at != request:
        before, at = at, beliefs.sent[at].behind
    end_flight(beliefs, r, request)
    unline(beliefs, r, request, before)
    if beliefs.rule == PREFIX_DYNAMO:
        give_blocks(beliefs, r, request)
