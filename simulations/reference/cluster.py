"""Cluster: one run of a fleet, request by request, in SimPy; the reference for every other engine."""

from collections.abc import Callable, Generator, Sequence

import numpy as np

from capacity.question.plan import Routing
from capacity.server.batch.plan import BatchPlan
from simulations.draws.arrivals import ClosedDraws, Draws
from simulations.draws.records import Batch, Records
from simulations.draws.service import ALONE, ServiceTimes
from simulations.draws.start import Underway
from simulations.reference.gate import Gate
from simulations.reference.population import Population
from simulations.reference.replica import (
    Clock,
    Device,
    Moment,
    Phase,
    Replica,
    RequestQueue,
)
from simulations.routing.policies import router

# A request arrives at the balancer; False if it is rejected.
Join = Callable[[int], bool]


def run(
    plan: BatchPlan,
    service_times: ServiceTimes,
    draws: Draws | ClosedDraws,
    slowdowns: Sequence[float] = ALONE,
) -> Records:
    """Serve all requests of `draws` under `plan`, to the last one that is not rejected.

    The same plan, service times and draws give the same records, bit for bit. The users of a closed
    population start evenly spread over the time in which the first request is served alone.

    Args:
        slowdowns: how many times as long a batch takes while 1, 2, ... instances of its device are busy;
            that many replicas share a device.
    """
    clock = Clock()
    batches: list[Batch] = []
    uniforms = draws.service.tolist()
    arrived_s: list[float] = [] if isinstance(draws, ClosedDraws) else draws.arrived_s.tolist()
    replicas = _fleet(plan, clock, slowdowns)
    join, ended = _balancer(plan, clock, replicas, draws.routing.tolist())

    def finish(batch: Batch) -> None:
        batches.append(batch)
        ended(batch.replica)
        if population is not None:
            population.answer(batch.requests, batch.finished_s)

    population: Population | None = None
    if isinstance(draws, ClosedDraws):

        def send(request: int) -> None:
            arrived_s.append(clock.now)
            if not join(request):
                users.answer([request], clock.now)

        population = users = Population(clock, draws.users, draws.think_s.tolist(), send)
        users.begin(spread_s=service_times(1, uniforms[0]))
    else:
        placed = [] if draws.underway is None else _begin(replicas, draws.underway)
        clock.process(_arrive(clock, arrived_s, join, placed))
    for replica in replicas:
        clock.process(replica.serve(clock, service_times, uniforms, finish))
    clock.run()
    return Records.of(np.asarray(arrived_s), batches)


def _balancer(
    plan: BatchPlan, clock: Clock, replicas: Sequence[Replica], uniforms: Sequence[float]
) -> tuple[Join, Callable[[int], None]]:
    """Functions that take requests as they arrive, and note that a replica has ended a batch."""
    if plan.outstanding_max is not None:
        gate = Gate(clock, plan.routing, replicas, plan.outstanding_max, uniforms)
        return gate.join, gate.ended
    route = router(plan.routing, replicas, uniforms)
    return lambda request: route(request).join(request), lambda replica: None


def _fleet(plan: BatchPlan, clock: Clock, slowdowns: Sequence[float]) -> list[Replica]:
    """Replicas with a queue each, or all at one; devices take them in order of their index."""
    shared = plan.routing is Routing.SHARED_QUEUE
    count, fed = (1, plan.replicas) if shared else (plan.replicas, 1)
    queues = [RequestQueue(clock, plan, fed) for _ in range(count)]
    instances = len(slowdowns)
    devices = [Device(clock, slowdowns) for _ in range(-(-plan.replicas // instances))]
    return [
        Replica(index, queues[0 if shared else index], devices[index // instances], clock)
        for index in range(plan.replicas)
    ]


def _begin(replicas: Sequence[Replica], underway: Underway) -> list[Replica]:
    """Let the replicas serve what they do at the start; return those of the first requests, which are not routed."""
    for replica, size, ends_s in zip(
        replicas, underway.sizes.tolist(), underway.ends_s.tolist(), strict=True
    ):
        replica.begin(size, ends_s)
    return [replicas[index] for index in underway.placed.tolist()]


def _arrive(
    clock: Clock, arrived_s: list[float], join: Join, placed: Sequence[Replica]
) -> Generator[Moment, None, None]:
    """Requests arrive, one after another, each at the balancer, but the first where they are."""
    for request, instant_s in enumerate(arrived_s):
        yield Moment(clock).at(instant_s, Phase.ARRIVAL)
        if request < len(placed):
            placed[request].join(request)
        else:
            join(request)
