"""Window: a short stretch of a simulated run, batch by batch; to look at, not to measure with."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedBatch:
    """One batch; instants count from the beginning of the window, and may lie outside of it."""

    replica: int
    size: int
    started_s: float
    finished_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What a fleet did during a stretch of time, long after it began.

    Attributes:
        length_s: of the stretch. [s]
        replicas_shown: replicas whose batches are here, from the first on.
        batches: that those replicas served, in order of their start.
        instants_s: evenly spread over the stretch.
        waiting: requests in the queues of the whole fleet at these instants.
    """

    length_s: float
    replicas: int
    replicas_shown: int
    batches: tuple[ServedBatch, ...]
    instants_s: tuple[float, ...]
    waiting: tuple[int, ...]
