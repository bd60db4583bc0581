"""RunningPlan: how a running server forms batches, and how many replicas it has."""

from dataclasses import dataclass

from capacity.errors import InputError
from capacity.units import format_duration

BATCH_SIZE_LIMIT = 1_000_000
REPLICAS_LIMIT = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningPlan:
    """Settings of a server, as its configuration has them.

    Attributes:
        name: name of the model.
        batch_size_max: largest batch that the server forms; 1 if it forms none.
        batch_wait_max_s: longest time that a request waits for others to join its batch. [s]
        replicas: copies of the model that serve at once.
        queue_limit: capacity of the queue that all replicas share; None if it is unlimited.
        preferred_batch_sizes: sizes that start as soon as they are reached; empty if there are none.
        device_kind: cpu or gpu, if the configuration says so.
        notes: what its reader had to decide, a sentence each.
    """

    name: str
    batch_size_max: int = 1
    batch_wait_max_s: float = 0.0
    replicas: int = 1
    queue_limit: int | None = None
    preferred_batch_sizes: tuple[int, ...] = ()
    device_kind: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def words(self) -> dict[str, str]:
        """The settings by name, as tables show them."""
        return {
            "replicas": str(self.replicas),
            "largest batch": str(self.batch_size_max),
            "batch wait": format_duration(self.batch_wait_max_s),
            "queue limit": "none" if self.queue_limit is None else str(self.queue_limit),
        }

    @property
    def flags(self) -> str:
        """The settings as flags of `capacity simulate`. Replicas of one server share its queue."""
        words = [f"--replicas {self.replicas}", f"--batch-size-max {self.batch_size_max}"]
        if self.batch_wait_max_s:
            words.append(f"--batch-wait {1e3 * self.batch_wait_max_s:g}ms")
        if self.replicas > 1:
            words.append("--routing shared-queue")
        if self.queue_limit is not None:
            words.append(f"--queue-limit {self.queue_limit}")
        if self.preferred_batch_sizes:
            words.append(f"--preferred-sizes {','.join(map(str, self.preferred_batch_sizes))}")
        return " ".join(words)

    def __post_init__(self) -> None:
        if not 1 <= self.batch_size_max <= BATCH_SIZE_LIMIT:
            raise InputError(
                f"{self.name}: batch_size_max must be from 1 to {BATCH_SIZE_LIMIT}, got {self.batch_size_max}"
            )
        if not 0.0 <= self.batch_wait_max_s <= 3600.0:
            raise InputError(
                f"{self.name}: batch_wait_max_s must be from 0 to 3600, got {self.batch_wait_max_s}"
            )
        if not 1 <= self.replicas <= REPLICAS_LIMIT:
            raise InputError(f"{self.name}: replicas must be from 1 to {REPLICAS_LIMIT}, got {self.replicas}")
        if self.queue_limit is not None and self.queue_limit < 1:
            raise InputError(f"{self.name}: queue_limit must be at least 1, got {self.queue_limit}")
        if any(not 1 <= size <= self.batch_size_max for size in self.preferred_batch_sizes):
            raise InputError(
                f"{self.name}: preferred batch sizes are from 1 to {self.batch_size_max}, the largest batch, got "
                f"{list(self.preferred_batch_sizes)}"
            )
