"""Agreement laws: queues of single requests that are compared with theory, with a mean service of 1 s."""

from capacity.queues.durations import Duration, Family
from capacity.queues.general.gimc import GIMc
from capacity.queues.general.mdc import MDc
from capacity.queues.general.mg1 import MG1
from capacity.queues.general.mmpp import MMPPMc
from capacity.queues.markov.closed import Closed
from capacity.queues.markov.mm1 import MM1
from capacity.queues.markov.mmc import MMc
from capacity.queues.markov.mmck import MMcK
from capacity.traffic.workload import MmppArrivals
from simulations.validation.systems import Quantiles, System, system_of


def mm1(load: float, quantiles: Quantiles) -> System:
    """M/M/1."""
    law = MM1(arrival_rate_rps=load, service_rate_rps=1.0)
    return system_of(law, quantiles, f"M/M/1 load {load:g}")


def mmc(servers: int, load: float, quantiles: Quantiles) -> System:
    """M/M/c."""
    law = MMc(arrival_rate_rps=load * servers, service_rate_rps=1.0, servers=servers)
    return system_of(law, quantiles, f"M/M/{servers} load {load:g}")


def mmck(servers: int, places: int, load: float, quantiles: Quantiles) -> System:
    """M/M/c/K: places count the servers."""
    law = MMcK(arrival_rate_rps=load * servers, service_rate_rps=1.0, servers=servers, capacity=places)
    return system_of(law, quantiles, f"M/M/{servers}/{places} load {load:g}")


def mg1(family: Family, scv: float, load: float, quantiles: Quantiles) -> System:
    """M/G/1."""
    law = MG1(arrival_rate_rps=load, service=Duration(family=family, mean_s=1.0, scv=scv))
    return system_of(law, quantiles, f"M/G/1 {family} scv {scv:g} load {load:g}")


def mdc(servers: int, load: float, quantiles: Quantiles) -> System:
    """M/D/c."""
    law = MDc(arrival_rate_rps=load * servers, service_time_s=1.0, servers=servers)
    return system_of(law, quantiles, f"M/D/{servers} load {load:g}")


def gimc(cv: float, servers: int, load: float, quantiles: Quantiles) -> System:
    """GI/M/c with gamma gaps, or equal ones if cv is 0."""
    family = Family.GAMMA if cv else Family.DETERMINISTIC
    gap = Duration(family=family, mean_s=1.0 / (load * servers), scv=cv**2)
    law = GIMc(arrival=gap, service_rate_rps=1.0, servers=servers)
    return system_of(law, quantiles, f"GI/M/{servers} cv {cv:g} load {load:g}")


def mmpp(
    ratio: float, burst_s: float, calm_s: float, servers: int, load: float, quantiles: Quantiles
) -> System:
    """MMPP(2)/M/c: bursts and calm stretches by their mean lengths, in mean services."""
    arrivals = MmppArrivals(ratio=ratio, burst_mean_s=burst_s, calm_mean_s=calm_s)
    law = MMPPMc(
        arrival_rates_rps=arrivals.rates_rps(load * servers),
        switch_rates_per_s=(1.0 / burst_s, 1.0 / calm_s),
        service_rate_rps=1.0,
        servers=servers,
    )
    name = f"MMPP/M/{servers} ratio {ratio:g} {burst_s:g} s in {burst_s + calm_s:g} s load {load:g}"
    return system_of(law, quantiles, name)


def closed(users: int, think_time_s: float, servers: int, quantiles: Quantiles) -> System:
    """M/M/c//N: users at exponential servers."""
    law = Closed(users=users, think_time_s=think_time_s, service_time_s=1.0, servers=servers)
    return system_of(law, quantiles, f"M/M/{servers}//{users} think {think_time_s:g} s")
