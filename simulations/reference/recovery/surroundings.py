"""Surroundings: what the servers of a run share."""

from dataclasses import dataclass

from capacity.recovery.protection import Protection
from simulations.draws.attempts import AttemptDraws
from simulations.reference.recovery.counts import Counts
from simulations.reference.recovery.population import Population
from simulations.reference.replica import Clock


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The clock, the clients, the random numbers and the counts of one run."""

    clock: Clock
    population: Population
    draws: AttemptDraws
    protection: Protection
    counts: Counts
