"""Why a scaled fleet is late: one cause of several, and how its screen tells cost and saving."""

from dataclasses import replace
from typing import Any

import pytest
from scaled import changed, kept, scaled_fleet, with_limited

from capacity.autoscaling.causes import Cause, cause_of
from capacity.autoscaling.findings import Course, Days, ScaledScreen, Worst, setting_of, worst_of
from capacity.errors import DomainError
from capacity.performance import Interval
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.autoscaler import Autoscaler, Metric, Target
from capacity.render.autoscaling.screen import autoscale_tables
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.daily import DailyCurve

TIMINGS = (BatchTiming(batch_size=1, mean_s=0.1), BatchTiming(batch_size=2, mean_s=0.12))
PROFILE = ServiceProfile(name="flat", timings=TIMINGS, hourly_usd=2.0)
WORST = Worst(
    begins_s=0.0,
    ends_s=600.0,
    share=1.0,
    late_share=0.5,
    before_rps=10.0,
    peak_rps=10.0,
    ready=1.0,
    wanted=2.0,
)
RISING = replace(WORST, peak_rps=12.0)


def days(limit_s: float = 0.5, hours: Interval | None = None, lost: float = 0.0, **settings: Any) -> Days:
    """Up to 4 replicas at 10 rps that miss their limit."""
    scaler = Autoscaler(target=Target(metric=Metric.UTILIZATION, level=0.6), replicas_max=4)
    plan = BatchPlan(profile="flat", replicas=4, batch_size_max=1)
    day = DailyCurve(times_s=(0.0,), rates_rps=(10.0,))
    fleet = scaled_fleet(PROFILE, replace(plan, **settings), day, scaler, limit_s=limit_s)
    return Days(
        fleet=fleet,
        kept=kept(fleet, Interval.exact(2.0 * limit_s), 0.1),
        lost_share=lost,
        replica_hours=hours or Interval.exact(48.0),
        replicas_mean=2.0,
        replicas_most=2,
        scalings=Interval.exact(0.0),
        requests=1,
        runs=5,
        confidence=0.95,
        course=Course(arrived=(1.0,), late=(0.0,), wanted=(2.0,), ready=(2.0,)),
    )


@pytest.mark.parametrize(
    ("found", "worst", "cause"),
    [
        (days(limit_s=0.05), None, Cause.SERVICE_FLOOR),
        (days(), None, None),
        (days(), WORST, Cause.RESERVE),
        (days(), RISING, Cause.RISE),
        (days(replicas=1), RISING, Cause.REPLICAS_MAX),
        (days(queue_limit=0, lost=0.09), RISING, Cause.QUEUE_LIMIT),
        (days(queue_limit=0, lost=0.01), RISING, Cause.RISE),
        (days(batch_size_max=2, batch_wait_max_s=0.45), WORST, Cause.BATCH_WAIT),
        (days(batch_size_max=2, batch_wait_max_s=0.35), WORST, Cause.RESERVE),
        (days(batch_size_max=1, batch_wait_max_s=0.45), WORST, Cause.RESERVE),
        # Exactly at each bound, which is not beyond it.
        (days(limit_s=0.1), WORST, Cause.RESERVE),
        (days(), replace(WORST, peak_rps=11.0), Cause.RESERVE),
        (days(queue_limit=0, lost=0.05), WORST, Cause.RESERVE),
        (days(batch_size_max=2, batch_wait_max_s=0.4), WORST, Cause.RESERVE),
        (days(batch_size_max=2, batch_wait_max_s=0.0, limit_s=0.1), WORST, Cause.RESERVE),
    ],
)
def test_the_first_cause_that_applies_is_named(found: Days, worst: Worst | None, cause: Cause | None) -> None:
    """One replica serves 10 rps; a batch takes at least 100 ms of a limit of 500 ms."""
    assert cause_of(found, worst) is cause


def test_what_is_lost_while_there_is_no_replica_is_not_the_queue_s() -> None:
    found = days(queue_limit=0, lost=0.09)
    scaler = found.fleet.autoscaler
    assert scaler is not None
    none = replace(found, fleet=found.fleet.scaled(replace(scaler, replicas_min=0)))
    assert cause_of(none, replace(RISING, ready=0.0)) is Cause.RISE
    assert cause_of(none, replace(RISING, ready=0.9)) is Cause.RISE
    assert cause_of(none, replace(RISING, ready=1.0)) is Cause.QUEUE_LIMIT
    assert cause_of(found, replace(RISING, ready=0.0)) is Cause.QUEUE_LIMIT  # one is always asked for


def test_a_fleet_that_holds_is_told_of_a_rise_alone() -> None:
    held = with_limited(days(), Interval.exact(0.4))
    assert cause_of(held, RISING) is Cause.RISE
    assert cause_of(held, WORST) is None


@pytest.mark.parametrize(
    ("low_s", "high_s", "held", "missed", "exit_code"),
    [
        (0.1, 0.5, True, False, 0),
        (0.1, 0.501, False, False, 4),
        (0.5, 0.9, False, False, 4),
        (0.501, 0.9, False, True, 3),
    ],
)
def test_a_limit_is_held_or_missed_by_the_whole_interval(low_s, high_s, held, missed, exit_code) -> None:
    found = with_limited(days(), Interval(value=low_s, low=low_s, high=high_s))
    assert (found.is_held, found.is_missed, found.exit_code) == (held, missed, exit_code)


def test_a_remedy_is_named_as_it_is_typed() -> None:
    before = days(queue_limit=5, batch_wait_max_s=0.2).fleet
    scaler = before.autoscaler
    assert scaler is not None
    lower = Target(metric=Metric.UTILIZATION, level=0.5)
    for after, said in (
        (changed(before, plan=replace(before.plan, queue_limit=None)), "no --queue-limit"),
        (changed(before, plan=replace(before.plan, batch_wait_max_s=0.0)), "--batch-wait 0s"),
        (before.scaled(replace(scaler, target=lower)), "--autoscale utilization:0.5"),
        (before.scaled(replace(scaler, replicas_min=3)), "--replicas-min 3"),
    ):
        assert setting_of(before, after) == said


def test_two_equal_fleets_have_no_setting_between_them() -> None:
    fleet = days().fleet
    for before, after in ((fleet, fleet), (fleet.fixed(4), fleet), (fleet, fleet.fixed(4))):
        with pytest.raises(DomainError, match="no remedy"):
            setting_of(before, after)


def test_the_rate_before_the_worst_time_is_that_of_ten_minutes_or_of_the_reaction() -> None:
    """12 rps from midnight and 30 rps from one o'clock, when most requests of ten minutes are late."""
    curve = DailyCurve(times_s=(0.0, 3600.0), rates_rps=(12.0, 30.0))
    course = Course(
        arrived=(100.0,) * 90,
        late=tuple(7.0 if 60 <= minute < 70 else 0.5 for minute in range(90)),
        wanted=tuple(float(minute) for minute in range(90)),
        ready=tuple(0.5 * minute for minute in range(90)),
    )
    found = days()
    found = replace(found, fleet=changed(found.fleet, day=curve, ends_s=5400.0), course=course)
    worst = worst_of(found)
    assert worst == Worst(
        begins_s=3600.0,
        ends_s=4200.0,
        share=70.0 / 110.0,
        late_share=0.07,
        before_rps=12.0,
        peak_rps=30.0,
        ready=0.5 * 59,
        wanted=69.0,
    )
    scaler = found.fleet.autoscaler
    assert scaler is not None
    slow = replace(found, fleet=found.fleet.scaled(replace(scaler, startup_s=4_800.0 - 15.0)))
    later = worst_of(slow)
    # Of these 80 minutes, the first 20 belong to the day before.
    assert later.before_rps == pytest.approx((60 * 12.0 + 20 * 30.0) / 80)


def test_the_worst_time_of_a_run_shorter_than_ten_minutes_is_all_of_it() -> None:
    course = Course(arrived=(9.0,) * 3, late=(1.0,) * 3, wanted=(1.0, 2.0, 3.0), ready=(4.0,) * 3)
    worst = worst_of(replace(days(), fleet=changed(days().fleet, ends_s=180.0), course=course))
    assert (worst.begins_s, worst.ends_s, worst.share) == (0.0, 180.0, 1.0)
    assert (worst.ready, worst.wanted) == (4.0, 3.0)


@pytest.mark.parametrize(
    ("hours", "told"),
    [
        (Interval(value=48.0, low=45.6, high=50.4), "96.00 USD (91.20 to 100.80) for 48 replica-hours"),
        (Interval(value=48.0, low=45.6, high=50.4), "33 % (30 to 37 %) less than 3 replicas"),
        (Interval(value=96.0, low=90.0, high=102.0), "33 % (25 to 42 %) more than 3 replicas"),
        (Interval(value=70.0, low=60.0, high=80.0), "3 % less (11 % more to 17 % less) than 3 replicas"),
        (Interval.exact(48.0), "that is 33 % less than 3 replicas"),
        (Interval.exact(72.0), "that is as much as 3 replicas"),
    ],
)
def test_cost_and_saving_have_the_ends_of_their_intervals(hours: Interval, told: str) -> None:
    """Beside 3 replicas all day, 72 replica-hours at 2 USD."""
    found = days(hours=hours)
    fixed = with_limited(days(hours=Interval.exact(72.0)), Interval.exact(0.4), fleet=found.fleet.fixed(3))
    screen = ScaledScreen(found=found, smallest=fixed, remedies=(), worst=None, is_searched=True)
    assert told in str(next(autoscale_tables(screen, 80)))


def test_a_p99_without_an_upper_end_is_told_as_so_much_or_more() -> None:
    found = with_limited(days(), Interval(value=2.0, low=1.0, high=float("inf")))
    screen = ScaledScreen(found=found, smallest=None, remedies=(), worst=None, is_searched=False)
    assert "a P99 of 2 s (1 s or more)" in str(next(autoscale_tables(screen, 80)))
