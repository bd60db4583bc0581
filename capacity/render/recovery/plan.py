"""Lines that `capacity plan` adds when it plans for trouble: recovery in time, pauses and long requests."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from capacity.performance import Interval
from capacity.recovery.findings import Runs
from capacity.render.recovery.screen import fleet_in_words, how_soon, outcome, trigger_in_words
from capacity.search.disturbed_plan import DisturbedPlan
from capacity.search.recovery_plan import RecoveryPlan, is_harmless
from capacity.server.batch.plan import BatchPlan
from capacity.units import format_duration, format_quantile


def disturbed_plan_lines(
    found: DisturbedPlan, plan: BatchPlan | None, hourly_usd: float | None
) -> Iterator[RenderableType]:
    """Lines of `capacity plan --pause --class`: the quantiles with these, and what they cost."""
    yield Text("")
    named = _disturbances(found)
    if found.chosen is None or plan is None:
        yield Text(f"With {named} no fleet within --replicas-max is enough.", style="bold")
        if found.calm_disturbed is not None:
            for quantile, interval in sorted(found.calm_disturbed.response_quantiles_s.items()):
                yield Text(
                    f" {fleet_in_words(found.calm.replicas)}: {format_quantile(quantile)} {_quantile(interval)}"
                )
        return
    for quantile, interval in sorted(found.chosen.response_quantiles_s.items()):
        classes = "; ".join(
            f"{name} {format_duration(values[quantile].value)}"
            for name, values in found.chosen.by_class.items()
        )
        yield Text(
            f"With {named}, {format_quantile(quantile)} is {_quantile(interval)}"
            + (f": {classes}." if classes else ".")
        )
    if plan.replicas == found.calm.replicas:
        yield Text("It costs no replica more than without.")
        return
    price = ""
    if hourly_usd is not None and found.hourly_usd is not None:
        price = f", {hourly_usd - found.hourly_usd:.4g} USD/h less"
    yield Text(f"Without, {fleet_in_words(found.calm.replicas)} would be enough{price}.")


def _quantile(interval: Interval) -> str:
    ends = f"{format_duration(interval.low)} to {format_duration(interval.high)}"
    return f"{format_duration(interval.value)} ({ends})"


def _disturbances(found: DisturbedPlan) -> str:
    pauses, classes = found.disturbances.pauses, found.disturbances.classes
    told = [f"{one.share:.3g} of the requests {one.name} ({one.scale:g}x)" for one in classes]
    if pauses is not None:
        told.insert(0, f"pauses of {format_duration(pauses.length_s)}, {60.0 * pauses.per_s:g} a minute")
    return " and ".join(told)


def recovery_plan_lines(recovery: RecoveryPlan) -> Iterator[RenderableType]:
    """Lines of `capacity plan --recover-within`: what the fleet needs to recover in time."""
    stress, chosen = recovery.as_planned.stress, recovery.chosen
    within = format_duration(recovery.within_s)
    yield Text("")
    planned, as_is = stress.plan.replicas, recovery.as_is
    if chosen is None:
        what = "recovers" if as_is is None else "is known to meet the objective and recovers"
        yield Text(
            f"No plan within the limits {what} {trigger_in_words(stress)} within {within}.", style="bold"
        )
    elif recovery.setting is None and chosen is recovery.as_planned:
        yield Text(
            f"It recovers {trigger_in_words(stress)} within {within}, {how_soon(chosen)}: all {_runs(chosen)}."
        )
    else:
        added = "as it is" if recovery.setting is None else f"with {recovery.setting}"
        told = f"within {within} {added}, {how_soon(chosen)}: all {_runs(chosen)}"
        yield Text(f"It recovers {trigger_in_words(chosen.stress)} {told}.")
        as_they_are = "as it is" if planned == 1 else "as they are"
        yield Text(f" {fleet_in_words(planned)} {as_they_are}: {outcome(recovery.as_planned, ' in time')}")
    for remedy in recovery.tried:
        harm = "" if is_harmless(remedy.found, recovery.as_planned) else ", but requests fail before it too"
        yield Text(
            f" {fleet_in_words(planned)} with {remedy.setting}: {outcome(remedy.found, ' in time')}{harm}"
        )
    if as_is is not None and as_is is not recovery.as_planned:
        yield Text(f" without any setting: {fleet_in_words(as_is.stress.plan.replicas)}")
    if planned == recovery.replicas_min > 1:
        yield Text(
            f"Fleets of fewer than {planned} replicas were left out, as the trigger takes them down entirely."
        )


def _runs(found: Runs) -> str:
    return f"{len(found.runs)} runs"
