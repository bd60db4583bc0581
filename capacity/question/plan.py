"""Plan: one configuration of a fleet."""

import math
from dataclasses import dataclass
from enum import StrEnum

from capacity.errors import DomainError


class Routing(StrEnum):
    """How the load balancer picks the replica for a request; ties go to the lowest index."""

    ROUND_ROBIN = "round-robin"
    RANDOM = "random"
    LEAST_OUTSTANDING = "least-outstanding"
    POWER_OF_TWO = "power-of-two"
    SHARED_QUEUE = "shared-queue"


class BatchTimer(StrEnum):
    """What starts the batch wait.

    OLDEST: the arrival of the oldest waiting request (Triton, TensorFlow Serving).
    OPEN: an idle replica sees a waiting request (TorchServe, Ray Serve).
    """

    OLDEST = "oldest"
    OPEN = "open"


# A fleet larger than any; a number beyond it is likely to be a mistake.
REPLICAS_LIMIT = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How many replicas, how large a batch, and how long a batch may wait to fill.

    Attributes:
        timer: what starts `batch_wait_max_s`.
        queue_limit: capacity of each queue, in addition to one batch at each free replica; a request that
            finds it full is rejected. None: no limit.
    """

    profile: str
    replicas: int
    batch_size_max: int
    batch_wait_max_s: float = 0.0
    routing: Routing = Routing.ROUND_ROBIN
    timer: BatchTimer = BatchTimer.OLDEST
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
