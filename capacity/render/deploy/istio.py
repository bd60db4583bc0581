"""Istio: the retries of a VirtualService, and the limits of a DestinationRule."""

from collections.abc import Iterator

from capacity.recovery.clients import BudgetKind
from capacity.render.deploy.clients import SafeClients, seconds
from capacity.render.deploy.features import Coverage, Feature
from capacity.render.deploy.header import header_of

NAME = "istio"
FILE = "istio.yaml"
PLANS = SafeClients
COVERS = Coverage(
    sets=frozenset({Feature.CLIENTS, Feature.QUEUE_LIMIT}),
    says=frozenset({Feature.SHED_LATE, Feature.SHED_CODEL, Feature.SHED_LIFO}),
)


def render(safe: SafeClients) -> str:
    """A VirtualService and a DestinationRule for the Service of `--target kubernetes`."""
    clients = safe.clients
    timeout_s = clients.timeout_s or 0.0
    whole_s = clients.deadline_s or clients.attempts * timeout_s
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
      timeout: {seconds(whole_s)} # of all attempts together
      retries:
        attempts: {safe.retries}
        perTryTimeout: {seconds(timeout_s)}
        retryOn: {safe.retry_on.replace("retriable-status-codes", "503")}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: {safe.name}
spec:
  host: {safe.name}
  trafficPolicy:
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


def _retries_at_once(safe: SafeClients) -> int:
    """The budget at the plan's rate: retries a second, each of which lasts up to a timeout."""
    if safe.clients.budget.kind is BudgetKind.NONE:
        return safe.retries * safe.in_service_max
    percent = safe.concurrent_percent or 0.0  # none of a budget that failures throttle: then the least
    per_first_try = percent / (100.0 - percent)
    return max(3, round(per_first_try * safe.rate_rps * (safe.clients.timeout_s or 0.0)))


def _limit(safe: SafeClients) -> str:
    if safe.requests_max is None:
        return ""
    return f"        http2MaxRequests: {safe.requests_max} # queues and batches of all replicas\n"


def _notes(safe: SafeClients) -> Iterator[str]:
    yield from safe.notes()
    yield from safe.budget_note("Istio")
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
