"""Agreement laws: each law that is compared with the simulator, with a mean service of 1 s or a bundled profile."""

import math
from collections.abc import Sequence

import numpy as np

from capacity.performance import Kind, Performance
from capacity.profile.load import load_profile
from capacity.question.plan import Routing
from capacity.queues.batch.bulk import Bulk
from capacity.queues.batch.by_size import BulkCTMC
from capacity.queues.batch.closed import BulkClosed
from capacity.queues.batch.exponential import BulkMarkov
from capacity.queues.durations import Duration, Family
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
from capacity.server.batch.batching import BatchTimer
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import MmppArrivals, Workload
from simulations.draws.service import ExponentialTimes
from simulations.statistics.relaxation import relaxation_requests
from simulations.validation.systems import (
    BATCHED,
    EXPONENTIAL,
    MEANS,
    DurationTimes,
    Quantiles,
    System,
    one_queue,
    system_of,
    telling,
)


def batch_times_s(profile: str, batch_size_max: int) -> tuple[float, ...]:
    """Mean time of each batch of a bundled profile. [s]"""
    measured = load_profile(profile)
    return tuple(measured.service_mean_s(size) for size in range(1, batch_size_max + 1))


def bulk(
    profile: str,
    batch_size_max: int,
    load: float,
    quantiles: Quantiles,
    wait: float = 0.0,
    timer: BatchTimer = BatchTimer.OLDEST,
    replicas: int = 1,
    routing: Routing = Routing.ROUND_ROBIN,
) -> System:
    """Dynamic batching with a bundled profile's mean times; the wait is in batches of one."""
    times_s = batch_times_s(profile, batch_size_max)
    law = Bulk(
        arrival_rate_rps=load * replicas * batch_size_max / times_s[-1],
        batch_times_s=times_s,
        batch_wait_max_s=wait * times_s[0],
        timer=timer,
        replicas=replicas,
        routing=routing,
    )
    started = f" {timer} wait {wait:g}" if wait else ""
    fleet = f" x {replicas} {routing}" if replicas > 1 else ""
    return system_of(law, quantiles, f"{profile} 1..{batch_size_max} load {load:g}{started}{fleet}")


def bulk_markov(batch_size_max: int, servers: int, load: float, quantiles: Quantiles) -> System:
    """M/M^[1,B]/c: exponential batches of one mean, whatever their size."""
    law = BulkMarkov(
        arrival_rate_rps=load * batch_size_max * servers,
        service_time_s=1.0,
        batch_size_max=batch_size_max,
        servers=servers,
    )
    return system_of(law, quantiles, f"M/M[1,{batch_size_max}]/{servers} load {load:g}")


def bulk_ctmc(batch_times_s: tuple[float, ...], servers: int, load: float, quantiles: Quantiles) -> System:
    """M/M_b^[1,B]/c: exponential batches whose mean depends on their size."""
    batch_size_max = len(batch_times_s)
    rate = load * batch_size_max * servers / batch_times_s[-1]
    law = BulkCTMC(arrival_rate_rps=rate, batch_times_s=batch_times_s, servers=servers)
    theory = law.performance(quantiles)
    return System(
        name=f"M/M_b[1,{batch_size_max}]/{servers} load {load:g}",
        theory=theory,
        plan=one_queue(servers, batch_size_max),
        workload=Workload(arrival_rate_rps=rate),
        service_times=ExponentialTimes(batch_times_s),
        relaxation_requests=relaxation_requests(
            load, 1, rate * batch_times_s[-1], variability=1.0 + batch_size_max
        ),
        compared=telling(BATCHED, theory),
        quantiles=quantiles,
        cool_down_requests=20 * servers * batch_size_max,
    )


def bulk_closed(profile: str, batch_size_max: int, users: int, think: float, quantiles: Quantiles) -> System:
    """Users at one batching replica with a bundled profile's mean times; think time is in batches of one."""
    times_s = batch_times_s(profile, batch_size_max)
    law = BulkClosed(users=users, think_time_s=think * times_s[0], batch_times_s=times_s)
    return system_of(law, quantiles, f"{profile} 1..{batch_size_max} users {users} think {think:g}")


# What is left of the chain beyond the states that are summed.
_REST = 1e-15


def shared_device(slowdowns: Sequence[float], load: float) -> System:
    """Instances of rate 1 at one queue: m busy ones end at the rate of m/slowdown(m), a birth-death chain.

    It compares means only: no law of the response time itself is known, since later requests slow down earlier ones.

    Source:
        Kleinrock (1975), Queueing Systems 1, sec. 3.1, for birth-death chains; Cohen (1979), Acta Informatica 12,
        245-284, for a rate of service by the number of busy instances.
    """
    instances = len(slowdowns)
    rates_rps = [busy / slowdown for busy, slowdown in enumerate(slowdowns, start=1)]
    rate = load * rates_rps[-1]
    return System(
        name=f"M/M/{instances} on one device, slowdown {slowdowns[-1]:g}, load {load:g}",
        theory=_birth_death(rate, rates_rps, load),
        plan=BatchPlan(profile="law", replicas=instances, batch_size_max=1, routing=Routing.SHARED_QUEUE),
        workload=Workload(arrival_rate_rps=rate),
        service_times=DurationTimes(EXPONENTIAL),
        slowdowns=tuple(slowdowns),
        relaxation_requests=relaxation_requests(load, 1, rate * slowdowns[-1], variability=2.0),
        compared=(*MEANS, "utilization"),
        quantiles=(),
    )


def _birth_death(rate_rps: float, rates_rps: Sequence[float], load: float) -> Performance:
    """Means of a chain that leaves state n at `rates_rps[n - 1]`, the last of them for all states above."""
    instances = len(rates_rps)
    places = instances + math.ceil(math.log(_REST) / math.log(load))
    ratios = [rate_rps / rates_rps[min(number, instances) - 1] for number in range(1, places)]
    weights = np.cumprod([1.0, *ratios])
    shares, numbers = weights / weights.sum(), np.arange(places)
    waiting = float(shares @ np.maximum(numbers - instances, 0))
    return Performance(
        kind=Kind.EXACT,
        load=load,
        utilization=float(shares @ np.minimum(numbers, instances)) / instances,
        wait_probability=float(shares[instances:].sum()),
        wait_mean_s=waiting / rate_rps,
        response_mean_s=float(shares @ numbers) / rate_rps,
    )


def random_split(replicas: int, load: float, quantiles: Quantiles) -> System:
    """M/M/1 under random routing."""
    law = RandomSplit(arrival_rate_rps=load * replicas, service_rate_rps=1.0, replicas=replicas)
    return system_of(law, quantiles, f"M/M/1 x {replicas} {Routing.RANDOM} load {load:g}")


def round_robin(replicas: int, load: float, quantiles: Quantiles) -> System:
    """Servers with a queue each, under round-robin."""
    law = RoundRobin(arrival_rate_rps=load * replicas, service_rate_rps=1.0, replicas=replicas)
    return system_of(law, quantiles, f"M/M/1 x {replicas} {Routing.ROUND_ROBIN} load {load:g}")


def shortest_queue(load: float, quantiles: Quantiles) -> System:
    """Join the shorter queue of two; by symmetry, ties that go to the first change no law."""
    law = ShortestQueue(arrival_rate_rps=2.0 * load, service_rate_rps=1.0)
    return system_of(law, quantiles, f"M/M/1 x 2 {Routing.LEAST_OUTSTANDING} load {load:g}")


def power_of_two(replicas: int, load: float, quantiles: Quantiles) -> System:
    """The shorter queue of two out of many, by the limit of ever more replicas and its stated error."""
    law = PowerOfChoices(arrival_rate_rps=load * replicas, service_rate_rps=1.0, replicas=replicas)
    return system_of(law, quantiles, f"M/M/1 x {replicas} {Routing.POWER_OF_TWO} load {load:g}")


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
