"""Fleet: one run of servers that fail and clients that try again, attempt by attempt."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import numpy as np

from capacity.question.plan import Routing
from capacity.recovery.faults import Action, Fault
from capacity.recovery.protection import Protection
from capacity.traffic.clients import Clients
from simulations.draws.attempts import (
    AttemptDraws,
    BatchFleet,
    EngineFleet,
    Outcomes,
    check_faults,
)
from simulations.draws.attempts import Fleet as Described
from simulations.draws.tokens import TokenRecords
from simulations.draws.watching import Sight, Unwatched, Watcher
from simulations.reference.recovery.attempt import Attempt
from simulations.reference.recovery.balancer import Balancer, OneQueue
from simulations.reference.recovery.ejection import ejection_for
from simulations.reference.recovery.faulty_engine import engines_of
from simulations.reference.recovery.faulty_replica import replicas_of
from simulations.reference.recovery.faulty_server import FaultyServer
from simulations.reference.recovery.guide import guide_for
from simulations.reference.recovery.population import Population
from simulations.reference.recovery.room import Room
from simulations.reference.recovery.surroundings import Counts, Surroundings
from simulations.reference.replica import Clock, Phase, order_of

_BEFORE_ARRIVALS = -1


class Line(Protocol):
    """Where attempts wait: a queue, or a server that has one of its own."""

    @property
    def waiting(self) -> int:
        """How many wait."""

    def admit(self, attempt: Attempt) -> bool:
        """An attempt comes to the end; False if it is full."""

    def drop_the_abandoned(self) -> None:
        """The run is over: who is still there and not waited for will not be served."""


Servers = tuple[Sequence[FaultyServer[Any]], Sequence[Line], Callable[[], TokenRecords | None]]
# By the kind of fleet: its servers, where attempts wait for them, and what there is on record of tokens after a run.
SERVERS: dict[type, Callable[[Any, Surroundings], Servers]] = {
    BatchFleet: replicas_of,
    EngineFleet: engines_of,
}


def run(
    fleet: Described,
    draws: AttemptDraws,
    clients: Clients,
    protection: Protection,
    faults: Sequence[Fault],
    *,
    watcher: Watcher | None = None,
) -> Outcomes:
    """Follow every request until it is decided, and every attempt until it is served, called off, lost or stuck.

    The same input gives the same outcomes, bit for bit.

    Args:
        faults: sorted by instant; those of one instant happen in their order here.
        watcher: looks from time to time; requests without a reply when it ends the run have failed.

    Raises:
        DomainError: what the model does not have, see `check` of the fleet; faults out of order or of no replica.
    """
    fleet.check(draws, clients, protection)
    check_faults(faults, fleet.replicas)
    clock, counts = Clock(), Counts()
    population = Population(clock, clients, protection.abandoned, draws.backoff.tolist(), counts)
    around = Surroundings(clock, population, draws, protection, counts)
    servers, lines, records = SERVERS[type(fleet)](fleet, around)
    entrance: OneQueue | Balancer = OneQueue(lines[0], counts)
    if fleet.routing is not Routing.SHARED_QUEUE:
        ejection = ejection_for(protection.ejection, clock, servers)
        hedges = clients.hedge_s is not None
        entrance = Balancer(
            clock, guide_for(fleet, draws, protection), servers, ejection, counts, hedges=hedges
        )
    running = Fleet(clock, servers, lines, entrance, population)
    running.expect(faults)
    population.begin(draws, entrance)
    stopped_s = _watch(clock, running, watcher or Unwatched())
    running.drop_the_abandoned()
    return replace(_outcomes(draws, population, counts), stopped_s=stopped_s, tokens=records())


class Fleet:
    """The servers, where attempts wait for them, and where attempts come in."""

    def __init__(
        self,
        clock: Clock,
        servers: Sequence[FaultyServer[Any]],
        lines: Sequence[Line],
        entrance: OneQueue | Balancer,
        population: Population,
    ) -> None:
        self._clock, self._servers = clock, servers
        self._lines = lines
        self._entrance = entrance
        self._population = population
        self._expected = 0  # faults so far

    def expect(self, faults: Sequence[Fault]) -> None:
        """These happen too; of those of one instant, whoever was named first."""
        for rank, fault in enumerate(faults, start=self._expected):
            if fault.instant_s < math.inf:
                self._clock.call(fault.instant_s, Phase.FAULT, rank, partial(self._suffer, fault))
        self._expected += len(faults)

    def step(self) -> None:
        """The next thing happens; a router that reads the replicas has done so up to then."""
        instant_s, order = self._clock.peek(), self._clock.next_order
        is_after_completions = order >= order_of(Phase.ARRIVAL, _BEFORE_ARRIVALS)
        self._entrance.read(instant_s if is_after_completions else math.nextafter(instant_s, 0.0))
        self._clock.step()

    def sight(self, now_s: float) -> Sight:
        """What a watcher sees."""
        return Sight(
            now_s,
            np.array([line.waiting for line in self._lines]),
            np.array([server.serving for server in self._servers]),
            np.array([server.busy_s(now_s) for server in self._servers]),
        )

    def drop_the_abandoned(self) -> None:
        """The run is over: who is still somewhere and not waited for will not be served."""
        places: list[Line | FaultyServer[Any] | Room] = [*self._lines, *self._servers, self._entrance.room]
        for place in dict.fromkeys(places):
            place.drop_the_abandoned()

    def _suffer(self, fault: Fault) -> None:
        """Something happens to a server."""
        server, action = self._servers[fault.replica], fault.action
        if action is Action.LEAVE:
            self._leave(server)
        else:
            server.suffer(fault)
        if action is Action.AWAY:
            self._go(server)
        elif action is Action.HIDE:
            self._entrance.left(server.index)
        elif action in (Action.JOIN, Action.RESTART):
            self._entrance.goes(server.index, is_back=True)
            self._call_room()

    def _leave(self, server: FaultyServer[Any]) -> None:
        """Route the waiting attempts again, in order, including those that no client waits for."""
        attempts = server.vacate()
        self._entrance.left(server.index)
        self._route(attempts)

    def _go(self, server: FaultyServer[Any]) -> None:
        """All that a server held begins again, once all that happens at this instant has happened."""
        attempts = server.clear()
        self._entrance.left(server.index)
        self._entrance.goes(server.index, is_back=False)
        for attempt in attempts:
            self._entrance.room.keep(attempt)
        self._call_room()

    def _call_room(self) -> None:
        """Attempts that wait for a replica are routed before any that arrive at this instant."""
        self._clock.call(self._clock.now, Phase.ARRIVAL, _BEFORE_ARRIVALS, self._route_again)

    def _route_again(self) -> None:
        self._route(self._entrance.room.empty())

    def _route(self, attempts: Sequence[Attempt]) -> None:
        for attempt in attempts:
            failure = self._entrance.admit(attempt)
            if failure is not None and attempt.is_waited_for:
                self._population.fail(attempt, failure)


def _watch(clock: Clock, fleet: Fleet, watcher: Watcher) -> float:
    """The run goes on until all is over and the watcher is done; when the watcher ended it, else infinity. [s]"""
    while clock.peek() < math.inf or watcher.next_s < math.inf:
        if clock.peek() <= watcher.next_s:
            fleet.step()
            continue
        now_s = watcher.next_s
        more = watcher.look(fleet.sight(now_s))
        if more is None:
            return now_s
        fleet.expect(more)
    return math.inf


def _outcomes(draws: AttemptDraws, population: Population, counts: Counts) -> Outcomes:
    return Outcomes(
        arrived_s=np.array(population.arrived_s),
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
        started_s=np.array(population.started_s),
        batch_size=np.array(population.batch_size, dtype=np.int64),
        busy_s=np.array(population.busy_s),
        batches=np.array(population.batches),
    )
