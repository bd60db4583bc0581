"""Clients of a plan: how they try again, as a plan that was made with --recover-within has it."""

from dataclasses import dataclass, replace

from capacity.answer.saved_llm_plan import SavedLlmPlan
from capacity.answer.saved_plan import SavedPlan
from capacity.errors import InputError
from capacity.files import read_as
from capacity.question.plan import Plan
from capacity.recovery.clients import Backoff, BudgetKind, Clients, Failure, RetryBudget
from capacity.recovery.parse import read_budget
from capacity.render.deploy.fleet import dns_label
from capacity.traffic.workload import Workload
from capacity.units import format_duration

# What Envoy, and so Istio, waits before the first retry, and at most, where nothing is said.
BACKOFF_S, BACKOFF_MAX_S = 0.025, 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class SafeClients:
    """What was tried in trouble and recovered.

    Attributes:
        saved: the plan, of replicas that batch or of engines of a language model.
        clients: with the retry budget that makes the fleet recover, where it takes one.
        setting: the flag of the plan that makes it recover; None where it does as it is.
        queue_limit: requests that may wait at one replica; None without a limit.
    """

    saved: SavedPlan | SavedLlmPlan
    clients: Clients
    setting: str | None
    queue_limit: int | None

    @property
    def name(self) -> str:
        """A name for what runs, as DNS allows it."""
        return dns_label(self.saved.plan.profile)

    @property
    def in_service_max(self) -> int:
        """Requests that the whole fleet serves at once: in batches, or as sequences of engines."""
        plan = self.saved.plan
        at_once = plan.batch_size_max if isinstance(plan, Plan) else plan.sequences_max
        return plan.replicas * at_once

    @property
    def requests_max(self) -> int | None:
        """Requests in all queues and in service; None without a queue limit."""
        if self.queue_limit is None:
            return None
        return self.saved.plan.replicas * self.queue_limit + self.in_service_max

    @property
    def rate_rps(self) -> float:
        """The arrival rate that the plan was made for. [requests/s]"""
        workload = self.saved.question.workload
        assert isinstance(workload, Workload)  # noqa: S101  (a plan that recovers has a rate)
        return workload.arrival_rate_rps

    @property
    def retries(self) -> int:
        """After the first attempt."""
        return self.clients.attempts - 1

    @property
    def concurrent_percent(self) -> float | None:
        """The budget as a share of all attempts under way, in percent; None where there is none of that kind.

        Retries of r for each first try are r/(1 + r) of all attempts.
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
        """The failures after which these clients try again, as Envoy and Istio name them."""
        names = {
            Failure.CRASHED: "connect-failure,refused-stream,reset",
            Failure.REJECTED: "retriable-status-codes",  # 503
            Failure.TIMED_OUT: "gateway-error",  # 504, which is what a try that took too long becomes
        }
        return ",".join(name for failure, name in names.items() if failure in self.clients.retried)

    def budget_note(self, proxy: str) -> list[str]:
        """That a proxy cannot do what was evaluated, where it cannot."""
        kind = self.clients.budget.kind
        if kind is not BudgetKind.THROTTLE:
            return []
        return [
            f"{proxy} has no budget that failures throttle, which is what was evaluated: a few retries at once stand "
            "in for it. Plan with --retry-budget concurrent:0.2 to evaluate what it has."
        ]

    def notes(self) -> list[str]:
        """What was evaluated, as comments say it."""
        clients = self.clients
        told = f"Clients: {clients.attempts} attempts of {format_duration(clients.timeout_s or 0.0)} each"
        told += f", budget {clients.budget.kind}"
        if clients.budget.kind is not BudgetKind.NONE:
            told += f" {clients.budget.ratio:g}"
        found = [f"{told}; the fleet recovers{'' if self.setting is None else f' with {self.setting}'}."]
        if self.setting is not None and not self.setting.startswith("--retry-budget"):
            found.append(f"The server needs {self.setting} as well: that is not a setting of clients.")
        return found


def safe_clients(saved: SavedPlan | SavedLlmPlan, target: str) -> SafeClients:
    """The clients of a plan that recovers.

    Raises:
        InputError: it holds no plan, or one that was not made to recover, or does not.
    """
    plan = saved.plan
    recovery = saved.answer.get("recovery")
    if not isinstance(recovery, dict) or recovery.get("chosen") is None:
        raise InputError(
            f"{saved.name} says nothing of clients that recover, which --target {target} is about; plan with "
            "--recover-within 60s --trigger lose:1,60s --timeout 500ms --attempts 3"
        )
    clients = _clients(saved, recovery)
    setting = recovery.get("setting")
    setting = setting if isinstance(setting, str) else None
    if setting is not None and setting.startswith("--retry-budget "):
        clients = replace(clients, budget=read_budget(setting.partition(" ")[2], None))
    return SafeClients(
        saved=saved,
        clients=clients,
        setting=setting,
        queue_limit=plan.queue_limit if isinstance(plan, Plan) else _limit(setting, saved.name),
    )


def _limit(setting: str | None, name: str) -> int | None:
    """The limit of what waits at an engine, which a gateway holds and no plan of a language model has."""
    if setting is None or not setting.startswith("--queue-limit "):
        return None
    limit = setting.partition(" ")[2]
    if not limit.isdecimal():
        raise InputError(f"{name}: answer.recovery.setting has no number of requests; make the plan again")
    return int(limit)


def _clients(saved: SavedPlan | SavedLlmPlan, recovery: dict[str, object]) -> Clients:
    given = recovery.get("clients")
    if not isinstance(given, dict):
        raise InputError(f"{saved.name}: answer.recovery.clients is missing; make the plan again")
    where = f"{saved.name}: answer.recovery.clients"
    budget, backoff = given.get("budget"), given.get("backoff")
    return Clients(
        timeout_s=_seconds(given.get("timeout_s"), where),
        deadline_s=_seconds(given.get("deadline_s"), where),
        attempts=read_as(int, given.get("attempts"), where),
        backoff=None if backoff is None else read_as(Backoff, backoff, where),
        budget=RetryBudget() if budget is None else read_as(RetryBudget, budget, where),
        retried=frozenset(read_as(tuple[Failure, ...], given.get("retried"), where)),
    )


def _seconds(given: object, where: str) -> float | None:
    return None if given is None else read_as(float, given, where)


def seconds(value_s: float) -> str:
    """A duration as Envoy, Istio and gRPC read it.

    >>> seconds(0.5), seconds(0.025)
    ('0.5s', '0.025s')
    """
    return f"{value_s:.9f}".rstrip("0").rstrip(".") + "s"
