"""Case: how a scenario is run, for any kind of server: what is simulated, how long, and what its pools mean."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from capacity.question.candidate import Candidate, Doubt, Limit, Rejection
from capacity.question.objective import Measure
from capacity.question.plan import Plan, Routing
from capacity.traffic.workload import (
    MMPP_SWITCHES_MAX,
    ArrivalProcess,
    ClosedPopulation,
    Demand,
    DeterministicArrivals,
    GammaArrivals,
    MmppArrivals,
    ModulatedArrivals,
    PoissonArrivals,
    RenewalArrivals,
    SurgingArrivals,
    TraceArrivals,
    Workload,
    is_trace,
)
from simulations.draws.arrivals import Seed, Stage
from simulations.replication import Engine
from simulations.statistics.bursts import BurstRuns
from simulations.statistics.pool import SECTIONS, Pool, ProfileError
from simulations.statistics.sample import Length, Sample
from simulations.statistics.strata import Strata
from simulations.workers import Mapper


@dataclass(frozen=True, slots=True, kw_only=True)
class Case(ABC):
    """A scenario, and how it is run; `simulations.servers` has one for each kind of server.

    Attributes:
        is_whole: with all replicas, even where one could represent them.
    """

    scenario: Any
    engine: Engine = Engine.KERNEL
    is_whole: bool = False

    @property
    @abstractmethod
    def simulated(self) -> Self:
        """What is run instead: one replica, or the replicas of one device, where they represent all."""

    @property
    @abstractmethod
    def load(self) -> float | None:
        """Arrival rate over the sustainable rate; None where there is no such rate."""

    @property
    @abstractmethod
    def length(self) -> Length:
        """A replication that forgets its start and counts several times as long; of a recorded path nearly all."""

    @property
    @abstractmethod
    def bursts(self) -> BurstRuns | None:
        """How runs under arrivals in bursts are made; None for other arrivals."""

    @abstractmethod
    def counted_min(self, care: float) -> float:
        """Requests that have seen enough relaxation times.

        Args:
            care: share of the relaxation times needed for valid intervals.
        """

    @abstractmethod
    def tasks(self, length: Length, seed: Seed, numbers: range) -> list[Any]:
        """The replications of these numbers; the same numbers are the same users for every case."""

    @property
    @abstractmethod
    def replicate(self) -> Callable[[Any], Sample | Strata]:
        """Runs one of the tasks, anywhere."""

    @abstractmethod
    def sections(self, seed: Seed) -> list[Sample] | None:
        """Consecutive parts of one run of a recorded path; None where a part says nothing."""

    @abstractmethod
    def performance(self, pool: Pool, quantiles: Sequence[float], confidence: float) -> Any:
        """Performance of the whole fleet; of a recorded path without quantiles that it has too few requests for."""

    @abstractmethod
    def require_answerable(self) -> None:
        """Refuse at once what no simulation could answer.

        Raises:
            UnstableError: the plan cannot sustain the arrival rate.
            DomainError: the plan goes beyond what was measured.
            InconclusiveError: so near to saturation that the profile's error decides.
        """

    @abstractmethod
    def require_affordable(self, requests_max: int) -> None:
        """Refuse a run that cannot be made, and a recorded path that is too short for its quantile."""

    @property
    @abstractmethod
    def search_care(self) -> float:
        """Share of the relaxation times that a search must have seen, which accepts nothing for good."""

    @abstractmethod
    def budget(self, stage: Stage, requests_max: int, effort: int = 1) -> int:
        """Most requests that a trial is worth, of those that are allowed.

        Args:
            effort: how many times as long as usual the trial of a rate may take.
        """

    def narrowing(self, requests_max: int) -> float:
        """Requests after which the interval of what is decided is narrowed no further."""
        return math.inf

    @property
    def is_path(self) -> bool:
        """Whether the arrivals are one recorded path, of which only the service is drawn anew."""
        return is_trace(self.scenario.workload)

    @property
    def replicas(self) -> int:
        """Replicas that are simulated."""
        count: int = self.simulated.scenario.plan.replicas
        return count

    @property
    def deciding(self) -> tuple[Measure, ...]:
        """Durations that a pool must have seen enough of."""
        return (Measure.RESPONSE,)

    @property
    def narrowed(self) -> tuple[Measure, ...]:
        """Durations whose intervals are to be narrow where no objective says which."""
        return (Measure.RESPONSE,)

    @property
    def probes(self) -> tuple[Length, ...]:
        """Short runs that may refuse before the first of full length."""
        return ()

    @property
    def first_runs(self) -> int:
        """Replications, and so sections, of a first look: long runs may refuse by a few what is clear."""
        return REPLICATIONS_FIRST if self.bursts is None else REPLICATIONS_FEW

    @property
    def surge(self) -> "tuple[Case, Length] | None":
        """The case with a jump in its arrivals, and its runs; None where none is asked for."""
        return None

    @property
    def of_batches(self) -> tuple[str, str]:
        """What sentences about its load add, and what else would lower the requests that it takes."""
        return "", ""

    @property
    def requests_to_settle(self) -> int:
        """Requests of the first look that may settle, the short ones before it included."""
        if (surge := self.surge) is not None:
            return SECTIONS * surge[1].requests
        length, runs = self.length, REPLICATIONS_FIRST
        if self.is_path:
            return runs * length.requests
        while runs * length.measured < self.counted_min(1.0):
            runs *= 2
        return self.first_runs * sum(probe.requests for probe in self.probes) + runs * length.requests

    def is_seen(self, pool: Pool) -> bool:
        """Whether a pool has seen every duration that is limited."""
        return True

    def refused(self, confidence: float) -> Candidate[Any] | None:
        """The plan, refused or in doubt before any simulation; None where it takes one."""
        return None

    @property
    def knee(self) -> float:
        """The load above which nothing is accepted, since an error of the profile decides."""
        return math.inf

    @property
    def is_beyond_knee(self) -> bool:
        """Whether nothing is accepted."""
        return self.knee < math.inf and (self.load or 0.0) > self.knee

    @property
    def known_samples(self) -> Callable[[float], Sequence[float]] | None:
        """Independent samples behind a quantile of each batch size in use; None where the profile has none."""
        return None

    def profile_error(
        self,
        length: Length,
        confidence: float,
        seed: Seed,
        mapper: Mapper,
        is_enough: Callable[[ProfileError], bool] | None = None,
    ) -> ProfileError | None:
        """What the samples of the profile leave open of a pool; None where that is not how it is known."""
        return None

    def widened(self, performance: Any, confidence: float, seed: int, mapper: Mapper) -> Any:
        """A performance with the profile's own error in its intervals, where a pool does not have it."""
        return performance

    def resampled_pools(self, seed: Seed, mapper: Mapper) -> Sequence[Pool]:
        """The same requests under resampled profiles, a run each, where the pool does not have the profile's error."""
        return ()

    def widened_by(self, pools: Sequence[Pool], performance: Any, confidence: float) -> Any:
        """A performance whose intervals allow for what such pools differ by."""
        return performance

    @staticmethod
    def alike(cases: Sequence["Case"]) -> "Sequence[Case]":
        """The cases, so that all see the same arrivals."""
        return cases

    def beyond_knee(self) -> tuple[Doubt, Rejection]:
        """Why a plan near saturation is in doubt."""
        load = self.load or 0.0
        return Doubt.PROFILE, Rejection(limit=Limit.STABILITY, allowed=self.knee, needed=load)


# Replications, and so sections, of a first look; and of one whose runs are long, which may refuse by so few what is
# clear.
REPLICATIONS_FIRST, REPLICATIONS_FEW = SECTIONS, 5


def one_for_all(workload: Demand, plan: Plan, instances_per_device: int = 1) -> tuple[Demand, Plan]:
    """The arrivals that one replica sees, and that replica alone; both unchanged where there is no such law.

    Round-robin gives each replica every c-th request: the sum of c gamma gaps, a gamma gap again. A random
    split of Poisson arrivals is Poisson at a c-th of the rate; that of MMPP arrivals is MMPP with the same
    phases (all replicas share them and are not independent, yet each by itself has that law). Other routing
    policies look at the other replicas, a closed population waits for all of them, a trace is one path, and
    a surge is made from what one replica sees
    (`simulations.looks`). Of MMPP arrivals round-robin gives each replica gamma gaps too, by the clock by which
    the arrivals are Poisson.

    Replicas that share a device influence each other: one device with all its instances represents the
    fleet behind a random split, if all are full. Under round-robin the gaps that it sees do not have one law.

    Args:
        instances_per_device: replicas that slow each other down, 1 if none do.

    Source:
        Feller (1971), An Introduction to Probability Theory II, sec. II.2 (sums of gamma variables);
        Kingman (1993), Poisson Processes, sec. 5.1 (colouring theorem), given the phases too.
    """
    if isinstance(workload, ClosedPopulation):
        return workload, plan
    arrivals = workload.arrivals
    count, rest = divmod(plan.replicas, instances_per_device)
    if rest > 0:
        return workload, plan
    is_alone = instances_per_device == 1
    seen: ArrivalProcess
    if is_alone and plan.routing is Routing.ROUND_ROBIN and isinstance(arrivals, RenewalArrivals):
        seen = _every(arrivals, count)
    elif is_alone and count > 1 and _is_dealt_in_bursts(workload, plan):
        assert isinstance(arrivals, MmppArrivals)  # noqa: S101  (just asked)
        seen = ModulatedArrivals(bursts=arrivals, base=_every(PoissonArrivals(), count))
    elif plan.routing is Routing.RANDOM and _splits(workload, count):
        seen = arrivals
    else:
        return workload, plan
    alone = Workload(arrival_rate_rps=workload.arrival_rate_rps / count, arrivals=seen)
    return alone, replace(plan, replicas=instances_per_device)


def modulated(arrivals: ArrivalProcess) -> ModulatedArrivals | None:
    """Arrivals in bursts as a replica sees them; None for others."""
    if isinstance(arrivals, MmppArrivals):
        return ModulatedArrivals(bursts=arrivals)
    return arrivals if isinstance(arrivals, ModulatedArrivals) else None


def _is_dealt_in_bursts(workload: Workload, plan: Plan) -> bool:
    """Whether each replica sees every c-th request of an MMPP."""
    is_mmpp = isinstance(workload.arrivals, MmppArrivals)
    return plan.routing is Routing.ROUND_ROBIN and is_mmpp and _splits(workload, plan.replicas)


def _splits(workload: Workload, count: int) -> bool:
    """Whether a random split has a law of the same kind; if phases switch very often, it is not worth it."""
    if isinstance(workload.arrivals, MmppArrivals):
        return count * workload.switches_per_arrival <= MMPP_SWITCHES_MAX
    return isinstance(workload.arrivals, PoissonArrivals)


def _every(arrivals: RenewalArrivals, count: int) -> RenewalArrivals:
    """The process of every `count`-th arrival."""
    match arrivals:
        case PoissonArrivals():
            return arrivals if count == 1 else GammaArrivals(cv=1.0 / math.sqrt(count))
        case DeterministicArrivals():
            return arrivals
        case GammaArrivals(cv=cv):
            return GammaArrivals(cv=cv / math.sqrt(count))


def arrivals_scv(workload: Workload) -> float:
    """Squared coefficient of variation of the gaps between arrivals.

    For MMPP, whose gaps depend on each other, the dispersion of long counts, which is what a queue feels.
    """
    arrivals = workload.arrivals
    match arrivals.base if isinstance(arrivals, SurgingArrivals) else arrivals:
        case PoissonArrivals():
            return 1.0
        case DeterministicArrivals():
            return 0.0
        case GammaArrivals(cv=cv):
            return cv**2
        case MmppArrivals() as bursts:
            return bursts.dispersion_index(workload.arrival_rate_rps)
        case ModulatedArrivals(bursts=bursts, base=base):
            within = arrivals_scv(replace(workload, arrivals=base))
            return within - 1.0 + bursts.dispersion_index(workload.arrival_rate_rps)
        case TraceArrivals(instants_s=instants_s):
            gaps_s = np.diff(instants_s)
            return float(gaps_s.var() / gaps_s.mean() ** 2)
