"""Systems: each law that can be simulated, with its plan, arrivals and service."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np
from scipy.special import gammaincinv, ndtri

from capacity.errors import DomainError
from capacity.performance import Kind, Performance
from capacity.question.plan import Routing
from capacity.queues.batch.bulk import Bulk
from capacity.queues.batch.closed import BulkClosed
from capacity.queues.batch.exponential import BulkMarkov
from capacity.queues.durations import Duration, Family
from capacity.queues.general.ggc import GGc
from capacity.queues.general.gimc import GIMc
from capacity.queues.general.mdc import MDc
from capacity.queues.general.mg1 import MG1
from capacity.queues.general.mmpp import MMPPMc
from capacity.queues.markov.closed import Closed
from capacity.queues.markov.mm1 import MM1
from capacity.queues.markov.mmc import MMc
from capacity.queues.markov.mmck import MMcK
from capacity.queues.power_of_choices import PowerOfChoices
from capacity.queues.routing import RandomSplit, RoundRobin
from capacity.queues.shortest_queue import ShortestQueue
from capacity.server.batch.batching import batching_of
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import (
    ArrivalProcess,
    ClosedPopulation,
    Demand,
    DeterministicArrivals,
    GammaArrivals,
    MmppArrivals,
    PoissonArrivals,
    Workload,
)
from simulations.draws.arrivals import Seed
from simulations.draws.records import Floats
from simulations.draws.service import ALONE, FIXED, SCALED, ServiceTable, ServiceTimes, unit_exponential
from simulations.replication import Engine, Task, replicate
from simulations.statistics.intervals import Estimate, QuantileEstimate
from simulations.statistics.pool import Pool
from simulations.statistics.relaxation import (
    closed_relaxation_requests,
    limited_relaxation_requests,
    modulated_relaxation_requests,
    relaxation_requests,
)
from simulations.statistics.sample import Length, Sample
from simulations.statistics.strata import Strata


class TableTimes:
    """Batch times that depend on the batch size alone."""

    wake_s = 0.0

    def __init__(self, times_s: tuple[float, ...]) -> None:
        self._times_s = times_s

    def __call__(self, batch_size: int, uniform: float) -> float:
        """Service time of a batch, whatever the draw. [s]"""
        return self._times_s[batch_size - 1]

    def table(self, batch_size_max: int) -> ServiceTable:
        """The times up to a batch size."""
        return ServiceTable(kind=FIXED, times_s=np.array(self._times_s[:batch_size_max]))


class DurationTimes:
    """Service with a given law, whatever the batch size.

    It inverts the law; for the hyper-exponential law the uniform number first chooses the branch, and what is left of
    it is uniform again (Devroye 1986, Non-Uniform Random Variate Generation, sec. II.4).
    """

    wake_s = 0.0

    def __init__(self, law: Duration) -> None:
        self._law = law

    def __call__(self, batch_size: int, uniform: float) -> float:
        """Service time of a batch. [s]"""
        if self._law.family is Family.DETERMINISTIC:
            return self._law.mean_s
        return self._law.mean_s * float(self._draw(np.array([uniform]))[0])

    def table(self, batch_size_max: int) -> ServiceTable:
        """The time or mean, and how its multiples are drawn."""
        times_s = np.full(batch_size_max, self._law.mean_s)
        if self._law.family is Family.DETERMINISTIC:
            return ServiceTable(kind=FIXED, times_s=times_s)
        return ServiceTable(kind=SCALED, times_s=times_s, draw=self._draw)

    def _draw(self, uniforms: Floats) -> Floats:
        """Durations of mean 1; numpy's functions give the same digits for one and for many."""
        law, scv = self._law, self._law.variability
        match law.family:
            case Family.EXPONENTIAL:
                return unit_exponential(uniforms)
            case Family.HYPEREXPONENTIAL:
                (fast, fast_rate), (slow, slow_rate) = law.branches
                rest = np.where(uniforms < fast, uniforms / fast, np.maximum(uniforms - fast, 0.0) / slow)
                rates = law.mean_s * np.where(uniforms < fast, fast_rate, slow_rate)
                return unit_exponential(rest) / rates
            case Family.LOGNORMAL:
                spread = math.sqrt(math.log1p(scv))
                return np.asarray(np.exp(spread * ndtri(uniforms) - spread**2 / 2.0))
            case _:
                return np.asarray(scv * gammaincinv(1.0 / scv, uniforms))


Quantiles = tuple[float, ...]
MEANS = ("wait_probability", "wait_mean_s", "response_mean_s")
BATCHED = ("wait_probability", "utilization", "wait_mean_s", "response_mean_s", "batch_size_mean")
P50: Quantiles = (0.5,)
P99: Quantiles = (0.5, 0.99)


class Quantity(NamedTuple):
    """A quantity of a law, its error, and how a pool estimates it.

    Attributes:
        allowance: error as a share of the true value, 0 if the law is exact.
    """

    theory: float
    allowance: float
    estimate: Callable[[Pool], Estimate | QuantileEstimate]


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A queue that theory knows, and how to simulate it.

    Attributes:
        relaxation_requests: requests that arrive within one relaxation time.
        compared: fields of the performance, besides the quantiles.
        quantiles: quantiles of the response time to compare.
        slowdowns: slowdowns of instances that share a device, as `cluster.run` takes them.
        cool_down_requests: last requests of a run, which do not count since no requests follow.
    """

    name: str
    theory: Performance
    plan: BatchPlan
    workload: Demand
    service_times: ServiceTimes
    relaxation_requests: float
    compared: tuple[str, ...] = MEANS
    quantiles: Quantiles = P50
    slowdowns: tuple[float, ...] = ALONE
    cool_down_requests: int = 0
    pool: ClassVar[type[Pool]] = Pool

    @property
    def replicate(self) -> Callable[[Task], Sample | Strata]:
        """Runs one replication."""
        return replicate

    def task(self, length: Length, seed: Seed, engine: Engine) -> Task:
        """The task of one replication."""
        return Task(
            plan=self.plan,
            workload=self.workload,
            service_times=self.service_times,
            request_overhead_s=0.0,
            length=length,
            seed=seed,
            slowdowns=self.slowdowns,
            engine=engine,
        )

    def quantities(self) -> dict[str, Quantity]:
        """Compared quantities, by name."""
        errors, quantiles_s = self.theory.relative_error_max, self.theory.response_quantiles_s
        scalars = {
            name: Quantity(
                getattr(self.theory, name),
                errors.get(name, 0.0),
                partial(_estimate, name, self.plan.replicas),
            )
            for name in self.compared
        }
        quantiles = {
            f"response_p{100 * q:g}_s": Quantity(
                quantiles_s[q].value,
                errors.get("response_quantiles_s", 0.0),
                partial(Pool.response_quantile, quantile=q),
            )
            for q in self.quantiles
        }
        return scalars | quantiles


def _counted(sample: Sample) -> float:
    return float(sample.counted)


# Sums of the samples for a quantity: above and below a line.
_RATIOS: dict[str, tuple[Callable[[Sample], float], Callable[[Sample], float]]] = {
    "loss_probability": (lambda s: s.lost, lambda s: s.lost + s.counted),
    "throughput_rps": (_counted, lambda s: s.window_s),
    "batch_size_mean": (_counted, lambda s: s.batches),
    "wait_probability": (lambda s: s.waits.positive, _counted),
    "wait_mean_s": (lambda s: s.waits.total_s, _counted),
    "response_mean_s": (lambda s: s.responses.total_s, _counted),
}


def _estimate(name: str, replicas: int, pool: Pool) -> Estimate:
    """One quantity of a pool."""
    if name == "utilization":
        return pool.ratio(lambda s: s.busy_s, lambda s: replicas * s.window_s)
    return pool.ratio(*_RATIOS[name])


EXPONENTIAL = Duration(family=Family.EXPONENTIAL, mean_s=1.0)
_UNKNOWN = Performance(kind=Kind.EXACT)  # until it is known which quantiles are asked for
_SHARE_TELLING_MAX = 0.99


def one_queue(servers: int, batch_size_max: int = 1, queue_limit: int | None = None) -> BatchPlan:
    """Servers at one queue."""
    return BatchPlan(
        profile="law",
        replicas=servers,
        batch_size_max=batch_size_max,
        routing=Routing.SHARED_QUEUE,
        queue_limit=queue_limit,
    )


def system_of(law: Any, quantiles: Quantiles = P99, name: str = "") -> System:
    """How to simulate a law of `capacity.queues`.

    Raises:
        DomainError: a law that cannot be simulated; the message says which can.

    >>> system_of(MMc(arrival_rate_rps=9.0, service_rate_rps=5.0, servers=2)).plan.replicas
    2
    """
    play = _PLAYED.get(type(law))
    if play is None:
        known = ", ".join(sorted(kind.__name__ for kind in _PLAYED))
        raise DomainError(f"{type(law).__name__} is not a law that can be simulated by itself; use {known}")
    system, theory = play(law), law.performance(quantiles)
    return replace(
        system,
        name=name or type(law).__name__,
        theory=theory,
        compared=telling(system.compared, theory),
        quantiles=quantiles,
    )


def telling(names: Sequence[str], theory: Performance) -> tuple[str, ...]:
    """Names worth comparing: not a share so near 1 that its complement is hardly ever seen."""
    shares = ("wait_probability", "utilization")
    return tuple(x for x in names if x not in shares or getattr(theory, x) < _SHARE_TELLING_MAX)


def _servers(law: Any, service: Duration, servers: int = 1, **others: Any) -> System:
    """The system of single requests at one queue."""
    if servers != int(servers):
        raise DomainError(f"a simulation needs a whole number of servers, got {servers!r}")
    return _single(law, service, one_queue(int(servers)), **others)


def _replicas(law: Any, routing: Routing) -> System:
    """The system of single requests at exponential replicas with a queue each."""
    plan = BatchPlan(profile="law", replicas=law.replicas, batch_size_max=1, routing=routing)
    return _single(law, _exponential(law.service_rate_rps), plan)


def _single(
    law: Any,
    service: Duration,
    plan: BatchPlan,
    *,
    rate_rps: float | None = None,
    arrivals: ArrivalProcess | None = None,
    arrivals_scv: float = 1.0,
) -> System:
    rate_rps = law.arrival_rate_rps if rate_rps is None else rate_rps
    queues = 1 if plan.routing is Routing.SHARED_QUEUE else plan.replicas
    varies = arrivals_scv + service.variability
    return System(
        name="",
        theory=_UNKNOWN,
        plan=plan,
        workload=Workload(arrival_rate_rps=rate_rps, arrivals=arrivals or PoissonArrivals()),
        service_times=DurationTimes(service),
        relaxation_requests=relaxation_requests(law.utilization, queues, rate_rps * service.mean_s, varies),
    )


def _exponential(rate_rps: float) -> Duration:
    return Duration(family=Family.EXPONENTIAL, mean_s=1.0 / rate_rps)


def _constant(mean_s: float) -> Duration:
    return Duration(family=Family.DETERMINISTIC, mean_s=mean_s)


def _renewal(law: Any, service: Duration) -> System:
    """Gaps of any law that the simulator can draw."""
    gap: Duration = law.arrival
    arrivals: ArrivalProcess
    match gap.family:
        case Family.DETERMINISTIC:
            arrivals = DeterministicArrivals()
        case Family.EXPONENTIAL:
            arrivals = PoissonArrivals()
        case Family.GAMMA | Family.ERLANG:
            arrivals = GammaArrivals(cv=math.sqrt(gap.variability))
        case _:
            raise DomainError(f"{gap.family} gaps cannot be simulated; use gamma gaps of the same scv")
    return _servers(
        law, service, law.servers, rate_rps=1.0 / gap.mean_s, arrivals=arrivals, arrivals_scv=gap.variability
    )


def _power_of_choices(law: PowerOfChoices) -> System:
    if law.choices != 2:
        raise DomainError(f"a balancer looks at 2 replicas in a simulation, not at {law.choices}")
    of_the_wait_little_is_known = ("response_mean_s",)
    return replace(_replicas(law, Routing.POWER_OF_TWO), compared=of_the_wait_little_is_known)


def _mg1(law: MG1) -> System:
    if not isinstance(law.service, Duration):
        raise DomainError("measured service is simulated from its profile; use cap.simulate")
    return _servers(law, law.service)


def _mmck(law: MMcK) -> System:
    service, rate_rps = _exponential(law.service_rate_rps), law.arrival_rate_rps
    waits = MEANS if law.capacity > law.servers else ("response_mean_s",)
    return System(
        name="",
        theory=_UNKNOWN,
        plan=one_queue(law.servers, queue_limit=law.capacity - law.servers),
        workload=Workload(arrival_rate_rps=rate_rps),
        service_times=DurationTimes(service),
        relaxation_requests=limited_relaxation_requests(
            law.load, 1, rate_rps * service.mean_s, variability=2.0, places=law.capacity
        ),
        compared=("loss_probability", "throughput_rps", *waits),
    )


def _mmpp(law: MMPPMc) -> System:
    (burst_rps, calm_rps), (out, back) = law.arrival_rates_rps, law.switch_rates_per_s
    if not burst_rps > calm_rps > 0.0:
        raise DomainError(
            f"phase 1 must be the burst and phase 2 not silent, got {burst_rps:g} and {calm_rps:g} rps"
        )
    bursts = MmppArrivals(ratio=burst_rps / calm_rps, burst_mean_s=1.0 / out, calm_mean_s=1.0 / back)
    service, rate_rps = _exponential(law.service_rate_rps), law.throughput_rps
    relaxation = modulated_relaxation_requests(
        bursts, rate_rps, law.utilization, 1, rate_rps * service.mean_s, 2.0, None
    )
    played = _servers(law, service, law.servers, rate_rps=rate_rps, arrivals=bursts)
    return replace(played, relaxation_requests=relaxation)


def _closed(law: Closed) -> System:
    population = ClosedPopulation(users=law.users, think_time_s=law.think_time_s)
    plan = one_queue(law.servers)
    return System(
        name="",
        theory=_UNKNOWN,
        plan=plan,
        workload=population,
        service_times=DurationTimes(_exponential(1.0 / law.service_time_s)),
        relaxation_requests=closed_relaxation_requests(population, plan),
        compared=("throughput_rps", *MEANS),
        cool_down_requests=10 * law.users,
    )


def _bulk(law: Bulk) -> System:
    if law.batch_size_min > 1:
        raise DomainError(f"batches start at one request in a simulation, not at {law.batch_size_min}")
    times_s = law.batch_times_s
    plan = BatchPlan(
        profile="law",
        replicas=law.replicas,
        batch_size_max=len(times_s),
        batch_wait_max_s=law.batch_wait_max_s,
        routing=law.routing,
        batching=batching_of(law.timer),
    )
    rate_rps = law.arrival_rate_rps
    return System(
        name="",
        theory=_UNKNOWN,
        plan=plan,
        workload=Workload(arrival_rate_rps=rate_rps),
        service_times=TableTimes(times_s),
        relaxation_requests=relaxation_requests(
            law.load, law.replicas, rate_rps * times_s[-1], variability=1.0
        ),
        compared=BATCHED,
        cool_down_requests=20 * law.replicas * len(times_s),
    )


def _bulk_markov(law: BulkMarkov) -> System:
    size, rate_rps = law.batch_size_max, law.arrival_rate_rps
    return System(
        name="",
        theory=_UNKNOWN,
        plan=one_queue(law.servers, size),
        workload=Workload(arrival_rate_rps=rate_rps),
        service_times=DurationTimes(_exponential(1.0 / law.service_time_s)),
        relaxation_requests=relaxation_requests(
            law.load, 1, rate_rps * law.service_time_s, variability=1.0 + size
        ),
        cool_down_requests=20 * law.servers * size,
    )


def _bulk_closed(law: BulkClosed) -> System:
    population = ClosedPopulation(users=law.users, think_time_s=law.think_time_s)
    plan = BatchPlan(profile="law", replicas=1, batch_size_max=len(law.batch_times_s))
    return System(
        name="",
        theory=_UNKNOWN,
        plan=plan,
        workload=population,
        service_times=TableTimes(law.batch_times_s),
        relaxation_requests=closed_relaxation_requests(population, plan),
        compared=("throughput_rps", "response_mean_s", "batch_size_mean"),
        cool_down_requests=10 * law.users,
    )


_PLAYED: Mapping[type, Callable[[Any], System]] = {
    MM1: lambda law: _servers(law, _exponential(law.service_rate_rps)),
    MMc: lambda law: _servers(law, _exponential(law.service_rate_rps), law.servers),
    MMcK: _mmck,
    MG1: _mg1,
    MDc: lambda law: _servers(law, _constant(law.service_time_s), law.servers),
    GIMc: lambda law: _renewal(law, _exponential(law.service_rate_rps)),
    GGc: lambda law: _renewal(law, law.service),
    MMPPMc: _mmpp,
    Closed: _closed,
    RandomSplit: lambda law: _replicas(law, Routing.RANDOM),
    RoundRobin: lambda law: _replicas(law, Routing.ROUND_ROBIN),
    ShortestQueue: lambda law: _replicas(law, Routing.LEAST_OUTSTANDING),
    PowerOfChoices: _power_of_choices,
    Bulk: _bulk,
    BulkMarkov: _bulk_markov,
    BulkClosed: _bulk_closed,
}
