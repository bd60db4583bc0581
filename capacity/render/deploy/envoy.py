"""Envoy: a route's retry policy, and the cluster's retry budget and limits."""

from collections.abc import Iterator

from capacity.question.plan import Routing, holds_back, plan_words
from capacity.render.deploy.clients import BACKOFF_MAX_S, BACKOFF_S, SafeClients, seconds
from capacity.render.deploy.features import RETRIES, SHEDDING, Coverage, Feature
from capacity.render.deploy.header import header_of
from capacity.traffic.clients import BudgetKind

NAME = "envoy"
FILE = "envoy.yaml"
PLANS = SafeClients
COVERS = Coverage(
    sets=RETRIES | {Feature.ROUTING, Feature.QUEUE_LIMIT, Feature.SLOW_START},
    says=SHEDDING | {Feature.OUTSTANDING_MAX},
)
_NO_LIMIT = 2**32 - 1
# Load balancing of a cluster. Envoy's own default is round-robin.
_ROUTING = {
    Routing.ROUND_ROBIN: "  lb_policy: ROUND_ROBIN\n",
    Routing.RANDOM: "  lb_policy: RANDOM\n",
    Routing.POWER_OF_TWO: "  lb_policy: LEAST_REQUEST\n  least_request_lb_config: {choice_count: 2}\n",
    Routing.LEAST_OUTSTANDING: """\
  load_balancing_policy:
    policies:
      - typed_extension_config:
          name: envoy.load_balancing_policies.least_request
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest
            selection_method: FULL_SCAN
""",
}


def render(safe: SafeClients) -> str:
    """The parts of route and cluster that decide whether a fleet recovers."""
    parts = ["route:\n", *_route(safe), *_cluster(safe)]
    return header_of(safe.saved, NAME, _notes(safe)) + "".join(parts)


def _route(safe: SafeClients) -> Iterator[str]:
    clients, backoff = safe.clients, safe.clients.backoff
    first_s, most_s = (BACKOFF_S, BACKOFF_MAX_S) if backoff is None else (backoff.initial_s, backoff.max_s)
    yield f"  timeout: {seconds(safe.whole_s)} # of all attempts together\n"
    yield "  retry_policy:\n"
    yield f"    retry_on: {safe.retry_on}\n"
    yield "    retriable_status_codes: [503]\n"
    yield f"    num_retries: {safe.retries}\n"
    yield f"    per_try_timeout: {seconds(clients.timeout_s or 0.0)}\n"
    yield f"    retry_back_off: {{base_interval: {seconds(first_s)}, max_interval: {seconds(most_s)}}}\n"


def _cluster(safe: SafeClients) -> Iterator[str]:
    yield "cluster:\n"
    if safe.saved.plan.replicas > 1:
        yield _routing(safe)
    yield "  circuit_breakers:\n"
    yield "    thresholds:\n"
    yield "      - priority: DEFAULT\n"
    if safe.concurrent_percent is not None:
        yield "        retry_budget:\n"
        yield f"          budget_percent: {{value: {safe.concurrent_percent:.4g}}}\n"
        yield f"          min_retry_concurrency: {safe.clients.budget.at_least}\n"
    yield from _limits(safe)


def _routing(safe: SafeClients) -> str:
    """Load balancing of the cluster, with a slow start from a sixteenth on if the plan has one and Envoy too."""
    base, window_s = safe.saved.plan.routing.base, safe.recovery.slow_start_s
    found = _ROUTING.get(base, "")
    slowly = f"slow_start_config: {{slow_start_window: {window_s}s, min_weight_percent: {{value: 6.25}}}}"
    if not window_s or base not in _STARTS_SLOWLY:
        return found
    if base is Routing.POWER_OF_TWO:
        return found.replace("choice_count: 2", f"choice_count: 2, {slowly}")
    return f"{found}{_STARTS_SLOWLY[base]}{slowly}\n"


# What comes before Envoy's settings of a slow start, which it does not have for random servers.
_STARTS_SLOWLY = {
    Routing.ROUND_ROBIN: "  round_robin_lb_config:\n    ",
    Routing.POWER_OF_TWO: "",
    Routing.LEAST_OUTSTANDING: "            ",
}


def _limits(safe: SafeClients) -> Iterator[str]:
    """Limits on active requests; Envoy's own limits are 1024 of each, and 3 retries.

    A request that waits for a connection is pending. An idle fleet has no connections, so as many may be pending as
    active; and there must be connections for both, or Envoy queues those that it should refuse.
    """
    most = safe.requests_max or _NO_LIMIT
    why = "queues and batches of all replicas" if most < _NO_LIMIT else "the plan has no queue limit"
    yield f"        max_requests: {most} # {why}\n"
    yield f"        max_pending_requests: {most} # until they have a connection; the replicas have the queues\n"
    yield f"        max_connections: {min(2 * most, _NO_LIMIT)} # for both\n"
    kind = safe.clients.budget.kind
    if kind is BudgetKind.NONE:
        yield f"        max_retries: {most} # at once; the plan was evaluated without a retry budget\n"
    elif kind is BudgetKind.THROTTLE:
        yield "        max_retries: 3 # at once; Envoy's default\n"


# Where Envoy's rule is another than that which was evaluated. Its two draws have the law of HAProxy's.
_RULES = {
    Routing.POWER_OF_TWO: "Envoy's two draws may be the same replica, as those of --routing power-of-two:haproxy; "
    "those that were evaluated are not.",
    Routing.POWER_OF_TWO_HAPROXY: "",
    Routing.LEAST_OUTSTANDING: "of equal replicas Envoy takes any, and the lowest index was evaluated.",
}


def _notes(safe: SafeClients) -> Iterator[str]:
    yield from safe.notes()
    yield from safe.budget_note("Envoy")
    yield from safe.differences("Envoy", _RULES)
    if holds_back(safe.saved.plan):
        yield (
            f"The plan's {plan_words(safe.saved.plan)['outstanding, max']} outstanding requests at each replica are "
            "not set: Envoy chooses a replica before a request waits, and has no queue from which the first replica "
            "with a place takes. --target haproxy has."
        )
    budget = safe.clients.budget
    if budget.kind in (BudgetKind.FIRST_TRIES, BudgetKind.SUCCESSES):
        share = safe.concurrent_percent or 0.0
        yield (
            f"Envoy counts a budget in attempts under way: {budget.ratio:g} retries a first try are "
            f"{share:.3g} % of them."
        )
    if safe.recovery.slow_start_s and safe.saved.plan.replicas > 1:
        yield from _slow_start_notes(safe.saved.plan.routing)
    if safe.requests_max is not None:
        yield "The limits are those of one Envoy: with several in front of the fleet, share them out among them."


def _slow_start_notes(routing: Routing) -> Iterator[str]:
    """Where Envoy's slow start differs from the evaluated one."""
    if routing is Routing.RANDOM:
        yield (
            "Envoy has no slow start of random servers, so that one that is back gets its whole share at once; take "
            "--routing round-robin, or --target haproxy."
        )
        return
    yield "Only a host that has failed a health check of the cluster starts slowly once it is back: add health_checks."
    if routing.base is not Routing.ROUND_ROBIN:
        yield (
            "While weights differ, Envoy sends in turn by weight and requests, and not to the least busy of what it "
            "draws or scans, as was evaluated."
        )
