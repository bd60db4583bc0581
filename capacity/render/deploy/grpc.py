"""gRPC: a service config with a retry policy and its throttle."""

import json
from collections.abc import Iterator

from capacity.errors import InputError
from capacity.question.plan import Routing
from capacity.render.deploy.clients import BACKOFF_MAX_S, BACKOFF_S, SafeClients, seconds
from capacity.render.deploy.features import RETRIES, SHEDDING, Coverage, Feature, unset_notes
from capacity.render.deploy.fleet import deployed
from capacity.traffic.clients import BudgetKind, Failure

NAME = "grpc"
FILE = "service_config.json"
PLANS = SafeClients
COVERS = Coverage(sets=RETRIES - {Feature.RETRIED} | {Feature.ROUTING}, says=SHEDDING | {Feature.RETRIED})
_ATTEMPTS_MAX = 5  # a larger number counts as 5, by proposal A6
_CHOICES_MAX = 10  # a larger number counts as 10
_TOKENS, _TOKENS_MAX = 10.0, 1000.0


def render(safe: SafeClients) -> str:
    """A service config in JSON: notes are in a field that gRPC does not know, and ignores.

    A budget of first tries or successes becomes gRPC's throttle with the same ratio: a success adds that many tokens,
    a failure takes one, and nothing is retried at half of them or fewer.

    Source:
        gRPC proposals A6, and A21: unknown fields of a service config are ignored.

    Raises:
        InputError: more attempts than gRPC makes, or the plan needs a budget that gRPC does not have.
    """
    clients, budget = safe.clients, safe.clients.budget
    if clients.attempts > _ATTEMPTS_MAX:
        raise InputError(f"gRPC makes at most {_ATTEMPTS_MAX} attempts, and the plan has {clients.attempts}")
    if clients.attempts < 2:
        raise InputError("the plan has one attempt, so that gRPC needs no retry policy")
    if budget.kind is BudgetKind.CONCURRENT:
        raise InputError("gRPC has no budget of concurrent retries; plan with --retry-budget throttle:10,0.1")
    backoff = clients.backoff
    first_s, most_s = (BACKOFF_S, BACKOFF_MAX_S) if backoff is None else (backoff.initial_s, backoff.max_s)
    config: dict[str, object] = {
        "comment": [*safe.notes(), *_notes(safe), *unset_notes(deployed(safe.saved), NAME)],
        "methodConfig": [
            {
                "name": [{}],
                "timeout": seconds(safe.whole_s),
                "retryPolicy": {
                    "maxAttempts": clients.attempts,
                    "initialBackoff": seconds(first_s),
                    "maxBackoff": seconds(most_s),
                    "backoffMultiplier": 2.0 if backoff is None else backoff.multiplier,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                    "perAttemptRecvTimeout": seconds(clients.timeout_s or 0.0),
                },
            }
        ],
    }
    if safe.saved.plan.replicas > 1 and safe.saved.plan.routing is not Routing.SHARED_QUEUE:
        config["loadBalancingConfig"] = _routing(safe.saved.plan.routing)
    if budget.kind is not BudgetKind.NONE:
        tokens = min(budget.tokens, _TOKENS_MAX) if budget.kind is BudgetKind.THROTTLE else _TOKENS
        config["retryThrottling"] = {
            "maxTokens": round(tokens),
            "tokenRatio": round(budget.ratio / budget.cost, 3),
        }
    return json.dumps(config, indent=2) + "\n"


def _routing(routing: Routing) -> list[dict[str, dict[str, int]]]:
    """Policies, of which a client takes the first that it knows. Without any it sends everything to one server."""
    each_in_turn: dict[str, dict[str, int]] = {"round_robin": {}}
    if routing.base in (Routing.POWER_OF_TWO, Routing.LEAST_OUTSTANDING):
        choices = 2 if routing.base is Routing.POWER_OF_TWO else _CHOICES_MAX
        return [{"least_request_experimental": {"choiceCount": choices}}, each_in_turn]
    return [each_in_turn]


def _notes(safe: SafeClients) -> Iterator[str]:
    if safe.clients.budget.kind in (BudgetKind.FIRST_TRIES, BudgetKind.SUCCESSES):
        yield "gRPC's throttle stands in for the budget that was evaluated, with the same ratio."
    if Failure.TIMED_OUT in safe.clients.retried:
        yield "A gRPC that does not know perAttemptRecvTimeout never tries again after a timeout."
    if not {Failure.REJECTED, Failure.CRASHED} <= safe.clients.retried:
        retried = ", ".join(sorted(one.value for one in safe.clients.retried))
        yield f"gRPC tries again whatever is UNAVAILABLE, rejected or crashed; the plan was evaluated with {retried}."
    routing = safe.saved.plan.routing
    if routing.base in (Routing.POWER_OF_TWO, Routing.LEAST_OUTSTANDING):
        yield "A gRPC that does not know least_request_experimental, as C core, takes round_robin."
    if routing is Routing.RANDOM:
        yield "gRPC has no random routing; round_robin in each of many clients comes to it."
    yield from safe.differences("gRPC")
