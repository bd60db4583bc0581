"""Protection: how a server treats requests that it cannot serve in time."""

import math
from dataclasses import dataclass
from enum import StrEnum

from capacity.errors import DomainError, InputError
from capacity.question.plan import Routing


class Shedding(StrEnum):
    """Rules by which waiting requests are served, and shed as a batch is taken."""

    NONE = "none"  # oldest first, all
    LATE = "late"  # oldest first; a request with less than a margin left is rejected
    CODEL = "codel"  # oldest first; controlled delay, as in folly
    LIFO = "lifo"  # newest first, all
    NEW = "new"  # oldest first; the first turn of a session is rejected where too many wait


class Abandoned(StrEnum):
    """What happens to an attempt that no client waits for any more."""

    SERVED = "served"  # like any other
    DROPPED = "dropped"  # noticed as a batch is taken
    STOPPED = "stopped"  # leaves its queue at once; a batch with only such attempts ends at once


class Ejecting(StrEnum):
    """Rules by which a balancer leaves out replicas that fail."""

    NONE = "none"
    ENVOY = "envoy"  # after failures in a row, for long, and longer each time
    NGINX = (
        "nginx"  # after failures, for one to two seconds; then one request at a time, until one is answered
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """Protection of a fleet's queues; the queue limit is the plan's.

    Attributes:
        late_margin_s: a request with less than this left until its timeout or deadline is late. [s]
        codel_target_s, codel_interval_s: the queue is overloaded if the shortest wait of the last interval was above
            the target; waits above twice the target are then shed. [s]
        new_max: a session begins only where fewer requests than this wait.
        ejection: how the balancer leaves out replicas that fail.
        slow_start_s: how long the weight of a replica that was out grows, once it is back; 0 if it has its whole
            share at once. [s]

    Source:
        folly, executors/Codel.cpp (its variant of CoDel); Envoy, outlier_detection.proto; nginx,
        ngx_http_upstream_round_robin.c, with `max_fails=5 fail_timeout=1s`; HAProxy 3.0.11, `slowstart`, in
        src/server.c, server_recalc_eweight and server_warmup.
    """

    shedding: Shedding = Shedding.NONE
    late_margin_s: float = 0.0
    codel_target_s: float = 0.005
    codel_interval_s: float = 0.1
    new_max: int = 1
    abandoned: Abandoned = Abandoned.SERVED
    ejection: Ejecting = Ejecting.NONE
    slow_start_s: int = 0

    @property
    def ejects(self) -> bool:
        """Whether the balancer leaves out replicas that fail."""
        return self.ejection is not Ejecting.NONE

    @property
    def limits_new(self) -> int | None:
        """How many requests may wait where a session begins; None if that does not matter."""
        return self.new_max if self.shedding is Shedding.NEW else None

    def __post_init__(self) -> None:
        if self.new_max < 1:
            raise DomainError(f"new_max must be >= 1, got {self.new_max}")
        for name in ("late_margin_s", "codel_target_s", "codel_interval_s"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise DomainError(f"{name} must be >= 0 and finite, got {getattr(self, name):g}")
        if not 0 <= self.slow_start_s <= SLOW_START_MAX_S:
            raise DomainError(f"slow_start_s must be from 0 to {SLOW_START_MAX_S}, got {self.slow_start_s}")

    def require_weights(self, routing: Routing) -> None:
        """Refuse a slow start with a routing that knows no weights.

        Raises:
            InputError: the message says what to do about it.
        """
        if self.slow_start_s and (why := lacks_weights(routing)) is not None:
            raise InputError(f"--slow-start {why}")
        if self.slow_start_s and self.ejection is Ejecting.NGINX:
            raise InputError(
                "--slow-start does not go with --ejection-rule nginx, as open-source nginx has no slow start; leave "
                "one of them out"
            )


def lacks_weights(routing: Routing) -> str | None:
    """Why no replica can start slowly with a routing, as the end of a sentence; None if it can."""
    if routing is Routing.SHARED_QUEUE:
        return "is a balancer's, and replicas that share a queue have none; take another --routing"
    if routing.needs_sessions:
        return (
            f"is not simulated with {routing.value} routing, where sessions or caches settle the replica; leave it "
            f"out, or take {Routing.ROUND_ROBIN.value} or another --routing that knows no sessions"
        )
    if routing.value.endswith(":nginx"):
        return (
            f"does not go with --routing {routing.value}, as open-source nginx has no slow start; leave it out, or "
            f"take {routing.base.value} or {routing.base.value}:haproxy"
        )
    return None


# Ejection: failures, those of Envoy in a row; its interval of checks, time of an ejection per ejection, largest share.
EJECTED_AFTER = 5
EJECTION_SWEEP_S, EJECTION_S, EJECTION_MAX_S = 10.0, 30.0, 300.0
EJECTED_SHARE = 0.1
# nginx counts in whole seconds, and leaves a replica out for this many after the second of its last failure or trial.
LEFT_OUT_S = 1
SLOW_START_MAX_S = 86_400
# Of a replica that has its whole share, in which HAProxy counts the weight of one that starts slowly.
WEIGHT = 16
