"""Scaled fleets: what each bound refuses, and the times and rates of a run by hand."""

from dataclasses import replace
from typing import Any

import pytest
import scaled
from scaled import scaled_fleet

from capacity.autoscaling.scaled_fleet import ScaledFleet
from capacity.errors import DomainError, InputError
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.autoscaler import Autoscaler, Metric, Target
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.daily import DAY_S, HOUR_S, DailyCurve
from capacity.traffic.workload import DeterministicArrivals, GammaArrivals, MmppArrivals

PROFILE = ServiceProfile(name="flat", timings=(BatchTiming(batch_size=1, mean_s=0.1),))
SHARE = Target(metric=Metric.UTILIZATION, level=0.6)
# 10 rps from midnight, 20 from six in the morning, 30 from noon on.
CURVE = DailyCurve(times_s=(0.0, 6.0 * HOUR_S, 12.0 * HOUR_S), rates_rps=(10.0, 20.0, 30.0))


def scaler(**changed: Any) -> Autoscaler:
    return Autoscaler(**({"target": SHARE, "replicas_max": 9} | changed))


def fleet(**changed: Any) -> ScaledFleet:
    whole = scaled_fleet(PROFILE, BatchPlan(profile="flat", replicas=9, batch_size_max=1), CURVE, scaler())
    return scaled.changed(whole, **changed)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"replicas_min": -1}, "replicas_min"),
        ({"replicas_max": 0, "replicas_min": 0}, "replicas_max"),
        ({"replicas_max": 2, "replicas_min": 3}, "replicas_max"),
        ({"startup_s": -1e-9}, "startup_s"),
        ({"metric_lag_s": -1e-9}, "metric_lag_s"),
        ({"stabilization_s": -1e-9}, "stabilization_s"),
        ({"tolerance": -1e-9}, r"tolerance must be in \[0, 1\)"),
        ({"tolerance": 1.0}, r"tolerance must be in \[0, 1\), got 1"),
    ],
)
def test_settings_out_of_range_are_refused(changed: dict[str, Any], said: str) -> None:
    scaler(replicas_min=0, startup_s=0.0, metric_lag_s=0.0, stabilization_s=0.0, tolerance=0.0)
    scaler(replicas_min=9, tolerance=0.999)
    with pytest.raises(DomainError, match=said):
        scaler(**changed)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"begins_s": -1.0}, "must begin before it ends"),
        ({"begins_s": HOUR_S, "ends_s": HOUR_S}, "got 01:00-01:00"),
        ({"ends_s": DAY_S + 1.0}, "must begin before it ends"),
        ({"limit_s": 0.0}, "the P99 limit must be positive"),
        ({"arrivals": MmppArrivals(ratio=2.0, burst_mean_s=1.0, calm_mean_s=1.0)}, "bursts and traces do not"),
        ({"ends_s": 0.0}, "got 00:00-00:00"),
    ],
)  # fmt: skip
def test_fleets_out_of_range_are_refused(changed: dict[str, Any], said: str) -> None:
    for arrivals in (GammaArrivals(cv=2.0), DeterministicArrivals()):
        assert fleet(arrivals=arrivals).ends_s == DAY_S
    with pytest.raises(InputError, match=said):
        fleet(**changed)


def test_a_part_of_the_day_has_requests_but_at_most_a_billion() -> None:
    """The warm-up counts too: here an hour and then two, before the hour that is looked at."""
    silent = DailyCurve(times_s=(0.0, 6.0 * HOUR_S, 12.0 * HOUR_S), rates_rps=(0.0, 20.0, 0.0))
    with pytest.raises(DomainError, match="has no requests within 12:00-13:00; look at another part"):
        fleet(day=silent, begins_s=12.0 * HOUR_S, ends_s=13.0 * HOUR_S)

    def at(factor: float, **changed: Any) -> ScaledFleet:
        """At `factor` times the rate that gives a billion requests in two hours."""
        busy = DailyCurve(times_s=(0.0,), rates_rps=(factor * 1e9 / (2.0 * HOUR_S),))
        return fleet(day=busy, begins_s=10.0 * HOUR_S, ends_s=11.0 * HOUR_S, **changed)

    hour = {"scaler": scaler(stabilization_s=2985.0)}  # a warm-up of 600 + 2985 + 15 s
    assert at(0.999, **hour).requests == pytest.approx(0.999 * 1e9)
    with pytest.raises(
        DomainError, match=r"10:00-11:00 has 1.01e\+09 requests .* about 0.98 hours of the day"
    ):
        at(1.01, **hour)
    longer = {"scaler": scaler(stabilization_s=2 * 3600.0 - 615.0)}
    with pytest.raises(DomainError, match=r"the 2 hours before 10:00 .* have 1.1e\+09 requests"):
        at(1.1, **longer)


@pytest.mark.parametrize(
    ("rates_rps", "changed", "least"),
    [
        # A day of 10, 20 and 30 rps at 10 rps a replica: two leave 432,000 of 1.9 million late, three leave none.
        ((10.0, 20.0, 30.0), {}, 3),
        # Ten minutes at 30 rps leave 12,000 of 1.7 million late at one replica: less than 1 %.
        ((10.0, 10.0, 10.0), {"peak": (600.0, 30.0)}, 1),
        # An hour of that leaves 72,000.
        ((10.0, 10.0, 10.0), {"peak": (3600.0, 30.0)}, 3),
        # What is left of half an hour is served within a limit of an hour.
        ((10.0, 10.0, 10.0), {"peak": (1800.0, 30.0), "limit_s": 3600.0}, 1),
    ],
)
def test_the_mean_rates_tell_which_fixed_fleets_cannot_do(rates_rps, changed, least) -> None:
    times_s, rates = [0.0, 6.0 * HOUR_S, 12.0 * HOUR_S], list(rates_rps)
    if "peak" in changed:
        lasts_s, rate_rps = changed.pop("peak")
        times_s, rates = [*times_s, 18.0 * HOUR_S, 18.0 * HOUR_S + lasts_s], [*rates, rate_rps, rates[-1]]
    curve = DailyCurve(times_s=tuple(times_s), rates_rps=tuple(rates))
    assert fleet(day=curve, **changed).replicas_least == least


def test_the_warm_up_is_whole_minutes_until_the_autoscaler_has_settled() -> None:
    assert fleet(scaler=None).warm_up_s == 600.0
    assert fleet().warm_up_s == 960.0  # 600 + 300 + 15
    exact = scaler(stabilization_s=0.0, metric_lag_s=5.0, startup_s=40.0)
    assert exact.reaction_s == 60.0
    assert fleet(scaler=exact).warm_up_s == 660.0


def test_a_run_begins_before_the_part_that_is_looked_at() -> None:
    """By the 16 minutes of the warm-up: before six in the morning, and before midnight at the evening's rate."""
    morning = fleet(begins_s=6.0 * HOUR_S, ends_s=12.5 * HOUR_S)
    assert morning.steps == (
        (0.0, 960.0, 10.0),
        (960.0, 960.0 + 6.0 * HOUR_S, 20.0),
        (960.0 + 6.0 * HOUR_S, 960.0 + 6.5 * HOUR_S, 30.0),
    )
    assert morning.lasts_s == 6.5 * HOUR_S
    assert morning.requests == 9_600.0 + 20.0 * 6.0 * HOUR_S + 30.0 * 0.5 * HOUR_S
    assert morning.peak_rate_rps == 30.0
    assert morning.mean_rate_rps == pytest.approx((20.0 * 6.0 + 30.0 * 0.5) / 6.5)
    early = fleet(ends_s=HOUR_S)
    assert early.steps == ((0.0, 960.0, 30.0), (960.0, 960.0 + HOUR_S, 10.0))
    assert (early.peak_rate_rps, early.mean_rate_rps) == (10.0, 10.0)


def test_a_run_begins_with_enough_replicas_within_the_bounds() -> None:
    """30 rps at 10 rps a replica, busy for at most 70 % of the time, take 4.3."""
    assert fleet(ends_s=HOUR_S).replica_rps == pytest.approx(10.0)
    assert fleet(ends_s=HOUR_S).replicas_first == 5
    assert fleet(ends_s=HOUR_S, scaler=scaler(replicas_min=7)).replicas_first == 7
    assert fleet(ends_s=HOUR_S).scaled(scaler(replicas_max=3)).replicas_first == 3
    assert fleet(ends_s=HOUR_S, scaler=None).replicas_first == 9
    silent = DailyCurve(times_s=(0.0, HOUR_S), rates_rps=(10.0, 0.0))
    assert fleet(day=silent, ends_s=HOUR_S, scaler=scaler(replicas_min=0)).replicas_first == 1


def test_a_fleet_can_be_fixed_or_scaled_otherwise() -> None:
    fixed = fleet().fixed(4)
    assert (fixed.plan.replicas, fixed.autoscaler) == (4, None)
    other = fleet().scaled(scaler(replicas_max=6))
    assert (other.plan.replicas, other.autoscaler) == (6, scaler(replicas_max=6))
    assert fleet().replica_hourly_usd is None
    assert fleet(profile=replace(PROFILE, hourly_usd=2.0)).replica_hourly_usd == 2.0


@pytest.mark.parametrize("part", [{}, {"begins_s": 9.0 * HOUR_S, "ends_s": 15.0 * HOUR_S}])
def test_a_hurried_day_has_the_rates_of_the_day_for_a_share_of_the_time(part: dict[str, float]) -> None:
    whole = fleet(scaler=None, **part)
    short = whole.hurried(12.0)
    assert short.lasts_s == pytest.approx(whole.lasts_s / 12.0)
    assert (short.peak_rate_rps, short.mean_rate_rps) == pytest.approx((30.0, whole.mean_rate_rps))
    assert short.requests - 600.0 * 30.0 == pytest.approx(whole.mean_rate_rps * whole.lasts_s / 12.0)
    for share in (0.0, 0.2, 0.3, 0.55, 0.99):
        rates = [one.curve.rate_rps(one.begins_s + share * one.lasts_s) for one in (whole, short)]
        assert rates[0] == rates[1]
    assert short.replicas_least == whole.replicas_least
    assert whole.hurried(0.9) is whole


@pytest.mark.parametrize("part", [{}, {"begins_s": 5.0 * HOUR_S, "ends_s": 15.0 * HOUR_S}])
def test_an_excerpt_keeps_what_follows_a_change_of_the_rate_and_stands_for_the_day(
    part: dict[str, float],
) -> None:
    whole = fleet(**part)
    short = whole.excerpt(12.0)
    assert short.lasts_s < whole.lasts_s / 4.0
    assert len(short.stands_for) == short.lasts_s / 60.0
    assert short.whole_s == whole.lasts_s == whole.whole_s
    assert max(short.stands_for) == 12
    rates = [short.curve.rate_rps(60.0 * minute) for minute in range(len(short.stands_for))]
    due = sum(60.0 * rate * count for rate, count in zip(rates, short.stands_for, strict=True))
    assert due == pytest.approx(whole.mean_rate_rps * whole.lasts_s)
    changes = [place for place in range(1, len(rates)) if rates[place] != rates[place - 1]]
    assert len(changes) == 2
    for place in (0, *changes):
        assert set(short.stands_for[place : place + round(whole.warm_up_s / 60.0)]) == {1}
    assert short.fixed(3).stands_for == short.stands_for
    assert part or short.steps[0][2] == whole.steps[0][2]  # the warm-up has the rate of the evening


def test_an_excerpt_of_a_day_that_never_stays_the_same_is_the_day() -> None:
    minutes = DailyCurve(
        times_s=tuple(60.0 * minute for minute in range(1440)),
        rates_rps=tuple(10.0 + minute % 2 for minute in range(1440)),
    )
    short = fleet(day=minutes).excerpt(12.0)
    assert (short.lasts_s, set(short.stands_for)) == (DAY_S, {1})
    odd = fleet(day=DailyCurve(times_s=(0.0, 100.0), rates_rps=(10.0, 20.0)))
    assert odd.excerpt(12.0) is odd
