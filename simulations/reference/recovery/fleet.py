"""Fleet: one run of replicas that fail and clients that try again, attempt by attempt."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol, TypeVar

import numpy as np

from capacity.errors import DomainError
from capacity.question.plan import Batching, Plan, Routing
from capacity.recovery.clients import Clients
from capacity.recovery.faults import Action, ColdCache, Fault
from capacity.recovery.protection import Protection
from simulations.draws.attempts import AttemptDraws, Outcomes
from simulations.draws.service import ServiceTimes
from simulations.draws.watching import Sight, Unwatched, Watcher
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
    watcher: Watcher | None = None,
) -> Outcomes:
    """Follow every request until it is decided, and every attempt until it is served, lost or stuck.

    The same input gives the same outcomes, bit for bit.

    Args:
        faults: those of one instant happen in their order here.
        cold: batches of a replica that has come back; None: like any other.
        watcher: looks from time to time; requests without a reply when it ends the run have failed.

    Raises:
        DomainError: the batch wait does not count from the oldest request; there are too few draws for the
            attempts; a fault's replica is not in the fleet.
    """
    _require(plan, draws, clients, faults)

    def fleet(clock: Clock, population: Population, counts: Counts) -> BatchingFleet:
        return _batching(clock, plan, service_times, draws, clients, protection, population, counts, cold)

    watch = partial(_watch, watcher=watcher or Unwatched())
    return follow(fleet, draws, clients, protection, faults, watch)


def _watch(clock: Clock, fleet: "BatchingFleet", watcher: Watcher) -> float:
    """Until nothing more happens and the watcher is done; when it ended the run, else infinity. [s]"""
    while clock.peek() < math.inf or watcher.next_s < math.inf:
        if clock.peek() <= watcher.next_s:
            clock.step()
            continue
        now_s = watcher.next_s
        more = watcher.look(fleet.sight(now_s))
        if more is None:
            return now_s
        fleet.expect(clock, more)
    return math.inf


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
        self._expected = 0  # faults so far

    def expect(self, clock: Clock, faults: Sequence[Fault]) -> None:
        """These happen too; of those of one instant, whoever was named first."""
        for rank, fault in enumerate(faults, start=self._expected):
            if fault.instant_s < math.inf:
                clock.call(fault.instant_s, Phase.FAULT, rank, partial(self.suffer, fault))
        self._expected += len(faults)

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


class BatchingFleet(Fleet):
    """Replicas that take batches from a queue, which somebody may look at."""

    def __init__(
        self,
        replicas: Sequence[FaultyReplica],
        entrance: OneQueue | Balancer,
        population: Population,
        queues: Sequence[ProtectedQueue],
    ) -> None:
        super().__init__(replicas, entrance, population, queues)
        self._batching = replicas

    def sight(self, now_s: float) -> Sight:
        """What a watcher sees."""
        return Sight(
            now_s,
            np.array([queue.waiting for queue in self._queues]),
            np.array([replica.serving for replica in self._batching]),
            np.array([replica.busy_s(now_s) for replica in self._batching]),
        )


AnyFleet = TypeVar("AnyFleet", bound=Fleet)


def to_the_end(clock: Clock, fleet: Fleet) -> float:
    """Until nothing more happens, which nobody ends. [s]"""
    clock.run()
    return math.inf


def follow(
    build: Callable[[Clock, Population, Counts], AnyFleet],
    draws: AttemptDraws,
    clients: Clients,
    protection: Protection,
    faults: Sequence[Fault],
    go_on: Callable[[Clock, AnyFleet], float] = to_the_end,
) -> Outcomes:
    """One run of a fleet, from its first request to its last event.

    Args:
        go_on: lets things happen, and says when somebody ended the run. [s]
    """
    clock = Clock()
    counts = Counts()
    population = Population(clock, clients, protection.abandoned, draws.backoff.tolist(), counts)
    fleet = build(clock, population, counts)
    fleet.expect(clock, faults)
    population.begin(draws.arrived_s.tolist(), fleet.entrance)
    stopped_s = go_on(clock, fleet)
    fleet.drop_the_abandoned()
    return replace(_outcomes(draws, population, counts), stopped_s=stopped_s)


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
) -> BatchingFleet:
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
        return BatchingFleet(replicas, OneQueue(queues[0], counts), population, queues)
    balancer = balancer_for(clock, plan.routing, replicas, draws, clients, protection, counts)
    return BatchingFleet(replicas, balancer, population, queues)


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
