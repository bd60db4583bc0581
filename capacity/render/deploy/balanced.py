"""Balanced: a plan of any kind behind one balancer, as the files of HAProxy and nginx need it."""

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from math import ceil
from typing import Any

from capacity.answer.saved_plan import SavedPlan
from capacity.question.plan import Plan, Routing, rejects, server_addresses, waiting_max
from capacity.render.deploy.engine_servers import probe_at_once
from capacity.render.deploy.engines import read_engines
from capacity.render.deploy.features import RETRIES, AnyPlan, Coverage, Feature, counted, features_of, listed
from capacity.render.deploy.fleet import Deployed, Fleet
from capacity.render.deploy.recovery import read_recovery
from capacity.server.engine.ring import ring_of
from capacity.server.engine.router import RouterRules
from capacity.traffic.clients import PATIENT, BudgetKind, Clients, Failure
from capacity.traffic.workload import is_patient

COVERS = Coverage(sets={Feature.ROUTING, Feature.QUEUE_LIMIT}, says=RETRIES | {Feature.REPLICAS})
CLIENTS_PORT = 8080
CONNECT_S = 2.0  # longest time to connect to a server
# How long a server may be silent if the plan has no timeout: longer than any answer takes.
_SILENCE_S = 600.0
_TRITON_HEALTH = "/v2/health/ready"


@dataclass(frozen=True, slots=True, kw_only=True)
class Balanced:
    """A plan, the servers behind its balancer, and what its clients do.

    Attributes:
        given: the plan in the form in which targets get it.
        health: path of a server's probe.
        is_streamed: whether answers come token by token.
        plan: the plan, with the queue limit that makes it recover if it needs one.
        clients: the plan's clients, with the budget that makes it recover if it needs one.
        slow_start_s: how long a server that is back starts slowly; 0 if it does not. [s]
    """

    given: AnyPlan
    deployed: Deployed
    health: str
    is_streamed: bool
    plan: Plan
    clients: Clients
    slow_start_s: int = 0

    @property
    def name(self) -> str:
        """Name of the fleet."""
        return self.deployed.name

    @property
    def has_one_queue(self) -> bool:
        """Whether all replicas are one server, which has their queue."""
        return self.plan.routing is Routing.SHARED_QUEUE

    @property
    def servers(self) -> int:
        """Servers behind the balancer; with an autoscaler the most that it starts."""
        scaler = self.deployed.autoscaler
        if self.has_one_queue:
            return 1
        return self.deployed.servers if scaler is None else scaler.replicas_max

    @property
    def router(self) -> RouterRules:
        """Settings of the plan's router of conversations."""
        return getattr(self.plan, "router", None) or RouterRules()

    @property
    def addresses(self) -> list[tuple[str, str]]:
        """Name and address of each server."""
        addresses = server_addresses(self.deployed.profile.name, self.servers, self.router.servers)
        names = (f"{self.name}-{number}" for number in range(self.servers))
        return list(zip(names, addresses, strict=False))

    @property
    def is_routed(self) -> bool:
        """Whether there is a choice of servers."""
        return self.servers > 1

    @property
    def places(self) -> int | None:
        """Requests at one server when its queue and its batches are full; None without a queue limit."""
        if not rejects(self.plan):
            return None
        each = 1 if self.has_one_queue else self.deployed.servers
        return ceil((waiting_max(self.plan) + self.plan.replicas * self.plan.at_once) / each)

    @property
    def outstanding_max(self) -> int | None:
        """Most requests at a server, beyond which others wait here; None if nothing limits them."""
        return self.given.plan.outstanding_max if isinstance(self.given, Fleet) else None

    @property
    def tries_again(self) -> bool:
        """Whether the clients' retries can be made by a balancer, which has neither backoff, budget nor hedges."""
        clients = self.clients
        is_plain = clients.backoff is None and clients.hedge_s is None
        return clients.attempts > 1 and is_plain and clients.budget.kind is BudgetKind.NONE

    @property
    def silence_s(self) -> float:
        """How long a server may send nothing: the timeout of an attempt, or of a plan without any, longer. [s]"""
        return self.clients.timeout_s or _SILENCE_S

    @property
    def silence_why(self) -> str:
        """Where that comes from, as a remark."""
        return "of an attempt" if self.clients.timeout_s else "the plan has no timeout"

    @property
    def connect_s(self) -> float:
        """How long a server may take to accept a connection. [s]"""
        return min(CONNECT_S, self.silence_s)

    def retried(self, names: Mapping[Failure, str]) -> str:
        """The failures after which the balancer tries again, by its own names for them."""
        return " ".join(names[one] for one in Failure if one in self.clients.retried)

    def notes(self, product: str, has: Set[Routing], instead: str) -> Iterator[str]:
        """What servers there are, what routing the balancer has not, and who makes the retries.

        Args:
            product: name of the balancer.
            has: the routings that it has.
            instead: what stands in for the others, which is the routing to the server with the fewest requests.
        """
        yield (
            f"{self._servers_in_words()}: put their addresses in place of {self.addresses[0][1]}"
            f"{' and so on' if self.is_routed else ''}."
        )
        if self.has_one_queue and self.plan.replicas > 1:
            yield (
                f"Routing: all replicas have one queue, so that there is one server behind {product}. Limits on "
                "several servers, with a queue in front of them, are no such queue: a server gets its next request "
                "as soon as it has a place, and not when it forms a batch, so that batch and queue divide its places."
            )
        elif self.is_routed and self.plan.routing.base not in has:
            yield (
                f"Routing: {product} cannot look into prompts, as {self.plan.routing.value} does, and {instead} stands "
                f"in for it; plan with --routing {Routing.LEAST_OUTSTANDING.value} to evaluate that, or use --target "
                "inference-pool."
            )
        yield from self._retry_notes(product)

    def ring_notes(self, product: str, own: Routing) -> Iterator[str]:
        """The shares of the servers on the balancer's ring of hashes, and how a plan is evaluated with them."""
        ring = ring_of(own, self.servers, tuple(address for _, address in self.addresses))
        shares = f"from {100.0 * min(ring.shares):.1f} to {100.0 * max(ring.shares):.1f} %"
        even = f", where the plan has equal shares; {evaluate(own)}" if self.plan.routing is not own else "."
        yield f"On {product}'s ring of hashes each server has {shares} of the sessions{even}"

    def _servers_in_words(self) -> str:
        scaler = self.deployed.autoscaler
        if scaler is None or self.has_one_queue:
            return f"The plan is {counted(self.servers, 'server')}"
        return f"The autoscaler starts up to {counted(self.servers, 'server')}; those that are not there are left out"

    def _retry_notes(self, product: str) -> Iterator[str]:
        has = features_of(self.given)
        words = [has[one] for one in Feature if one in RETRIES and one in has]
        if self.clients.attempts > 1 and not self.tries_again:
            yield (
                f"Retries are left to the clients (--target envoy, istio or grpc), as {product} has neither backoff, "
                f"budget nor hedges: {listed(words)}. What could not be sent to a server goes to another one."
            )
        elif self.tries_again:
            yield (
                f"Retries are made here, and clients make none: {listed(words)}. What {product} itself turns away is "
                "not tried again."
            )
        elif words:
            yield f"Clients: {listed(words)}."


def balanced(given: AnyPlan) -> Balanced:
    """A plan in the form that the targets of this file's readers need.

    Raises:
        InputError: a plan of engines for users without a rate.
    """
    saved = given.saved if isinstance(given, Fleet) else given
    recovery = read_recovery(saved)
    return Balanced(
        given=given,
        deployed=given if isinstance(given, Fleet) else read_engines(given),
        health=_TRITON_HEALTH if isinstance(given, Fleet) else probe_at_once(saved),
        is_streamed=not isinstance(given, Fleet),
        plan=saved.plan if recovery is None else recovery.plan,
        clients=_clients(saved) if recovery is None else recovery.clients,
        slow_start_s=0 if recovery is None else recovery.slow_start_s,
    )


def _clients(saved: SavedPlan) -> Clients:
    workload: Any = saved.question.workload
    return PATIENT if is_patient(workload) else workload.clients


def routings_of(name: str, rules: Mapping[Routing, str]) -> frozenset[Routing]:
    """The routings that a balancer has: those with a rule, and its own form of them but not that of another one."""
    own = ("", name)
    return frozenset(one for one in Routing if one.base in rules and one.value.partition(":")[2] in own)


def evaluate(own: Routing) -> str:
    """How a plan is evaluated with the rule of the balancer, as the end of a note."""
    return f"plan with --routing {own.value} to evaluate that."


def timer(value_s: float) -> str:
    """A duration as HAProxy and nginx read it, at least 1 ms.

    >>> timer(60.0), timer(0.5), timer(0.0001)
    ('60s', '500ms', '1ms')
    """
    value_ms = max(1, round(1000.0 * value_s))
    return f"{value_ms}ms" if value_ms % 1000 else f"{value_ms // 1000}s"


def indented(lines: Iterable[str], by: int) -> str:
    """Lines of a file, each after this many blanks."""
    return "".join(f"{' ' * by}{line}\n" for line in lines)
