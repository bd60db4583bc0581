"""Contestants: the engines for each system, by name; `MUSTS` in engines.py compares them by these names.

To enter an engine, add a `Contestant` here: a function that takes a seed and a number of requests, draws its random
numbers, and returns the response times.
"""

import functools

import numpy as np
from peers import peers
from systems import BATCHES, MM8, Contestant, Floats, System
from yardstick import yardstick

from capacity.traffic.workload import Workload
from simulations.draws.arrivals import Seed, Stream, draw
from simulations.draws.service import ExponentialTimes, ServiceTimes
from simulations.kernel.serve import serve
from simulations.reference.cluster import run
from simulations.validation.systems import TableTimes

KERNEL = "kernel"  # our compiled event loop
RECURSION = "kernel recursion"  # our compiled recursions: FCFS for M/M/8, batch by batch, or by replica
REFERENCE = "reference (SimPy)"  # simulations.reference.cluster.run
C = "C"  # an event loop; for M/M/8 a heap of the instants at which servers are free
C_SORTED = "C, sorted"  # the same without a heap
CIMBA, SIMPY = "cimba", "SimPy"


def contestants(system: System) -> list[Contestant]:
    return [*kernels(system), *c_loops(system), *reference(system), *peers(system)]


def kernels(system: System) -> list[Contestant]:
    """Our compiled engine, by events and by a recursion."""
    return [
        Contestant(name, system, 4_000_000, functools.partial(_kernel, system, by_events=by_events))
        for name, by_events in ((KERNEL, True), (RECURSION, False))
    ]


def _kernel(system: System, seed: int, requests: int, *, by_events: bool) -> Floats:
    stream = Stream(Workload(arrival_rate_rps=system.rate_rps), requests, Seed(value=seed))
    response_s, filled = np.empty(requests), 0
    for part in serve(system.plan, service_times(system), stream, by_events=by_events):
        here = slice(filled, filled + len(part.arrived_s))
        np.subtract(part.finished_s, part.arrived_s, out=response_s[here])
        filled = here.stop
    return response_s


def reference(system: System) -> list[Contestant]:
    """The SimPy model that every engine of ours must equal; longer runs slow it, as their records pile up."""
    return [Contestant(REFERENCE, system, 30_000, functools.partial(_reference, system))]


def service_times(system: System) -> ServiceTimes:
    return TableTimes(system.batch_times_s) if system.batch_times_s else ExponentialTimes(1.0)


def _reference(system: System, seed: int, requests: int) -> Floats:
    draws = draw(Workload(arrival_rate_rps=system.rate_rps), requests, Seed(value=seed))
    return run(system.plan, service_times(system), draws).response_s


def c_loops(system: System) -> list[Contestant]:
    """The yardstick, if there is a C compiler."""
    loops = yardstick()
    if loops is None:
        return []
    rate_rps, replicas = system.rate_rps, system.replicas
    if system is MM8:
        queue = {"rate_rps": rate_rps, "service_mean_s": 1.0, "servers": replicas}
        return [
            Contestant(C, system, 4_000_000, functools.partial(loops.mmc, **queue)),
            Contestant(C_SORTED, system, 4_000_000, functools.partial(loops.mmc_sorted, **queue)),
        ]
    if system is BATCHES:
        loop = functools.partial(
            loops.batches,
            rate_rps=rate_rps,
            batch_times_s=system.batch_times_s,
            wait_max_s=system.batch_wait_max_s,
            servers=replicas,
        )
    else:
        loop = functools.partial(
            loops.own_queues, rate_rps=rate_rps, service_mean_s=1.0, replicas=replicas, routing=system.routing
        )
    return [Contestant(C, system, 4_000_000, loop)]
