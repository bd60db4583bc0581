"""Protection: what a server does with requests that it cannot serve in time."""

import math
from dataclasses import dataclass
from enum import StrEnum

from capacity.errors import DomainError


class Shedding(StrEnum):
    """Which waiting requests are served, and which are turned away as a batch is taken."""

    NONE = "none"  # oldest first, all
    LATE = "late"  # oldest first; who has less than a margin left is rejected
    CODEL = "codel"  # oldest first; controlled delay, as folly has it
    LIFO = "lifo"  # newest first, all


class Abandoned(StrEnum):
    """What becomes of an attempt that no client waits for any more."""

    SERVED = "served"  # like any other
    DROPPED = "dropped"  # noticed as a batch is taken
    STOPPED = "stopped"  # leaves its queue at once; a batch of none but such ends at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """How a fleet's queues are kept short; the queue limit is the plan's.

    Attributes:
        late_margin_s: with less than this left until its timeout or deadline, a request is late. [s]
        codel_target_s, codel_interval_s: overloaded while the least wait of the last interval was above the
            target; waits above twice the target are then turned away. [s]
        ejects: whether the balancer takes out replicas that fail 5 times in a row (Envoy's outlier detection).

    Source:
        folly, executors/Codel.cpp (its variant of CoDel); Envoy, outlier_detection.proto.
    """

    shedding: Shedding = Shedding.NONE
    late_margin_s: float = 0.0
    codel_target_s: float = 0.005
    codel_interval_s: float = 0.1
    abandoned: Abandoned = Abandoned.SERVED
    ejects: bool = False

    def __post_init__(self) -> None:
        for name in ("late_margin_s", "codel_target_s", "codel_interval_s"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise DomainError(f"{name} must be >= 0 and finite, got {getattr(self, name):g}")


# Of the ejection: failures in a row, how often it is looked at, for how long times how often, and the largest share.
EJECTED_AFTER = 5
EJECTION_SWEEP_S, EJECTION_S, EJECTION_MAX_S = 10.0, 30.0, 300.0
EJECTED_SHARE = 0.1
