"""Question: what is to be sized, and among which fleets."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self

from capacity.errors import DomainError, InputError
from capacity.question.candidate import Reason, Rejection
from capacity.question.objective import Objective
from capacity.question.plan import REPLICAS_LIMIT, Measured, Routing
from capacity.question.resilience import Survival
from capacity.question.scenario import AnyScenario, Scenario
from capacity.traffic.workload import ArrivalProcess, Demand, Workload

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # has defaults, as Python does from 3.13 on

    from capacity.traffic.any_lengths import AnyLengths

    ProfileOf = TypeVar("ProfileOf", bound=Measured, default=Any, covariant=True)
    SpaceOf = TypeVar("SpaceOf", bound="Space", default=Any, covariant=True)
    DemandOf = TypeVar("DemandOf", bound=Demand, default=Demand, covariant=True)
else:
    from typing import TypeVar

    ProfileOf, SpaceOf, DemandOf = TypeVar("ProfileOf"), TypeVar("SpaceOf"), TypeVar("DemandOf")

_NOTHING = Survival()


@dataclass(frozen=True, slots=True, kw_only=True)
class Family(Generic[ProfileOf]):
    """Fleets of one profile under one routing, of any size; larger ones cost more.

    Attributes:
        settings: settings that all its fleets share; None if they differ in these too.
    """

    profile: ProfileOf = field(hash=False)
    routing: Routing
    settings: tuple[Any, ...] | None = None

    @property
    def per_device(self) -> int:
        """Replicas on each device, or on what is priced as one."""
        return self.profile.instances_per_device

    def includes(self, plan: Any) -> bool:
        """Whether a plan is of this family."""
        same = (plan.profile, plan.routing) == (self.profile.name, self.routing)
        return same and self.settings in (None, plan.settings)

    def replicas(self, devices: int) -> int:
        """Replicas on this many full devices."""
        return devices * self.per_device

    def devices(self, replicas: int) -> int:
        """Devices that this many replicas take."""
        return -(-replicas // self.per_device)

    def cost(self, devices: int) -> float:
        """Price of this many devices; their number if no price is known. [USD/h]

        To twelve digits, so that three devices at 0.1 cost what one at 0.3 does.
        """
        usd = self.profile.hourly_cost_usd(self.replicas(devices))
        return float(f"{devices if usd is None else usd:.12g}")


class Space(Protocol):
    """Settings of one kind of server that a search may choose from, and what its requests are like.

    Profiles, families and plans that are given to it are of its own kind.
    """

    @property
    def lengths(self) -> "AnyLengths | None":
        """Input and output tokens of the requests; None if requests have no lengths."""

    @property
    def bistable(self) -> bool:
        """Whether a fleet may be one that does not come back from empty caches and a backlog."""

    @property
    def cached_share(self) -> float:
        """Share of each prompt that is assumed to be in the cache when the request comes."""

    @property
    def in_order(self) -> bool:
        """Whether the k-th arrival of a trace has the k-th lengths, and not random ones."""

    def flags(self, question: Any) -> Iterator[str]:
        """How the space of a question is asked for, as it is typed; without what is as usual."""

    def typed_routing(self, routing: Routing) -> str:
        """A routing as it is typed, with what its router is to know."""

    def require_for(self, question: Any) -> None:
        """Refuse a question that has no fleet, or that no fleet of this kind could answer."""

    def families(self, profile: Any, routing: Routing, objective: Objective) -> Iterator[Family]:
        """Families of a profile under a routing, of which the objective may choose among more than were asked for."""

    def family(self, profile: Any, plan: Any) -> Family:
        """The family of a plan with this profile."""

    def eased(self, family: Any, objective: Objective, refused: Rejection) -> Family | None:
        """The family to try after one that was refused, in a setting that was left open; None if there is none."""

    def fleets(self, family: Any, devices: int) -> Iterator[Any]:
        """All plans of a family with this many devices."""

    def only(self, plan: Any) -> Self:
        """The settings of one plan."""

    def settled(self, plan: Any) -> Self:
        """The same space, with a plan's setting of what was not asked for."""

    def others(self, profile: Any, plan: Any) -> Iterator[Self]:
        """The space without the setting of a plan: one for each other that was listed, or is usual."""

    def limited_as(self, plan: Any) -> Self:
        """The same settings with the queue limit of a plan, where such fleets have one."""

    def in_any_order(self) -> Self:
        """The same space for other arrivals, which have no lengths of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question(Generic[ProfileOf, SpaceOf, DemandOf]):
    """What is to be sized, and within which limits.

    Attributes:
        profiles: hardware or precisions to choose from; prices decide between them.
        space: settings to choose from, of the kind of server that the profiles are of.
        routings: what the load balancer can do.
        replicas_max: most replicas to consider.
        replicas_min: fewest, where something other than the objective needs that number.
        survival: what the fleet must survive.

    Raises:
        DomainError: a limit out of range, or settings beyond a profile.
        InputError: no profile, two of one name, or several of which one has no price.
    """

    profiles: tuple[ProfileOf, ...]
    workload: DemandOf
    objective: Objective
    space: SpaceOf
    routings: tuple[Routing, ...] = (Routing.ROUND_ROBIN,)
    replicas_max: int = 1024
    replicas_min: int = 1
    survival: Survival = _NOTHING

    def __post_init__(self) -> None:
        if not 1 <= self.replicas_max <= REPLICAS_LIMIT:
            raise DomainError(f"replicas_max must be from 1 to {REPLICAS_LIMIT}, got {self.replicas_max}")
        if not 1 <= self.replicas_min <= self.replicas_max:
            raise DomainError(
                f"replicas_min must be from 1 to replicas_max, {self.replicas_max}, got {self.replicas_min}"
            )
        if not self.profiles or not self.routings:
            raise InputError("a question needs at least one profile and one routing")
        self._require_profiles()
        self.objective.require()
        self.space.require_for(self)

    def _require_profiles(self) -> None:
        names = [profile.name for profile in self.profiles]
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"profile {name} is given twice; rename or drop one")
        unpriced = [profile.name for profile in self.profiles if profile.hourly_cost_usd(1) is None]
        if unpriced and len(names) > 1:
            raise InputError(
                f"profile {unpriced[0]} has no price and cannot be compared by cost with the others; give "
                f"--hourly-usd {unpriced[0]}=0.50, or plan for one profile at a time"
            )

    def profile(self, name: str) -> ProfileOf:
        """The profile of that name."""
        return next(profile for profile in self.profiles if profile.name == name)

    def for_plan(self, plan: Any) -> Self:
        """The same question with one answer: that plan, or one with more replicas."""
        return replace(
            self,
            profiles=(self.profile(plan.profile),),
            routings=(plan.routing,),
            space=self.space.only(plan),
            replicas_min=plan.replicas,
        )

    def others(self, plan: Any) -> Iterator[Self]:
        """The question for each choice that a plan did not make: a profile, a routing, or a listed setting."""
        for profile in self.profiles:
            if profile.name != plan.profile:
                yield replace(self, profiles=(profile,))
        own = replace(self, profiles=(self.profile(plan.profile),), space=self.space.settled(plan))
        for routing in self.routings:
            if routing is not plan.routing and plan.replicas > 1:  # one is sent all, however it is picked
                yield replace(own, routings=(routing,))
        for space in self.space.others(self.profile(plan.profile), plan):
            yield replace(own, routings=(plan.routing,), space=space)

    @property
    def families(self) -> list[Family[ProfileOf]]:
        """All families: fleets that differ in more than size and, where the space says so, settings."""
        return [
            family
            for profile in self.profiles
            for routing in self.routings
            for family in self.space.families(profile, routing, self.objective)
        ]

    def family(self, plan: Any) -> Family[ProfileOf]:
        """The family of a plan."""
        return self.space.family(self.profile(plan.profile), plan)

    def eased(self, family: Family, refused: Rejection) -> Family | None:
        """The family to try after one that was refused, in a setting that was left open; None if there is none."""
        return self.space.eased(family, self.objective, refused)

    def fleets(self, family: Family, devices: int) -> Iterator[Any]:
        """All plans of a family with this many devices."""
        yield from self.space.fleets(family, devices)

    def cost(self, plan: Any) -> float:
        """Price of a plan's devices; their number if no price is known. [USD/h]"""
        family = self.family(plan)
        return family.cost(family.devices(plan.replicas))

    def hourly_usd(self, plan: Any) -> float | None:
        """Price of a plan; None if it is not known. [USD/h]"""
        return None if self.profile(plan.profile).hourly_cost_usd(1) is None else self.cost(plan)

    def with_arrivals(self, arrivals: ArrivalProcess) -> Self:
        """The same question with other arrivals at the same rate, which have no lengths of their own."""
        assert isinstance(self.workload, Workload)  # noqa: S101  (a closed population has no rate)
        workload = replace(self.workload, arrivals=arrivals)
        return replace(self, workload=workload, space=self.space.in_any_order())

    def scenario(self, plan: Any) -> AnyScenario:
        """A plan before the judge."""
        return Scenario(
            profile=self.profile(plan.profile),
            workload=self.workload,
            plan=plan,
            objective=self.objective,
            lengths=self.space.lengths,
            cached_share=self.space.cached_share,
            bistable=self.space.bistable,
            in_order=self.space.in_order,
        )

    def events(self, plan: Any) -> Iterator[tuple[str, AnyScenario]]:
        """What the plan must survive, the worst failure first; each with what is left."""
        whole = self.scenario(plan)
        for event, left in self.survival.events(plan.replicas, self.family(plan).per_device):
            yield event, replace(whole, plan=replace(plan, replicas=left))
        if self.survival.spike is not None:
            spike = self.survival.spike
            yield f"{spike.factor:g} times the traffic", replace(whole, spike=spike)

    def refused_load(self, plan: Any, refuse: Callable[[AnyScenario], Rejection | None]) -> Rejection | None:
        """Why the queues of a plan, or of what a failure leaves of it, would grow for ever or lose too much.

        Args:
            refuse: function that says it of one scenario.
        """
        for event, scenario in [("", self.scenario(plan)), *self.events(plan)]:
            rejection = refuse(scenario)
            if rejection is not None:
                return replace(rejection, reason=Reason.SURVIVAL, event=event) if event else rejection
        return None

    def leaves_some(self, family: Family, devices: int) -> bool:
        """Whether the worst failure leaves any of this many full devices."""
        return self.survival.left(family.replicas(devices), family.per_device) >= 1

    def devices_max(self, family: Family) -> int:
        """Most full devices within the limit of replicas."""
        return self.replicas_max // family.per_device
