"""Running plan: the settings of a server that runs today, as far as its files say them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningPlan:
    """Batching and replicas of one model as they are set today.

    Attributes:
        batch_wait_max_s: how long a request may wait for its batch to fill. [s]
        queue_limit: requests that may wait; None where there is no limit.
        preferred_sizes: batch sizes that start at once, before the wait is over.
        notes: what its reader had to decide, a sentence each.
    """

    name: str
    batch_size_max: int
    batch_wait_max_s: float = 0.0
    replicas: int = 1
    queue_limit: int | None = None
    preferred_sizes: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
