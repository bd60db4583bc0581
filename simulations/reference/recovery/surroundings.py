"""Surroundings: what the servers of a run share, and the counts of its attempts."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from capacity.recovery.protection import Protection
from simulations.draws.attempts import AttemptDraws
from simulations.reference.replica import Clock

if TYPE_CHECKING:
    from simulations.reference.recovery.population import Population


@dataclass(slots=True)
class Counts:
    """The counts of `Outcomes` so far."""

    sent: list[int] = field(default_factory=list)
    served: int = 0
    for_nobody: int = 0
    rejected: int = 0
    shed: int = 0
    crashed: int = 0
    dropped: int = 0
    timed_out: int = 0

    def add_sent(self, now_s: float) -> None:
        """An attempt is sent; the last second of the run is the one in which the last of them is."""
        second = int(now_s)
        self.sent.extend([0] * (second + 1 - len(self.sent)))
        self.sent[second] += 1


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The clock, the clients, the random numbers and the counts of one run."""

    clock: Clock
    population: "Population"
    draws: AttemptDraws
    protection: Protection
    counts: Counts
