"""Clients of a plan that was made with --recover-within: how they retry."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from capacity.answer.saved_plan import SavedPlan
from capacity.errors import InputError
from capacity.question.plan import Routing, dns_label, rejects, waiting_max
from capacity.render.deploy.features import clients_in_words
from capacity.render.deploy.recovery import Recovery, read_recovery
from capacity.traffic.clients import BudgetKind, Clients, Failure
from capacity.traffic.workload import Workload

# Envoy's, and so Istio's, default for the first and the longest wait before a retry.
BACKOFF_S, BACKOFF_MAX_S = 0.025, 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class SafeClients:
    """Clients with which the plan recovered in simulation.

    Attributes:
        saved: the plan, for replicas that batch or for engines of a language model.
    """

    saved: SavedPlan
    recovery: Recovery

    @property
    def clients(self) -> Clients:
        """The clients, with the retry budget that makes the fleet recover if it needs one."""
        return self.recovery.clients

    @property
    def name(self) -> str:
        """Name of the fleet as a DNS label."""
        return dns_label(self.saved.plan.profile)

    @property
    def in_service_max(self) -> int:
        """Largest number of requests in service in the whole fleet: in batches, or as sequences of engines."""
        requests: int = self.saved.plan.replicas * self.saved.plan.at_once
        return requests

    @property
    def requests_max(self) -> int | None:
        """Largest number of requests in queues and in service; None without a queue limit."""
        plan = self.recovery.plan
        return int(waiting_max(plan)) + self.in_service_max if rejects(plan) else None

    @property
    def rate_rps(self) -> float:
        """Arrival rate of the plan. [requests/s]"""
        workload = self.saved.question.workload
        assert isinstance(workload, Workload)  # noqa: S101  (a plan that recovers has a rate)
        return workload.arrival_rate_rps

    @property
    def retries(self) -> int:
        """Largest number of retries after the first attempt."""
        return self.clients.attempts - 1

    @property
    def concurrent_percent(self) -> float | None:
        """The retry budget as a share of all active attempts, in percent; None if it is of another kind.

        A ratio of r retries for each first try is r/(1 + r) of all attempts.
        """
        budget = self.clients.budget
        if budget.kind is BudgetKind.CONCURRENT:
            return 100.0 * budget.ratio
        if budget.kind in (BudgetKind.FIRST_TRIES, BudgetKind.SUCCESSES):
            ratio = budget.ratio / budget.cost
            return 100.0 * ratio / (1.0 + ratio)
        return None

    @property
    def retry_on(self) -> str:
        """Failures that these clients retry, as Envoy and Istio name them."""
        names = {
            Failure.CRASHED: "connect-failure,refused-stream,reset",
            Failure.REJECTED: "retriable-status-codes",  # 503
            Failure.TIMED_OUT: "gateway-error",  # 504, which an attempt that took too long becomes
        }
        return ",".join(name for failure, name in names.items() if failure in self.clients.retried)

    @property
    def whole_s(self) -> float:
        """Longest time of all attempts of a request together, including the waits between them. [s]"""
        return self.clients.deadline_s or self.clients.undecided_s

    def budget_note(self, proxy: str) -> Iterator[str]:
        """Note on a retry budget that the proxy cannot have."""
        if self.clients.budget.kind is BudgetKind.THROTTLE:
            yield (
                f"{proxy} has no budget that failures throttle, which is what was evaluated: a few retries at once "
                "stand in for it. Plan with --retry-budget concurrent:0.2 to evaluate what it has."
            )

    def differences(self, proxy: str, rules: Mapping[Routing, str] | None = None) -> Iterator[str]:
        """What a proxy, or a client, does differently from the clients of the plan.

        Args:
            rules: what its own rule does otherwise than a routing; empty where it is the same.
        """
        clients, plan = self.clients, self.saved.plan
        if clients.budget.tokens_per_s:
            yield (
                f"{proxy} has no budget of retries a second; the plan was evaluated with "
                f"{clients.budget.tokens_per_s:g} a second beside its share."
            )
        if clients.backoff is None and clients.attempts > 1:
            yield (
                f"{proxy} always waits before a retry, 25 ms or less at first; the plan was evaluated with retries at "
                "once."
            )
        if plan.replicas > 1 and plan.routing is Routing.SHARED_QUEUE:
            yield f"Routing: all replicas have one queue, so that there is one server behind {proxy}."
        elif plan.replicas > 1 and plan.routing is not Routing.RANDOM:
            yield (
                f"Routing: {proxy} routes by itself in each proxy or client, and many of them come to random routing; "
                "plan with --routing random to evaluate that."
            )
        own = f"{proxy} has its own rule, and the plan was evaluated with that of {plan.routing.in_words}."
        usual = "" if plan.routing.base is plan.routing else own
        if plan.replicas > 1 and (rule := (rules or {}).get(plan.routing, usual)):
            yield f"Routing: {rule}"

    def notes(self) -> list[str]:
        """What was evaluated, in words for a comment."""
        told = f"Clients: {clients_in_words(self.clients)}"
        setting, of_servers = self.recovery.setting, self.recovery.of_servers
        found = [f"{told}; the fleet recovers{'' if setting is None else f' with {setting}'}."]
        if of_servers is not None:
            found.append(f"The server needs {of_servers} as well: that is not a setting of clients.")
        return found


def safe_clients(saved: SavedPlan, target: str) -> SafeClients:
    """The clients of a plan that recovers.

    Raises:
        InputError: no plan, or one that was not made to recover, or does not.
    """
    recovery = read_recovery(saved)
    if recovery is None:
        raise InputError(
            f"{saved.name} says nothing of clients that recover, which --target {target} is about; plan with "
            "--recover-within 60s --trigger lose:1,60s --timeout 500ms --attempts 3"
        )
    return SafeClients(saved=saved, recovery=recovery)


def seconds(value_s: float) -> str:
    """A duration as Envoy, Istio and gRPC read it.

    >>> seconds(0.5), seconds(0.025)
    ('0.5s', '0.025s')
    """
    return f"{value_s:.9f}".rstrip("0").rstrip(".") + "s"
