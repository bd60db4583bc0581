"""Stalls: batches that took so much longer than usual that something else had the machine."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

_RATIO = 3.0
_BEYOND_S = 0.010  # about what a scheduler gives another process
_RATIO_MIN = 1.5  # of batches so long that 10 ms more are their ordinary spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Stalls:
    """How many of the samples stalled. They stay among the samples: a stall is part of the service.

    Attributes:
        limit_s: what is beyond it is a stall. [s]
        largest_s: None where there was none. [s]
    """

    count: int
    samples: int
    limit_s: float
    largest_s: float | None

    @property
    def share(self) -> float:
        """Of all samples."""
        return self.count / self.samples


def stalls(samples_s: Sequence[float]) -> Stalls:
    """Samples beyond three times the median, or 10 ms over it where that is less and half as much again."""
    usual_s = median(samples_s)
    limit_s = min(_RATIO * usual_s, max(_RATIO_MIN * usual_s, usual_s + _BEYOND_S))
    beyond = [sample for sample in samples_s if sample > limit_s]
    return Stalls(
        count=len(beyond), samples=len(samples_s), limit_s=limit_s, largest_s=max(beyond, default=None)
    )
