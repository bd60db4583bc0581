"""Wrapped case: what surrounds the fleet of any kind of server, such as its clients or its autoscaler."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

from capacity.question.objective import Measure
from simulations.case import Case
from simulations.day import Day
from simulations.draws.service import ServiceTimes
from simulations.kernel.serve import Served
from simulations.statistics.bursts import BurstRuns
from simulations.statistics.pool import Pool
from simulations.statistics.sample import Sample
from simulations.statistics.strata import Strata


@dataclass(frozen=True, slots=True, kw_only=True)
class WrappedCase(Case):
    """A case that simulates that of a kind of server in surroundings of its own.

    Attributes:
        whole: the case of its kind of server.
    """

    whole: Case

    @property
    def simulated(self) -> Self:
        """The case itself, as all replicas are simulated."""
        return self

    @property
    def bursts(self) -> BurstRuns | None:
        """None, as arrivals in bursts are refused."""
        return None

    @property
    def replicate(self) -> Callable[[Any], Sample | Strata]:
        """The function of its kind of server."""
        return self.whole.replicate

    def serve_day(self, day: Day, service_times: ServiceTimes | None = None) -> Iterator[Served]:
        """Requests of a day, as its kind of server serves them."""
        return self.whole.serve_day(day, service_times)

    def day_sample(self, day: Day) -> Sample:
        """Sample of a day, of its kind of server."""
        return self.whole.day_sample(day)

    @property
    def day_overhead_s(self) -> float:
        """Time that its kind of server leaves out. [s]"""
        return self.whole.day_overhead_s

    @property
    def search_care(self) -> float:
        """Share of the relaxation times that its kind of server needs in a search."""
        return self.whole.search_care

    @property
    def rate_care(self) -> float:
        """1, since a retry storm may take long to come."""
        return 1.0

    @property
    def deciding(self) -> tuple[Measure, ...]:
        """Durations that decide for its kind of server."""
        return self.whole.deciding

    @property
    def narrowed(self) -> tuple[Measure, ...]:
        """Durations that are narrowed for its kind of server."""
        return self.whole.narrowed

    @property
    def of_batches(self) -> tuple[str, str]:
        """Additions to sentences of its kind of server."""
        return self.whole.of_batches

    def is_seen(self, pool: Pool) -> bool:
        """Whether any request was answered, and its kind of server has seen what is limited."""
        return pool.counted > 0 and self.whole.is_seen(pool)
