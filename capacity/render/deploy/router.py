"""Router: how a plan's router of conversations is set where it comes from."""

from collections.abc import Iterator

from capacity.question.plan import Routing
from capacity.server.engine.plan import TokenPlan
from capacity.server.engine.router import SESSION_HEADER, RouterRules

_PRODUCTION_STACK = "production-stack's router (vllm-router)"


def router_notes(plan: TokenPlan) -> Iterator[str]:
    """The settings of the router that the plan was evaluated with, one note a product; none of other routings.

    Source:
        production-stack, src/vllm_router/parsers/parser.py; llm-d-router, EndpointPickerConfig; sglang,
        sgl-model-gateway (launch_router); dynamo, components/frontend.
    """
    if not plan.routing.needs_sessions or plan.replicas == 1:
        return
    rules = plan.router or RouterRules()
    yield f"Routing: {_settings(plan.routing, rules)}."
    yield "Another router, or a Kubernetes Service, finds less in the caches; plan with its --routing to see how much."


def _settings(routing: Routing, rules: RouterRules) -> str:
    """What is set in front of the engines."""
    index = "" if isinstance(rules.index, str) else f", an index of {rules.index} contents for each replica"
    return {
        Routing.SESSION: f"{_PRODUCTION_STACK} with --routing-logic session --session-key {SESSION_HEADER}",
        Routing.SESSION_HAPROXY: f"HAProxy with balance hdr({SESSION_HEADER}), as --target haproxy writes it",
        Routing.SESSION_NGINX: f"nginx with a hash of {SESSION_HEADER}, as --target nginx writes it",
        Routing.SESSION_COOKIE: "llm-d's session-affinity filter in front of a queue scorer, forgotten after "
        f"{rules.forget_s:g} s without a turn",
        Routing.PREFIX_PRODUCTION_STACK: f"{_PRODUCTION_STACK} with --routing-logic prefixaware",
        Routing.PREFIX_LLM_D: f"llm-d's prefix-cache-affinity filter with a share of {rules.sticky:g} and a gate of "
        f"{rules.gate_s:g} s of prefill, then its token-load scorer{index}",
        Routing.PREFIX_LLM_D_SCORES: f"llm-d's scorers with weights queue-scorer {rules.queue:g}, "
        f"kv-cache-utilization-scorer {rules.kv:g}, prefix-cache-scorer {rules.match:g} and no-hit-lru-scorer "
        f"{rules.cold:g}{index}",
        Routing.PREFIX_SGLANG: f"SGLang's router with --policy cache_aware --cache-threshold {rules.cache_threshold:g} "
        f"--balance-abs-threshold {rules.balance_abs} --balance-rel-threshold {rules.balance_rel:g}",
        Routing.PREFIX_DYNAMO: "Dynamo's frontend with --router-mode kv, and engines that publish their cache's events",
    }[routing]
