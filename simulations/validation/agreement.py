"""Agreement: theory compared with simulation, quantity by quantity, on the product's own simulator."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from simulations.draws.arrivals import Seed, Stage
from simulations.replication import Engine
from simulations.statistics.intervals import Estimate, QuantileEstimate
from simulations.statistics.pool import Pool
from simulations.statistics.relaxation import RELAXATIONS
from simulations.statistics.sample import Length
from simulations.validation.recovery_systems import RecoverySystem
from simulations.validation.systems import System
from simulations.validation.token_systems import TokenSystem
from simulations.workers import Mapper

REPLICATIONS = 20
DEVIATION_MAX_SE = 4.0  # standard errors; false alarms about 8e-4 a row at 20 replications
RELATIVE_ERROR_MAX = 0.005  # a less certain row proves nothing
# The target has a margin, so that chance does not leave a row just short of it.
_RELATIVE_ERROR_AIM = 0.0045
_DEFECT = 0.05  # the model error for which the power is given
# Share of a value that the clock's rounding may move it by if there is no chance: an atom of a law.
_ROUNDING = 1e-9


class Agreement(StrEnum):
    """Verdict of one row."""

    AGREES = "agrees"
    DISAGREES = "disagrees"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One quantity of one queue, by theory and by simulation.

    Attributes:
        allowance: relative error of the theory; 0 if it is exact.
    """

    system: str
    quantity: str
    theory: float
    simulation: Estimate | QuantileEstimate
    allowance: float = 0.0

    @property
    def standard_error(self) -> float:
        """Standard error of the simulation, at least the rounding of its clock."""
        return max(self.simulation.standard_error, _ROUNDING * self.theory)

    @property
    def relative_error(self) -> float:
        """Standard error of the simulation as a share of the theoretical value."""
        return self.standard_error / self.theory

    @property
    def half_width(self) -> float:
        """Half-width of the simulation's 95 % interval."""
        return self.simulation.interval(0.95).half_width

    @property
    def deviation_se(self) -> float:
        """Simulation minus theory, in standard errors, after the allowance of an approximation."""
        deviation = self.simulation.value - self.theory
        allowed = self.allowance * self.simulation.value
        return math.copysign(max(0.0, abs(deviation) - allowed), deviation) / self.standard_error

    @property
    def power(self) -> float:
        """Probability that a model wrong by 5 % in this quantity would be detected."""
        distance = (_DEFECT - self.allowance) / self.relative_error - DEVIATION_MAX_SE
        return 0.5 * math.erfc(-distance / math.sqrt(2.0))

    @property
    def verdict(self) -> Agreement:
        """Verdict of the row; inconclusive if the simulation is too uncertain."""
        if self.relative_error > RELATIVE_ERROR_MAX:
            return Agreement.INCONCLUSIVE
        agrees = abs(self.deviation_se) <= DEVIATION_MAX_SE
        return Agreement.AGREES if agrees else Agreement.DISAGREES


AnySystem = System | TokenSystem | RecoverySystem


def compare(
    system: AnySystem, seed: int, requests_max: int, mapper: Mapper = map, engine: Engine = Engine.KERNEL
) -> list[Row]:
    """Rows of one system; replications are added until each row is precise enough or the budget ends."""
    length = _length(system)
    replicate: Callable[[Any], Any] = system.replicate
    pool, wanted = system.pool.of(()), REPLICATIONS
    while True:
        seeds = (
            Seed(value=seed, stage=Stage.AGREEMENT, replication=number)
            for number in range(pool.replications, wanted)
        )
        tasks: list[Any] = [system.task(length, one, engine) for one in seeds]
        pool = pool.extended(mapper(replicate, tasks))
        rows = _rows(system, pool)
        excess = max(row.relative_error for row in rows) / _RELATIVE_ERROR_AIM
        wanted = REPLICATIONS * math.ceil(pool.replications / REPLICATIONS * excess**2)
        if excess <= 1.0 or wanted * length.requests > requests_max:
            return rows


def _rows(system: AnySystem, pool: Pool) -> list[Row]:
    return [
        Row(
            system=system.name,
            quantity=name,
            theory=quantity.theory,
            simulation=quantity.estimate(pool),
            allowance=quantity.allowance,
        )
        for name, quantity in system.quantities().items()
    ]


def _length(system: AnySystem) -> Length:
    warm_up = math.ceil(RELAXATIONS * system.relaxation_requests)
    return Length(warm_up=warm_up, measured=max(10 * warm_up, 10_000), cool_down=system.cool_down_requests)
