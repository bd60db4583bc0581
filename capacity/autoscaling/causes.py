"""Causes: why requests of an autoscaled fleet are late, as far as its settings and days show."""

from enum import StrEnum

from capacity.autoscaling.findings import Days, Worst
from capacity.question.plan import rejects

_RISES = 1.1  # times the rate before; below it a rate is even


class Cause(StrEnum):
    """The reason why a fleet misses its limit.

    SERVICE_FLOOR: even the fastest batch takes longer than the limit.
    REPLICAS_MAX: the highest rate is above what the most replicas can serve.
    QUEUE_LIMIT: most late requests were rejected by full queues.
    BATCH_WAIT: the batch wait is longer than the limit leaves beside the service time.
    RISE: the rate grows faster than replicas start.
    RESERVE: the rate is even, and there are too few replicas for its random variation.
    """

    SERVICE_FLOOR = "service-floor"
    REPLICAS_MAX = "replicas-max"
    QUEUE_LIMIT = "queue-limit"
    BATCH_WAIT = "batch-wait"
    RISE = "rise"
    RESERVE = "reserve"


def cause_of(found: Days, worst: Worst | None) -> Cause | None:
    """The first cause, in their order, that applies; None if hardly a request is late.

    Where the limit is held, only a rise is reported.
    """
    fleet = found.fleet
    plan, scaler = fleet.plan, fleet.autoscaler
    if fleet.out_of_reach is not None:
        return Cause.SERVICE_FLOOR
    if worst is None:
        return None
    rises = worst.peak_rps > _RISES * worst.before_rps
    if found.is_held:
        return Cause.RISE if rises else None
    if fleet.peak_rate_rps >= plan.replicas * fleet.replica_rps:
        return Cause.REPLICAS_MAX
    none_ready = scaler is not None and scaler.replicas_min == 0 and worst.ready < 1.0
    if rejects(plan) and 2.0 * found.lost_share > found.binding.late_share.value and not none_ready:
        return Cause.QUEUE_LIMIT
    limit = found.binding.limit
    if plan.at_once > 1 and 0.0 < plan.holds_s > limit.allowed - fleet.floor_s(limit):
        return Cause.BATCH_WAIT
    return Cause.RISE if rises else Cause.RESERVE
