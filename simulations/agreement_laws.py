"""Agreement laws: queues of single requests, each law beside the plan, the arrivals and the service."""

from dataclasses import replace

from capacity.performance import Performance
from capacity.plan import Plan, Routing
from capacity.queues.closed import Closed
from capacity.queues.durations import Duration, Family
from capacity.queues.gimc import GIMc
from capacity.queues.mdc import MDc
from capacity.queues.mg1 import MG1
from capacity.queues.mm1 import MM1
from capacity.queues.mmc import MMc
from capacity.queues.mmck import MMcK
from capacity.queues.mmpp import MMPPMc
from capacity.stability import relaxation_requests
from capacity.workload import (
    ArrivalProcess,
    ClosedPopulation,
    DeterministicArrivals,
    GammaArrivals,
    MmppArrivals,
    PoissonArrivals,
    Workload,
)
from simulations.agreement_system import MEANS, Quantiles, System
from simulations.agreement_times import DurationTimes
from simulations.relaxation import (
    closed_relaxation_requests,
    limited_relaxation_requests,
    modulated_relaxation_requests,
)

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
