"""Question: what is to be sized, and among which fleets."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Self

from capacity.errors import DomainError, InputError
from capacity.profile.profile import ServiceProfile
from capacity.question.objective import Measure, Objective
from capacity.question.plan import REPLICAS_LIMIT, Batching, Plan, Routing, require_batching
from capacity.question.refusal import users_devices_min
from capacity.question.resilience import Survival
from capacity.question.scenario import Scenario
from capacity.question.stability import devices_serving_min, replicas_stable_min
from capacity.traffic.workload import ArrivalProcess, ClosedPopulation, Demand, Workload

_NOTHING = Survival()


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Fleets of one profile under one routing, of any size and batch; larger ones cost more."""

    profile: ServiceProfile
    routing: Routing

    @property
    def per_device(self) -> int:
        """Replicas on each device."""
        return self.profile.instances_per_device

    def includes(self, plan: Plan) -> bool:
        """Whether a plan is of this family."""
        return (plan.profile, plan.routing) == (self.profile.name, self.routing)

    def replicas(self, devices: int) -> int:
        """Replicas on this many full devices."""
        return devices * self.per_device

    def devices(self, replicas: int) -> int:
        """Devices that this many replicas take."""
        return self.profile.devices(replicas)

    def cost(self, devices: int) -> float:
        """Price of this many devices; their number if no price is known. [USD/h]

        To twelve digits, so that three devices at 0.1 cost what one at 0.3 does.
        """
        return float(f"{devices * (self.profile.hourly_usd or 1.0):.12g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is to be sized, and within which limits.

    Attributes:
        profiles: hardware or precisions to choose from; prices decide between them.
        batch_size_limit: largest batch size to consider; None for each profile's largest.
        batch_waits_s: batch waits to consider; None for 0 and some as long as each profile's batches. [s]
        routings: what the load balancer can do.
        batching, preferred_sizes: by whose rule batches start, as in `Plan`.
        replicas_max: most replicas to consider.
        replicas_min, batch_size_min: fewest and smallest, where something other than the objective needs them.
        survival: what the fleet must survive.

    Raises:
        DomainError: a limit out of range, or a profile that does not begin with a batch of one request.
        InputError: no profile, two of one name, or several of which one has no price.
    """

    profiles: tuple[ServiceProfile, ...]
    workload: Demand
    objective: Objective
    batch_size_limit: int | None = None
    batch_waits_s: tuple[float, ...] | None = (0.0,)
    routings: tuple[Routing, ...] = (Routing.ROUND_ROBIN,)
    batching: Batching = Batching.TRITON
    preferred_sizes: tuple[int, ...] = ()
    queue_limit: int | None = None
    replicas_max: int = 1024
    replicas_min: int = 1
    batch_size_min: int = 1
    survival: Survival = _NOTHING

    def __post_init__(self) -> None:
        if not 1 <= self.replicas_max <= REPLICAS_LIMIT:
            raise DomainError(f"replicas_max must be from 1 to {REPLICAS_LIMIT}, got {self.replicas_max}")
        if not 1 <= self.replicas_min <= self.replicas_max:
            raise DomainError(
                f"replicas_min must be from 1 to replicas_max, {self.replicas_max}, got {self.replicas_min}"
            )
        if self.batch_size_limit is not None and self.batch_size_limit < 1:
            raise DomainError(f"batch_size_max must be >= 1, got {self.batch_size_limit}")
        if not self.profiles or not self.routings or self.batch_waits_s == ():
            raise InputError("a question needs at least one profile, one routing and one batch wait")
        if min(self.batch_waits_s or (0.0,)) < 0.0:
            raise DomainError(f"batch_waits_s must not be negative, got {self.batch_waits_s}")
        require_batching(self.batching, self.preferred_sizes, self.routings)
        self._check_profiles()
        self._check_preferred_sizes()
        self.objective.require()
        if self.objective.allowed(Measure.LOSS) is not None and self.queue_limit is None:
            raise InputError("a loss limit needs a queue limit; give --queue-limit too")

    def _check_profiles(self) -> None:
        names = [profile.name for profile in self.profiles]
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"profile {name} is given twice; rename or drop one")
        unpriced = [profile.name for profile in self.profiles if profile.hourly_usd is None]
        if unpriced and len(names) > 1:
            raise InputError(
                f"profile {unpriced[0]} has no price and cannot be compared by cost with the others; give "
                f"--hourly-usd {unpriced[0]}=0.50, or plan for one profile at a time"
            )

    def _check_preferred_sizes(self) -> None:
        for profile in self.profiles:
            limit = self.batch_size_limit or profile.batch_size_max
            if max(self.preferred_sizes, default=1) > limit:
                raise DomainError(
                    f"preferred size {self.preferred_sizes[-1]} is above the largest batch of {profile.name}, {limit}; "
                    "leave it out, or raise --batch-size-max"
                )

    def profile(self, name: str) -> ServiceProfile:
        """The profile of that name."""
        return next(profile for profile in self.profiles if profile.name == name)

    def for_plan(self, plan: Plan) -> Self:
        """The same question with one answer: that plan, or one with more replicas."""
        return replace(
            self,
            profiles=(self.profile(plan.profile),),
            routings=(plan.routing,),
            batch_size_min=plan.batch_size_max,
            batch_size_limit=plan.batch_size_max,
            batch_waits_s=(plan.batch_wait_max_s,),
            queue_limit=plan.queue_limit,
            replicas_min=plan.replicas,
        )

    @property
    def families(self) -> list[Family]:
        """All families: fleets that differ in more than size and batch."""
        return [Family(profile=p, routing=r) for p, r in product(self.profiles, self.routings)]

    def batch_sizes(self, profile: ServiceProfile) -> tuple[int, ...]:
        """Batch sizes to consider: the measured ones up to the limit, and the limit; none below a preferred one."""
        limit, least = self.batch_size_limit or profile.batch_size_max, max(self.preferred_sizes, default=1)
        least = max(least, self.batch_size_min)
        return (*(size for size in profile.batch_sizes if least <= size < limit), limit)

    def batch_waits(self, profile: ServiceProfile, batch_size_max: int) -> tuple[float, ...]:
        """Batch waits to consider for batches up to a size; a batch of one is full at once. [s]

        Searched ones are half and all of the time that a batch of one takes, and of the largest.
        """
        if batch_size_max == 1:
            return (min(self.batch_waits_s or (0.0,)),)
        if self.batch_waits_s is not None:
            return self.batch_waits_s
        one_s, full_s = profile.service_mean_s(1), profile.service_mean_s(batch_size_max)
        return (0.0, *sorted({one_s / 2.0, one_s, full_s / 2.0, full_s}))

    def plan(self, family: Family, devices: int, batch_size_max: int, batch_wait_max_s: float) -> Plan:
        """The candidate with these."""
        return Plan(
            profile=family.profile.name,
            replicas=family.replicas(devices),
            batch_size_max=batch_size_max,
            batch_wait_max_s=batch_wait_max_s,
            routing=family.routing,
            batching=self.batching,
            preferred_sizes=self.preferred_sizes,
            queue_limit=self.queue_limit,
        )

    def fleets(self, family: Family, devices: int, sizes: Sequence[int]) -> Iterator[Plan]:
        """All plans of a family with this many devices and batches up to these sizes, by size and batch wait."""
        for size in sizes:
            for wait_s in self.batch_waits(family.profile, size):
                yield self.plan(family, devices, size, wait_s)

    def family(self, plan: Plan) -> Family:
        """The family of a plan."""
        return Family(profile=self.profile(plan.profile), routing=plan.routing)

    def cost(self, plan: Plan) -> float:
        """Price of a plan's devices; their number if no price is known. [USD/h]"""
        family = self.family(plan)
        return family.cost(family.devices(plan.replicas))

    def hourly_usd(self, plan: Plan) -> float | None:
        """Price of a plan; None if it is not known. [USD/h]"""
        return self.profile(plan.profile).hourly_cost_usd(plan.replicas)

    def with_arrivals(self, arrivals: ArrivalProcess) -> Self:
        """The same question with other arrivals at the same rate."""
        assert isinstance(self.workload, Workload)  # noqa: S101  (a closed population has no rate)
        return replace(self, workload=replace(self.workload, arrivals=arrivals))

    def scenario(self, plan: Plan) -> Scenario:
        """A plan before the judge."""
        profile = self.profile(plan.profile)
        return Scenario(profile=profile, workload=self.workload, plan=plan, objective=self.objective)

    def events(self, plan: Plan) -> Iterator[tuple[str, Scenario]]:
        """What the plan must survive, the worst failure first; each with what is left."""
        whole = self.scenario(plan)
        for event, left in self.survival.events(plan.replicas, self.family(plan).per_device):
            yield event, replace(whole, plan=replace(plan, replicas=left))
        if self.survival.spike is not None:
            spike = self.survival.spike
            yield f"{spike.factor:g} times the traffic", replace(whole, spike=spike)

    def _replicas_min(self, family: Family, batch_size_max: int) -> int:
        """Fewest replicas that are stable, or need not lose more than the objective allows to be late."""
        if isinstance(self.workload, ClosedPopulation):
            wait_s = max(self.batch_waits(family.profile, batch_size_max))
            one = self.plan(family, 1, batch_size_max, wait_s)
            devices = users_devices_min(family.profile, self.workload, one, self.objective.limits)
            return (devices - 1) * family.profile.instances_per_device + 1
        rate_rps = self.workload.arrival_rate_rps
        if self.queue_limit is None and self.batching is not Batching.RAY_SERVE:
            return replicas_stable_min(family.profile, rate_rps, batch_size_max, family.routing)
        allowed = self.objective.loss_allowed if self.queue_limit is not None else 0.0
        if allowed is None:
            return 1
        devices = devices_serving_min(family.profile, rate_rps, batch_size_max, allowed)
        return (devices - 1) * family.profile.instances_per_device + 1

    def leaves_some(self, family: Family, devices: int) -> bool:
        """Whether the worst failure leaves any of this many full devices."""
        return self.survival.left(family.replicas(devices), family.per_device) >= 1

    def devices_max(self, family: Family) -> int:
        """Most full devices within the limit of replicas."""
        return self.replicas_max // family.per_device

    def devices_min(self, family: Family, batch_size_max: int) -> int:
        """Fewest full devices that theory does not refuse at this batch size, after the hardest loss."""
        stable = self._replicas_min(family, batch_size_max)
        return self.survival.devices_min(stable, self.replicas_min, family.per_device)
