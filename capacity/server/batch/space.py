"""Batch space: the batch sizes and batch waits that a search may choose from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

from capacity.errors import DomainError, InputError
from capacity.profile.profile import ServiceProfile
from capacity.question.candidate import Rejection
from capacity.question.objective import Objective
from capacity.question.plan import Routing
from capacity.question.question import Family, Question
from capacity.question.scenario import require_losses
from capacity.server.batch.batching import Batching, require_batching
from capacity.server.batch.places import (
    require_batch_fits,
    require_own_devices,
    require_places,
    require_plain,
)
from capacity.server.batch.plan import BatchPlan
from capacity.server.batch.refusal import users_devices_min
from capacity.server.batch.stability import devices_serving_min, replicas_stable_min, saturated_rps
from capacity.traffic.workload import ClosedPopulation, Demand
from capacity.units import typed_duration


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSpace:
    """A `capacity.question.question.Space` of fleets that serve batches; their requests are alike.

    Attributes:
        batch_size_limit: largest batch size to consider; None for each profile's largest.
        batch_size_min: smallest, where something other than the objective needs it.
        batch_waits_s: batch waits to consider; None for 0 and some as long as each profile's batches. [s]
        batching, preferred_sizes, queue_limit, outstanding_max: as in `BatchPlan`, for all fleets.

    Raises:
        DomainError: a limit out of range, or preferred sizes without a meaning.
        InputError: no batch wait.
    """

    batch_size_limit: int | None = None
    batch_waits_s: tuple[float, ...] | None = (0.0,)
    batching: Batching = Batching.TRITON
    preferred_sizes: tuple[int, ...] = ()
    queue_limit: int | None = None
    outstanding_max: int | None = None
    batch_size_min: int = 1

    def __post_init__(self) -> None:
        if self.batch_size_limit is not None and self.batch_size_limit < 1:
            raise DomainError(f"batch_size_max must be >= 1, got {self.batch_size_limit}")
        if self.batch_waits_s == ():
            raise InputError("a question needs at least one batch wait")
        if min(self.batch_waits_s or (0.0,)) < 0.0:
            raise DomainError(f"batch_waits_s must not be negative, got {self.batch_waits_s}")

    @property
    def rejects(self) -> bool:
        """Whether requests that find a queue full are rejected."""
        return self.queue_limit is not None

    @property
    def lengths(self) -> None:
        """None, as the profile knows only the size of a batch."""
        return None

    @property
    def bistable(self) -> bool:
        """False, as batches have no cache."""
        return False

    @property
    def cached_share(self) -> float:
        """0, as nothing of a request is cached."""
        return 0.0

    @property
    def in_order(self) -> bool:
        """False, as requests are alike."""
        return False

    def flags(self, question: "BatchQuestion") -> Iterator[str]:
        """How the space is asked for, as it is typed; without what is as usual."""
        if self.batch_size_limit is not None:
            yield from ("--batch-size-max", str(self.batch_size_limit))
        for wait_s in self.batch_waits_s or ():
            yield from ("--batch-wait", typed_duration(wait_s))
        if self.batching is not Batching.TRITON:
            yield from ("--batching", self.batching.value)
        if self.preferred_sizes:
            yield from ("--preferred-sizes", ",".join(map(str, self.preferred_sizes)))
        if self.queue_limit is not None:
            yield from ("--queue-limit", str(self.queue_limit))
        if self.outstanding_max is not None:
            yield from ("--outstanding-max", str(self.outstanding_max))

    def typed_routing(self, routing: Routing) -> str:
        """A routing as it is typed."""
        return routing.value

    def require_for(self, question: "BatchQuestion") -> None:
        """Refuse batching rules without a meaning, sizes beyond a limit, and a loss limit without a queue limit."""
        rule = self.batching, self.preferred_sizes
        require_batching(*rule, question.routings)
        require_places(self.outstanding_max, *rule, question.routings, self.queue_limit)
        require_batch_fits(self.outstanding_max, self.batch_size_limit or 1)
        require_plain(self.outstanding_max, question.workload)
        for profile in question.profiles:
            require_own_devices(self.outstanding_max, profile)
            limit = self.batch_size_limit or profile.batch_size_max
            if max(self.preferred_sizes, default=1) > limit:
                raise DomainError(
                    f"preferred size {self.preferred_sizes[-1]} is above the largest batch of {profile.name}, {limit}; "
                    "leave it out, or raise --batch-size-max"
                )
        require_losses(question.objective, question.workload, rejects=self.rejects)

    def only(self, plan: BatchPlan) -> Self:
        """The batch and queue of one plan; its rule is that of the space."""
        return replace(
            self,
            batch_size_min=plan.batch_size_max,
            batch_size_limit=plan.batch_size_max,
            batch_waits_s=(plan.batch_wait_max_s,),
            queue_limit=plan.queue_limit,
            outstanding_max=plan.outstanding_max,
        )

    def eased(self, family: Family[ServiceProfile], objective: Objective, refused: Rejection) -> None:
        """None, as all batches are of one family."""

    def others(self, profile: ServiceProfile, plan: BatchPlan) -> Iterator[Self]:
        """The space for each other batch wait, if several were listed."""
        for wait_s in self.batch_waits_s or ():
            if wait_s != plan.batch_wait_max_s:
                yield replace(self, batch_waits_s=(wait_s,))

    def limited_as(self, plan: BatchPlan) -> Self:
        """The same batches with the queue limit of a plan."""
        return replace(self, queue_limit=plan.queue_limit)

    def in_any_order(self) -> Self:
        """The same, as requests are alike."""
        return self

    def families(
        self, profile: ServiceProfile, routing: Routing, objective: Objective
    ) -> Iterator[Family[ServiceProfile]]:
        """The one family of a profile under a routing, of any batch."""
        yield Family(profile=profile, routing=routing)

    def settled(self, plan: BatchPlan) -> Self:
        """The same space, as all batches are of one family."""
        return self

    def family(self, profile: ServiceProfile, plan: BatchPlan) -> Family[ServiceProfile]:
        """The family of a plan with this profile."""
        return Family(profile=profile, routing=plan.routing)

    def sizes(self, profile: ServiceProfile) -> tuple[int, ...]:
        """Batch sizes to consider: the measured ones up to the limit, and the limit; none below a preferred one.

        Without a limit it is the largest that the profile covers and a replica has places for.
        """
        covered = min(profile.batch_size_max, self.outstanding_max or profile.batch_size_max)
        limit, least = self.batch_size_limit or covered, max(self.preferred_sizes, default=1)
        least = max(least, self.batch_size_min)
        return (*(size for size in profile.batch_sizes if least <= size < limit), limit)

    def waits_s(self, profile: ServiceProfile, batch_size_max: int) -> tuple[float, ...]:
        """Batch waits to consider for batches up to a size; a batch of one is full at once. [s]

        Searched ones are half and all of the time that a batch of one takes, and of the largest.
        """
        if batch_size_max == 1:
            return (min(self.batch_waits_s or (0.0,)),)
        if self.batch_waits_s is not None:
            return self.batch_waits_s
        one_s, full_s = profile.service_mean_s(1), profile.service_mean_s(batch_size_max)
        return (0.0, *sorted({one_s / 2.0, one_s, full_s / 2.0, full_s}))

    def plan(
        self, family: Family[ServiceProfile], devices: int, batch_size_max: int, batch_wait_max_s: float
    ) -> BatchPlan:
        """The candidate with these."""
        return BatchPlan(
            profile=family.profile.name,
            replicas=family.replicas(devices),
            batch_size_max=batch_size_max,
            batch_wait_max_s=batch_wait_max_s,
            routing=family.routing,
            batching=self.batching,
            preferred_sizes=self.preferred_sizes,
            queue_limit=self.queue_limit,
            outstanding_max=self.outstanding_max,
        )

    def fleets(
        self, family: Family[ServiceProfile], devices: int, sizes: Sequence[int] | None = None
    ) -> Iterator[BatchPlan]:
        """Plans of a family with this many devices, by batch size and batch wait.

        Args:
            sizes: largest batches; None for all of the space.
        """
        for size in self.sizes(family.profile) if sizes is None else sizes:
            for wait_s in self.waits_s(family.profile, size):
                yield self.plan(family, devices, size, wait_s)

    def devices_min(
        self, question: "BatchQuestion", family: Family[ServiceProfile], batch_size_max: int
    ) -> int:
        """Fewest full devices that theory does not refuse at this batch size, after the hardest loss."""
        stable = self._replicas_min(question, family, batch_size_max)
        return question.survival.devices_min(stable, question.replicas_min, family.per_device)

    def _replicas_min(
        self, question: "BatchQuestion", family: Family[ServiceProfile], batch_size_max: int
    ) -> int:
        """Fewest replicas that are stable, or need not lose more than the objective allows to be late."""
        workload, objective, profile = question.workload, question.objective, family.profile
        if isinstance(workload, ClosedPopulation):
            wait_s = max(self.waits_s(profile, batch_size_max))
            one = self.plan(family, 1, batch_size_max, wait_s)
            devices = users_devices_min(profile, workload, one, objective)
            return (devices - 1) * family.per_device + 1
        rate_rps = workload.arrival_rate_rps
        if self.queue_limit is None and self.batching is not Batching.RAY_SERVE:
            plans = (
                self.plan(family, 1, batch_size_max, wait_s)
                for wait_s in self.waits_s(profile, batch_size_max)
            )
            best_rps = max(saturated_rps(profile, plan) for plan in plans)
            return replicas_stable_min(profile, rate_rps, best_rps, family.routing)
        allowed = objective.loss_allowed if self.queue_limit is not None else 0.0
        if allowed is None:
            return 1
        devices = devices_serving_min(profile, rate_rps, batch_size_max, allowed)
        return (devices - 1) * family.per_device + 1


BatchQuestion = Question[ServiceProfile, BatchSpace, Demand]
