"""TimedBatch: how long one batch took; and Subject, whatever serves batches and can tell."""

from dataclasses import dataclass
from typing import Protocol

from capacity.errors import DependencyError
from capacity.profile import BATCH_DURATION_MAX_S, BATCH_DURATION_MIN_S


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedBatch:
    """One batch.

    Attributes:
        service_s: what the batch took. [s]
        ended_s: when it was answered, by the clock of the sampling. [s]
        beside_s: what its request took beside the batch and the wait for it; None where nobody told. [s]
    """

    service_s: float
    beside_s: float | None = None
    ended_s: float = 0.0


class Subject(Protocol):
    """What is measured."""

    def serve(self, batch_size: int) -> TimedBatch:
        """Serve one batch.

        Raises:
            DependencyError: it could not.
        """
        ...


def check_credible(batch: TimedBatch, batch_size: int) -> None:
    """Refuse what can be no service time, while it can still be said what was being measured."""
    if not BATCH_DURATION_MIN_S <= batch.service_s <= BATCH_DURATION_MAX_S:
        raise DependencyError(
            f"a batch of {batch_size} took {batch.service_s:g} s, outside {BATCH_DURATION_MIN_S:g} s to "
            f"{BATCH_DURATION_MAX_S:g} s, which is not a batch served; check that what is timed does the work"
        )
