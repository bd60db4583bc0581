"""Budget: the effort of an answer, and the interface to the simulators."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from capacity.errors import InputError
from capacity.performance import Performance
from capacity.question.candidate import Judge
from capacity.question.comparison import Comparison
from capacity.question.scenario import Scenario

_REQUESTS_END = 10**30  # beyond, floats could not represent budgets exactly

Compare = Callable[[Sequence[Scenario]], Comparison]
Simulate = Callable[[Scenario], Performance]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """Effort of an answer: budgets, precision, seed and workers.

    Raises:
        InputError: a number is out of range.
    """

    seed: int = 0
    confidence: float = 0.95
    precision: float = 0.02
    requests_max: int = 100_000_000
    engine: str = "kernel"
    workers: int | None = None
    cluster: str | None = None

    def __post_init__(self) -> None:
        if not 0.5 <= self.confidence < 1.0:
            raise InputError(f"--confidence must be from 0.5 to below 1, such as 0.95, got {self.confidence}")
        if not 0.0 < self.precision < 1.0:
            raise InputError(f"--precision must be within (0, 1), such as 0.02, got {self.precision}")
        if self.requests_max < 1:
            raise InputError(f"--requests-max must be >= 1, got {self.requests_max}")
        if self.requests_max > _REQUESTS_END:
            raise InputError(f"--requests-max must be at most {_REQUESTS_END:.0e}; 100000000 is usual")
        if self.seed < 0:
            raise InputError(f"--seed must be >= 0, got {self.seed}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """A load test whose requests are served again, one by one, from an empty fleet.

    Attributes:
        scenario: a trace of the instants at which requests were sent, in order with their lengths; or the question
            whose sessions were acted out.
        from_s, to_s: the part whose requests count. [s]
        sessions: these sessions, when each began, and their names; None if requests came by themselves.
    """

    scenario: Any
    from_s: float
    to_s: float
    sessions: tuple[Any, Any, tuple[str, ...]] | None = None


class Work(Protocol):
    """Workers that are ready, until their context ends."""

    @property
    def judge(self) -> Judge:
        """Judge of plans by simulation."""

    def simulate(self, quantiles: Sequence[float]) -> Simulate:
        """Performance of one plan, to the asked precision of the highest of these quantiles."""

    def compare(self, quantiles: Sequence[float]) -> Compare:
        """Comparison of fleets under the same requests, to the asked precision of the highest of these quantiles."""

    def replays(self, parts: Sequence[Replayed], quantiles: Sequence[float]) -> Performance:
        """Performance over the requests of load tests of one plan whose requests have lengths; values only."""

    def report(self, message: str) -> None:
        """Report progress."""


class Workbench(Protocol):
    """Source of workers for commands."""

    def __call__(self, effort: Effort) -> AbstractContextManager[Work]:
        """Workers for one command."""
