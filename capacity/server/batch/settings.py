"""Batch settings: the largest batches and batch waits of a sweep."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from capacity.profile.profile import ServiceProfile
from capacity.question.grid import Replicas, short
from capacity.question.scenario import Scenario
from capacity.server.batch.batching import Batching
from capacity.server.batch.places import require_own_devices, require_plain
from capacity.server.batch.plan import BatchPlan, BatchScenario
from capacity.server.batch.rows import BatchRows
from capacity.traffic.workload import Demand


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSettings:
    """`capacity.question.grid.Settings` of fleets that serve batches.

    Attributes:
        batch_sizes_max: None stands for each profile's own largest.
    """

    batch_sizes_max: tuple[int | None, ...] = (None,)
    batch_waits_max_s: tuple[float, ...] = (0.0,)
    batching: Batching = Batching.TRITON
    preferred_sizes: tuple[int, ...] = ()
    queue_limit: int | None = None
    outstanding_max: int | None = None

    @classmethod
    def of(cls, scenario: BatchScenario) -> Self:
        """The settings of one fleet."""
        plan = scenario.plan
        return cls(
            batch_sizes_max=(plan.batch_size_max,),
            batch_waits_max_s=(plan.batch_wait_max_s,),
            batching=plan.batching,
            preferred_sizes=plan.preferred_sizes,
            queue_limit=plan.queue_limit,
            outstanding_max=plan.outstanding_max,
        )

    @property
    def rejects(self) -> bool:
        """Whether requests that find a queue full are rejected."""
        return self.queue_limit is not None

    @property
    def rows(self) -> BatchRows:
        """Columns of the fleets."""
        return BatchRows(is_limited=self.outstanding_max is not None)

    def at_once(self, sizes: Sequence[int]) -> Self:
        """The same replicas with these largest batches."""
        return replace(self, batch_sizes_max=tuple(sizes))

    def with_outputs(self, profile: ServiceProfile, factor: float) -> Self:
        """The same, as requests have no lengths."""
        return self

    @property
    def axes(self) -> tuple[Sequence[Any], ...]:
        """Largest batches and batch waits."""
        return self.batch_sizes_max, self.batch_waits_max_s

    def require(self, profile: ServiceProfile) -> None:
        """Refuse instances that share a device, if places are limited; cells beyond the profile's batches say so."""
        require_own_devices(self.outstanding_max, profile)

    def cell(
        self,
        profile: ServiceProfile,
        workload: Demand,
        replicas: Replicas,
        size_max: int | None,
        wait_max_s: float,
    ) -> Scenario:
        """The scenario of one cell."""
        require_plain(self.outstanding_max, workload)
        plan = BatchPlan(
            profile=profile.name,
            replicas=replicas.number,
            batch_size_max=profile.batch_size_max if size_max is None else size_max,
            batch_wait_max_s=wait_max_s,
            routing=replicas.routing,
            batching=self.batching,
            preferred_sizes=self.preferred_sizes,
            queue_limit=self.queue_limit,
            outstanding_max=self.outstanding_max,
        )
        return Scenario(profile=profile, workload=workload, plan=plan)

    def document(self) -> dict[str, Any]:
        """The settings, long axes by their digests."""
        return {
            "batch_sizes_max": short(self.batch_sizes_max),
            "batch_waits_max_s": short(self.batch_waits_max_s),
            "batching": self.batching.value,
            "preferred_sizes": list(self.preferred_sizes),
            "queue_limit": self.queue_limit,
            **({} if self.outstanding_max is None else {"outstanding_max": self.outstanding_max}),
        }
