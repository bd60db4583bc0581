"""Causes: why requests of a scaled fleet are late, as far as its settings and its days tell."""

from enum import StrEnum

from capacity.autoscaling.findings import Days, Worst
from capacity.autoscaling.scaled_fleet import ScaledFleet

_RISES = 1.1  # times the rate before, below which a rate is even
_QUANTILE = 0.99


class Cause(StrEnum):
    """What stands between a fleet and its limit.

    SERVICE_FLOOR: not even the fastest batch is served within the limit.
    REPLICAS_MAX: the highest rate is more than all replicas that there may be can serve.
    QUEUE_LIMIT: most late requests were rejected by full queues.
    BATCH_WAIT: a batch may wait for others longer than the limit leaves beside its service.
    RISE: the rate grows faster than replicas come.
    RESERVE: the rate is even, and too few replicas are kept for its chance.
    """

    SERVICE_FLOOR = "service-floor"
    REPLICAS_MAX = "replicas-max"
    QUEUE_LIMIT = "queue-limit"
    BATCH_WAIT = "batch-wait"
    RISE = "rise"
    RESERVE = "reserve"


def floor_s(fleet: ScaledFleet) -> float:
    """P99 of the fastest batch, with the overhead of a request. [s]"""
    return fleet.profile.service_floor_s(_QUANTILE, fleet.plan.batch_size_max)


def cause_of(found: Days, worst: Worst | None) -> Cause | None:
    """The first of the causes, in their order, that applies; None where hardly a request is late.

    Of a fleet that holds its limit only a rise is worth telling.
    """
    fleet = found.fleet
    plan, scaler = fleet.plan, fleet.autoscaler
    least_s = floor_s(fleet)
    if least_s > fleet.response_p99_s:
        return Cause.SERVICE_FLOOR
    if worst is None:
        return None
    rises = worst.peak_rps > _RISES * worst.before_rps
    if found.is_held:
        return Cause.RISE if rises else None
    if fleet.peak_rate_rps >= plan.replicas * fleet.replica_rps:
        return Cause.REPLICAS_MAX
    none_ready = scaler is not None and scaler.replicas_min == 0 and worst.ready < 1.0
    if plan.queue_limit is not None and 2.0 * found.lost_share > found.late_share.value and not none_ready:
        return Cause.QUEUE_LIMIT
    if plan.batch_size_max > 1 and 0.0 < plan.batch_wait_max_s > fleet.response_p99_s - least_s:
        return Cause.BATCH_WAIT
    return Cause.RISE if rises else Cause.RESERVE
