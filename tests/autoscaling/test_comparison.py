"""The searches of `autoscale` by a made-up judge, and where late requests come from."""

import pytest
from scaled import changed, kept, scaled_fleet, with_limited

from capacity.autoscaling.comparison import screen
from capacity.autoscaling.findings import Course, Days, worst_of
from capacity.autoscaling.scaled_fleet import ScaledFleet
from capacity.performance import Interval
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.autoscaler import Autoscaler, Metric, Target
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.daily import DailyCurve

PROFILE = ServiceProfile(name="flat", timings=(BatchTiming(batch_size=1, mean_s=0.1),))
LIMIT_S = 0.5


def fleet(target: Target, replicas_min: int = 1) -> ScaledFleet:
    """Up to 16 replicas of 10 rps at 25 rps."""
    scaler = Autoscaler(target=target, replicas_min=replicas_min, replicas_max=16)
    plan, day = (
        BatchPlan(profile="flat", replicas=16, batch_size_max=1),
        DailyCurve(times_s=(0.0,), rates_rps=(25.0,)),
    )
    return scaled_fleet(PROFILE, plan, day, scaler, limit_s=LIMIT_S)


class Made:
    """Fixed fleets hold from `fixed` replicas on; autoscaled ones below `count`, or with `least` at least."""

    def __init__(self, *, fixed: int = 5, count: int = 0, least: int = 99) -> None:
        self.fixed, self.count, self.least = fixed, count, least
        self.asked: list[ScaledFleet] = []

    def __call__(self, fleet: ScaledFleet) -> Days:
        self.asked.append(fleet)
        scaler = fleet.autoscaler
        if scaler is None:
            holds = fleet.plan.replicas >= self.fixed
        else:
            holds = scaler.target.count <= self.count or scaler.replicas_min >= self.least
        p99_s = 0.4 if holds else 0.9
        return days(fleet, p99_s)


def days(fleet: ScaledFleet, p99_s: float, course: Course | None = None) -> Days:
    nothing = Interval.exact(0.0)
    return Days(
        fleet=fleet,
        kept=kept(fleet, Interval.exact(p99_s)),
        lost_share=0.0,
        replica_hours=nothing,
        replicas_mean=1.0,
        replicas_most=1,
        scalings=nothing,
        requests=1,
        runs=5,
        confidence=0.95,
        course=course or Course(arrived=(1.0,), late=(0.0,), wanted=(1.0,), ready=(1.0,)),
    )


SHARE, REQUESTS = Target(metric=Metric.UTILIZATION, level=0.6), Target(metric=Metric.CONCURRENCY, level=4.0)


@pytest.mark.parametrize(
    ("target", "count", "found"), [(SHARE, 37, 36), (REQUESTS, 1300, 1200), (SHARE, 3, 3)]
)
def test_the_highest_target_that_holds_is_found_on_its_grid(target: Target, count: int, found: int) -> None:
    """Twentieths of the target that was given."""
    result = screen(fleet(target), Made(count=count), lambda told: None)
    assert result.found.exit_code == 3
    (lower,) = [one.fleet.autoscaler for one in result.remedies]
    assert lower.target.count == found
    assert result.smallest.fleet.plan.replicas == 5


def test_the_fewest_replicas_at_least_are_found_below_the_fixed_fleet() -> None:
    result = screen(fleet(SHARE), Made(fixed=9, least=6), lambda told: None)
    (more,) = [one.fleet.autoscaler for one in result.remedies]
    assert (more.replicas_min, more.target) == (6, SHARE)


def test_from_none_at_least_a_single_replica_is_tried() -> None:
    result = screen(fleet(SHARE, replicas_min=0), Made(fixed=2, least=1), lambda told: None)
    (more,) = [one.fleet.autoscaler for one in result.remedies]
    assert more.replicas_min == 1


@pytest.mark.parametrize("fixed", [3, 12, 13, 16])
def test_a_fleet_far_beyond_the_need_is_not_asked(fixed: int) -> None:
    """Three replicas serve the mean rate of 25 rps; none is farther above them than twice as far as is needed."""
    judge = Made(fixed=fixed)
    result = screen(fleet(SHARE), judge, lambda told: None)
    assert result.smallest.fleet.plan.replicas == fixed
    asked = [one.plan.replicas for one in judge.asked if one.autoscaler is None]
    assert max(asked) <= 3 + 2 * (fixed - 3)


def test_no_fleet_is_searched_for_where_no_batch_is_fast_enough() -> None:
    judge = Made()
    result = screen(changed(fleet(SHARE), limit_s=0.05), judge, lambda told: None)
    assert len(judge.asked) == 1
    assert not result.is_searched


def test_what_holds_needs_no_way_out() -> None:
    judge = Made(count=60)
    result = screen(fleet(SHARE), judge, lambda told: None)
    assert result.found.exit_code == 0
    assert result.remedies == ()
    assert all(one.autoscaler is None for one in judge.asked[1:])
    assert min(one.plan.replicas for one in judge.asked[1:]) >= 3  # fewer cannot serve 25 rps


def test_the_verdict_alone_asks_once() -> None:
    judge = Made()
    result = screen(fleet(SHARE), judge, lambda told: None, only_verdict=True)
    assert len(judge.asked) == 1
    assert result.smallest is None


def test_where_no_fleet_holds_there_is_no_fixed_one() -> None:
    result = screen(fleet(SHARE), Made(fixed=17), lambda told: None)
    assert result.smallest is None
    assert result.remedies == ()


def test_a_verdict_needs_all_of_the_interval() -> None:
    found = days(fleet(SHARE), 0.4)
    assert found.exit_code == 0
    straddles = Interval(value=0.4, low=0.3, high=0.6)
    assert with_limited(found, straddles).exit_code == 4
    assert with_limited(found, Interval.exact(LIMIT_S)).exit_code == 0


def test_the_worst_ten_minutes_hold_most_of_the_late_requests() -> None:
    """Late ones in minutes 30 to 35 of an hour, as the rate doubles in minute 30."""
    late = tuple(50.0 if 30 <= minute < 35 else 1.0 if minute == 50 else 0.0 for minute in range(60))
    course = Course(
        arrived=tuple(600.0 if minute < 30 else 1200.0 for minute in range(60)),
        late=late,
        wanted=tuple(1.0 if minute < 31 else 4.0 for minute in range(60)),
        ready=tuple(1.0 if minute < 33 else 4.0 for minute in range(60)),
    )
    doubled = changed(fleet(SHARE), day=DailyCurve(times_s=(0.0, 1800.0), rates_rps=(10.0, 20.0)))
    worst = worst_of(days(doubled, 0.9, course))
    assert (worst.begins_s, worst.ends_s) == (1800.0, 2400.0)
    assert worst.share == pytest.approx(250.0 / 251.0)
    assert (worst.before_rps, worst.peak_rps, worst.ready, worst.wanted) == (10.0, 20.0, 1.0, 4.0)


def test_few_late_requests_have_no_worst_time() -> None:
    assert worst_of(days(fleet(SHARE), 0.4)) is None
