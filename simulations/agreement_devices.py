"""Agreement devices: exponential batches of one on a device whose instances slow each other down."""

import math
from collections.abc import Sequence

import numpy as np

from capacity.performance import Kind, Performance
from capacity.plan import Plan, Routing
from capacity.stability import relaxation_requests
from capacity.workload import Workload
from simulations.agreement_laws import EXPONENTIAL
from simulations.agreement_system import MEANS, System
from simulations.agreement_times import DurationTimes

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
