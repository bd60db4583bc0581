"""Fleet: a saved plan for a fleet that batches, with the figures that targets need."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from capacity.answer.saved_answer import read_evaluation
from capacity.answer.saved_autoscaler import read_autoscaler
from capacity.answer.saved_plan import SavedPlan
from capacity.errors import InputError
from capacity.performance import Performance
from capacity.profile.profile import ServiceProfile
from capacity.question.autoscaler import Autoscaler
from capacity.question.objective import Measure
from capacity.question.plan import Routing, dns_label, rejects, waiting_max
from capacity.recovery.fluid import patience_s
from capacity.recovery.protection import Shedding
from capacity.render.deploy.recovery import Recovery, read_recovery
from capacity.server.batch.plan import BatchPlan
from capacity.server.engine.plan import TokenPlan
from capacity.traffic.workload import ClosedPopulation, Demand

_WAIT_MIN_S = 1e-6  # a server takes 0 for no limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """A plan of any kind with what its files need.

    Attributes:
        headroom_rps: largest rate found to meet the objective; None if that was not asked, or there is no rate.
        autoscaler: what it was confirmed with over a day; None where the plan was made without one.
    """

    saved: SavedPlan
    headroom_rps: float | None
    autoscaler: Autoscaler | None = None

    @property
    def plan(self) -> Any:
        """The recommended plan."""
        return self.saved.plan

    @property
    def profile(self) -> Any:
        """Profile of the plan."""
        return self.saved.profile

    @property
    def name(self) -> str:
        """Name of the fleet: that of the profile, as a DNS label."""
        return dns_label(self.profile.name)

    @property
    def servers(self) -> int:
        """Number of servers, pods or containers: one for each replica."""
        count: int = self.plan.replicas
        return count

    @property
    def servers_first(self) -> int:
        """Servers to begin with: the fewest that the autoscaler of the plan keeps; of a fixed fleet all."""
        return self.servers if self.autoscaler is None else self.autoscaler.replicas_min

    @property
    def rate_rps(self) -> float:
        """Arrival rate of the plan. [requests/s]

        Raises:
            InputError: the plan is for a closed population.
        """
        workload: Demand = self.saved.question.workload
        if isinstance(workload, ClosedPopulation):
            raise InputError(
                f"{self.saved.name} was made for {workload.users} users, and this target needs an arrival rate; "
                "plan with --rate"
            )
        return workload.arrival_rate_rps

    def require_rate(self) -> None:
        """Raises what `rate_rps` does."""
        _ = self.rate_rps

    @property
    def response_limit_s(self) -> float | None:
        """The longest limit on a quantile of the response; None if there is none. [s]"""
        return max(self.saved.question.objective.by_quantile(Measure.RESPONSE).values(), default=None)

    @property
    def startup_s(self) -> float | None:
        """Time until a new replica serves; None if the plan does not say. [s]"""
        spike = self.saved.question.survival.spike
        return None if spike is None else spike.startup_time_s

    @property
    def growth(self) -> float | None:
        """Factor by which traffic may grow within the start-up time; None if the plan has no spike."""
        spike = self.saved.question.survival.spike
        return None if spike is None else spike.factor


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet(Deployed):
    """A plan of a fleet that batches, with its performance.

    Attributes:
        recovery: what the fleet needs to recover after trouble; None if the plan was not made for that.
    """

    performance: Performance
    recovery: Recovery | None = None

    @property
    def plan(self) -> BatchPlan:
        """The recommended plan."""
        plan: BatchPlan = self.saved.plan
        return plan

    @property
    def profile(self) -> ServiceProfile:
        """Profile of the plan."""
        profile: ServiceProfile = self.saved.profile
        return profile

    @property
    def servers(self) -> int:
        """Number of servers, pods or containers: one for each device, with all replicas that share it."""
        return self.profile.devices(self.plan.replicas)

    @property
    def is_gpu(self) -> bool:
        """Whether a server needs a GPU."""
        return self.profile.kind == "gpu"

    @property
    def server_queue_limit(self) -> int | None:
        """Capacity of each server's queue; None if it is unlimited."""
        shared = self.plan.routing is Routing.SHARED_QUEUE
        each = waiting_max(replace(self.plan, replicas=1 if shared else self.profile.instances_per_device))
        return int(each) if rejects(self.plan) else None

    @property
    def server_batch_requests(self) -> int:
        """Requests in service at one server when all its batches are full."""
        return self.plan.batch_size_max * self.profile.instances_per_device

    @property
    def wait_limit_s(self) -> float | None:
        """How long a request may wait at a server before it is rejected; None without a limit. [s]

        With `--shed late:MARGIN` that is the clients' timeout less the margin. Without trouble to recover from, a
        plan with a queue limit rejects requests that have waited as long as the whole response may take: they are
        late in any case. In trouble that was not evaluated.
        """
        if self.recovery is None:
            return self.response_limit_s if rejects(self.plan) else None
        patience_s, margin_s = self.patience_s, self.recovery.late_margin_s
        if self.recovery.shedding is not Shedding.LATE or patience_s is None:
            return None
        if margin_s is None:  # default of `--shed late`
            margin_s = self.profile.law(self.plan.batch_size_max).quantile_s(0.99)
        return max(patience_s - margin_s, _WAIT_MIN_S)

    @property
    def patience_s(self) -> float | None:
        """How long a client waits for one reply; None if that was not evaluated. [s]"""
        return None if self.recovery is None else patience_s(self.recovery.clients)

    @property
    def response_quantile(self) -> float:
        """The quantile to describe responses by: the highest that has a limit, P99 otherwise."""
        limits = self.saved.question.objective.by_quantile(Measure.RESPONSE)
        return max(limits, default=0.99)

    @property
    def response_s(self) -> float:
        """Upper end of that quantile's interval. [s]

        Raises:
            InputError: the answer does not have it.
        """
        found = self.performance.response_quantiles_s.get(self.response_quantile)
        if found is None:
            raise InputError(f"{self.saved.name} has no quantile of the response; make the plan again")
        if math.isinf(found.value):
            raise InputError(f"{self.saved.name} loses too many requests to load it; plan for a lower rate")
        return found.high if math.isfinite(found.high) else found.value


def read_fleet(saved: SavedPlan) -> Fleet:
    """A saved plan as its targets need it.

    Raises:
        InputError: it holds no plan.
    """
    performance, headroom = read_evaluation(saved)
    scaled = read_autoscaler(saved)
    return Fleet(
        saved=saved,
        performance=performance,
        headroom_rps=None if headroom is None else headroom.accepted_rps,
        recovery=read_recovery(saved),
        autoscaler=scaled.autoscaler if scaled is not None and scaled.is_confirmed else None,
    )


def _as_it_is(saved: SavedPlan) -> SavedPlan:
    return saved


_READERS: dict[type, Callable[[SavedPlan], Fleet | SavedPlan]] = {BatchPlan: read_fleet, TokenPlan: _as_it_is}


def deployed(saved: SavedPlan) -> Fleet | SavedPlan:
    """A saved plan in the form that targets for its kind of server take."""
    return _READERS[type(saved.plan)](saved)
