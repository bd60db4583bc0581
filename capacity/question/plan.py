"""Plan: one configuration of a fleet."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from capacity.errors import DomainError
from capacity.units import format_duration

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # knows defaults, as Python does from 3.13 on

    from capacity.profile.profile import ServiceProfile
else:
    from typing import TypeVar


class Routing(StrEnum):
    """How the load balancer picks the replica for a request; ties go to the lowest index."""

    ROUND_ROBIN = "round-robin"
    RANDOM = "random"
    LEAST_OUTSTANDING = "least-outstanding"
    POWER_OF_TWO = "power-of-two"
    SHARED_QUEUE = "shared-queue"


class BatchTimer(StrEnum):
    """What starts the batch wait, in the laws that know no more of a batching rule.

    OLDEST: the arrival of the oldest waiting request.
    OPEN: an idle replica sees a waiting request.
    """

    OLDEST = "oldest"
    OPEN = "open"


class Batching(StrEnum):
    """Rule by which a free replica starts a batch; at most `batch_size_max` requests, the oldest first.

    TRITON: when the batch is full, or its oldest request has waited `batch_wait_max_s` since it arrived. Any of
        `preferred_sizes` is full as well: the largest that can be had starts at once, and the rest stays, until
        the wait of the oldest is over; then all that wait start. TensorFlow Serving and the reference server have
        the same rule without preferred sizes.
    TORCHSERVE: the same, but the wait begins when an idle worker takes the first request, however long
        that has waited for a busy one.
    RAY_SERVE: batches are collected ahead, while the replica is busy too. A batch opens with its first request
        and closes when it is full or `batch_wait_max_s` later; closed batches are served in turn, and
        no request joins them, so that a busy replica does not make them larger.

    Source:
        Triton core, src/dynamic_batch_scheduler.cc, `DynamicBatchScheduler::GetDynamicBatch`, and
        server, docs/user_guide/batcher.md; it prepares batches ahead, and with a delay of 0 closes the
        next one at the first preferred size it comes to while all instances are busy, which is left out here.
        TorchServe, frontend/server/.../wlm/Model.java, `Model.pollInferJob` (`pollBatch` before 0.12): `begin` is
        set after the blocking `poll` for the first job. With a `maxBatchDelay` of 0 it takes two jobs at most.
        Ray 2.60.0, python/ray/serve/batching.py, `_BatchQueue._process_batches` and `wait_for_batch`: each
        batch becomes a task that waits for a semaphore of `max_concurrent_batches`, and the next is
        collected meanwhile. So it is as long as the batched function awaits its model.
    """

    TRITON = "triton"
    TORCHSERVE = "torchserve"
    RAY_SERVE = "ray-serve"

    @property
    def timer(self) -> BatchTimer | None:
        """What starts the batch wait in the laws of this rule; None where there are none."""
        return {Batching.TRITON: BatchTimer.OLDEST, Batching.TORCHSERVE: BatchTimer.OPEN}.get(self)


def batching_of(timer: BatchTimer) -> Batching:
    """The rule with this timer."""
    return Batching.TORCHSERVE if timer is BatchTimer.OPEN else Batching.TRITON


def require_batching(
    batching: Batching, preferred_sizes: tuple[int, ...], routings: Iterable[Routing]
) -> None:
    """Refuse preferred sizes without a meaning, and a batcher that no server has.

    Raises:
        DomainError: what contradicts, and the mend.
    """
    if preferred_sizes and batching is not Batching.TRITON:
        raise DomainError(
            f"{batching} batching has no preferred sizes; leave them out, or take triton batching"
        )
    if list(preferred_sizes) != sorted(set(preferred_sizes)) or min(preferred_sizes, default=1) < 1:
        raise DomainError(f"preferred sizes must rise from 1 or more, got {_listed(preferred_sizes)}")
    if batching is Batching.RAY_SERVE and Routing.SHARED_QUEUE in routings:
        raise DomainError(
            "ray-serve batching has a batcher at each replica and no shared queue; take power-of-two routing, "
            "which is Ray Serve's"
        )


_SERVERS = {Batching.TORCHSERVE: "TorchServe", Batching.RAY_SERVE: "Ray Serve"}


def _listed(sizes: Iterable[int]) -> str:
    return ", ".join(map(str, sizes))


# A fleet larger than any; a number beyond it is likely to be a mistake.
REPLICAS_LIMIT = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How many replicas, how large a batch, and how long a batch may wait to fill.

    Attributes:
        batching: by whose rule a batch starts.
        preferred_sizes: of batches that start at once under Triton's rule, rising.
        queue_limit: capacity of each queue, in addition to one batch at each free replica; a request that
            finds it full is rejected. None: no limit.
    """

    profile: str
    replicas: int
    batch_size_max: int
    batch_wait_max_s: float = 0.0
    routing: Routing = Routing.ROUND_ROBIN
    batching: Batching = Batching.TRITON
    preferred_sizes: tuple[int, ...] = ()
    queue_limit: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.replicas <= REPLICAS_LIMIT:
            raise DomainError(f"replicas must be from 1 to {REPLICAS_LIMIT}, got {self.replicas}")
        if self.batch_size_max < 1:
            raise DomainError(f"batch_size_max must be >= 1, got {self.batch_size_max}")
        if not 0.0 <= self.batch_wait_max_s < math.inf:
            raise DomainError(f"batch_wait_max_s must be >= 0 and finite, got {self.batch_wait_max_s}")
        if self.queue_limit is not None and self.queue_limit < 0:
            raise DomainError(f"the queue limit must be >= 0, got {self.queue_limit}")
        require_batching(self.batching, self.preferred_sizes, (self.routing,))
        if self.preferred_sizes and self.preferred_sizes[-1] > self.batch_size_max:
            raise DomainError(
                f"preferred size {self.preferred_sizes[-1]} is above the largest batch, {self.batch_size_max}; Triton "
                "refuses such a model: leave it out, or allow larger batches"
            )

    @property
    def timer(self) -> BatchTimer | None:
        """What starts the batch wait in the laws of this plan's batching; None where there are none."""
        return None if self.preferred_sizes else self.batching.timer

    @property
    def starts_at_once(self) -> bool:
        """Whether a free replica never waits for a batch to fill."""
        return self.batch_wait_max_s == 0.0

    @property
    def settings(self) -> tuple[float, int]:
        """How a replica is set, by which plans are ordered: the batch wait, and the largest batch."""
        return self.batch_wait_max_s, self.batch_size_max

    @property
    def words(self) -> dict[str, str]:
        """How a replica is set, by name, as tables show it."""
        return {"largest batch": str(self.batch_size_max), "batch wait": self._wait_text}

    @property
    def _wait_text(self) -> str:
        """How long a batch may wait, and by whose rule if it is not the default."""
        wait = format_duration(self.batch_wait_max_s)
        if self.preferred_sizes:
            return f"{wait}, preferred sizes {_listed(self.preferred_sizes)}"
        makes_no_difference = self.batching is Batching.TORCHSERVE and self.batch_wait_max_s == 0.0
        if self.batching is Batching.TRITON or makes_no_difference:
            return wait
        return f"{wait}, as in {_SERVERS[self.batching]}"

    @property
    def with_text(self) -> str:
        """What each replica does, as a sentence says it of a fleet."""
        wait_s = self.batch_wait_max_s
        wait = f" that wait up to {format_duration(wait_s)}" if wait_s > 0.0 else ""
        return f"with {self.size_text}{wait}"

    @property
    def size_text(self) -> str:
        """How much a replica takes at once."""
        return f"batches up to {self.batch_size_max}"

    @property
    def setting_text(self) -> str:
        """How a replica is set, in a few words."""
        wait = f", wait {1e3 * self.batch_wait_max_s:.3g} ms" if self.batch_wait_max_s else ""
        return f"batch {self.batch_size_max}{wait}, {self.routing}"

    @property
    def due_size(self) -> int:
        """Requests of which a batch starts at once."""
        return min((*self.preferred_sizes, self.batch_size_max))


# ---- Plans and profiles of any kind ----------------------------------------------------------------


class Measured(Protocol):
    """A profile of any kind."""

    @property
    def name(self) -> str:
        """Name by which plans and rows refer to it."""

    @property
    def instances_per_device(self) -> int:
        """Replicas on each device, or on what is priced as one."""

    def hourly_cost_usd(self, replicas: int) -> float | None:
        """Price of a fleet; None if the device's price is unknown. [USD/h]"""


class Fleet(Protocol):
    """A plan of any kind."""

    @property
    def profile(self) -> str:
        """Name of the profile."""

    @property
    def replicas(self) -> int:
        """Number of replicas."""

    @property
    def routing(self) -> Routing:
        """How the load balancer picks the replica for a request."""

    @property
    def queue_limit(self) -> int | None:
        """Limit of each queue; None if it is unlimited."""


# Nouns that hold for every kind of server; of batches where no kind is named.
if TYPE_CHECKING:
    AnyProfile = TypeVar("AnyProfile", bound=Measured, default=ServiceProfile)
    AnyPlan = TypeVar("AnyPlan", bound=Fleet, default=Plan)
else:
    AnyProfile, AnyPlan = TypeVar("AnyProfile"), TypeVar("AnyPlan")
