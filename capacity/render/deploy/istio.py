"""Istio: the retries of a VirtualService, and the limits of a DestinationRule."""

from collections.abc import Iterator

from capacity.question.plan import Routing
from capacity.render.deploy.clients import SafeClients, seconds
from capacity.render.deploy.features import RETRIES, SHEDDING, Coverage, Feature
from capacity.render.deploy.header import header_of
from capacity.traffic.clients import BudgetKind

NAME = "istio"
FILE = "istio.yaml"
PLANS = SafeClients
# Istio's own default is LEAST_REQUEST, the better of two.
_ROUTING = {
    Routing.ROUND_ROBIN: "ROUND_ROBIN",
    Routing.RANDOM: "RANDOM",
    Routing.POWER_OF_TWO: "LEAST_REQUEST",
    Routing.LEAST_OUTSTANDING: "LEAST_REQUEST",
}
COVERS = Coverage(sets=RETRIES | {Feature.ROUTING, Feature.QUEUE_LIMIT}, says=SHEDDING)


def render(safe: SafeClients) -> str:
    """A VirtualService and a DestinationRule for the Service of `--target kubernetes`."""
    clients = safe.clients
    timeout_s = clients.timeout_s or 0.0
    return f"""\
{header_of(safe.saved, NAME, _notes(safe))}\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: {safe.name}
spec:
  hosts: [{safe.name}]
  http:
    - route:
        - destination: {{host: {safe.name}}}
      timeout: {seconds(safe.whole_s)} # of all attempts together
      retries:
        attempts: {safe.retries}
        perTryTimeout: {seconds(timeout_s)}
        retryOn: {safe.retry_on.replace("retriable-status-codes", "503")}
{_backoff(safe)}\
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: {safe.name}
spec:
  host: {safe.name}
  trafficPolicy:
{_routing(safe)}\
    connectionPool:
      http:
        maxRetries: {_retries_at_once(safe)} # at once, of each proxy; Istio's own default is no limit
{_limit(safe)}\
    outlierDetection:
      consecutive5xxErrors: 5
      interval: 10s
      baseEjectionTime: 30s
      maxEjectionPercent: 10
"""


def _backoff(safe: SafeClients) -> str:
    backoff = safe.clients.backoff
    return (
        "" if backoff is None else f"        backoff: {seconds(backoff.initial_s)} # Istio 1.25 and later\n"
    )


def _routing(safe: SafeClients) -> str:
    plan = safe.saved.plan
    simple = _ROUTING.get(plan.routing.base)
    return f"    loadBalancer: {{simple: {simple}}}\n" if simple and plan.replicas > 1 else ""


def _retries_at_once(safe: SafeClients) -> int:
    """The budget at the plan's rate: retries a second, each lasting up to a timeout."""
    if safe.clients.budget.kind is BudgetKind.NONE:
        return safe.retries * safe.in_service_max
    percent = safe.concurrent_percent or 0.0  # 0 for a budget that failures throttle: then the least
    per_first_try = percent / (100.0 - percent)
    return max(3, round(per_first_try * safe.rate_rps * (safe.clients.timeout_s or 0.0)))


def _limit(safe: SafeClients) -> str:
    if safe.requests_max is None:
        return ""
    return f"        http2MaxRequests: {safe.requests_max} # queues and batches of all replicas\n"


def _notes(safe: SafeClients) -> Iterator[str]:
    yield from safe.notes()
    yield from safe.budget_note("Istio")
    yield from safe.differences("Istio")
    if safe.saved.plan.routing.base is Routing.LEAST_OUTSTANDING:
        yield "Routing: LEAST_REQUEST is the better of two replicas, and not the best of all, which was evaluated."
    backoff = safe.clients.backoff
    if backoff is not None:
        yield f"Istio waits up to ten times its backoff at most; the plan was evaluated with {seconds(backoff.max_s)}."
    if safe.clients.budget.kind is BudgetKind.NONE:
        yield (
            "The plan was evaluated without a limit on retries; maxRetries lets each request that the fleet serves at "
            "once be tried again as often as its client does."
        )
    yield "outlierDetection was not evaluated by the plan; `capacity stress --ejection` evaluates it."
    yield (
        "Istio has no retry budget, only a number of retries at once in each proxy: with several proxies in front, "
        "share maxRetries out among them."
    )
