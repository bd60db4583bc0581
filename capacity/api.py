"""The verbs: what `import capacity as cap` offers, and where search meets simulation."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from capacity.commands.output import progress
from capacity.question.parse import read_choice, worker_count

if TYPE_CHECKING:
    from capacity.question.budget import Effort
    from simulations.judge import SimulationJudge
    from simulations.paired import PairedSimulation
    from simulations.replication import Engine
    from simulations.simulate import Simulation
    from simulations.workers import Mapper


@contextmanager
def _at_work(
    engine: "Engine", workers: int | None, cluster: str | None = None
) -> Iterator[tuple["Mapper", Callable[[str], None]]]:
    """What `--workers` or `--cluster` spreads work over, and whom to tell what it is at."""
    from simulations.compiled import announced
    from simulations.replication import Engine
    from simulations.workers import workers as threads

    count = worker_count(workers, cluster)
    if cluster is None:
        pool = threads(count if engine is Engine.KERNEL else 1)
    else:
        from simulations.cluster_executor import cluster as dask_workers

        pool = dask_workers(cluster, warn=lambda message: typer.echo(message, err=True))
    with pool as mapper, progress() as report, announced(report):
        yield mapper, report


class _Work:
    """Workers that are ready; a `capacity.question.budget.Work`."""

    def __init__(
        self, effort: "Effort", engine: "Engine", mapper: "Mapper", report: Callable[[str], None]
    ) -> None:
        self._effort, self._engine, self._mapper, self.report = effort, engine, mapper, report

    @property
    def judge(self) -> "SimulationJudge":
        """Judges plans by simulation."""
        from simulations.judge import SimulationJudge

        return SimulationJudge(**self._settings())

    def simulate(self, quantiles: Sequence[float]) -> "Simulation":
        """The performance of one plan."""
        from simulations.simulate import Simulation

        return Simulation(**self._settings(), quantiles=quantiles)

    def compare(self, quantiles: Sequence[float]) -> "PairedSimulation":
        """Fleets under the same requests."""
        from simulations.paired import PairedSimulation

        return PairedSimulation(**self._settings(), quantiles=quantiles)

    def _settings(self) -> dict[str, Any]:
        effort = self._effort
        return {
            "seed": effort.seed,
            "confidence": effort.confidence,
            "precision": effort.precision,
            "requests_max": effort.requests_max,
            "engine": self._engine,
            "mapper": self._mapper,
        }


@contextmanager
def _workbench(effort: "Effort") -> Iterator[_Work]:
    """What commands find their workers at; a `capacity.question.budget.Workbench`."""
    from simulations.replication import Engine

    engine = read_choice(Engine, effort.engine, "--engine")
    with _at_work(engine, effort.workers, effort.cluster) as (mapper, report):
        yield _Work(effort, engine, mapper, report)
