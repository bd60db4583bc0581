"""The search for the cheapest autoscaler, by a made-up judge that an exhaustive search can ask as well."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise, product

import pytest
from scaled import kept, scaled_fleet, with_limited

from capacity.autoscaling.cheapest import CONFIRMED_MAX, AutoscaledPlan, _hours_with, cheapest, ladders
from capacity.autoscaling.comparison import first_above
from capacity.autoscaling.findings import Course, Days
from capacity.autoscaling.scaled_fleet import ScaledFleet
from capacity.performance import Interval
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.autoscaler import Autoscaler, Metric, Target
from capacity.question.candidate import Verdict
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.daily import DAY_S, DailyCurve

LIMIT_S = 0.5
PROFILE = ServiceProfile(name="flat", timings=(BatchTiming(batch_size=1, mean_s=0.1),), hourly_usd=2.0)
CHOICES = ladders(1)
_, SHARES = CHOICES
QUIET_RPS, BUSY_RPS = 5.0, 40.0  # a night and a day of twelve hours each


def fleet(replicas_max: int = 30) -> ScaledFleet:
    """A night of 5 rps and a day of 40 rps, at 10 rps a replica."""
    plan = BatchPlan(profile="flat", replicas=replicas_max, batch_size_max=1)
    scaler = Autoscaler(target=SHARES[0], replicas_max=replicas_max)
    day = DailyCurve(times_s=(0.0, 43_200.0), rates_rps=(QUIET_RPS, BUSY_RPS))
    return scaled_fleet(PROFILE, plan, day, scaler, limit_s=LIMIT_S)


@dataclass
class Made:
    """Replicas are what the target asks for of the rate; a fleet holds by a rule on its target and lower bound.

    Attributes:
        fixed: fewest replicas of a fixed fleet that hold.
        holds: of level, metric and lower bound.
    """

    holds: Callable[[Target, int], bool]
    fixed: int = 6
    asked: list[ScaledFleet] = field(default_factory=list)

    def __call__(self, fleet: ScaledFleet) -> Days:
        self.asked.append(fleet)
        scaler = fleet.autoscaler
        if scaler is None:
            return days(fleet, fleet.plan.replicas >= self.fixed, [fleet.plan.replicas] * 2)
        return days(fleet, self.holds(scaler.target, scaler.replicas_min), counts(scaler))


def counts(scaler: Autoscaler) -> list[int]:
    """Replicas by night and by day."""
    wanted = [math.ceil(rate_rps / 10.0 / scaler.target.level) for rate_rps in (QUIET_RPS, BUSY_RPS)]
    return [min(max(one, scaler.replicas_min), scaler.replicas_max) for one in wanted]


def days(fleet: ScaledFleet, holds: bool, night_and_day: list[int]) -> Days:
    p99_s = 0.4 if holds else 0.9
    steps = round(fleet.lasts_s / 60.0)
    by_night = [fleet.curve.rate_rps(60.0 * step) == QUIET_RPS for step in range(steps)]
    hours = 12.0 * sum(night_and_day)
    return Days(
        fleet=fleet,
        kept=kept(fleet, Interval.exact(p99_s)),
        lost_share=0.0,
        replica_hours=Interval.exact(hours),
        replicas_mean=hours / 24.0,
        replicas_most=max(night_and_day),
        scalings=Interval.exact(2.0),
        requests=1,
        runs=5,
        confidence=0.95,
        course=Course(
            arrived=(1.0,) * steps,
            late=(0.0,) * steps,
            wanted=tuple(float(night_and_day[0 if night else 1]) for night in by_night),
            ready=(1.0,) * steps,
        ),
    )


def found_by(
    judge: Made, confirm: Made | None = None, choices=CHOICES, replicas_max: int = 30
) -> AutoscaledPlan:
    """What is chosen where confirmations say the same, or what another judge says."""
    again = confirm or judge
    screen, searched, passed_over = cheapest(
        fleet(replicas_max), choices, judge, lambda fleet, attempt: again(fleet), lambda told: None
    )
    return AutoscaledPlan(screen=screen, asked="any", searched=searched, passed_over=passed_over)


def stairs(share: int, extra: float, per_bound: int) -> Callable[[Target, int], bool]:
    """Utilization holds up to a percentage, and to a higher one for each replica that is always there."""

    def holds(target: Target, least: int) -> bool:
        if target.metric is Metric.CONCURRENCY:
            return target.level <= extra * least
        return target.count <= share + per_bound * (least - 1)

    return holds


@pytest.mark.parametrize("fixed", [4, 6])
@pytest.mark.parametrize(
    "holds",
    [stairs(60, 0.0, 5), stairs(45, 0.6, 10), stairs(20, 0.2, 15), stairs(95, 0.0, 0), stairs(30, 1.3, 0)],
)
def test_the_cheapest_is_that_of_an_exhaustive_search(holds, fixed) -> None:
    judge = Made(holds, fixed=fixed)
    plan = found_by(judge)
    every = [target for ladder in CHOICES for target in ladder]
    least_hours = min(
        12.0 * sum(counts(Autoscaler(target=target, replicas_min=least, replicas_max=30)))
        for target, least in product(every, range(1, fixed + 1))
        if holds(target, least)
    )
    assert plan.chosen.replica_hours.value == least_hours
    assert plan.searched < len(every) * fixed / 4.0


def test_the_upper_bound_is_what_was_ever_asked_for() -> None:
    plan = found_by(Made(stairs(60, 0.0, 0)))
    scaler = plan.chosen.fleet.autoscaler
    assert (str(scaler.target), scaler.replicas_min, scaler.replicas_max) == ("utilization:0.6", 1, 7)
    assert plan.chosen.fleet.plan.replicas == 7


def test_it_says_what_is_saved_of_the_smallest_fixed_fleet() -> None:
    """One replica by night and seven by day, where six all the time are enough; two and nine, where four are."""
    plan = found_by(Made(stairs(60, 0.0, 0)))
    assert plan.saved_share == Interval.exact(1.0 - 96.0 / 144.0)
    more_expensive = found_by(Made(stairs(60, 0.0, 0), fixed=4), choices=((SHARES[3],),))
    assert more_expensive.saved_share == Interval.exact(1.0 - 132.0 / 96.0)


def test_the_next_one_is_confirmed_where_the_cheapest_is_not() -> None:
    """Fresh numbers say that 0.5 holds and no more: 0.6 is passed over, for which its neighbours are tried."""
    plan = found_by(Made(stairs(60, 0.0, 0)), Made(stairs(50, 0.0, 0)))
    first, *_ = (one.fleet.autoscaler for one in plan.passed_over)
    chosen = plan.chosen.fleet.autoscaler
    assert (str(first.target), str(chosen.target)) == ("utilization:0.6", "utilization:0.5")
    assert plan.verdict is Verdict.MET


def test_each_confirmation_is_told_how_many_came_before() -> None:
    judge, attempts = Made(stairs(60, 0.0, 0)), []

    def confirm(fleet: ScaledFleet, attempt: int) -> Days:
        attempts.append((attempt, fleet.autoscaler is None))
        return days(fleet, attempt in (1, 4), [2, 2])

    cheapest(fleet(), CHOICES, judge, confirm, lambda told: None)
    assert attempts == [(1, True), (2, False), (3, False), (4, False)]


@pytest.mark.parametrize(("low_s", "verdict"), [(0.6, Verdict.MISSED), (0.4, Verdict.INCONCLUSIVE)])
def test_where_none_is_confirmed_the_nearest_decides(low_s: float, verdict: Verdict) -> None:
    """Ten are tried; one whose interval lies on both sides of the limit leaves it open."""
    judge, nearest = Made(stairs(60, 0.0, 0)), Interval(value=0.7, low=low_s, high=0.8)

    def confirm(fleet: ScaledFleet, attempt: int) -> Days:
        found = days(fleet, fleet.autoscaler is None, [2, 2])
        return with_limited(found, nearest) if attempt == 4 else found

    screen, searched, passed_over = cheapest(fleet(), CHOICES, judge, confirm, lambda told: None)
    plan = AutoscaledPlan(screen=screen, asked="any", searched=searched, passed_over=passed_over)
    assert (plan.verdict, plan.chosen, len(passed_over)) == (verdict, None, CONFIRMED_MAX)
    assert plan.screen.found.binding.found_s == nearest


def test_where_no_fixed_fleet_holds_no_autoscaler_is_searched() -> None:
    judge = Made(stairs(60, 0.0, 0), fixed=99)
    plan = found_by(Made(lambda target, least: False, fixed=99))
    assert (plan.verdict, plan.chosen, plan.saved_share) == (Verdict.MISSED, None, None)
    assert plan.searched == len(CHOICES)
    assert judge.asked == []


def test_one_target_has_its_bounds_chosen() -> None:
    """0.8 holds with three replicas at least."""
    plan = found_by(Made(stairs(60, 0.0, 10)), choices=((SHARES[10],),))
    scaler = plan.chosen.fleet.autoscaler
    assert (str(scaler.target), scaler.replicas_min, scaler.replicas_max) == ("utilization:0.8", 3, 5)


@pytest.mark.parametrize("least", [1, 3])
@pytest.mark.parametrize("most", [3, 4, 30])
def test_a_fixed_fleet_is_looked_for_from_the_fewest_on(least: int, most: int) -> None:
    """The answer is that of bisection from the most, but only what lies near it is simulated."""
    for enough in range(least, most + 2):
        asked: list[int] = []

        def ask(replicas: int, enough: int = enough, asked: list[int] = asked) -> Days:
            asked.append(replicas)
            return days(fleet().fixed(replicas), replicas >= enough, [replicas] * 2)

        found = first_above(ask, least, most)
        assert (found and found.fleet.replicas) == (enough if enough <= most else None)
        assert len(asked) == len(set(asked)) <= 1 + 2 * math.ceil(math.log2(enough - least + 1))
        assert max(asked) <= min(most, max(least, 2 * enough - least))


def test_a_search_in_a_hurry_is_confirmed_by_whole_days() -> None:
    """Fixed fleets see a day that passes faster, and controllers an excerpt of it, which has its replica-hours."""
    judge, confirm = Made(stairs(60, 0.0, 5)), Made(stairs(60, 0.0, 5))
    found, *_ = cheapest(fleet(), CHOICES, judge, lambda one, attempt: confirm(one), lambda told: None, 8.0)
    assert {one.lasts_s for one in judge.asked if one.autoscaler is None} == {DAY_S / 8.0}
    excerpts = {one.lasts_s for one in judge.asked if one.autoscaler is not None}
    assert len(excerpts) == 1
    assert max(excerpts) < DAY_S / 8.0
    assert {(one.lasts_s, one.stands_for) for one in confirm.asked} == {(DAY_S, ())}
    assert (found.smallest.fleet.replicas, found.smallest.fleet.lasts_s) == (6, DAY_S)
    whole, *_ = cheapest(fleet(), CHOICES, judge, lambda one, attempt: confirm(one), lambda told: None)
    assert found.found.fleet.autoscaler == whole.found.fleet.autoscaler


def test_a_raised_bound_costs_as_much_on_an_excerpt_as_on_the_day() -> None:
    """One replica by night and seven by day; with three at least, three by night."""
    for whole in (fleet(), fleet().excerpt(20.0)):
        found = days(whole, True, [1, 7])
        assert _hours_with(found, 1) == pytest.approx(12.0 * 8.0)
        assert _hours_with(found, 3) == pytest.approx(12.0 * 10.0)


def test_where_none_holds_on_an_excerpt_the_nearest_is_judged_by_the_day() -> None:
    """What is told of it are figures of the whole day; it may even hold."""
    judge, confirm = Made(lambda target, least: False), Made(lambda target, least: True)
    found, *_ = cheapest(fleet(), CHOICES, judge, lambda one, attempt: confirm(one), lambda told: None, 8.0)
    assert found.found.fleet.lasts_s == DAY_S
    assert found.found.is_held


def test_what_an_excerpt_leaves_open_is_told_and_not_tried_on_the_day() -> None:
    """0.55 holds beyond doubt, and 0.6, which takes fewer replica-hours, may."""

    def judge(one: ScaledFleet) -> Days:
        found = Made(stairs(55, 0.0, 0))(one)
        is_open = one.autoscaler is not None and one.autoscaler.target.count == 60
        return with_limited(found, Interval(value=0.5, low=0.4, high=0.6)) if is_open else found

    confirm = Made(stairs(60, 0.0, 0))
    given = (fleet(), (SHARES,), judge, lambda one, attempt: confirm(one), lambda told: None)
    for hurry, told in ((8.0, ["utilization:0.6"]), (1.0, [])):
        found, _, passed_over = cheapest(*given, hurry, {Metric.UTILIZATION: 0.6})
        assert str(found.found.fleet.autoscaler.target) == "utilization:0.55"
        assert [str(one.fleet.autoscaler.target) for one in passed_over] == told
    assert {str(one.autoscaler.target) for one in confirm.asked if one.autoscaler} == {"utilization:0.55"}


@pytest.mark.parametrize(
    ("at_peak", "most"), [({Metric.UTILIZATION: 0.7}, 2), ({Metric.UTILIZATION: 0.99}, 1)]
)
def test_a_metric_at_which_any_target_costs_more_is_hardly_simulated(
    at_peak: dict[Metric, float], most: int
) -> None:
    """As of an engine, which computes all the time: whatever utilization is asked for, as many as there may be run."""
    asked: list[Target] = []

    def judge(one: ScaledFleet) -> Days:
        scaler = one.autoscaler
        if scaler is None or scaler.target.metric is Metric.CONCURRENCY:
            return Made(stairs(0, 1.0, 0))(one)
        asked.append(scaler.target)
        return days(one, True, [30, 30])

    found, *_ = cheapest(fleet(), CHOICES, judge, lambda one, _: judge(one), lambda told: None, 1.0, at_peak)
    assert found.found.fleet.autoscaler.target.metric is Metric.CONCURRENCY
    assert len(asked) == most
    assert asked[-1] == SHARES[-1]


@pytest.mark.parametrize("holds", [stairs(60, 0.7, 0), stairs(45, 0.6, 10), stairs(30, 1.3, 0)])
def test_what_is_found_does_not_depend_on_where_the_search_begins(holds) -> None:
    """It simulates at most half of the 26 targets, each of which has six bounds to choose from."""
    found = set()
    for level in (0.6, 1.0, 2.0):
        judge, at_peak = Made(holds), {Metric.CONCURRENCY: level, Metric.UTILIZATION: 0.66}
        again = Made(holds)
        seen, searched, _ = cheapest(
            fleet(), CHOICES, judge, lambda one, _, again=again: again(one), lambda told: None, 1.0, at_peak
        )
        assert searched == sum(one.autoscaler is not None for one in judge.asked) <= 13
        found.add(seen.found.fleet.autoscaler)
    assert len(found) == 1


def test_targets_to_choose_from_rise_to_four_full_batches() -> None:
    requests, shares = ladders(16)
    assert [shares[0].level, shares[-1].level] == [0.3, 0.9]
    tolerance = Autoscaler(target=shares[-1], replicas_max=9).tolerance
    assert 1.0 / shares[-1].level > 1.0 + tolerance >= 1.0 / (shares[-1].level + 0.05)  # of busy replicas
    assert [requests[0].level, requests[-1].level] == [0.5, 64.0]
    for ladder in (shares, requests):
        assert all(one.level < other.level for one, other in pairwise(ladder))
