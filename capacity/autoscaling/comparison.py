"""Comparison: an autoscaled fleet with the smallest fixed one, and the search for settings that hold the limit."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from capacity.autoscaling.causes import Cause, cause_of
from capacity.autoscaling.findings import DayJudge, Days, ScaledScreen, worst_of
from capacity.autoscaling.scaled_fleet import ScaledFleet
from capacity.question.autoscaler import Autoscaler, Metric, Target
from capacity.question.plan import with_queue_limit

Progress = Callable[[str], None]

_TARGETS = 20  # steps between 0 and the given target


def screen(
    fleet: ScaledFleet, judge: DayJudge, progress: Progress, *, only_verdict: bool = False
) -> ScaledScreen:
    """Cost and limited quantile of the autoscaled and the smallest fixed fleet; remedies if the limit is missed.

    Both searches are bisections, which assume that more replicas and lower targets never hurt.

    Args:
        only_verdict: leave out the fixed fleet and the remedies.
    """
    scaler = fleet.autoscaler
    assert scaler is not None  # noqa: S101  (it is the question)
    progress(f"the autoscaler at {scaler.target}")
    found = judge(fleet)
    worst = worst_of(found)
    cause = cause_of(found, worst)
    if only_verdict or cause is Cause.SERVICE_FLOOR:
        return ScaledScreen(found=found, smallest=None, remedies=(), worst=worst, is_searched=False)
    smallest = smallest_fixed(fleet, judge, progress)
    remedies: list[Days | None] = []
    if not found.is_held:
        remedies = [_without(fleet, cause, judge, progress)]
        remedies += [_highest_target(fleet, scaler, judge, progress)]
        remedies += [_fewest_at_least(fleet, scaler, smallest, judge, progress)]
    return ScaledScreen(
        found=found,
        smallest=smallest,
        remedies=tuple(one for one in remedies if one),
        worst=worst,
        is_searched=True,
    )


def _without(fleet: ScaledFleet, cause: Cause | None, judge: DayJudge, progress: Progress) -> Days | None:
    """The fleet without the queue limit or the batch wait that is the cause; None if it still misses the limit."""
    if cause is Cause.QUEUE_LIMIT:
        plan = with_queue_limit(fleet.plan, None)
    elif cause is Cause.BATCH_WAIT:
        plan = replace(fleet.plan, batch_wait_max_s=0.0)
    else:
        return None
    progress(f"the autoscaler without the {cause.replace('-', ' ')}")
    found = judge(replace(fleet, scenario=replace(fleet.scenario, plan=plan)))
    return found if found.is_held else None


def smallest_fixed(fleet: ScaledFleet, judge: DayJudge, progress: Progress) -> Days | None:
    """The smallest fixed fleet that holds the limit, of at most the autoscaler's most replicas; None if none does."""
    most = fleet.replicas
    least = min(most, _fewest_left(fleet))

    def ask(replicas: int) -> Days:
        progress(f"{replicas} replicas all the time")
        return judge(fleet.fixed(replicas))

    return first_above(ask, least, most)


def _fewest_left(fleet: ScaledFleet) -> int:
    """Fewest replicas of which the failures leave as many as could hold the limits by the mean rates."""
    per_device = fleet.profile.instances_per_device
    counts = range(fleet.replicas_least, fleet.replicas + 1)
    found = (one for one in counts if fleet.survival.left(one, per_device) >= fleet.replicas_least)
    return next(found, fleet.replicas)


def _highest_target(
    fleet: ScaledFleet, scaler: Autoscaler, judge: DayJudge, progress: Progress
) -> Days | None:
    """The highest of a series of lower targets that holds the limit."""
    target = scaler.target
    counts = sorted({max(1, target.count * step // _TARGETS) for step in range(1, _TARGETS)})
    lower = [_with_count(target, count) for count in counts if count < target.count]

    def ask(one: Target) -> Days:
        progress(f"the autoscaler at {one}")
        return judge(fleet.scaled(replace(scaler, target=one)))

    return highest_that_holds(ask, lower)


def highest_that_holds(ask: Callable[[Target], Days], targets: Sequence[Target]) -> Days | None:
    """Bisection for the highest of rising targets that holds the limit; None if the lowest does not."""
    if not targets:
        return None
    return first_that_holds(lambda below: ask(targets[len(targets) - below]), 1, len(targets))


def _with_count(target: Target, count: int) -> Target:
    scale = 100.0 if target.metric is Metric.UTILIZATION else 1000.0
    return replace(target, level=count / scale)


def _fewest_at_least(
    fleet: ScaledFleet, scaler: Autoscaler, smallest: Days | None, judge: DayJudge, progress: Progress
) -> Days | None:
    """The lowest minimum of replicas, below that of a fixed fleet, that holds the limit."""
    most = scaler.replicas_max - 1 if smallest is None else smallest.fleet.replicas - 1
    least = scaler.replicas_min + 1

    def ask(replicas: int) -> Days:
        progress(f"the autoscaler with {replicas} replicas at least")
        return judge(fleet.scaled(replace(scaler, replicas_min=replicas)))

    return first_that_holds(ask, least, most) if least <= most else None


def first_above(ask: Callable[[int], Days], least: int, most: int) -> Days | None:
    """The lowest number that holds the limit, where it is likely near the least; None if the highest does not.

    A day takes long to simulate, so that the search rises by doubled steps from the least, and halves what it passed.
    """
    refused, number, step = least - 1, least, 1
    while not (found := ask(number)).is_held:
        if number == most:
            return None
        refused, number, step = number, min(number + step, most), 2 * step
    return _halved(ask, refused, number, found)


def first_that_holds(ask: Callable[[int], Days], least: int, most: int) -> Days | None:
    """Bisection for the lowest number that holds the limit; None if the highest does not."""
    best = ask(most)
    return _halved(ask, least - 1, most, best) if best.is_held else None


def _halved(ask: Callable[[int], Days], refused: int, accepted: int, best: Days) -> Days:
    """The lowest number that holds the limit, between one that does not and one that does."""
    while accepted - refused > 1:
        middle = (refused + accepted) // 2
        found = ask(middle)
        if found.is_held:
            best, accepted = found, middle
        else:
            refused = middle
    return best
