"""Kernel of recovery: clients that try again, faults and shedding in front of servers of any kind, as compiled code.

The same draws give the outcomes of `reference.recovery`, bit for bit. Events lie in one heap, ordered by
instant, phase and rank; memory grows between two events, when there may not be enough for the next.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

from capacity.recovery.faults import Fault
from capacity.recovery.protection import Protection
from capacity.traffic.clients import Clients
from simulations.draws.attempts import (
    AttemptDraws,
    BatchFleet,
    EngineFleet,
    Fleet,
    Outcomes,
    check_faults,
)
from simulations.draws.records import Integers
from simulations.draws.tokens import TokenRecords
from simulations.draws.watching import Sight, Unwatched, Watcher
from simulations.kernel.recovery.batches import BatchServers
from simulations.kernel.recovery.engines import EngineServers
from simulations.kernel.recovery.state import ASKED_EVERY_S, FULL, OVER, World
from simulations.kernel.recovery.world import (
    outcomes_of,
    rules_for,
    schedule,
    with_faults,
    with_more_requests,
    with_more_room,
    world_for,
)


class Servers(Protocol):
    """What a kind of server brings: the loop compiled for it, and its state beside the world.

    Attributes:
        moves: how many events one start makes at most.
    """

    @property
    def moves(self) -> int:
        """How many events one start makes at most."""

    def advance(self, w: World, until_s: float) -> int:
        """Let things happen; see `loop.run_loop`."""

    def grow(self, attempts: int) -> None:
        """There is memory for this many attempts now."""

    def take(self, draws: AttemptDraws) -> None:
        """The draws of all requests, where those so far were only of the first ones."""

    def waiting(self, w: World) -> Integers:
        """Attempts in each queue."""

    def sight(self, w: World, now_s: float) -> Sight:
        """The fleet as its watcher sees it."""

    def records(self, w: World) -> TokenRecords | None:
        """What there is on record of tokens."""


# By the kind of fleet.
SERVERS: dict[type, Callable[[Any, AttemptDraws, Clients], Servers]] = {
    BatchFleet: BatchServers,
    EngineFleet: EngineServers,
}


def run(
    fleet: Fleet,
    draws: AttemptDraws,
    clients: Clients,
    protection: Protection,
    faults: Sequence[Fault],
    *,
    is_hopeless: Callable[[float, int], bool] | None = None,
    rest: Callable[[], AttemptDraws] | None = None,
    watcher: Watcher | None = None,
) -> Outcomes:
    """Serve all requests of `draws`, whose clients try again, while faults happen; as `reference.recovery.run`.

    Args:
        faults: sorted by instant.
        is_hopeless: asked every some seconds, with the instant and how many attempts wait, whether to stop;
            requests without a reply by then have failed.
        rest: all draws, where `draws` are only those of the first requests; asked when the run goes on beyond them.
        watcher: looks from time to time; requests without a reply when it ends the run have failed.

    Raises:
        DomainError: what the model does not have, see `Fleet.check`; faults out of order or of no replica.
    """
    fleet.check(draws, clients, protection)
    check_faults(faults, fleet.replicas)
    rules = rules_for(fleet.routing, fleet.queue_limit, clients, protection)
    w = world_for(rules, fleet.replicas, draws, clients, faults)
    servers = SERVERS[type(fleet)](fleet, draws, clients)
    w.state["moves"] = servers.moves
    schedule(w, faults, protection)
    watcher = watcher or Unwatched()
    asked_s = math.inf if is_hopeless is None else ASKED_EVERY_S
    known_s = math.inf if rest is None else math.nextafter(draws.arrived_s[-1], -math.inf)
    while (
        why := servers.advance(w, min(asked_s, known_s, watcher.next_s))
    ) != OVER or watcher.next_s < math.inf:
        if why == FULL:
            w = with_more_room(w)
            servers.grow(len(w.attempts))
        elif rest is not None and known_s <= min(asked_s, watcher.next_s):
            draws, known_s = rest(), math.inf
            w = with_more_requests(w, world_for(rules, fleet.replicas, draws, clients, ()))
            servers.take(draws)
        elif watcher.next_s <= asked_s:
            now_s = watcher.next_s
            more = watcher.look(servers.sight(w, now_s))
            if more is None:
                return _ended(w, servers, now_s)
            check_faults(more, fleet.replicas)
            w = with_faults(w, more)
            servers.grow(len(w.attempts))
        elif is_hopeless is not None and is_hopeless(asked_s, int(servers.waiting(w).sum())):
            return _ended(w, servers, asked_s)
        else:
            asked_s += ASKED_EVERY_S
    return _ended(w, servers)


def _ended(w: World, servers: Servers, stopped_s: float = math.inf) -> Outcomes:
    """The outcomes of a run, which may have been given up."""
    return replace(outcomes_of(w), stopped_s=stopped_s, tokens=servers.records(w))
