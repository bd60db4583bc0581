"""Istio: the retries of a VirtualService, and the limits of a DestinationRule."""

from collections.abc import Iterator

from capacity.render.deploy.clients import SafeClients, safe_clients, seconds
from capacity.render.deploy.fleet import Fleet
from capacity.render.deploy.header import header

NAME = "istio"
FILE = "istio.yaml"
PLANS = Fleet


def render(plan: Fleet) -> str:
    """A VirtualService and a DestinationRule for the Service of `--target kubernetes`."""
    safe = safe_clients(plan, NAME)
    clients = safe.clients
    timeout_s = clients.timeout_s or 0.0
    whole_s = clients.deadline_s or clients.attempts * timeout_s
    return f"""\
{header(plan, NAME, _notes(safe))}\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: {plan.name}
spec:
  hosts: [{plan.name}]
  http:
    - route:
        - destination: {{host: {plan.name}}}
      timeout: {seconds(whole_s)} # of all attempts together
      retries:
        attempts: {safe.retries}
        perTryTimeout: {seconds(timeout_s)}
        retryOn: {safe.retry_on.replace("retriable-status-codes", "503")}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: {plan.name}
spec:
  host: {plan.name}
  trafficPolicy:
    connectionPool:
      http:
        maxRetries: {_retries_at_once(plan, safe)} # at once, of each proxy; Istio's own default is no limit
{"".join(_limits(plan))}\
    outlierDetection:
      consecutive5xxErrors: 5
      interval: 10s
      baseEjectionTime: 30s
      maxEjectionPercent: 10
"""


def _retries_at_once(plan: Fleet, safe: SafeClients) -> int:
    """The budget at the plan's rate: retries a second, each of which lasts up to a timeout."""
    percent = safe.concurrent_percent
    if percent is None:
        return safe.retries * plan.plan.replicas * plan.plan.batch_size_max
    per_first_try = percent / (100.0 - percent)
    return max(3, round(per_first_try * plan.rate_rps * (safe.clients.timeout_s or 0.0)))


def _limits(plan: Fleet) -> Iterator[str]:
    limit = plan.plan.queue_limit
    if limit is not None:
        full = (limit + plan.plan.batch_size_max) * plan.plan.replicas
        yield f"        http2MaxRequests: {full} # queues and batches of all replicas\n"


def _notes(safe: SafeClients) -> Iterator[str]:
    yield from safe.notes()
    yield from safe.budget_note("Istio")
    yield (
        "Istio has no retry budget, only a number of retries at once in each proxy: with several proxies in front, "
        "share maxRetries out among them."
    )
