"""Protection: how a server treats requests that it cannot serve in time."""

import math
from dataclasses import dataclass
from enum import StrEnum

from capacity.errors import DomainError


class Shedding(StrEnum):
    """Rules by which waiting requests are served, and shed as a batch is taken."""

    NONE = "none"  # oldest first, all
    LATE = "late"  # oldest first; a request with less than a margin left is rejected
    CODEL = "codel"  # oldest first; controlled delay, as in folly
    LIFO = "lifo"  # newest first, all


class Abandoned(StrEnum):
    """What happens to an attempt that no client waits for any more."""

    SERVED = "served"  # like any other
    DROPPED = "dropped"  # noticed as a batch is taken
    STOPPED = "stopped"  # leaves its queue at once; a batch with only such attempts ends at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """Protection of a fleet's queues; the queue limit is the plan's.

    Attributes:
        late_margin_s: a request with less than this left until its timeout or deadline is late. [s]
        codel_target_s, codel_interval_s: the queue is overloaded if the shortest wait of the last interval was above
            the target; waits above twice the target are then shed. [s]
        ejects: whether the balancer ejects replicas that fail 5 times in a row (Envoy's outlier detection).

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


# Ejection: failures in a row, interval of the checks, time of an ejection per ejection, and the largest share.
EJECTED_AFTER = 5
EJECTION_SWEEP_S, EJECTION_S, EJECTION_MAX_S = 10.0, 30.0, 300.0
EJECTED_SHARE = 0.1
