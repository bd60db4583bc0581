"""Agreement bulk: the laws of batching replicas beside the plan, the arrivals and the service."""

from capacity.performance import Performance
from capacity.plan import BatchTimer, Plan, Routing
from capacity.profile_files import load_profile
from capacity.queues.bulk import Bulk
from capacity.queues.bulk_closed import BulkClosed
from capacity.queues.bulk_ctmc import BulkCTMC
from capacity.queues.bulk_markov import BulkMarkov
from capacity.stability import relaxation_requests
from capacity.workload import ClosedPopulation, Workload
from simulations.agreement_laws import EXPONENTIAL, one_queue
from simulations.agreement_system import Quantiles, System
from simulations.agreement_times import DurationTimes, TableTimes
from simulations.relaxation import closed_relaxation_requests
from simulations.service import ExponentialTimes

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
