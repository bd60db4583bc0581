"""Scenario: a plan for a profile under a workload, and the objective that it must meet."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, Self

from capacity.errors import DomainError, InputError, UnstableError
from capacity.question.autoscaler import Autoscaler, read_autoscaler
from capacity.question.objective import BETWEEN_TOKENS, Measure, Objective
from capacity.question.parse import within
from capacity.question.plan import FIXED_PLACES, AnyPlan, AnyProfile, holds_back
from capacity.question.resilience import Outage, Spike, Survival, whole_fleet
from capacity.traffic.workload import ClosedPopulation, Demand, Workload, is_patient

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # has defaults, as Python does from 3.13 on

    from capacity.traffic.any_lengths import AnyLengths

    AnyDemand = TypeVar("AnyDemand", bound=Demand, default=Demand, covariant=True)
    Lengths = TypeVar("Lengths", bound=AnyLengths | None, default=Any, covariant=True)
else:
    from typing import TypeVar

    AnyDemand, Lengths = TypeVar("AnyDemand"), TypeVar("Lengths")

_NO_OBJECTIVE = Objective()
_QUANTILE_OF_MEANS = 0.9  # the quantile that sets the length of runs if only means are asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario(Generic[AnyProfile, AnyPlan, AnyDemand, Lengths]):
    """The input of a law or of the simulator: a plan, its requests and its objective.

    Attributes:
        objective: limits that the plan must meet; empty if only its performance is asked for.
        quantiles: quantiles to report beside those of the objective.
        outage: the failure that the fleet is in, of which the plan is what is left, if anything is; None with all
            replicas up.
        spike: jump in traffic, during which the objective must hold until new replicas are ready; None for the steady
            state.
        lengths: input and output tokens of the requests; None if requests have no lengths.
        cached_share: share of each prompt that is assumed to be in the cache when the request comes.
        bistable: whether the fleet may be one that does not come back from empty caches and a backlog.
        in_order: whether the k-th arrival of a trace has the k-th lengths, and not random ones.
        autoscaler: what sizes the fleet over the workload's day, up to the plan's replicas; None if all of these run
            all the time. In a failure as many of those that it asks for are gone, all day.
    """

    profile: AnyProfile
    workload: AnyDemand
    plan: AnyPlan
    objective: Objective = _NO_OBJECTIVE
    quantiles: tuple[float, ...] = ()
    outage: Outage | None = None
    spike: Spike | None = None
    lengths: Lengths = None  # type: ignore[assignment]  # (where this is the kind of lengths)
    cached_share: float = 0.0
    bistable: bool = False
    in_order: bool = False
    autoscaler: Autoscaler | None = None

    def __post_init__(self) -> None:
        if self.autoscaler is not None:
            if holds_back(self.plan):
                raise InputError(FIXED_PLACES)
            bounded = replace(self.autoscaler, replicas_max=self.whole.replicas)
            object.__setattr__(self, "autoscaler", bounded)
        if not 0.0 <= self.cached_share < 1.0:
            raise DomainError(f"--cached-share must be from 0 to below 1, got {self.cached_share}")
        if self.lengths is None:
            return
        require_second_tokens(self.objective, self.lengths)

    @property
    def quantile_max(self) -> float:
        """The highest quantile that is asked for; it decides how much must be simulated."""
        return max((*self.objective.quantiles, *self.quantiles), default=_QUANTILE_OF_MEANS)

    @property
    def whole(self) -> AnyPlan:
        """The plan with all its replicas."""
        found: AnyPlan = whole_fleet(self.plan, self.outage)
        return found

    @property
    def gone(self) -> int:
        """Replicas that the failure takes."""
        return 0 if self.outage is None else self.outage.replicas - self.outage.left

    @property
    def is_left(self) -> bool:
        """Whether the failure leaves any replica, even of the fewest that an autoscaler asks for."""
        least = self.whole.replicas if self.autoscaler is None else self.autoscaler.replicas_min
        return self.gone == 0 or least > self.gone

    def after(self, survival: Survival) -> Self:
        """The same scenario in the worst of some failures."""
        outage = survival.outage(self.plan.replicas, self.profile.instances_per_device)
        if outage is None:
            return self
        plan: Any = replace(self.plan, replicas=outage.left) if outage.left > 0 else self.plan
        return replace(self, plan=plan, outage=outage)

    def require_any_left(self) -> None:
        """Refuse a failure that leaves nothing of the fleet.

        Raises:
            UnstableError: nothing is left; the message names the failure.
        """
        if self.outage is None or self.is_left:
            return
        if self.outage.left > 0:
            raise UnstableError(
                f"nothing is left of the fewest replicas that an autoscaler asks for with {self.outage.event}; give "
                f"--replicas-min {self.gone + 1} or more"
            )
        raise UnstableError(
            f"nothing is left of {self.outage.replicas} "
            f"{'replica' if self.outage.replicas == 1 else 'replicas'} with {self.outage.event}; give more replicas"
        )

    @property
    def swing(self) -> float:
        """Highest rate of a day over its mean, if an autoscaler follows it, else 1.

        So far above its capacity a fleet may be for a while without falling behind for good.
        """
        demand = self.workload
        day = demand.day if self.autoscaler is not None and isinstance(demand, Workload) else None
        return 1.0 if day is None else day.peak_rate_rps / day.part_mean_rps

    def at_rate(self, arrival_rate_rps: float) -> Self:
        """The same scenario at another arrival rate."""
        assert isinstance(self.workload, Workload)  # noqa: S101  (a closed population has no rate)
        return self.sized(arrival_rate_rps)

    def sized(self, size: float) -> Self:
        """The same scenario at another arrival rate, or with another number of users."""
        demand: Any = self.workload
        return replace(self, workload=demand.sized(size))


def require_losses(objective: Objective, workload: Demand, *, rejects: bool) -> None:
    """Refuse a limit of losses where no request can be lost, and users who send again as soon as one is.

    Args:
        rejects: whether requests that find a queue full are rejected.

    Raises:
        InputError: there is one.
        DomainError: users without a think time in front of limited queues.
    """
    if isinstance(workload, ClosedPopulation):
        workload.require_thought(rejects=rejects)
    if objective.allowed(Measure.LOSS) is not None and not rejects and is_patient(workload):
        raise InputError("a loss limit needs a queue limit; give --queue-limit too")


# A scenario of any kind of server.
AnyScenario = Scenario[Any, Any, Any, Any]


def with_autoscaler(scenario: AnyScenario, asked: Any) -> AnyScenario:
    """The scenario with the part of the day and the autoscaler that flags name.

    Args:
        asked: flags of a verb, parsed by attribute.

    Raises:
        InputError: a flag that cannot be read, or that belongs to others.
    """
    workload = within(scenario.workload, asked.between)
    scaler = read_autoscaler(asked, scenario.plan.replicas)
    return replace(scenario, workload=workload, autoscaler=scaler)


def require_second_tokens(objective: Objective, lengths: "AnyLengths") -> None:
    """Refuse limits of the time between output tokens if every request gets only one.

    No request could miss such a limit: a user who sets it expects other requests than these.

    Raises:
        InputError: there is such a limit; the message names the first.
    """
    if lengths.moments.output > 1.0:
        return
    for limit in objective.limits:
        if limit.measure in BETWEEN_TOKENS:
            raise InputError(
                f"every request has one output token, and {limit.measure.short} is about the time from one to the "
                "next: leave out that limit, or give lengths with longer outputs"
            )
