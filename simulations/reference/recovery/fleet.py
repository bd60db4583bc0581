"""Fleet: one run of replicas that fail and clients that try again, attempt by attempt."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import numpy as np

from capacity.errors import DomainError
from capacity.question.plan import Batching, Plan, Routing
from capacity.recovery.clients import Clients
from capacity.recovery.faults import Action, ColdCache, Fault
from capacity.recovery.protection import Protection
from simulations.draws.attempts import AttemptDraws, Outcomes
from simulations.draws.service import ServiceTimes
from simulations.reference.recovery.attempt import Attempt
from simulations.reference.recovery.balancer import Balancer, OneQueue, Routed
from simulations.reference.recovery.counts import Counts
from simulations.reference.recovery.ejection import Ejection
from simulations.reference.recovery.faulty_replica import FaultyReplica
from simulations.reference.recovery.population import Population
from simulations.reference.recovery.protected_queue import ProtectedQueue
from simulations.reference.replica import Clock, Phase


def run(
    plan: Plan,
    service_times: ServiceTimes,
    draws: AttemptDraws,
    clients: Clients,
    protection: Protection,
    faults: Sequence[Fault],
    cold: ColdCache | None = None,
) -> Outcomes:
    """Follow every request until it is decided, and every attempt until it is served, lost or stuck.

    The same input gives the same outcomes, bit for bit.

    Args:
        faults: those of one instant happen in their order here.
        cold: batches of a replica that has come back; None: like any other.

    Raises:
        DomainError: the batch wait does not count from the oldest request; there are too few draws for the
            attempts; a fault's replica is not in the fleet.
    """
    _require(plan, draws, clients, faults)

    def fleet(clock: Clock, population: Population, counts: Counts) -> Fleet:
        return _batching(clock, plan, service_times, draws, clients, protection, population, counts, cold)

    return follow(fleet, draws, clients, protection, faults)


class Replica(Protocol):
    """One of a fleet."""

    def suffer(self, fault: Fault) -> None:
        """Something happens to it that is no business of others."""

    def vacate(self) -> list[Attempt]:
        """It takes no more; who waits there and can go elsewhere leaves, in order."""

    def drop_the_abandoned(self) -> None:
        """The run is over: who is still there and not waited for will not be served."""


class Fleet:
    """The replicas, and where attempts come in.

    Args:
        queues: those of their queues that are no part of a replica.
    """

    def __init__(
        self,
        replicas: Sequence[Replica],
        entrance: OneQueue | Balancer,
        population: Population,
        queues: Sequence[ProtectedQueue] = (),
    ) -> None:
        self.entrance = entrance
        self._replicas = replicas
        self._population = population
        self._queues = queues

    def suffer(self, fault: Fault) -> None:
        """Something happens to a replica."""
        replica = self._replicas[fault.replica]
        if fault.action is Action.LEAVE:
            self._leave(replica)
        else:
            replica.suffer(fault)

    def drop_the_abandoned(self) -> None:
        """The run is over: who is still somewhere and not waited for will not be served."""
        for queue in self._queues:
            queue.drop_the_abandoned()
        for replica in self._replicas:
            replica.drop_the_abandoned()

    def _leave(self, replica: Replica) -> None:
        """Its own queue is routed again, in order, also those that no client waits for."""
        for attempt in replica.vacate():
            failure = self.entrance.admit(attempt)
            if failure is not None and attempt.is_waited_for:
                self._population.fail(attempt, failure)


def follow(
    build: Callable[[Clock, Population, Counts], Fleet],
    draws: AttemptDraws,
    clients: Clients,
    protection: Protection,
    faults: Sequence[Fault],
) -> Outcomes:
    """One run of a fleet, from its first request to its last event."""
    clock = Clock()
    counts = Counts()
    population = Population(clock, clients, protection.abandoned, draws.backoff.tolist(), counts)
    fleet = build(clock, population, counts)
    for rank, fault in enumerate(faults):
        if fault.instant_s < math.inf:
            clock.call(fault.instant_s, Phase.FAULT, rank, partial(fleet.suffer, fault))
    population.begin(draws.arrived_s.tolist(), fleet.entrance)
    clock.run()
    fleet.drop_the_abandoned()
    return _outcomes(draws, population, counts)


def _batching(
    clock: Clock,
    plan: Plan,
    service_times: ServiceTimes,
    draws: AttemptDraws,
    clients: Clients,
    protection: Protection,
    population: Population,
    counts: Counts,
    cold: ColdCache | None,
) -> Fleet:
    """Replicas that take batches from a queue."""
    shares = plan.routing is Routing.SHARED_QUEUE
    queues = [
        ProtectedQueue(clock, plan, protection, rank, population, counts)
        for rank in range(1 if shares else plan.replicas)
    ]
    uniforms = draws.service.tolist()
    scales = [1.0] * len(draws.arrived_s) if draws.scale is None else draws.scale.tolist()
    replicas = [
        FaultyReplica(
            index,
            clock,
            queues[0 if shares else index],
            service_times,
            uniforms,
            scales,
            population,
            counts,
            cold,
            owns_queue=not shares,
        )
        for index in range(plan.replicas)
    ]
    if shares:
        return Fleet(replicas, OneQueue(queues[0], counts), population, queues)
    balancer = balancer_for(clock, plan.routing, replicas, draws, clients, protection, counts)
    return Fleet(replicas, balancer, population, queues)


def balancer_for(
    clock: Clock,
    routing: Routing,
    replicas: Sequence[Routed],
    draws: AttemptDraws,
    clients: Clients,
    protection: Protection,
    counts: Counts,
) -> Balancer:
    """The router of replicas with a queue each."""
    ejection = Ejection(clock, len(replicas)) if protection.ejects else None
    hedges = clients.hedge_s is not None
    return Balancer(routing, replicas, draws.routing.tolist(), ejection, counts, hedges=hedges)


def _require(plan: Plan, draws: AttemptDraws, clients: Clients, faults: Sequence[Fault]) -> None:
    """What the model knows, and enough random numbers."""
    if plan.batching is not Batching.TRITON or plan.preferred_sizes:
        raise DomainError(
            f"clients that try again need triton batching without preferred sizes, got {plan.batching}"
        )
    if len(draws.service) < clients.attempts:
        raise DomainError(f"{clients.attempts} attempts need as many draws, got {len(draws.service)}")
    require_replicas(faults, plan.replicas)


def require_replicas(faults: Sequence[Fault], replicas: int) -> None:
    """Refuse faults of replicas that are not there."""
    for fault in faults:
        if not 0 <= fault.replica < replicas:
            raise DomainError(f"a fault of replica {fault.replica}, but there are {replicas}")


def _outcomes(draws: AttemptDraws, population: Population, counts: Counts) -> Outcomes:
    return Outcomes(
        arrived_s=draws.arrived_s,
        answered_s=np.array(population.answered_s),
        ended_s=np.array(population.ended_s),
        attempts=np.array(population.sent, dtype=np.int64),
        sent=np.array(counts.sent, dtype=np.int64),
        served=counts.served,
        for_nobody=counts.for_nobody,
        rejected=counts.rejected,
        shed=counts.shed,
        crashed=counts.crashed,
        dropped=counts.dropped,
        timed_out=counts.timed_out,
    )
