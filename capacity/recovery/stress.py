"""Stress: a fleet, its clients and what goes wrong; the record between `capacity stress` and the simulator."""

import math
from dataclasses import dataclass, replace
from typing import Generic, Self

from capacity.errors import DomainError, InputError
from capacity.question.plan import AnyPlan, Measured, Routing, with_queue_limit
from capacity.question.resilience import Breakdowns, Outage, whole_fleet
from capacity.recovery.faults import ColdCache
from capacity.recovery.protection import Ejecting, Protection, Shedding
from capacity.recovery.trigger import Trigger, TriggerKind
from capacity.server.server import Server
from capacity.traffic.clients import Clients
from capacity.traffic.workload import Workload

BASELINE_S = 30.0  # before the trigger; later windows are compared with it
WINDOW_S, WINDOW_REQUESTS = 5.0, 200  # minimum of a window
STEADY_S = 30.0  # minimum time for which every window must be as before
_SHORT_S = 5.0  # how much shorter the baseline may be, without the requests that the trigger meets
TOLERANCE, TOLERANCE_ERRORS = 0.05, 3.0  # allowed shortfall: in shares, and in standard errors
DETECTION_S = 30.0  # Kubernetes: a probe every 10 s, 1 s to answer, 3 failures, so from 21 to 31 s
_WARM_UP_S, _RESPONSES = 30.0, 4.0  # minimum, and in responses of a full engine
_OF_HELD = 0.5  # of the sessions that a cache holds may wait where another begins
_UNPROTECTED = Protection()


@dataclass(frozen=True, slots=True, kw_only=True)
class Caches:
    """The caches of a fleet that serves turns of sessions.

    Attributes:
        fills_s: how long sessions last, and fill all caches once. [s]
        cold_each_rps: turns that a replica serves from an empty cache while more sessions wait than it holds. [turns/s]
        held: sessions of mean length that a replica's cache holds.
    """

    fills_s: float
    cold_each_rps: float
    held: float

    @property
    def new_max(self) -> int:
        """Requests that may wait where a session begins, so that what is live stays within the cache."""
        return max(1, math.floor(_OF_HELD * self.held))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stress(Generic[AnyPlan]):
    """The question: does this fleet recover from this trigger?

    Attributes:
        server: one replica; a reply of a language model's engine is the whole response.
        detection_s: time from a crash or a hang until the balancer notices. [s]
        startup_s: time that a replica needs to be ready, after an outage of the trigger or in a rollout. [s]
        cold: the first batches of a replica that has come back; None if they are like any other.
        breakdowns: random crashes of replicas all the time, beside the trigger; None without any.
        horizon_s: time after the trigger's end within which the fleet must have recovered. [s]
        outage: the failure that the fleet is in before the trigger, of which the plan is what is left; None with all
            replicas up.
        caches: what turns of sessions find things in; None of other requests.
    """

    server: Server
    workload: Workload
    plan: AnyPlan
    clients: Clients
    trigger: Trigger
    protection: Protection = _UNPROTECTED
    detection_s: float = DETECTION_S
    startup_s: float = 0.0
    breakdowns: Breakdowns | None = None
    cold: ColdCache | None = None
    horizon_s: float = 600.0
    outage: Outage | None = None
    caches: Caches | None = None

    def __post_init__(self) -> None:
        if self.protection.ejects and self.plan.routing is Routing.SHARED_QUEUE:
            raise InputError(
                "--ejection is a balancer's, and replicas that share a queue have none; take another --routing"
            )
        if self.protection.ejection is Ejecting.NGINX and self.plan.routing.needs_sessions:
            raise InputError(
                f"--ejection-rule nginx is not simulated with {self.plan.routing.value} routing; take round-robin or "
                "another one that knows no sessions"
            )
        self.protection.require_weights(self.plan.routing)
        for name in ("detection_s", "startup_s"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise DomainError(f"{name} must be >= 0 and finite, got {getattr(self, name):g}")
        if self.trigger.kind is TriggerKind.ROLLOUT and self.startup_s == 0.0:
            raise InputError("a rollout needs --startup-time: how long a new replica takes until it serves")
        self._require_shedding()
        least_s = math.ceil(self.steady_s) + self.window_s  # success is measured once a second
        if self.horizon_s < least_s:
            raise DomainError(
                f"the horizon must be at least {least_s:g} s, so that a recovery can be seen,"
                f" got {self.horizon_s:g} s"
            )

    def _require_shedding(self) -> None:
        """Raises an InputError for a rule by which these servers or clients turn nothing away."""
        waits = self.clients.timeout_s is None and self.clients.deadline_s is None
        if self.protection.shedding is Shedding.LATE and waits:
            raise InputError("--shed late needs to know when a request is late; give --timeout or --deadline")
        if self.protection.shedding is Shedding.NEW and not self.server.has_sessions:
            raise InputError("--shed new turns sessions away, and these requests are none; give --sessions")
        if self.protection.shedding is Shedding.LIFO and not self.server.reorders(self.plan):
            raise InputError(
                "--shed lifo takes the newest requests first, and these servers have put them into batches as they "
                "arrived; give --shed late or codel, or another --batching"
            )

    @property
    def rate_rps(self) -> float:
        """Arrival rate of first tries, outside of a spike. [requests/s]"""
        return self.workload.arrival_rate_rps

    @property
    def profile(self) -> Measured:
        """Profile of the server."""
        return self.server.profile

    @property
    def capacity_rps(self) -> float:
        """Attempts that the fleet serves in a second if some always wait. [requests/s]"""
        return self.server.capacity_rps(self.plan)

    @property
    def load(self) -> float:
        """Arrival rate over capacity."""
        return self.rate_rps / self.capacity_rps

    @property
    def cold_rps(self) -> float | None:
        """Turns that the fleet serves from empty caches and a backlog; None of other requests. [turns/s]"""
        return None if self.caches is None else self.plan.replicas * self.caches.cold_each_rps

    @property
    def overhead_s(self) -> float:
        """Time of a request outside of its replica. [s]"""
        return self.server.overhead_s

    @property
    def served_s(self) -> float:
        """Time from the end of a wait to the reply in a full fleet; 0 if it is short beside a timeout. [s]"""
        return self.server.served_s

    @property
    def whole(self) -> AnyPlan:
        """The plan with all replicas, before any failure."""
        found: AnyPlan = whole_fleet(self.plan, self.outage)
        return found

    @property
    def limit(self) -> int | None:
        """Limit of each queue; None if it is unlimited."""
        return self.plan.queue_limit

    def with_limit(self, limit: int) -> Self:
        """The same stress with this limit of each queue."""
        return replace(self, plan=with_queue_limit(self.plan, limit))

    @property
    def up_share(self) -> float:
        """Mean share of the replicas that are up, outside of the trigger."""
        return 1.0 if self.breakdowns is None else 1.0 - self.breakdowns.down_share

    @property
    def window_s(self) -> float:
        """Length of the windows in which success is measured. [s]"""
        return max(WINDOW_S, WINDOW_REQUESTS / self.rate_rps)

    @property
    def steady_s(self) -> float:
        """Time for which every window must be as before: until all requests of the first one are decided. [s]"""
        return max(STEADY_S, self.clients.undecided_s)

    @property
    def begins_s(self) -> float:
        """Beginning of the trigger: after the warm-up, the baseline and the requests that are still undecided. [s]"""
        undecided_s = max(0.0, self.clients.undecided_s - _SHORT_S)
        return (
            max(_WARM_UP_S, _RESPONSES * self.served_s, 0.0 if self.caches is None else self.caches.fills_s)
            + max(BASELINE_S, self.window_s)
            + undecided_s
        )

    @property
    def baseline_s(self) -> tuple[float, float]:
        """First and last arrival of the baseline, whose requests are decided before the trigger begins. [s]"""
        undecided_s = self.clients.undecided_s
        before_s = max(BASELINE_S, self.window_s) + max(0.0, undecided_s - _SHORT_S)
        return self.begins_s - before_s, self.begins_s - undecided_s

    @property
    def lasts_s(self) -> float:
        """Length of the trigger. [s]"""
        return self.trigger.lasts_s(self.plan.replicas, self.startup_s)

    @property
    def ends_s(self) -> float:
        """Instant at which the whole fleet is back, and traffic is as usual. [s]"""
        return self.begins_s + self.lasts_s

    @property
    def until_s(self) -> float:
        """Arrival of the last requests that are evaluated. [s]"""
        return self.ends_s + self.horizon_s

    @property
    def comes_until_s(self) -> float:
        """Arrival of the last requests: without these, the last that are evaluated would find an empty fleet. [s]"""
        return self.until_s + self.clients.undecided_s

    @property
    def spike_factor(self) -> float:
        """Factor of the traffic during the trigger."""
        return self.trigger.factor if self.trigger.kind is TriggerKind.SPIKE else 1.0

    def with_replicas(self, replicas: int) -> Self:
        """The same stress with this number of replicas."""
        return replace(self, plan=replace(self.plan, replicas=replicas))
