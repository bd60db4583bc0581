"""Ring: a session goes to the server that has its hash on the ring of HAProxy or nginx.

If that server is not there, nginx takes the next point of one that is, and HAProxy the nearest of those that are. A
session whose name is not known has a hash by chance.

Source:
    HAProxy 3.0.11, src/lb_chash.c, chash_get_server_hash. nginx 1.26.3,
    src/http/modules/ngx_http_upstream_hash_module.c, ngx_http_upstream_get_chash_peer.
"""

from bisect import bisect_left
from collections.abc import Container, Sequence

import numpy as np

from capacity.question.plan import Routing
from capacity.server.engine.ring import RING, ring_of, spot_of
from simulations.compiled import inlined
from simulations.draws.tokens import PASS_STEP
from simulations.routing.conversations.beliefs import Beliefs
from simulations.routing.conversations.seen import Asked, Fleet, Router, Seen
from simulations.routing.conversations.session import mixed


class RingRouter(Router):
    """Sends a session to the server at its place on a ring."""

    def __init__(self, routing: Routing, fleet: Fleet) -> None:
        ring = ring_of(routing, fleet.replicas, fleet.rules.servers)
        self._points, self._servers = ring.points.tolist(), ring.servers.tolist()
        self._is_nearest = ring.is_nearest
        self._routing, self._fleet = routing, fleet

    def choose(
        self, engines: Sequence[Seen], request: Asked, uniforms: Sequence[float], now_s: float
    ) -> Seen:
        """The server of the session, among those that are there."""
        here, spot = {engine.index: engine for engine in engines}, self._spot(request.session)
        at = bisect_left(self._points, spot)
        after, before = self._place(at, 1, here), self._place(at - 1, -1, here)
        behind, ahead = (spot - self._points[before]) % RING, (self._points[after] - spot) % RING
        chosen = before if self._is_nearest and behind <= ahead else after
        return here[self._servers[chosen]]

    def _place(self, at: int, step: int, here: Container[int]) -> int:
        """The first place from one on, in a direction, whose server is there."""
        count = len(self._points)
        while self._servers[at % count] not in here:
            at += step
        return at % count

    def _spot(self, session: int) -> int:
        """Where a session is on the ring."""
        if self._fleet.names:
            return spot_of(self._routing, self._fleet.names[session])
        return mixed((self._fleet.seed + (session + 1) * PASS_STEP) % 2**64) >> 32


def haproxys_ring(fleet: Fleet) -> RingRouter:
    """The ring that HAProxy puts its servers on."""
    return RingRouter(Routing.SESSION_HAPROXY, fleet)


def nginxs_ring(fleet: Fleet) -> RingRouter:
    """The ring that nginx puts the addresses of its servers on."""
    return RingRouter(Routing.SESSION_NGINX, fleet)


@inlined
def choose_on_ring(beliefs: Beliefs, request: int) -> int:
    """`RingRouter.choose`."""
    ring, count = beliefs.ring, len(beliefs.ring.points)
    spot = ring.spots[beliefs.session[request]]
    at = int(np.searchsorted(ring.points, spot))
    after = _place(beliefs, at % count, 1)
    if not ring.is_nearest:
        return int(ring.servers[after])
    before = _place(beliefs, (at + count - 1) % count, -1)
    behind, ahead = (spot - ring.points[before]) & (RING - 1), (ring.points[after] - spot) & (RING - 1)
    return int(ring.servers[before if behind <= ahead else after])


@inlined
def _place(beliefs: Beliefs, at: int, step: int) -> int:
    """`RingRouter._place`."""
    count = len(beliefs.ring.points)
    while not beliefs.replicas[beliefs.ring.servers[at]].here:
        at = (at + step + count) % count
    return at
