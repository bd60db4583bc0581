"""Case: how a scenario is simulated, for any kind of server: its replications, their length, and the results."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from capacity.errors import DomainError
from capacity.performance import Performance, Window
from capacity.profile.profile import Spells
from capacity.question.candidate import Candidate, Doubt, Reason, Rejection
from capacity.question.objective import Limit, Measure
from capacity.question.plan import Routing
from capacity.server.batch.plan import BatchPlan
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
    SplitArrivals,
    SurgingArrivals,
    TraceArrivals,
    Workload,
    is_trace,
)
from simulations.day import Day
from simulations.draws.arrivals import Seed, Stage
from simulations.draws.service import ServiceTimes
from simulations.kernel.serve import Served
from simulations.replication import Engine
from simulations.statistics.bursts import BurstRuns
from simulations.statistics.pool import SECTIONS, Pool, ProfileError
from simulations.statistics.sample import Length, Sample
from simulations.statistics.strata import Strata
from simulations.workers import Mapper

# Fewest independent durations beyond the quantile for an interval: with fewer, a pool has seen too few bursts.
INDEPENDENT_EXCEEDANCES_MIN = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Case(ABC):
    """A scenario and its simulation; `simulations.servers` has a case for each kind of server.

    Attributes:
        is_whole: whether all replicas are simulated, even if one could represent them.
    """

    scenario: Any
    engine: Engine = Engine.KERNEL
    is_whole: bool = False

    @property
    @abstractmethod
    def simulated(self) -> Self:
        """The case that is simulated instead: one replica, or those of one device, if they represent all."""

    @property
    def in_search(self) -> Self:
        """The case that is looked at in a search, and for rates: whole, or a part that stands for it."""
        return self

    @property
    def confirmed_later(self) -> Self:
        """The case with shorter runs, for a stage that accepts nothing for good."""
        return self

    @property
    def longer(self) -> Self | None:
        """The case with longer runs, where these have not forgotten their start; None if they can be no longer."""
        return None

    @property
    def uncut(self) -> Self:
        """The case with spells of bursts simulated whole, as retries may keep a fleet from settling within one."""
        return self

    @property
    @abstractmethod
    def load(self) -> float | None:
        """Arrival rate over the sustainable rate; None without such a rate."""

    @property
    @abstractmethod
    def length(self) -> Length:
        """Length of a replication that forgets its start, then counts several times as long; nearly all of a path."""

    @property
    @abstractmethod
    def bursts(self) -> BurstRuns | None:
        """Runs under arrivals in bursts; None for other arrivals."""

    @abstractmethod
    def counted_min(self, care: float) -> float:
        """Requests of a pool that has seen enough relaxation times.

        Args:
            care: share of the relaxation times needed for valid intervals.
        """

    @abstractmethod
    def tasks(self, length: Length, seed: Seed, numbers: range) -> list[Any]:
        """Replications of these numbers; for every case, the same numbers have the same users."""

    @property
    @abstractmethod
    def replicate(self) -> Callable[[Any], Sample | Strata]:
        """Function that runs one of the tasks, in any process."""

    @abstractmethod
    def sections(self, seed: Seed) -> list[Sample] | None:
        """Consecutive parts of one run of a recorded path; None if a part has no result."""

    @abstractmethod
    def performance(self, pool: Pool, quantiles: Sequence[float], confidence: float) -> Any:
        """Performance of the whole fleet; for a recorded path, without quantiles that it has too few requests for."""

    @abstractmethod
    def require_answerable(self) -> None:
        """Refuse a scenario that no simulation can answer.

        Raises:
            UnstableError: the plan cannot sustain the arrival rate.
            DomainError: the plan is outside of what was measured.
            InconclusiveError: the load is so near saturation that the profile's error decides.
        """

    @abstractmethod
    def require_affordable(self, requests_max: int) -> None:
        """Refuse a run that is too long, and a recorded path that is too short for its quantile."""

    @property
    @abstractmethod
    def search_care(self) -> float:
        """Share of the relaxation times that is enough in a search, whose acceptances are confirmed later."""

    @property
    def rate_care(self) -> float:
        """Share of the relaxation times that is enough for a rate, which is beside a plan.

        Intervals from a tenth to a half of them hold the exact P99 in 92 to 94 % of experiments.
        """
        return 0.25

    @property
    def exceedances_min(self) -> float:
        """Fewest independent durations beyond the quantile for an interval."""
        return INDEPENDENT_EXCEEDANCES_MIN

    @property
    def indifference(self) -> float:
        """Share of the asked precision within which a search need not know the side of a limit."""
        return 0.25

    @abstractmethod
    def budget(self, stage: Stage, requests_max: int, effort: int = 1) -> int:
        """Most requests that a trial may take, of those that are allowed.

        Args:
            effort: multiple of the usual length that the trial of a rate may have.
        """

    @property
    def is_costly(self) -> bool:
        """Whether requests take so long to simulate that no more are worth it than narrow a verdict."""
        return False

    def affordable(self, requests_max: int) -> int:
        """Requests of a budget that are worth simulating for an answer without a limit."""
        return requests_max

    def narrowing(self, requests_max: int) -> float:
        """Requests after which the deciding interval is narrowed no further."""
        return math.inf

    @property
    def replica_rps(self) -> float:
        """Capacity of one replica. [requests/s]"""
        workload, load = self.scenario.workload, self.load
        assert isinstance(workload, Workload) and load is not None  # noqa: S101, PT018  (users have no rate)
        replicas: int = self.scenario.plan.replicas
        return workload.arrival_rate_rps / (load * replicas)

    def floor_s(self, limit: Limit) -> float:
        """What no fleet beats of a limited duration; 0 if it is not known. [s]"""
        return 0.0

    @abstractmethod
    def serve_day(self, day: Day, service_times: ServiceTimes | None = None) -> Iterator[Served]:
        """Serve the requests of a day, in the order of arrival; each part overwrites the arrays of the last.

        Args:
            service_times: service times of batches, in place of those of the profile.
        """

    @property
    def spells(self) -> Spells | None:
        """Spells of service times on a day, which all replicas share; None if there are none."""
        return None

    @property
    def is_plain_day(self) -> bool:
        """Whether a day is served in little memory, however many requests it has."""
        return False

    @property
    def day_overhead_s(self) -> float:
        """Time of each request that `serve_day` leaves out. [s]"""
        return 0.0

    @abstractmethod
    def day_sample(self, day: Day) -> Sample:
        """Serve the requests of a day, and reduce those of its observed part to a sample."""

    @property
    def starts_empty(self) -> bool:
        """Whether runs start with an empty fleet, so that they are calm at first."""
        return True

    def has_forgotten(self, pool: Pool) -> bool:
        """Whether runs are without a trace of how they started."""
        return pool.is_level if self.starts_empty else pool.is_steady

    @property
    def start_error(self) -> float:
        """Standard error that the start of runs leaves in means, as a share of the mean response."""
        return 0.0

    @property
    def is_day(self) -> bool:
        """Whether each run is one whole day, on which an autoscaler sizes the fleet."""
        return False

    @property
    def is_repeated(self) -> bool:
        """Whether each run is the same stretch of time again, a trace or a day, which cannot be longer."""
        return self.is_path or self.is_day

    @property
    def is_path(self) -> bool:
        """Whether the arrivals are a recorded path, so that only the service is random."""
        return is_trace(self.scenario.workload)

    @property
    def replicas(self) -> int:
        """Number of replicas that are simulated."""
        count: int = self.simulated.scenario.plan.replicas
        return count

    @property
    def deciding(self) -> tuple[Measure, ...]:
        """Durations of which a pool must have enough."""
        return (Measure.RESPONSE,)

    @property
    def narrowed(self) -> tuple[Measure, ...]:
        """Durations whose intervals must be narrow if there is no objective."""
        return (Measure.RESPONSE,)

    @property
    def brief(self) -> tuple[Length, ...]:
        """Runs before all others where an acceptance is not for good, the shortest first."""
        return ()

    @property
    def probes(self) -> tuple[Length, ...]:
        """Short runs that may refuse the plan before the first of full length."""
        return ()

    @property
    def serves_all(self) -> bool:
        """Whether attempts are served that no client waits for any more."""
        return True

    def require_day(self) -> None:  # noqa: B027  (most cases refuse nothing)
        """Refuse, by a DomainError, what is not simulated with replicas that come and go over a day."""

    def require_clients(self) -> None:  # noqa: B027  (most cases refuse nothing)
        """Refuse, by a DomainError, what is not simulated with clients that give up, retry or hedge."""

    @property
    def may_fall(self) -> bool:
        """Whether a fleet may fall into a retry storm, which runs show that are too few for an interval."""
        return False

    def require_lasting(self, pool: Pool) -> None:  # noqa: B027  (only clients make storms)
        """Refuse, by an UnstableError, a fleet that fell into a retry storm in some of its runs."""

    def fallen(self, pool: Pool) -> Rejection | None:
        """The refusal of a fleet that fell into a retry storm in some of its runs; None if it did in none."""
        return None

    @property
    def first_runs(self) -> int:
        """Replications, and so sections, of the first look: a few long runs are enough for a clear refusal."""
        return REPLICATIONS_FIRST if self.bursts is None else REPLICATIONS_FEW

    @property
    def surge(self) -> "tuple[Case, Length] | None":
        """The case with a jump in its arrivals, and the length of its runs; None if none is asked for."""
        return None

    @property
    def of_batches(self) -> tuple[str, str]:
        """Additions to sentences about its load: the size of batches, and another way to need fewer requests."""
        return "", ""

    @property
    def requests_to_settle(self) -> int:
        """Requests until the end of the first look that may accept for good."""
        return self.requests_with(1.0)

    def requests_with(self, care: float) -> int:
        """Requests until the end of the first look of full length that may settle, with the short runs before it.

        Args:
            care: as of `counted_min`.
        """
        if (surge := self.surge) is not None:
            return SECTIONS * surge[1].requests
        if self.is_path:
            return REPLICATIONS_FIRST * self.length.requests
        before = self.first_runs * sum(short.requests for short in self.before(care))
        return before + self.requests_settling(care)

    def requests_settling(self, care: float) -> int:
        """Requests of the first look of full length that may settle.

        Args:
            care: as of `counted_min`.
        """
        return self.runs_with(care) * self.length.requests

    def is_unconfirmable(self, requests_max: int) -> bool:
        """Whether it needs more requests to be confirmed than are allowed, as is known before any are simulated."""
        return False

    def runs_with(self, care: float) -> int:
        """Fewest runs that may settle, as many in each section; under bursts, a double of the fewest.

        Args:
            care: as of `counted_min`.
        """
        needed, runs = self.counted_min(care) / self.length.measured, REPLICATIONS_FIRST
        if self.bursts is None:
            return runs * max(1, math.ceil(needed / runs))
        while runs < needed:
            runs *= 2
        return runs

    def before(self, care: float) -> tuple[Length, ...]:
        """Short runs before the first of full length, the shortest first."""
        return (*(self.brief if care < 1.0 else ()), *self.probes)

    def is_seen(self, pool: Pool) -> bool:
        """Whether a pool has values of every limited duration."""
        return True

    def refused(self, confidence: float) -> Candidate[Any] | None:
        """The plan, if it is refused or undecided before any simulation; else None."""
        return None

    @property
    def knee(self) -> float:
        """Load above which no plan is accepted, since an error of the profile decides."""
        return math.inf

    @property
    def is_beyond_knee(self) -> bool:
        """Whether the load is too high for any plan to be accepted."""
        return self.knee < math.inf and (self.load or 0.0) > self.knee

    @property
    def known_samples(self) -> Callable[[float], Sequence[float]] | None:
        """Numbers of independent samples behind a quantile, by batch size in use; None without samples."""
        return None

    def profile_error(
        self,
        length: Length,
        confidence: float,
        seed: Seed,
        mapper: Mapper,
        is_enough: Callable[[ProfileError], bool] | None = None,
    ) -> ProfileError | None:
        """Error of the profile's samples in a pool; None if it is found otherwise or unknown."""
        return None

    def widened(self, performance: Any, confidence: float, seed: int, mapper: Mapper) -> Any:
        """A performance with the profile's own error in its intervals, if its pool does not have it."""
        return performance

    def window(self, performance: Performance, seed: int) -> Window | None:
        """A short stretch of a run, batch by batch; None of servers without batches of requests.

        Args:
            performance: of the scenario, as it was found.
        """
        return None

    def resampled_pools(self, seed: Seed, mapper: Mapper) -> Sequence[Pool]:
        """Runs of the same requests under resampled profiles, if the pool does not have the profile's error."""
        return ()

    def widened_by(self, pools: Sequence[Pool], performance: Any, confidence: float) -> Any:
        """A performance with intervals widened by the scatter of such pools."""
        return performance

    @staticmethod
    def alike(cases: Sequence["Case"]) -> "Sequence[Case]":
        """The cases, changed so that all see the same arrivals."""
        return cases

    def beyond_knee(self) -> tuple[Doubt, Rejection]:
        """Reason why a plan near saturation is undecided."""
        load = self.load or 0.0
        return Doubt.PROFILE, Rejection(reason=Reason.STABILITY, allowed=self.knee, needed=load)


# Replications, and so sections, of a first look; and of one with long runs, of which so few are enough to refuse a
# clear case.
REPLICATIONS_FIRST, REPLICATIONS_FEW = SECTIONS, 5


def one_for_all(workload: Demand, plan: BatchPlan, instances_per_device: int = 1) -> tuple[Demand, BatchPlan]:
    """The arrivals at one replica, and the plan of that replica alone; both unchanged if it does not represent all.

    Round-robin gives each replica every c-th request: a sum of c gamma gaps is a gamma gap again. A random split of
    Poisson arrivals is Poisson at a c-th of the rate, one of gamma gaps sums a geometric number of them, and that of
    MMPP arrivals is MMPP with the same phases (all replicas share them and are not independent, yet each by itself has
    that law). Other routing policies depend on the other replicas, as do all where the balancer holds back what
    replicas have no place for, a closed population waits for all of them, a trace is one path, and a surge is made from
    what one replica sees (`simulations.looks`).
    With MMPP arrivals round-robin gives each replica gamma gaps too, on the clock on which the arrivals are Poisson.

    Replicas that share a device influence each other: one device with all its instances represents the fleet behind a
    random split, if all are full. Under round-robin the gaps at a device do not have one law.

    Args:
        instances_per_device: number of replicas that slow each other down; 1 if none do.

    Source:
        Feller (1971), An Introduction to Probability Theory II, sec. II.2 (sums of gamma variables);
        Kingman (1993), Poisson Processes, sec. 5.1 (colouring theorem), given the phases too.
    """
    if isinstance(workload, ClosedPopulation) or plan.outstanding_max is not None:
        return workload, plan
    arrivals = workload.arrivals
    count, rest = divmod(plan.replicas, instances_per_device)
    if rest > 0:
        return workload, plan
    is_alone = instances_per_device == 1
    seen: ArrivalProcess
    if is_alone and plan.routing is Routing.ROUND_ROBIN and isinstance(arrivals, RenewalArrivals):
        seen = arrivals if count == 1 else _every(arrivals, count)
    elif is_alone and count > 1 and _is_dealt_in_bursts(workload, plan):
        assert isinstance(arrivals, MmppArrivals)  # noqa: S101  (just asked)
        seen = ModulatedArrivals(bursts=arrivals, base=_every(PoissonArrivals(), count))
    elif plan.routing is Routing.RANDOM and _splits(workload, count):
        seen = _split(arrivals, count)
    else:
        return workload, plan
    alone = Workload(arrival_rate_rps=workload.arrival_rate_rps / count, arrivals=seen)
    return alone, replace(plan, replicas=instances_per_device)


def modulated(arrivals: ArrivalProcess) -> ModulatedArrivals | None:
    """Arrivals in bursts as a replica sees them; None for others."""
    if isinstance(arrivals, MmppArrivals):
        return ModulatedArrivals(bursts=arrivals)
    return arrivals if isinstance(arrivals, ModulatedArrivals) else None


def _is_dealt_in_bursts(workload: Workload, plan: BatchPlan) -> bool:
    """Whether each replica sees every c-th request of an MMPP."""
    is_mmpp = isinstance(workload.arrivals, MmppArrivals)
    return plan.routing is Routing.ROUND_ROBIN and is_mmpp and _splits(workload, plan.replicas)


def _splits(workload: Workload, count: int) -> bool:
    """Whether a random split has a law; False if phases switch very often, as it is not worth it."""
    if isinstance(workload.arrivals, MmppArrivals):
        return count * workload.switches_per_arrival <= MMPP_SWITCHES_MAX
    return isinstance(workload.arrivals, RenewalArrivals)


def _split(arrivals: ArrivalProcess, count: int) -> ArrivalProcess:
    """What one of several replicas gets at random."""
    if count > 1 and isinstance(arrivals, GammaArrivals | DeterministicArrivals):
        return SplitArrivals(base=arrivals, count=count)
    return arrivals


def _every(arrivals: RenewalArrivals, count: int) -> RenewalArrivals:
    """The process of every `count`-th arrival."""
    match arrivals:
        case PoissonArrivals():
            return GammaArrivals(cv=1.0 / math.sqrt(count))
        case DeterministicArrivals():
            return arrivals
        case GammaArrivals(cv=cv):
            return GammaArrivals(cv=cv / math.sqrt(count))
        case SplitArrivals():
            raise DomainError("arrivals that are split already are those of one replica")


def arrivals_scv(workload: Workload) -> float:
    """Squared coefficient of variation of the gaps between arrivals.

    For MMPP, whose gaps depend on each other, it is the dispersion of long counts, which determines queues.
    """
    arrivals = workload.arrivals
    match arrivals.base if isinstance(arrivals, SurgingArrivals) else arrivals:
        case PoissonArrivals():
            return 1.0
        case DeterministicArrivals():
            return 0.0
        case GammaArrivals(cv=cv):
            return cv**2
        case SplitArrivals(scv=scv):
            return scv
        case MmppArrivals() as bursts:
            return bursts.dispersion_index(workload.arrival_rate_rps)
        case ModulatedArrivals(bursts=bursts, base=base):
            within = arrivals_scv(replace(workload, arrivals=base))
            return within - 1.0 + bursts.dispersion_index(workload.arrival_rate_rps)
        case TraceArrivals(instants_s=instants_s):
            gaps_s = np.diff(instants_s)
            return float(gaps_s.var() / gaps_s.mean() ** 2)
