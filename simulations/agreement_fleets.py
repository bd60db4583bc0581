"""Agreement fleets: exponential servers with a queue each, behind every router that has a law."""

from dataclasses import replace

from capacity.performance import Performance
from capacity.plan import Plan, Routing
from capacity.queues.routing import PowerOfChoices, RandomSplit, RoundRobin, ShortestQueue
from capacity.stability import relaxation_requests
from capacity.workload import Workload
from simulations.agreement_laws import EXPONENTIAL
from simulations.agreement_system import Quantiles, System
from simulations.agreement_times import DurationTimes


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
