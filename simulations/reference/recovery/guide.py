"""Guide: how the balancer chooses, by a policy that looks at no session or by a router of conversations."""

import math
from collections.abc import Sequence
from typing import Any, Protocol

from capacity.question.plan import Routing
from capacity.recovery.protection import Protection
from simulations.draws.attempts import AttemptDraws, EngineFleet, lengths_of
from simulations.reference.engine import requests_of
from simulations.reference.recovery.attempt import Attempt
from simulations.routing.conversations.routers import ROUTERS, fleet_seen
from simulations.routing.conversations.seen import last_reading_s
from simulations.routing.policies import POLICIES

_NOT_DRAWN = [0.0, 0.0]  # for policies that leave nothing to chance


class Guide(Protocol):
    """What picks a replica for each attempt.

    Attributes:
        drops_abandoned: whether an attempt that no client waits for is not sent anywhere again.
    """

    drops_abandoned: bool

    def choose(self, candidates: Sequence[Any], attempt: Attempt, now_s: float) -> Any:
        """The replica that an attempt is sent to."""

    def read(self, candidates: Sequence[Any], instant_s: float) -> None:
        """Something will change just after this instant."""

    def first_token(self, request: int) -> None:
        """A request has its first token."""

    def done(self, request: int) -> None:
        """No attempt at a request is under way any more."""

    def left(self, replica: int) -> None:
        """A replica has left the pool."""


class PolicyGuide:
    """The `Guide` of a policy, which remembers no request.

    Args:
        uniforms: by number of the attempt and of the request, two of them.
        weighs: whether replicas that are back start slowly, so that their weights change.
    """

    drops_abandoned = False

    def __init__(
        self, routing: Routing, replicas: int, uniforms: list[list[list[float]]], *, weighs: bool
    ) -> None:
        self._policy, self._uniforms = POLICIES[routing](replicas), uniforms
        self._weighs = weighs

    def choose(self, candidates: Sequence[Any], attempt: Attempt, now_s: float) -> Any:
        """The replica that the policy picks."""
        for candidate in candidates if self._weighs else ():
            candidate.weigh()
        drawn = self._uniforms[attempt.number][attempt.request.number] if self._uniforms else _NOT_DRAWN
        return self._policy(candidates, drawn)

    def read(self, candidates: Sequence[Any], instant_s: float) -> None:
        """Do nothing, as a policy looks at the present alone."""

    def first_token(self, request: int) -> None:
        """Do nothing, as a policy remembers nothing."""

    def done(self, request: int) -> None:
        """Do nothing, as a policy remembers nothing."""

    def left(self, replica: int) -> None:
        """Do nothing, as a policy remembers nothing."""


class RouterGuide:
    """The `Guide` of a router of conversations, for which a turn is under way while its client waits for an attempt."""

    drops_abandoned = True

    def __init__(self, fleet: EngineFleet, draws: AttemptDraws) -> None:
        tokens = lengths_of(draws)
        seen = fleet_seen(fleet.table, fleet.rules, fleet.replicas, tokens, fleet.router)
        self._router = ROUTERS[fleet.routing](seen)
        self._asked, self._uniforms = requests_of(tokens), draws.routing.tolist()
        self._read_s = -math.inf

    def choose(self, candidates: Sequence[Any], attempt: Attempt, now_s: float) -> Any:
        """The replica that the router picks."""
        number = attempt.request.number
        drawn = self._uniforms[attempt.number][number]
        return self._router.choose(candidates, self._asked[number], drawn, now_s)

    def read(self, candidates: Sequence[Any], instant_s: float) -> None:
        """Let the router read the replicas if it has not since its last tick; they have not changed since that."""
        if self._router.tick_s is None:
            return
        reading_s = last_reading_s(instant_s, self._router.tick_s)
        if reading_s > self._read_s:
            self._read_s = reading_s
            self._router.read(candidates)

    def first_token(self, request: int) -> None:
        """Tell the router."""
        self._router.first_token(request)

    def done(self, request: int) -> None:
        """Tell the router."""
        self._router.done(request)

    def left(self, replica: int) -> None:
        """Tell the router."""
        self._router.left(replica)


def guide_for(fleet: Any, draws: AttemptDraws, protection: Protection) -> Guide:
    """What picks the replicas of a fleet."""
    if fleet.routing.needs_sessions:
        return RouterGuide(fleet, draws)
    weighs = protection.slow_start_s > 0
    return PolicyGuide(fleet.routing, fleet.replicas, draws.routing.tolist(), weighs=weighs)
