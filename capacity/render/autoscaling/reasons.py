"""Reasons: why requests of an autoscaled fleet are late, whether it hunts, and what does not help."""

from collections.abc import Iterator

from capacity.autoscaling.causes import Cause, cause_of
from capacity.autoscaling.controller import POLLING_S
from capacity.autoscaling.findings import Days, ScaledScreen, Worst
from capacity.autoscaling.scaled_fleet import ScaledFleet
from capacity.question.autoscaler import SYNC_S, Autoscaler, Metric
from capacity.question.plan import plan_words
from capacity.traffic.daily import HOUR_S, clock
from capacity.units import format_duration, format_percent, format_rate

_HUNTS_PER_H = 6.0  # changes of the number of replicas that no daily curve explains


def reasons(screen: ScaledScreen) -> Iterator[str]:
    """Reasons for the late requests, and whether the number of replicas hunts."""
    found, scaler = screen.found, screen.found.fleet.autoscaler
    assert scaler is not None  # noqa: S101  (it is the question)
    cause, per_h = cause_of(found, screen.worst), found.scalings.value * HOUR_S / found.fleet.lasts_s
    hunts = per_h > _HUNTS_PER_H and cause in (None, Cause.RISE, Cause.RESERVE)
    if cause is not None and not (hunts and cause is Cause.RESERVE):
        yield ("Where it is tightest: " if found.is_held else "Why: ") + _sentence(
            cause, found, screen.worst, scaler
        )
    if hunts:
        yield f"The fleet hunts: {per_h:.0f} changes an hour. {_hunting(scaler)}"
    if not screen.is_searched:
        return
    if screen.smallest is None:
        yield _not_even(found.fleet, scaler.replicas_max, cause)
    elif not found.is_held and not screen.remedies:
        yield f"No lower target and no higher --replicas-min that was tried holds {the_limits(found.fleet)}."


def the_limits(fleet: ScaledFleet) -> str:
    """`the limit`, or `the limits`."""
    return "the limit" if len(fleet.limits) == 1 else "the limits"


def _not_even(fleet: ScaledFleet, most: int, cause: Cause | None) -> str:
    """Sentence for limits that no fixed fleet holds, with what to raise unless the cause names it."""
    told = (
        f"Not even {fleet_in_words(most)} all the time {'holds' if most == 1 else 'hold'} {the_limits(fleet)}"
    )
    is_told = cause in (Cause.REPLICAS_MAX, Cause.QUEUE_LIMIT, Cause.BATCH_WAIT)
    return f"{told}." if is_told else f"{told}; raise --replicas-max."


def _sentence(cause: Cause, found: Days, worst: Worst | None, scaler: Autoscaler) -> str:
    """Sentence on a cause, with the figures behind it and the setting that changes it."""
    if cause is Cause.RISE or cause is Cause.RESERVE:
        assert worst is not None  # noqa: S101  (both are read from it)
        return _rise(worst, scaler) if cause is Cause.RISE else _reserve(found, worst, scaler)
    fleet, plan, limit = found.fleet, found.fleet.plan, found.binding.limit
    if cause is Cause.SERVICE_FLOOR:
        return _floor(fleet)
    if cause is Cause.REPLICAS_MAX:
        serve = "serves" if plan.replicas == 1 else "serve"
        return (
            f"the rate goes up to {format_rate(fleet.peak_rate_rps)}, and the {fleet_in_words(plan.replicas)} of "
            f"--replicas-max {serve} at most {format_rate(plan.replicas * fleet.replica_rps)}; raise --replicas-max."
        )
    if cause is Cause.QUEUE_LIMIT:
        waits = plan_words(plan)["queue limit"]
        return (
            f"full queues reject {format_percent(found.lost_share, 2)} of the requests; raise --queue-limit from "
            f"{waits}, or leave it out."
        )
    return (
        f"a batch may wait {format_duration(plan.holds_s)} for others, and beside the fastest batch the "
        f"limit leaves {format_duration(limit.allowed - fleet.floor_s(limit))}; lower --batch-wait."
    )


def _floor(fleet: ScaledFleet) -> str:
    limit, overhead_s = fleet.out_of_reach, fleet.profile.request_overhead_s  # only batches have a floor
    assert limit is not None  # noqa: S101  (it is the cause)
    of_it = f", of which {format_duration(overhead_s)} is overhead of the request" if overhead_s else ""
    return (
        f"no batch is served within {format_duration(limit.allowed)} at {limit.what}; the fastest takes "
        f"{format_duration(fleet.floor_s(limit))}{of_it}. No number of replicas changes that; raise "
        f"--slo-{limit.what.lower()}."
    )


def _rise(worst: Worst, scaler: Autoscaler) -> str:
    serve = fleet_in_words(worst.ready) + (" serves" if worst.ready == 1.0 else " serve")
    return (
        f"{format_percent(worst.share)} of the late requests arrive from {clock(worst.begins_s)} to "
        f"{clock(worst.ends_s)}, as the rate rises from {format_rate(worst.before_rps)} to "
        f"{format_rate(worst.peak_rps)}: {serve} before, {_asked(worst.wanted, scaler)}, "
        f"and a new one serves up to {_reaction(worst, scaler)}."
    )


def _reserve(found: Days, worst: Worst, scaler: Autoscaler) -> str:
    """Sentence for an even rate, at which random arrivals, services and decisions make requests late."""
    most = max(found.course.wanted)
    bound = ", all of --replicas-max" if most >= scaler.replicas_max else ""
    return (
        f"the rate is even where most requests are late, {format_rate(worst.peak_rps)}, and the fleet keeps too little "
        f"in reserve for its chance: {found.replicas_mean:.3g} replicas are asked for in the mean and {most:.3g} at "
        f"most{bound}. A lower "
        "--autoscale or a higher --replicas-min keeps more."
    )


def _asked(wanted: float, scaler: Autoscaler) -> str:
    """Largest number of replicas that the autoscaler asked for, in words."""
    verb = "is" if wanted == 1.0 else "are"
    if wanted >= scaler.replicas_max:
        which = "the 1" if scaler.replicas_max == 1 else f"all {scaler.replicas_max}"
        return f"{which} of --replicas-max {verb} asked for"
    return f"at most {wanted:.2g} {verb} asked for"


def _hunting(scaler: Autoscaler) -> str:
    """Sentence on why the number of replicas goes up and down, and what steadies it."""
    if scaler.target.metric is Metric.CONCURRENCY:
        return (
            "Once the queues are gone so is the metric; the fleet shrinks, and the queues come back. A target of "
            "utilization is steadier than one of concurrency."
        )
    return (
        "It shrinks in every lull of the load and grows again after it; a --stabilization longer than "
        f"{format_duration(scaler.stabilization_s)} keeps it larger in between."
    )


def _reaction(worst: Worst, scaler: Autoscaler) -> str:
    """Sentence on the time from a change in load until a replica serves it, and its parts."""
    startup = f"start-up {format_duration(scaler.startup_s)}"
    if scaler.replicas_min == 0 and worst.ready < 1.0:
        whole_s = POLLING_S + scaler.startup_s
        return f"{format_duration(whole_s)} after the first request (a poll every {POLLING_S:g} s, {startup})"
    lag = f"lag {format_duration(scaler.metric_lag_s)}"
    whole = format_duration(scaler.reaction_s)
    return f"{whole} after a rise ({lag}, look {SYNC_S:g} s, {startup})"


def fleet_in_words(replicas: float) -> str:
    """A mean number of replicas, in words."""
    return "1 replica" if replicas == 1.0 else f"{replicas:.3g} replicas"
