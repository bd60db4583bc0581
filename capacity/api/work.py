"""Work: simulators that are ready for one verb, with the workers that they run on."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from capacity.question import parse
from capacity.question.arguments import silent
from capacity.question.budget import Effort, Replayed

if TYPE_CHECKING:
    from capacity.performance import Performance, Window
    from simulations.compare import PairedSimulation
    from simulations.draws.tokens import TokenDraws, TokenRecords
    from simulations.judge import SimulationJudge
    from simulations.simulate import Simulation
    from simulations.workers import Mapper

Report = Callable[[str], None]


class Work:
    """Workers that are ready; a `capacity.question.budget.Work`."""

    def __init__(self, effort: Effort, mapper: "Mapper", report: Report) -> None:
        self.effort, self.mapper, self.report = effort, mapper, report

    def reporting(self, report: Report) -> "Work":
        """The same workers, with another report of progress."""
        return Work(self.effort, self.mapper, report)

    @property
    def judge(self) -> "SimulationJudge":
        """Judges plans by simulation."""
        from simulations.judge import SimulationJudge

        return SimulationJudge(**self._settings())

    def simulate(self, quantiles: Sequence[float]) -> "Simulation":
        """Simulates one plan."""
        from simulations.simulate import Simulation

        return Simulation(**self._settings(), quantiles=quantiles)

    def compare(self, quantiles: Sequence[float]) -> "PairedSimulation":
        """Simulates fleets under the same requests."""
        from simulations.compare import PairedSimulation

        return PairedSimulation(**self._settings(), quantiles=quantiles)

    def replay(self, scenario: Any) -> "tuple[tuple[TokenDraws, TokenRecords], Performance]":
        """Each request of a trace with its times, and the performance over all of them."""
        from simulations.cases.replay import replay
        from simulations.replication import Engine

        self.report("serving the requests of the trace")
        draws, records, performance = replay(scenario, scenario.quantiles, Engine(self.effort.engine))
        return (draws, records), performance

    def replays(self, parts: Sequence[Replayed], quantiles: Sequence[float]) -> "Performance":
        """Performance over the requests of load tests."""
        from simulations.cases.replay import replays
        from simulations.replication import Engine

        return replays(parts, quantiles, Engine(self.effort.engine))

    def window(self, scenario: Any, found: "Performance") -> "Window | None":
        """A short stretch of a run, for a picture; None where nothing is to be seen."""
        from simulations.servers import case_of

        self.report("simulating a few seconds, batch by batch")
        return case_of(scenario).window(found, self.effort.seed)

    def require_answerable(self, scenario: Any) -> None:
        """Refuse at once what no simulation could answer."""
        from simulations.servers import case_of

        case_of(scenario).require_answerable()

    def _settings(self) -> dict[str, Any]:
        from simulations.replication import Engine

        effort = self.effort
        return {
            "seed": effort.seed,
            "confidence": effort.confidence,
            "precision": effort.precision,
            "requests_max": effort.requests_max,
            "engine": Engine(effort.engine),
            "mapper": self.mapper,
        }


@contextmanager
def at_work(effort: Effort, report: Report = silent) -> Iterator[Work]:
    """Threads, or the workers of a Dask cluster, for one verb."""
    from simulations.compiled import announced
    from simulations.replication import Engine
    from simulations.workers import workers

    engine = parse.read_choice(Engine, effort.engine, "--engine")
    count = parse.worker_count(effort.workers, effort.cluster)
    if effort.cluster is None:
        pool = workers(count if engine is Engine.KERNEL else 1)
    else:
        from simulations.cluster_executor import cluster

        pool = cluster(effort.cluster, warn=report)
    with pool as mapper, announced(report):
        yield Work(effort, mapper, report)
