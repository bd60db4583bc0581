"""Agreement: theory beside simulation, quantity by quantity, on the product's own simulator."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from capacity.plan import Plan, Routing
from capacity.queues.mm1 import MM1
from capacity.queues.mmc import MMc
from capacity.stability import relaxation_requests
from capacity.workload import Workload
from simulations.arrivals import Seed, Stage
from simulations.estimate import RELAXATIONS
from simulations.parallel import Mapper
from simulations.pool import Estimate, Pool
from simulations.records import Floats
from simulations.replication import Length, Sample, Task, replicate
from simulations.service import ExponentialTimes, ServiceTimes

if TYPE_CHECKING:
    from rich.table import Table

REPLICATIONS = 20
DEVIATION_MAX_SE = 4.0  # standard errors; wrong alarms about 8e-4 a row at 20 replications
RELATIVE_ERROR_MAX = 0.01  # a row less certain than this proves nothing
# Aimed at with a margin, so that chance does not leave a row just short of it.
_RELATIVE_ERROR_AIM = 0.009
_DEFECT = 0.05  # the error of the model whose detection the power states


class Agreement(StrEnum):
    """Verdict of one row."""

    AGREES = "agrees"
    DISAGREES = "disagrees"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One quantity of one queue, by theory and by simulation."""

    system: str
    quantity: str
    theory: float
    simulation: Estimate

    @property
    def relative_error(self) -> float:
        """Standard error of the simulation as a share of theory."""
        return self.simulation.standard_error / self.theory

    @property
    def half_width(self) -> float:
        """Half-width of the simulation's 95 % interval."""
        return self.simulation.interval(0.95).half_width

    @property
    def deviation_se(self) -> float:
        """Simulation less theory, in standard errors."""
        return (self.simulation.value - self.theory) / self.simulation.standard_error

    @property
    def power(self) -> float:
        """Probability that a model wrong by 5 % in this quantity would be found out."""
        distance = (_DEFECT / self.relative_error - DEVIATION_MAX_SE) if self.relative_error else math.inf
        return 0.5 * math.erfc(-distance / math.sqrt(2.0))

    @property
    def verdict(self) -> Agreement:
        """Inconclusive where the simulation is too uncertain to say."""
        if self.relative_error > RELATIVE_ERROR_MAX:
            return Agreement.INCONCLUSIVE
        agrees = abs(self.deviation_se) <= DEVIATION_MAX_SE
        return Agreement.AGREES if agrees else Agreement.DISAGREES


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A queue that theory knows exactly, and how the simulator plays it.

    Attributes:
        quantiles: response-time quantiles to compare.
    """

    name: str
    theory: MM1 | MMc
    servers: int
    quantiles: tuple[float, ...]

    @property
    def service_times(self) -> ServiceTimes:
        """Exponential service."""
        return ExponentialTimes(1.0 / self.theory.service_rate_rps)

    @property
    def plan(self) -> Plan:
        """One queue, servers without batching."""
        return Plan(
            profile="exponential",
            replicas=self.servers,
            batch_size_max=1,
            routing=Routing.SHARED_QUEUE,
        )

    def quantities(self) -> dict[str, tuple[float, Callable[[Pool], Estimate]]]:
        """By name: the exact value, and how the pool estimates it."""
        theory = self.theory
        rows: dict[str, tuple[float, Callable[[Pool], Estimate]]] = {
            "wait_probability": (theory.wait_probability, lambda p: p.estimate(_share_positive, _waits)),
            "wait_mean_s": (theory.wait_mean_s, lambda p: p.estimate(_mean, _waits)),
            "response_mean_s": (theory.response_mean_s, lambda p: p.estimate(_mean, _responses)),
        }
        for q in self.quantiles:
            exact = theory.response_quantile_s(q)
            rows[f"response_p{100 * q:g}_s"] = (exact, partial(Pool.response_quantile, quantile=q))
        return rows


def systems() -> list[System]:
    """M/M/1 at three loads and M/M/c of three sizes.

    P99 at load 0.9 is left out: ±1 % of it takes some 16 million requests, 3.4/(1-ρ)² times what
    independent samples would.
    """
    ones = [
        System(
            name=f"M/M/1 load {rho:g}",
            theory=MM1(arrival_rate_rps=rho, service_rate_rps=1.0),
            servers=1,
            quantiles=(0.5, 0.99) if rho < 0.9 else (0.5,),
        )
        for rho in (0.3, 0.6, 0.9)
    ]
    many = [
        System(
            name=f"M/M/{servers} load {rho:g}",
            theory=MMc(arrival_rate_rps=rho * servers, service_rate_rps=1.0, servers=servers),
            servers=servers,
            quantiles=(0.5, 0.99),
        )
        for servers, rho in ((2, 0.7), (8, 0.8), (32, 0.8))
    ]
    return ones + many


def compare(system: System, seed: int, requests_max: int, mapper: Mapper = map) -> list[Row]:
    """Rows of one system; replications are added until each row is certain enough or the budget ends."""
    length = _length(system)
    samples: list[Sample] = []
    wanted = REPLICATIONS
    while True:
        samples.extend(mapper(replicate, _tasks(system, length, seed, range(len(samples), wanted))))
        rows = _rows(system, Pool(samples))
        excess = max(row.relative_error for row in rows) / _RELATIVE_ERROR_AIM
        wanted = REPLICATIONS * math.ceil(len(samples) / REPLICATIONS * excess**2)
        if excess <= 1.0 or wanted * length.requests > requests_max:
            return rows


def _rows(system: System, pool: Pool) -> list[Row]:
    return [
        Row(system=system.name, quantity=name, theory=exact, simulation=estimate(pool))
        for name, (exact, estimate) in system.quantities().items()
    ]


def _length(system: System) -> Length:
    relaxation = relaxation_requests(
        system.theory.utilization, queues=1, requests_in_service=system.theory.offered_load, variability=2.0
    )
    warm_up = math.ceil(RELAXATIONS * relaxation)
    return Length(warm_up=warm_up, measured=max(10 * warm_up, 10_000), cool_down=0)


def _tasks(system: System, length: Length, seed: int, replications: range) -> Iterator[Task]:
    for number in replications:
        yield Task(
            plan=system.plan,
            workload=Workload(arrival_rate_rps=system.theory.arrival_rate_rps),
            service_times=system.service_times,
            request_overhead_s=0.0,
            length=length,
            seed=Seed(value=seed, stage=Stage.AGREEMENT, replication=number),
        )


def _share_positive(values: Floats) -> float:
    return float(np.mean(values > 0.0))


def _mean(values: Floats) -> float:
    return float(values.mean())


def _waits(sample: Sample) -> Floats:
    return sample.wait_s


def _responses(sample: Sample) -> Floats:
    return sample.response_s


def rows_document(rows: Sequence[Row], seed: int) -> dict[str, Any]:
    """`capacity agreement` as JSON."""
    return {
        "agrees": all(row.verdict is Agreement.AGREES for row in rows),
        "rows": [
            {
                "system": row.system,
                "quantity": row.quantity,
                "theory": row.theory,
                "simulation": row.simulation.value,
                "half_width": row.half_width,
                "standard_error": row.simulation.standard_error,
                "power": row.power,
                "verdict": row.verdict.value,
            }
            for row in rows
        ],
        "seed": seed,
    }


def rows_table(rows: Sequence[Row]) -> "Table":
    """`capacity agreement` for people."""
    from capacity.tables import table

    columns = ("<system", "<quantity", "theory", "simulation", "± 95 %", "deviation", "power", "<verdict")
    return table(
        columns,
        (
            (
                row.system,
                row.quantity,
                f"{row.theory:.6g}",
                f"{row.simulation.value:.6g}",
                f"{row.half_width:.2g}",
                f"{row.deviation_se:+.1f} SE",
                f"{row.power:.3f}",
                row.verdict.value,
            )
            for row in rows
        ),
        title=f"Agreement: at most {DEVIATION_MAX_SE:g} SE apart; power to find an error of 5 %",
    )


def verdict_exit_code(rows: Sequence[Row]) -> int:
    """4 where a row disagrees or proves nothing."""
    return 0 if all(row.verdict is Agreement.AGREES for row in rows) else 4
