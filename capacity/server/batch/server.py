"""Batch server: a replica that serves requests in batches, with times by the size of the batch."""

from dataclasses import dataclass
from typing import Self

from capacity.profile.profile import ServiceProfile
from capacity.question.overload import Saturated
from capacity.server.batch.batching import Batching
from capacity.server.batch.plan import BatchPlan, BatchScenario
from capacity.server.batch.stability import sustainable_rate_rps


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchServer:
    """A `capacity.server.server.Server` of batches; its requests are alike."""

    profile: ServiceProfile

    @classmethod
    def of(cls, scenario: BatchScenario, saturated: Saturated) -> Self:
        """A replica of a scenario's fleet, whose capacity a law gives."""
        return cls(profile=scenario.profile)

    @property
    def lengths(self) -> None:
        """None, as the profile knows only the size of a batch."""
        return None

    @property
    def cached_share(self) -> float:
        """0, as nothing of a request is cached."""
        return 0.0

    @property
    def step(self) -> str:
        """Batches."""
        return "batches"

    @property
    def overhead_s(self) -> float:
        """Time of a request outside of the batch server, from the profile. [s]"""
        return self.profile.request_overhead_s

    @property
    def served_s(self) -> float:
        """0, as a batch is short beside a timeout. [s]"""
        return 0.0

    @property
    def has_sessions(self) -> bool:
        """False, as batches keep nothing for later requests."""
        return False

    @property
    def sheds(self) -> bool:
        """True, as a replica can turn away requests that already wait."""
        return True

    def reorders(self, plan: BatchPlan) -> bool:
        """Whether requests are not put into batches as they arrive, as Ray Serve does."""
        return plan.batching is not Batching.RAY_SERVE

    @property
    def stops(self) -> bool:
        """False, as a batch that has begun ends with all its requests."""
        return False

    def capacity_rps(self, plan: BatchPlan) -> float:
        """Capacity of the fleet if every batch is full. [requests/s]"""
        return sustainable_rate_rps(self.profile, plan)

    def late_margin_s(self, plan: BatchPlan) -> float:
        """The P99 of a full batch: with less than this left, a reply would mostly come too late. [s]"""
        return self.profile.law(plan.batch_size_max).quantile_s(0.99)
