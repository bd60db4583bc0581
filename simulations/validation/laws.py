"""Agreement laws: queues of single requests, each law beside the plan, the arrivals and the service."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.special import gammaincinv, ndtri

from capacity.performance import Performance
from capacity.question.plan import Plan, Routing
from capacity.question.stability import relaxation_requests
from capacity.queues.durations import Duration, Family
from capacity.queues.general.gimc import GIMc
from capacity.queues.general.mdc import MDc
from capacity.queues.general.mg1 import MG1
from capacity.queues.general.mmpp import MMPPMc
from capacity.queues.markov.closed import Closed
from capacity.queues.markov.mm1 import MM1
from capacity.queues.markov.mmc import MMc
from capacity.queues.markov.mmck import MMcK
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
from simulations.draws.records import Floats
from simulations.draws.service import ALONE, FIXED, SCALED, ServiceTable, ServiceTimes, unit_exponential
from simulations.statistics.pool import Estimate, Pool, QuantileEstimate
from simulations.statistics.relaxation import (
    closed_relaxation_requests,
    limited_relaxation_requests,
    modulated_relaxation_requests,
)
from simulations.statistics.sample import Sample


class TableTimes:
    """Batches that take a known time by their size."""

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
    """Service of a given law whatever the batch size.

    By inversion; of the hyper-exponential law the uniform number first chooses the branch, and what
    is left of it is uniform again (Devroye 1986, Non-Uniform Random Variate Generation, sec. II.4).
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
        """The one time or mean, and how its multiples are drawn."""
        times_s = np.full(batch_size_max, self._law.mean_s)
        if self._law.family is Family.DETERMINISTIC:
            return ServiceTable(kind=FIXED, times_s=times_s)
        return ServiceTable(kind=SCALED, times_s=times_s, draw=self._draw)

    def _draw(self, uniforms: Floats) -> Floats:
        """Durations of mean 1; numpy's functions give one and many of them the same digits."""
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
P50: Quantiles = (0.5,)
P99: Quantiles = (0.5, 0.99)


class Quantity(NamedTuple):
    """One number of a law, how far it may lie from the truth, and how a pool estimates it.

    Attributes:
        allowance: as a share of the truth, 0 where the law is exact.
    """

    theory: float
    allowance: float
    estimate: Callable[[Pool], Estimate | QuantileEstimate]


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A queue that theory knows, and how the simulator plays it.

    Attributes:
        relaxation_requests: requests that arrive within one relaxation time.
        compared: fields of the performance, beside the quantiles.
        quantiles: of the response time, to compare.
        slowdowns: of instances that share a device, as `cluster.run` takes them.
        cool_down_requests: last requests of a run, which do not count since none come after them.
    """

    name: str
    theory: Performance
    plan: Plan
    workload: Demand
    service_times: ServiceTimes
    relaxation_requests: float
    compared: tuple[str, ...] = MEANS
    quantiles: Quantiles = P50
    slowdowns: tuple[float, ...] = ALONE
    cool_down_requests: int = 0

    def quantities(self) -> dict[str, Quantity]:
        """What is compared, by name."""
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


# What the sums of the samples give for one quantity: above and below a line.
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
CONSTANT = Duration(family=Family.DETERMINISTIC, mean_s=1.0)
_POISSON = PoissonArrivals()


def one_queue(servers: int, batch_size_max: int = 1, queue_limit: int | None = None) -> Plan:
    """Servers at one queue."""
    return Plan(
        profile="law",
        replicas=servers,
        batch_size_max=batch_size_max,
        routing=Routing.SHARED_QUEUE,
        queue_limit=queue_limit,
    )


def mm1(load: float, quantiles: Quantiles) -> System:
    """M/M/1."""
    law = MM1(arrival_rate_rps=load, service_rate_rps=1.0)
    return _open(f"M/M/1 load {load:g}", law.performance(quantiles), 1, load, quantiles)


def mmc(servers: int, load: float, quantiles: Quantiles) -> System:
    """M/M/c."""
    law = MMc(arrival_rate_rps=load * servers, service_rate_rps=1.0, servers=servers)
    return _open(f"M/M/{servers} load {load:g}", law.performance(quantiles), servers, load, quantiles)


def mmck(servers: int, places: int, load: float, quantiles: Quantiles) -> System:
    """M/M/c/K: places count the servers."""
    rate = load * servers
    law = MMcK(arrival_rate_rps=rate, service_rate_rps=1.0, servers=servers, capacity=places)
    waits = MEANS if places > servers else ("response_mean_s",)
    return System(
        name=f"M/M/{servers}/{places} load {load:g}",
        theory=law.performance(quantiles),
        plan=one_queue(servers, queue_limit=places - servers),
        workload=Workload(arrival_rate_rps=rate),
        service_times=DurationTimes(EXPONENTIAL),
        relaxation_requests=limited_relaxation_requests(load, 1, rate, variability=2.0, places=places),
        compared=("loss_probability", "throughput_rps", *waits),
        quantiles=quantiles,
    )


def mg1(family: Family, scv: float, load: float, quantiles: Quantiles) -> System:
    """M/G/1."""
    service = Duration(family=family, mean_s=1.0, scv=scv)
    theory = MG1(arrival_rate_rps=load, service=service).performance(quantiles)
    return _open(f"M/G/1 {family} scv {scv:g} load {load:g}", theory, 1, load, quantiles, service=service)


def mdc(servers: int, load: float, quantiles: Quantiles) -> System:
    """M/D/c."""
    law = MDc(arrival_rate_rps=load * servers, service_time_s=1.0, servers=servers)
    name = f"M/D/{servers} load {load:g}"
    return _open(name, law.performance(quantiles), servers, load, quantiles, service=CONSTANT)


def gimc(cv: float, servers: int, load: float, quantiles: Quantiles) -> System:
    """GI/M/c with gamma gaps, or equal ones where cv is 0."""
    family = Family.GAMMA if cv else Family.DETERMINISTIC
    gap = Duration(family=family, mean_s=1.0 / (load * servers), scv=cv**2)
    theory = GIMc(arrival=gap, service_rate_rps=1.0, servers=servers).performance(quantiles)
    name = f"GI/M/{servers} cv {cv:g} load {load:g}"
    arrivals = GammaArrivals(cv=cv) if cv else DeterministicArrivals()
    return _open(name, theory, servers, load, quantiles, arrivals=arrivals, variability=1.0 + cv**2)


def mmpp(
    ratio: float, burst_s: float, calm_s: float, servers: int, load: float, quantiles: Quantiles
) -> System:
    """MMPP(2)/M/c: bursts and calm stretches by their mean lengths, in mean services."""
    rate = load * servers
    arrivals = MmppArrivals(ratio=ratio, burst_mean_s=burst_s, calm_mean_s=calm_s)
    law = MMPPMc(
        arrival_rates_rps=arrivals.rates_rps(rate),
        switch_rates_per_s=(1.0 / burst_s, 1.0 / calm_s),
        service_rate_rps=1.0,
        servers=servers,
    )
    name = f"MMPP/M/{servers} ratio {ratio:g} {burst_s:g} s in {burst_s + calm_s:g} s load {load:g}"
    system = _open(name, law.performance(quantiles), servers, load, quantiles, arrivals=arrivals)
    relaxation = modulated_relaxation_requests(arrivals, rate, load, 1, 1.0, 2.0, None)
    return replace(system, relaxation_requests=relaxation)


def closed(users: int, think_time_s: float, servers: int, quantiles: Quantiles) -> System:
    """M/M/c//N: users at exponential servers."""
    law = Closed(users=users, think_time_s=think_time_s, service_time_s=1.0, servers=servers)
    population, plan = ClosedPopulation(users=users, think_time_s=think_time_s), one_queue(servers)
    return System(
        name=f"M/M/{servers}//{users} think {think_time_s:g} s",
        theory=law.performance(quantiles),
        plan=plan,
        workload=population,
        service_times=DurationTimes(EXPONENTIAL),
        relaxation_requests=closed_relaxation_requests(population, plan),
        compared=("throughput_rps", *MEANS),
        quantiles=quantiles,
        cool_down_requests=10 * users,
    )


def _open(
    name: str,
    theory: Performance,
    servers: int,
    load: float,
    quantiles: Quantiles,
    *,
    service: Duration = EXPONENTIAL,
    arrivals: ArrivalProcess = _POISSON,
    variability: float | None = None,
) -> System:
    """An open stream of single requests at one queue, whose service takes 1 s on average."""
    rate = load * servers
    scvs = 1.0 + service.variability if variability is None else variability
    return System(
        name=name,
        theory=theory,
        plan=one_queue(servers),
        workload=Workload(arrival_rate_rps=rate, arrivals=arrivals),
        service_times=DurationTimes(service),
        relaxation_requests=relaxation_requests(load, 1, rate, variability=scvs),
        quantiles=quantiles,
    )
