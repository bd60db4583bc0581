"""Batch plan: a fleet of replicas that serve batches, and the rule by which their batches start."""

import math
from dataclasses import dataclass

from capacity.errors import DomainError, InputError
from capacity.profile.profile import ServiceProfile
from capacity.question.plan import Names, Routing, require_fleet
from capacity.question.scenario import Scenario
from capacity.server.batch.batching import Batching, BatchTimer, listed, require_batching
from capacity.server.batch.places import require_batch_fits, require_places
from capacity.traffic.workload import Demand
from capacity.units import format_duration

_NAMES = Names(
    at_once="B: largest batch",
    this="this batch",
    others="Other batches",
    tried="batch that was tried",
    leave="full batches leave",
    busier="a replica that batches is busier than its load says, as small batches use it poorly",
    work="time with a batch in service",
)
_SERVERS = {Batching.TORCHSERVE: "TorchServe", Batching.RAY_SERVE: "Ray Serve"}


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPlan:
    """How many replicas, how large a batch, and how long a batch may wait to fill.

    Attributes:
        batching: by whose rule a batch starts.
        preferred_sizes: of batches that start at once under Triton's rule, rising.
        queue_limit: capacity of each queue, in addition to one batch at each free replica; a request that
            finds it full is rejected. None: no limit.
        outstanding_max: most requests at a replica, in its batch and in its queue; others wait at the balancer, first
            come first served, until a replica has a place. None: no limit.
    """

    profile: str
    replicas: int
    batch_size_max: int
    batch_wait_max_s: float = 0.0
    routing: Routing = Routing.ROUND_ROBIN
    batching: Batching = Batching.TRITON
    preferred_sizes: tuple[int, ...] = ()
    queue_limit: int | None = None
    outstanding_max: int | None = None

    def __post_init__(self) -> None:
        require_fleet(self)
        if self.routing.needs_sessions:
            raise InputError(f"{self.routing} routes turns of conversations, and a fleet of batches has none")
        if self.batch_size_max < 1:
            raise DomainError(f"batch_size_max must be >= 1, got {self.batch_size_max}")
        if not 0.0 <= self.batch_wait_max_s < math.inf:
            raise DomainError(f"batch_wait_max_s must be >= 0 and finite, got {self.batch_wait_max_s}")
        require_batching(self.batching, self.preferred_sizes, (self.routing,))
        rule = self.batching, self.preferred_sizes
        require_places(self.outstanding_max, *rule, (self.routing,), self.queue_limit)
        require_batch_fits(self.outstanding_max, self.batch_size_max)
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
    def kept(self) -> tuple[str, ...]:
        """Names of the settings that a document holds; batching and limits only if they differ from the defaults.

        `timer` is the older name of `batching`, from when there were two rules; it stays for its readers.
        """
        unusual = {
            "timer": self.timer is BatchTimer.OPEN,
            "batching": self.batching is not Batching.TRITON or self.preferred_sizes,
            "preferred_sizes": self.preferred_sizes,
            "queue_limit": self.queue_limit is not None,
            "outstanding_max": self.outstanding_max is not None,
        }
        names = ("profile", "replicas", "batch_size_max", "batch_wait_max_s", "routing")
        return (*names, *(name for name, is_unusual in unusual.items() if is_unusual))

    @property
    def starts_at_once(self) -> bool:
        """Whether a free replica never waits for a batch to fill."""
        return self.batch_wait_max_s == 0.0

    @property
    def settings(self) -> tuple[float, int]:
        """How a replica is set, by which plans are ordered: the batch wait, and the largest batch."""
        return self.batch_wait_max_s, self.batch_size_max

    @property
    def at_once(self) -> int:
        """Requests of the largest batch."""
        return self.batch_size_max

    @property
    def size_name(self) -> str:
        """Head of the column of the largest batch."""
        return "batch"

    @property
    def other_setting(self) -> tuple[str, str]:
        """The batch wait."""
        return "wait", format_duration(self.batch_wait_max_s)

    @property
    def holds_s(self) -> float:
        """The batch wait. [s]"""
        return self.batch_wait_max_s

    @property
    def names(self) -> Names:
        """Names of batches."""
        return _NAMES

    @property
    def words(self) -> dict[str, str]:
        """How a replica is set, by name, as tables show it."""
        words = {"largest batch": str(self.batch_size_max), "batch wait": self._wait_text}
        return words | (
            {} if self.outstanding_max is None else {"outstanding, max": str(self.outstanding_max)}
        )

    @property
    def _wait_text(self) -> str:
        """How long a batch may wait, and by whose rule if it is not the default."""
        wait = format_duration(self.batch_wait_max_s)
        if self.preferred_sizes:
            return f"{wait}, {self.preferred_text}"
        makes_no_difference = self.batching is Batching.TORCHSERVE and self.batch_wait_max_s == 0.0
        if self.batching is Batching.TRITON or makes_no_difference:
            return wait
        return f"{wait}, as in {_SERVERS[self.batching]}"

    @property
    def preferred_text(self) -> str:
        """The preferred sizes, in words; empty if there are none."""
        return f"preferred sizes {listed(self.preferred_sizes)}" if self.preferred_sizes else ""

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
    def at_once_text(self) -> str:
        """The largest batch, in two words."""
        return f"batch {self.batch_size_max}"

    @property
    def server_text(self) -> str:
        """The batch and its wait, in a few words."""
        wait_s = self.batch_wait_max_s
        return f"{self.at_once_text}, wait {format_duration(wait_s)}" if wait_s > 0.0 else self.at_once_text

    @property
    def setting_text(self) -> str:
        """How a replica is set, in a few words."""
        return f"{self.server_text}, {self.routing}"

    def value_text(self, what: str) -> str:
        """The largest batch, or the batch wait."""
        return (
            f"up to {self.batch_size_max}" if what == "batch size" else format_duration(self.batch_wait_max_s)
        )

    @property
    def due_size(self) -> int:
        """Requests of which a batch starts at once."""
        return min((*self.preferred_sizes, self.batch_size_max))


# A scenario of replicas that serve batches.
BatchScenario = Scenario[ServiceProfile, BatchPlan, Demand, None]
Plan = BatchPlan  # its name in `import capacity as cap`
