"""Presets: settings of well-known clients."""

from collections.abc import Mapping

from capacity.traffic.clients import Backoff, BudgetKind, Clients, Failure, RetryBudget

_BROKEN = frozenset({Failure.REJECTED, Failure.CRASHED})
# Timeouts stay as the user gives them.
CLIENTS: Mapping[str, Clients] = {
    # Istio: 2 retries, 25 ms and more between them, on 503 and connect failures; not on timeouts.
    # istio/api, destination_rule.proto and its defaults (read 2025).
    "istio": Clients(attempts=3, backoff=Backoff(initial_s=0.025, max_s=0.25), retried=_BROKEN),
    # Envoy: retry_budget of 20 % of what is active and pending, at least 3. circuit_breaker.proto.
    "envoy": Clients(
        attempts=3,
        backoff=Backoff(initial_s=0.025, max_s=0.25),
        budget=RetryBudget(kind=BudgetKind.CONCURRENT, ratio=0.2, at_least=3),
    ),
    # gRPC with retryThrottling as in the example of proposal A6: 10 tokens, 0.1 a success.
    "grpc": Clients(
        attempts=4,
        backoff=Backoff(initial_s=0.1, max_s=1.0),
        budget=RetryBudget(kind=BudgetKind.THROTTLE, ratio=0.1, tokens=10.0),
        retried=_BROKEN,
    ),
    # AWS SDK, standard mode of 2026: 500 tokens, a retry costs 14, a success gives 1.
    "aws": Clients(
        attempts=3,
        backoff=Backoff(initial_s=0.05, max_s=20.0),
        budget=RetryBudget(kind=BudgetKind.SUCCESSES, ratio=1.0, cost=14.0, tokens=500.0),
    ),
    # Finagle and Linkerd: 20 % of first tries and 10 retries a second, which expire after 10 s.
    "linkerd": Clients(
        attempts=3,
        budget=RetryBudget(kind=BudgetKind.FIRST_TRIES, ratio=0.2, tokens=100.0, tokens_per_s=10.0),
    ),
    "finagle": Clients(
        attempts=3,
        budget=RetryBudget(kind=BudgetKind.FIRST_TRIES, ratio=0.2, tokens=100.0, tokens_per_s=10.0),
    ),
}
