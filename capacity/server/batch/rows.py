"""Batch rows: what a row of a sweep says of a fleet that serves batches."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from capacity.question.grid import COUNT_MAX, Column, Value
from capacity.server.batch.plan import BatchScenario

_LIMIT = Column("outstanding_max", "count")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRows:
    """`capacity.question.grid.RowForm` of fleets that serve batches.

    Attributes:
        is_limited: whether the outstanding requests of each replica are limited, which has a column of its own then.
    """

    is_limited: bool = False

    @property
    def asked(self) -> tuple[Column, ...]:
        """Columns of the fleet and its settings."""
        return (*self._always, _LIMIT) if self.is_limited else self._always

    _always: ClassVar[tuple[Column, ...]] = (
        Column("replicas", "count"),
        Column("batch_size_max", "count"),
        Column("batch_wait_max_s", "number"),
        Column("routing", "text"),
        Column("timer", "text"),
        Column("batching", "text"),
        Column("preferred_sizes", "text"),
        Column("queue_limit", "count"),
        Column("request_overhead_s", "number"),
        Column("instances_per_device", "count"),
        Column("contention", "text"),
    )
    scalars: ClassVar[tuple[str, ...]] = (
        "utilization",
        "offered_load",
        "throughput_rps",
        "batch_size_mean",
        "wait_probability",
        "queue_length_mean",
        "in_system_mean",
        "wait_mean_s",
        "response_mean_s",
        "attempts_mean",
        "retried_share",
        "loss_probability",
        "abandon_probability",
        "empty_probability",
    )
    durations: ClassVar[tuple[str, ...]] = ("wait", "response", "response_with_losses")
    settings: ClassVar[Mapping[str, str]] = {"batch": "batch_size_max", "batch wait": "batch_wait_max_s"}
    hides_shared: ClassVar[bool] = False
    shown: ClassVar[Mapping[str, str]] = {"": "response_with_losses"}

    def values(self, cell: BatchScenario) -> tuple[Value, ...]:
        """Values of the columns `asked`."""
        plan, profile = cell.plan, cell.profile
        return (
            cell.whole.replicas,
            plan.batch_size_max,
            float(plan.batch_wait_max_s),
            plan.routing.value,
            None if plan.timer is None else plan.timer.value,
            plan.batching.value,
            "+".join(map(str, plan.preferred_sizes)) or None,
            plan.queue_limit,
            float(profile.request_overhead_s),
            min(profile.instances_per_device, COUNT_MAX),
            _contention(cell),
            *((plan.outstanding_max,) if self.is_limited else ()),
        )

    def label(self, row: Mapping[str, Value]) -> str:
        """Largest batch, in words."""
        return f"batch {row['batch_size_max']}"


def _contention(cell: BatchScenario) -> str:
    """Source of the slowdown of instances that share a device."""
    contention = cell.profile.device_contention(cell.plan.replicas)
    if contention is None:
        return "none"
    return "measured" if contention.is_measured else "assumed"
