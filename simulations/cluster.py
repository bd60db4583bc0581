"""Cluster: one run of a fleet, request by request, in SimPy; the reference for every other engine."""

from collections.abc import Generator

from capacity.plan import Plan, Routing
from simulations.arrivals import Draws
from simulations.clock import Clock, Moment, Phase
from simulations.records import Batch, Records
from simulations.replica import Replica, RequestQueue
from simulations.router import Policy, routing_policy
from simulations.service import ServiceTimes


def run(plan: Plan, service_times: ServiceTimes, draws: Draws) -> Records:
    """Serve all requests of `draws` under `plan`, to the last one.

    The same plan, service times and draws give the same records, bit for bit.
    """
    clock = Clock()
    arrived_s = draws.arrived_s.tolist()
    replicas = _fleet(plan, clock, arrived_s)
    batches: list[Batch] = []
    uniforms = draws.service.tolist()
    for replica in replicas:
        clock.process(replica.serve(clock, service_times, uniforms, batches))
    policy = routing_policy(plan.routing, replicas, draws.routing.tolist())
    clock.process(_arrive(clock, arrived_s, policy))
    clock.run()
    return Records.of(draws.arrived_s, batches)


def _fleet(plan: Plan, clock: Clock, arrived_s: list[float]) -> list[Replica]:
    """Replicas with a queue each, or all at one."""
    shared = plan.routing is Routing.SHARED_QUEUE
    queues = [RequestQueue(clock, plan, arrived_s) for _ in range(1 if shared else plan.replicas)]
    outstanding = [0] * plan.replicas
    return [Replica(index, queues[0 if shared else index], outstanding) for index in range(plan.replicas)]


def _arrive(clock: Clock, arrived_s: list[float], policy: Policy) -> Generator[Moment, None, None]:
    """Requests arrive, one after the other, each at the replica that the router picks."""
    for request, instant_s in enumerate(arrived_s):
        yield Moment(clock).at(instant_s, Phase.ARRIVAL)
        replica = policy(request)
        replica.outstanding[replica.index] += 1
        replica.queue.join(request)
