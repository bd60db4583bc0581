"""Gate: a balancer that sends a replica no more requests than it has places for, and holds back the others."""

from collections import deque
from collections.abc import Sequence

from capacity.question.plan import Routing
from simulations.reference.replica import Clock, Phase, Replica
from simulations.routing.candidates import Policy
from simulations.routing.policies import POLICIES

BEFORE_ARRIVALS = -1  # the rank of what comes before all that arrives at an instant


class Gate:
    """A balancer in front of replicas that hold a limited number of requests each.

    Round-robin passes over replicas that are full; any other policy holds back the request whose replica is full. Who
    waits here goes to the first replica that ends a batch, before those who arrive at that instant, as soon as that
    replica has dispatched who waited there. So while any wait under round-robin, or where the policy looks at all
    replicas, all of these are full, and none who arrives goes ahead of them; behind policies with chance some do.

    Args:
        places: most requests at a replica, in its batch and its queue.
        uniforms: two a request.

    Source:
        HAProxy 3.0.11, src/backend.c, assign_server and get_server_rnd; src/lb_fwrr.c, fwrr_get_next_server;
        src/queue.c, process_srv_queue.
    """

    def __init__(
        self,
        clock: Clock,
        routing: Routing,
        replicas: Sequence[Replica],
        places: int,
        uniforms: Sequence[float],
    ) -> None:
        self._clock, self._replicas, self._uniforms = clock, replicas, uniforms
        self._policy: Policy[Replica] = POLICIES[routing](len(replicas))
        self._passes_over = routing is Routing.ROUND_ROBIN
        self._places = places
        self._held: deque[int] = deque()
        # Replicas that have ended a batch at this instant, while others wait here.
        self._freed: list[int] = []

    def join(self, request: int) -> bool:
        """A request arrives at its replica, or waits here; none is rejected."""
        replica = self._chosen(self._uniforms[2 * request : 2 * request + 2])
        if replica is None:
            self._held.append(request)
        else:
            replica.join(request)
        return True

    def ended(self, replica: int) -> None:
        """A batch of a replica has ended, which leaves places there."""
        if self._held and not self._freed:
            self._clock.call(self._clock.now, Phase.ARRIVAL, BEFORE_ARRIVALS, self._fill)
        if self._held:
            self._freed.append(replica)

    def _chosen(self, uniforms: Sequence[float]) -> Replica | None:
        """The replica that a request goes to; None if it has to wait here."""
        if self._passes_over:
            open_ones = [one for one in self._replicas if self._has_place(one)]
            return self._policy(open_ones, uniforms) if open_ones else None
        chosen = self._policy(self._replicas, uniforms)
        return chosen if self._has_place(chosen) else None

    def _has_place(self, replica: Replica) -> bool:
        return replica.outstanding < self._places

    def _fill(self) -> None:
        """Requests that wait here go where places are free now, the lowest replica first."""
        for index in sorted(self._freed):
            while self._held and self._has_place(self._replicas[index]):
                self._replicas[index].join(self._held.popleft())
        self._freed.clear()
