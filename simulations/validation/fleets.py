"""Agreement fleets: exponential servers with a queue each, behind every router that has a law."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from capacity.performance import Kind, Performance
from capacity.profile.load import load_profile
from capacity.question.plan import BatchTimer, Plan, Routing
from capacity.question.stability import relaxation_requests
from capacity.queues.batch.bulk import Bulk
from capacity.queues.batch.by_size import BulkCTMC
from capacity.queues.batch.closed import BulkClosed
from capacity.queues.batch.exponential import BulkMarkov
from capacity.queues.power_of_choices import PowerOfChoices
from capacity.queues.routing import RandomSplit, RoundRobin
from capacity.queues.shortest_queue import ShortestQueue
from capacity.traffic.workload import ClosedPopulation, Workload
from simulations.draws.service import ExponentialTimes
from simulations.statistics.relaxation import closed_relaxation_requests
from simulations.validation.laws import (
    EXPONENTIAL,
    MEANS,
    DurationTimes,
    Quantiles,
    System,
    TableTimes,
    one_queue,
)

_SHARE_TELLING_MAX = 0.99


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
    """Dynamic batching of a bundled profile's mean times; the wait in batches of one."""
    times_s = batch_times_s(profile, batch_size_max)
    rate = load * replicas * batch_size_max / times_s[-1]
    plan = Plan(
        profile=profile,
        replicas=replicas,
        batch_size_max=batch_size_max,
        batch_wait_max_s=wait * times_s[0],
        routing=routing,
        timer=timer,
    )
    law = Bulk(
        arrival_rate_rps=rate,
        batch_times_s=times_s,
        batch_wait_max_s=plan.batch_wait_max_s,
        timer=timer,
        replicas=replicas,
        routing=routing,
    )
    theory = law.performance(quantiles)
    started = f" {timer} wait {wait:g}" if wait else ""
    fleet = f" x {replicas} {routing}" if replicas > 1 else ""
    return System(
        name=f"{profile} 1..{batch_size_max} load {load:g}{started}{fleet}",
        theory=theory,
        plan=plan,
        workload=Workload(arrival_rate_rps=rate),
        service_times=TableTimes(times_s),
        relaxation_requests=relaxation_requests(load, replicas, rate * times_s[-1], variability=1.0),
        compared=_batched(theory),
        quantiles=quantiles,
        cool_down_requests=20 * replicas * batch_size_max,
    )


def bulk_markov(batch_size_max: int, servers: int, load: float, quantiles: Quantiles) -> System:
    """M/M^[1,B]/c: exponential batches whatever their size."""
    rate = load * batch_size_max * servers
    law = BulkMarkov(
        arrival_rate_rps=rate, service_time_s=1.0, batch_size_max=batch_size_max, servers=servers
    )
    return System(
        name=f"M/M[1,{batch_size_max}]/{servers} load {load:g}",
        theory=law.performance(quantiles),
        plan=one_queue(servers, batch_size_max),
        workload=Workload(arrival_rate_rps=rate),
        service_times=DurationTimes(EXPONENTIAL),
        relaxation_requests=relaxation_requests(load, 1, rate, variability=1.0 + batch_size_max),
        quantiles=quantiles,
        cool_down_requests=20 * servers * batch_size_max,
    )


def bulk_ctmc(batch_times_s: tuple[float, ...], servers: int, load: float, quantiles: Quantiles) -> System:
    """M/M_b^[1,B]/c: exponential batches whose mean goes by their size."""
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
        compared=_batched(theory),
        quantiles=quantiles,
        cool_down_requests=20 * servers * batch_size_max,
    )


def bulk_closed(profile: str, batch_size_max: int, users: int, think: float, quantiles: Quantiles) -> System:
    """Users at one batching replica of a bundled profile's mean times; they think so many batches of one."""
    times_s = batch_times_s(profile, batch_size_max)
    population = ClosedPopulation(users=users, think_time_s=think * times_s[0])
    law = BulkClosed(users=users, think_time_s=population.think_time_s, batch_times_s=times_s)
    plan = Plan(profile=profile, replicas=1, batch_size_max=batch_size_max)
    return System(
        name=f"{profile} 1..{batch_size_max} users {users} think {think:g}",
        theory=law.performance(quantiles),
        plan=plan,
        workload=population,
        service_times=TableTimes(times_s),
        relaxation_requests=closed_relaxation_requests(population, plan),
        compared=("throughput_rps", "response_mean_s", "batch_size_mean"),
        quantiles=quantiles,
        cool_down_requests=10 * users,
    )


def _batched(theory: Performance) -> tuple[str, ...]:
    """What is compared of batches; a share so near to 1 that its rest is hardly ever seen is not."""
    shares = ("wait_probability", "utilization")
    telling = [name for name in shares if getattr(theory, name) < _SHARE_TELLING_MAX]
    return (*telling, "wait_mean_s", "response_mean_s", "batch_size_mean")


# What is left of the chain beyond the states that are summed.
_REST = 1e-15


def shared_device(slowdowns: Sequence[float], load: float) -> System:
    """Instances of rate 1 at one queue: m busy ones end at the rate of m/slowdown(m), a birth-death chain.

    Means only: of the response time itself no law is known, since who comes later slows who came before.

    Source:
        Kleinrock (1975), Queueing Systems 1, sec. 3.1, for birth-death chains; Cohen (1979), Acta
        Informatica 12, 245-284, for a rate of service by the number of busy ones.
    """
    instances = len(slowdowns)
    rates_rps = [busy / slowdown for busy, slowdown in enumerate(slowdowns, start=1)]
    rate = load * rates_rps[-1]
    return System(
        name=f"M/M/{instances} on one device, slowdown {slowdowns[-1]:g}, load {load:g}",
        theory=_birth_death(rate, rates_rps, load),
        plan=Plan(profile="law", replicas=instances, batch_size_max=1, routing=Routing.SHARED_QUEUE),
        workload=Workload(arrival_rate_rps=rate),
        service_times=DurationTimes(EXPONENTIAL),
        slowdowns=tuple(slowdowns),
        relaxation_requests=relaxation_requests(load, 1, rate * slowdowns[-1], variability=2.0),
        compared=(*MEANS, "utilization"),
        quantiles=(),
    )


def _birth_death(rate_rps: float, rates_rps: Sequence[float], load: float) -> Performance:
    """Means of a chain that leaves state n at `rates_rps[n - 1]`, the last of them for all above."""
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
    """M/M/1 behind a router that chooses at random."""
    law = RandomSplit(arrival_rate_rps=load * replicas, service_rate_rps=1.0, replicas=replicas)
    return _fleet(law.performance(quantiles), Routing.RANDOM, replicas, load, quantiles)


def round_robin(replicas: int, load: float, quantiles: Quantiles) -> System:
    """Servers with a queue each that take turns."""
    law = RoundRobin(arrival_rate_rps=load * replicas, service_rate_rps=1.0, replicas=replicas)
    return _fleet(law.performance(quantiles), Routing.ROUND_ROBIN, replicas, load, quantiles)


def shortest_queue(load: float, quantiles: Quantiles) -> System:
    """Join the shorter queue of two; that ties go to the first of them changes no law by symmetry."""
    law = ShortestQueue(arrival_rate_rps=2.0 * load, service_rate_rps=1.0)
    return _fleet(law.performance(quantiles), Routing.LEAST_OUTSTANDING, 2, load, quantiles)


def power_of_two(replicas: int, load: float, quantiles: Quantiles) -> System:
    """The shorter queue of two out of many, by the limit of ever more replicas and its stated error."""
    law = PowerOfChoices(arrival_rate_rps=load * replicas, service_rate_rps=1.0, replicas=replicas)
    return replace(
        _fleet(law.performance(quantiles), Routing.POWER_OF_TWO, replicas, load, quantiles),
        compared=("response_mean_s",),  # of the wait the limit promises little
    )


def _fleet(theory: Performance, routing: Routing, replicas: int, load: float, quantiles: Quantiles) -> System:
    """Exponential servers of rate 1 with a queue each."""
    rate = load * replicas
    return System(
        name=f"M/M/1 x {replicas} {routing} load {load:g}",
        theory=theory,
        plan=Plan(profile="law", replicas=replicas, batch_size_max=1, routing=routing),
        workload=Workload(arrival_rate_rps=rate),
        service_times=DurationTimes(EXPONENTIAL),
        relaxation_requests=relaxation_requests(load, replicas, rate, variability=2.0),
        quantiles=quantiles,
    )
