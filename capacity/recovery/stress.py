"""Stress: a fleet, its clients and what goes wrong; the record between `capacity stress` and the simulator."""

import math
from dataclasses import dataclass, replace
from typing import Self

from capacity.errors import DomainError, InputError
from capacity.profile.profile import ServiceProfile
from capacity.question.plan import Plan, Routing
from capacity.question.resilience import Breakdowns
from capacity.question.stability import load, sustainable_rate_rps
from capacity.recovery.clients import Clients
from capacity.recovery.faults import ColdCache
from capacity.recovery.protection import Protection, Shedding
from capacity.recovery.trigger import Trigger, TriggerKind
from capacity.traffic.workload import Workload

BASELINE_S = 30.0  # before the trigger, with which all later windows are compared
WINDOW_S, WINDOW_REQUESTS = 5.0, 200  # of a window, at least
STEADY_S = 30.0  # for so long every window must be as before
TOLERANCE, TOLERANCE_ERRORS = 0.05, 3.0  # how far below it may be: in points, and in standard errors
DETECTION_S = 30.0  # Kubernetes: a probe every 10 s, 1 s to answer, 3 failures, so from 21 to 31 s
_WARM_UP_S = 30.0
_UNPROTECTED = Protection()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stress:
    """What is asked: does this fleet recover from this trigger?

    Attributes:
        detection_s: from a crash or a hang until the balancer notices. [s]
        startup_s: a replica needs to be ready, after an outage of the trigger or in a rollout. [s]
        cold: the first batches of a replica that has come back; None: they are like any other.
        breakdowns: replicas crash at random all the time, beside the trigger; None: they do not.
        horizon_s: after the trigger's end, within which the fleet must have recovered. [s]
    """

    profile: ServiceProfile
    workload: Workload
    plan: Plan
    clients: Clients
    trigger: Trigger
    protection: Protection = _UNPROTECTED
    detection_s: float = DETECTION_S
    startup_s: float = 0.0
    breakdowns: Breakdowns | None = None
    cold: ColdCache | None = None
    horizon_s: float = 600.0

    def __post_init__(self) -> None:
        if self.protection.ejects and self.plan.routing is Routing.SHARED_QUEUE:
            raise InputError(
                "--ejection is a balancer's, and replicas that share a queue have none; take another --routing"
            )
        for name in ("detection_s", "startup_s"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise DomainError(f"{name} must be >= 0 and finite, got {getattr(self, name):g}")
        if self.trigger.kind is TriggerKind.ROLLOUT and self.startup_s == 0.0:
            raise InputError("a rollout needs --startup-time: how long a new replica takes until it serves")
        waits = self.clients.timeout_s is None and self.clients.deadline_s is None
        if self.protection.shedding is Shedding.LATE and waits:
            raise InputError("--shed late needs to know when a request is late; give --timeout or --deadline")
        if self.horizon_s < STEADY_S + self.window_s:
            raise DomainError(
                f"the horizon must be at least {STEADY_S + self.window_s:g} s, so that a recovery can be seen,"
                f" got {self.horizon_s:g} s"
            )

    @property
    def rate_rps(self) -> float:
        """Arrival rate of first tries, but for a spike. [requests/s]"""
        return self.workload.arrival_rate_rps

    @property
    def capacity_rps(self) -> float:
        """Attempts that the whole fleet serves in a second, in full batches. [requests/s]"""
        return sustainable_rate_rps(self.profile, self.plan)

    @property
    def load(self) -> float:
        """Arrival rate over capacity."""
        return load(self.profile, self.rate_rps, self.plan)

    @property
    def up_share(self) -> float:
        """Share of the replicas that are up on average, but for the trigger."""
        return 1.0 if self.breakdowns is None else 1.0 - self.breakdowns.down_share

    @property
    def window_s(self) -> float:
        """Length of the windows in which success is measured. [s]"""
        return max(WINDOW_S, WINDOW_REQUESTS / self.rate_rps)

    @property
    def begins_s(self) -> float:
        """When the trigger begins: after a warm-up and what is compared with. [s]"""
        return _WARM_UP_S + max(BASELINE_S, self.window_s)

    @property
    def lasts_s(self) -> float:
        """How long the trigger lasts. [s]"""
        return self.trigger.lasts_s(self.plan.replicas, self.startup_s)

    @property
    def ends_s(self) -> float:
        """When the whole fleet is there again, and traffic is as usual. [s]"""
        return self.begins_s + self.lasts_s

    @property
    def until_s(self) -> float:
        """When the last requests come. [s]"""
        return self.ends_s + self.horizon_s

    @property
    def spike_factor(self) -> float:
        """Of the traffic while the trigger lasts."""
        return self.trigger.factor if self.trigger.kind is TriggerKind.SPIKE else 1.0

    def with_replicas(self, replicas: int) -> Self:
        """The same with another number of replicas."""
        return replace(self, plan=replace(self.plan, replicas=replicas))
