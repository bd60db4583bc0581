"""Fleet: one run of replicas that fail and clients that try again, attempt by attempt."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from capacity.errors import DomainError
from capacity.question.plan import Batching, Plan, Routing
from capacity.recovery.clients import Clients
from capacity.recovery.faults import Action, Fault
from capacity.recovery.protection import Protection
from simulations.draws.attempts import AttemptDraws, Outcomes
from simulations.draws.service import ServiceTimes
from simulations.draws.watching import Sight, Unwatched, Watcher
from simulations.reference.recovery.balancer import Balancer, OneQueue
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
    watcher: Watcher | None = None,
) -> Outcomes:
    """Follow every request until it is decided, and every attempt until it is served, lost or stuck.

    The same input gives the same outcomes, bit for bit.

    Args:
        faults: those of one instant happen in their order here.
        watcher: looks from time to time; requests without a reply when it ends the run have failed.

    Raises:
        DomainError: the batch wait does not count from the oldest request; there are too few draws for the
            attempts; a fault's replica is not in the fleet.
    """
    _require(plan, draws, clients, faults)
    clock = Clock()
    counts = Counts()
    population = Population(clock, clients, protection.abandoned, draws.backoff.tolist(), counts)
    fleet = Fleet(clock, plan, service_times, draws, protection, population, counts)
    fleet.expect(faults)
    population.begin(draws.arrived_s.tolist(), fleet.entrance)
    stopped_s = _run_watched(clock, fleet, watcher or Unwatched())
    fleet.drop_the_abandoned()
    return replace(_outcomes(draws, population, counts), stopped_s=stopped_s)


def _run_watched(clock: Clock, fleet: "Fleet", watcher: Watcher) -> float:
    """Until nothing more happens and the watcher is done; when it ended the run, else infinity. [s]"""
    while clock.peek() < math.inf or watcher.next_s < math.inf:
        if clock.peek() <= watcher.next_s:
            clock.step()
            continue
        now_s = watcher.next_s
        more = watcher.look(fleet.sight(now_s))
        if more is None:
            return now_s
        fleet.expect(more)
    return math.inf


class Fleet:
    """The replicas with their queues.

    Attributes:
        entrance: where attempts come in.
    """

    def __init__(
        self,
        clock: Clock,
        plan: Plan,
        service_times: ServiceTimes,
        draws: AttemptDraws,
        protection: Protection,
        population: Population,
        counts: Counts,
    ) -> None:
        shares = plan.routing is Routing.SHARED_QUEUE
        self._clock = clock
        self._expected = 0  # faults so far
        self._population = population
        self._queues = [
            ProtectedQueue(clock, plan, protection, rank, population, counts)
            for rank in range(1 if shares else plan.replicas)
        ]
        uniforms = draws.service.tolist()
        count = len(draws.arrived_s)
        scales = [1.0] * count if draws.scale is None else draws.scale.tolist()
        self._replicas = [
            FaultyReplica(
                index,
                clock,
                self._queues[0 if shares else index],
                service_times,
                uniforms,
                scales,
                population,
                counts,
                owns_queue=not shares,
            )
            for index in range(plan.replicas)
        ]
        self.entrance: OneQueue | Balancer
        if shares:
            self.entrance = OneQueue(self._queues[0], counts)
        else:
            ejection = Ejection(clock, plan.replicas) if protection.ejects else None
            routing = draws.routing.tolist()
            self.entrance = Balancer(
                plan.routing, self._replicas, routing, ejection, counts, shuns=population.hedges
            )

    def expect(self, faults: Sequence[Fault]) -> None:
        """These happen too; of those of one instant, whoever was named first."""
        for rank, fault in enumerate(faults, start=self._expected):
            if fault.instant_s < math.inf:
                self._clock.call(fault.instant_s, Phase.FAULT, rank, partial(self.suffer, fault))
        self._expected += len(faults)

    def sight(self, now_s: float) -> Sight:
        """What a watcher sees."""
        return Sight(
            now_s,
            np.array([queue.waiting for queue in self._queues]),
            np.array([replica.serving for replica in self._replicas]),
            np.array([replica.busy_s(now_s) for replica in self._replicas]),
        )

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

    def _leave(self, replica: FaultyReplica) -> None:
        """Its own queue is routed anew, in order, also those whom nobody waits for."""
        replica.is_up = replica.is_visible = False
        if not replica.owns_queue:
            return
        for attempt in replica.queue.clear():
            failure = self.entrance.admit(attempt)
            if failure is not None and attempt.is_waited_for:
                self._population.fail(attempt, failure)


def _require(plan: Plan, draws: AttemptDraws, clients: Clients, faults: Sequence[Fault]) -> None:
    """What the model knows, and enough random numbers."""
    if plan.batching is not Batching.TRITON or plan.preferred_sizes:
        raise DomainError(
            f"clients that try again need triton batching without preferred sizes, got {plan.batching}"
        )
    if len(draws.service) < clients.attempts:
        raise DomainError(f"{clients.attempts} attempts need as many draws, got {len(draws.service)}")
    for fault in faults:
        if not 0 <= fault.replica < plan.replicas:
            raise DomainError(f"a fault of replica {fault.replica}, but there are {plan.replicas}")


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
