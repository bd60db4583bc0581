"""Simulation of a law by itself: no profile and no search, just the queue that the law describes."""

import math
from dataclasses import dataclass, field
from typing import Any

from capacity.errors import InconclusiveError
from capacity.performance import Performance
from capacity.units import format_quantile
from simulations.case import INDEPENDENT_EXCEEDANCES_MIN
from simulations.draws.arrivals import Seed
from simulations.replication import Engine, Task, replicate
from simulations.statistics.performances import batch_performance
from simulations.statistics.pool import SECTIONS, Pool
from simulations.statistics.relaxation import RELAXATIONS
from simulations.statistics.sample import Length
from simulations.validation.systems import System, system_of
from simulations.workers import Mapper


@dataclass(frozen=True, slots=True, kw_only=True)
class LawSimulation:
    """Simulation of a law in twenty independent runs, each of which forgets its start.

    Attributes:
        requests: counted requests in all runs together; the warm-up of each run is extra.
        mapper: function that spreads runs over workers.
    """

    requests: int
    quantiles: tuple[float, ...]
    seed: int = 0
    confidence: float = 0.95
    engine: Engine = Engine.KERNEL
    mapper: Mapper = field(default=map, repr=False)

    def __call__(self, law: Any) -> Performance:
        """Performance of the queue, with intervals.

        Raises:
            DomainError: a law that cannot be simulated by itself.
            InconclusiveError: too few requests for a valid interval.
        """
        system = system_of(law, self.quantiles)
        tasks = [self._task(system, number) for number in range(SECTIONS)]
        pool = Pool.of(self.mapper(replicate, tasks))
        self._require_enough(pool)
        return batch_performance(
            pool,
            load=system.theory.load,
            replicas=system.plan.replicas,
            quantiles=self.quantiles,
            confidence=self.confidence,
        )

    def _task(self, system: System, number: int) -> Task:
        length = Length(
            warm_up=math.ceil(RELAXATIONS * system.relaxation_requests),
            measured=math.ceil(self.requests / SECTIONS),
            cool_down=system.cool_down_requests,
        )
        return Task(
            plan=system.plan,
            workload=system.workload,
            service_times=system.service_times,
            request_overhead_s=0.0,
            length=length,
            seed=Seed(value=self.seed, replication=number),
            engine=self.engine,
        )

    def _require_enough(self, pool: Pool) -> None:
        highest = max(self.quantiles)
        seen = pool.independent_exceedances(highest)
        if seen < INDEPENDENT_EXCEEDANCES_MIN:
            raise InconclusiveError(
                f"{self.requests} requests are worth {seen:.0f} independent responses beyond "
                f"{format_quantile(highest)}, and an interval takes {INDEPENDENT_EXCEEDANCES_MIN}; "
                "raise requests, or ask for a lower quantile"
            )
