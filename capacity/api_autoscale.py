"""The verb `autoscale`: what does a fleet that follows its load cost and hold?"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from capacity.autoscaling.autoscaler import STABILIZATION_S, Autoscaler
from capacity.autoscaling.scaled_fleet import ScaledFleet
from capacity.autoscaling.target import read_target
from capacity.errors import InputError
from capacity.profile.load import ProfileLike
from capacity.question import parse
from capacity.question.budget import Effort
from capacity.question.plan import Plan
from capacity.traffic.daily import DAY_S, DailyCurve, read_span
from capacity.units import format_duration

if TYPE_CHECKING:
    from capacity.autoscale_answers import AutoscaleAnswer
    from capacity.traffic.workload import ArrivalProcess

RUNS_MAX = 1000
# Each replica is looked at every 15 s: with so many a run takes seconds, with ten times as many minutes.
REPLICAS_MAX = 10_000


def silent(message: str) -> None:
    """Progress for those who do not want any."""


def autoscale(
    profile: ProfileLike,
    *,
    rate: str | None = None,
    rate_rps: float | None = None,
    daily: str | Path | None = None,
    between: str | None = None,
    arrivals: "str | ArrivalProcess" = "poisson",
    slo_p99: str | None = None,
    slo_p99_s: float | None = None,
    target: str = "utilization:0.6",
    replicas_min: int = 1,
    replicas_max: int = 10,
    startup_time: str | None = None,
    startup_time_s: float | None = None,
    metric_lag: str | None = None,
    metric_lag_s: float | None = None,
    stabilization: str | None = None,
    stabilization_s: float | None = None,
    batch_size_max: int | None = None,
    batch_wait: str | None = None,
    batch_wait_s: float | None = None,
    routing: str = "round-robin",
    queue_limit: int | None = None,
    hourly_usd: float | str | None = None,
    request_overhead: str | None = None,
    request_overhead_s: float | None = None,
    only_verdict: bool = False,
    runs: int = 5,
    seed: int = 0,
    confidence: float = 0.95,
    workers: int | None = None,
    progress: Callable[[str], None] = silent,
) -> "AutoscaleAnswer":
    """What a fleet whose replicas follow the load costs and holds, beside the smallest fixed one that holds the limit.

    Args:
        rate: all day; or else `daily`, a CSV of time,rate_rps.
        between: a part of the day, as 07:00-11:30; default all of it.
        slo_p99: limit on the P99 of all requests of that time; lost ones are late.
        target: utilization:0.6, the share of time that replicas are busy; or concurrency:4, requests at a replica.
        replicas_min: with 0 the last replica leaves after 300 s without requests.
        startup_time: from the autoscaler's decision until a new replica serves.
        metric_lag: age of the metrics that it decides with.
        stabilization: it shrinks the fleet to the largest recommendation of this time; default 300 s.
        hourly_usd: price of one device, in place of the profile's: 0.526, or NAME=0.526.
        only_verdict: leave out the fixed fleet, and what would hold the limit.
        runs: independent days behind each figure.

    Raises:
        InputError: an argument that cannot be read or contradicts another, or more requests than a run holds.
        InconclusiveError: too few requests for a P99.

    >>> answer = autoscale("jasper-7s-t4-fp16", rate="60rps", between="00:00-00:20", slo_p99="400ms",
    ...                    replicas_max=4, batch_size_max=1, runs=2, only_verdict=True)
    >>> answer.exit_code
    0
    """
    _require_whole("--runs", runs, 2, RUNS_MAX)
    _require_bounds(replicas_min, replicas_max)
    limit_s = parse.duration_s(slo_p99, slo_p99_s, "--slo-p99")
    if limit_s is None or limit_s <= 0.0:
        got = "" if limit_s is None else f", above {format_duration(limit_s)}"
        raise InputError(f"an autoscaler is judged by a limit{got}; give --slo-p99, such as 200ms")
    (measured,) = parse.read_profiles(
        [profile],
        parse.duration_s(request_overhead, request_overhead_s, "--request-overhead"),
        [] if hourly_usd is None else [hourly_usd],
    )
    begins_s, ends_s = (0.0, float(DAY_S)) if between is None else read_span(between)
    stabilized_s = _short_s(stabilization, stabilization_s, "--stabilization")
    scaler = Autoscaler(
        target=read_target(target),
        replicas_min=replicas_min,
        replicas_max=replicas_max,
        startup_s=_short_s(startup_time, startup_time_s, "--startup-time") or 0.0,
        metric_lag_s=_short_s(metric_lag, metric_lag_s, "--metric-lag") or 0.0,
        stabilization_s=STABILIZATION_S if stabilized_s is None else stabilized_s,
    )
    if batch_size_max is not None:
        _require_whole("--batch-size-max", batch_size_max, 1, None)
    if queue_limit is not None:
        _require_whole("--queue-limit", queue_limit, 0, None)
    asked = ScaledFleet(
        profile=measured,
        plan=Plan(
            profile=measured.name,
            replicas=replicas_max,
            batch_size_max=measured.batch_size_max if batch_size_max is None else batch_size_max,
            batch_wait_max_s=parse.duration_s(batch_wait, batch_wait_s, "--batch-wait") or 0.0,
            routing=parse.read_routing(routing),
            queue_limit=queue_limit,
        ),
        autoscaler=scaler,
        curve=_curve(parse.rate_rps(rate, rate_rps), daily),
        begins_s=begins_s,
        ends_s=ends_s,
        arrivals=parse.read_arrivals(arrivals),
        response_p99_s=limit_s,
    )
    effort = _effort(seed, confidence, workers)
    from capacity.api import at_work
    from capacity.autoscale_answers import AutoscaleAnswer
    from capacity.autoscaling.beside import screen
    from simulations.autoscaled import DaySimulation

    with at_work(effort, progress) as work:
        judge = DaySimulation(seed=seed, runs=runs, confidence=confidence, mapper=work.mapper)
        work.report(f"{runs} runs of {asked.requests:.3g} requests each for every fleet")
        found = screen(asked, judge, work.report, only_verdict=only_verdict)
    return AutoscaleAnswer(screen=found, effort=effort, runs=runs)


def _curve(rate_rps: float | None, daily: str | Path | None) -> DailyCurve:
    """The rates of the day: one for all of it, or those of a file."""
    if daily is not None:
        if not isinstance(daily, str | Path):
            raise InputError(
                f"--daily must name a .csv of time,rate_rps, got a {type(daily).__name__}; save it as one"
            )
        found = parse.read_curve(daily, rate_rps, None)
        assert found is not None  # noqa: S101  (a file was given)
        return found
    if rate_rps is None:
        raise InputError("give the traffic of the day: --daily, a .csv of time,rate_rps, or one --rate")
    return DailyCurve(times_s=(0.0,), rates_rps=(rate_rps,), name="constant rate")


def _require_whole(flag: str, value: object, least: int, most: int | None) -> None:
    """Refuse what is not a whole number within bounds, which Python's callers may give."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most and value > most):
        bounds = f"of {least} or more" if most is None else f"from {least} to {most}"
        raise InputError(f"{flag} must be a whole number {bounds}, got {value!r}")


def _require_bounds(replicas_min: int, replicas_max: int) -> None:
    """Refuse bounds that contradict each other, and more replicas than are simulated in time."""
    _require_whole("--replicas-max", replicas_max, 1, None)
    _require_whole("--replicas-min", replicas_min, 0, None)
    if replicas_max > REPLICAS_MAX:
        raise InputError(
            f"--replicas-max must be at most {REPLICAS_MAX}, got {replicas_max}; look at a part of a larger fleet at "
            "its part of the rates"
        )
    if replicas_min > replicas_max:
        raise InputError(f"--replicas-min {replicas_min} is above --replicas-max {replicas_max}; swap them")


def _short_s(text: str | None, si: float | None, flag: str) -> float | None:
    """A duration of a day at most, as each of these lengthens the warm-up. [s]"""
    found = parse.duration_s(text, si, flag)
    if found is not None and not 0.0 <= found <= DAY_S:
        raise InputError(f"{flag} must be from 0s to 24h, got {format_duration(found)}")
    return found


def _effort(seed: int, confidence: float, workers: int | None) -> Effort:
    """What the runs are to be made with, refused where it is of another type."""
    _require_whole("--seed", seed, 0, None)
    if workers is not None:
        _require_whole("--workers", workers, 1, None)
    if not isinstance(confidence, int | float):
        raise InputError(f"--confidence must be a number, such as 0.95, got {confidence!r}")
    return Effort(seed=seed, confidence=confidence, workers=workers)
