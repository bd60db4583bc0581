"""Session cookie: the first turn goes to the least loaded replica, the others follow it.

A session is forgotten if no turn came for some time, and moves if its replica is not there.

Source:
    llm-d-router, pkg/epp/framework/plugins/scheduling/{filter,util}/sessionaffinity. Its scorers choose the first
    replica; here it is the one with the fewest requests outstanding.
"""

from collections.abc import Sequence

from simulations.compiled import inlined
from simulations.routing.conversations.beliefs import NOWHERE, Beliefs, Structs
from simulations.routing.conversations.beliefs import least_loaded as idlest
from simulations.routing.conversations.seen import Asked, Fleet, Router, Seen, least_loaded


class SessionCookieRouter(Router):
    """Remembers the replica of each session."""

    def __init__(self, fleet: Fleet) -> None:
        self._forget_s = fleet.rules.forget_s
        self._last: dict[int, tuple[int, float]] = {}

    def choose(
        self, engines: Sequence[Seen], request: Asked, uniforms: Sequence[float], now_s: float
    ) -> Seen:
        """The replica of the session, or the least loaded one."""
        replica, last_s = self._last.get(request.session, (-1, now_s))
        known = [engine for engine in engines if engine.index == replica and now_s - last_s <= self._forget_s]
        chosen = known[0] if known else least_loaded(engines, uniforms[0])
        self._last[request.session] = chosen.index, now_s
        return chosen


@inlined
def choose_by_cookie(beliefs: Beliefs, engines: Structs, request: int, uniform: float, now_s: float) -> int:
    """`SessionCookieRouter.choose`."""
    cookie = beliefs.cookies[beliefs.session[request]]
    chosen = cookie.replica
    if chosen == NOWHERE or not beliefs.replicas[chosen].here or now_s - cookie.last_s > beliefs.weights[0]:
        chosen = idlest(beliefs, engines, uniform)
    cookie.replica, cookie.last_s = chosen, now_s
    return int(chosen)
