"""Screens of scaled fleets, to the last word: the answer, why requests are late, and the course of the time."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text
from scaled import changed, kept, with_limited
from test_causes import PROFILE, RISING, WORST, days

from capacity.autoscaling.findings import Course, Days, ScaledScreen, Worst
from capacity.performance import Interval
from capacity.question.autoscaler import Metric, Target
from capacity.question.objective import Objective
from capacity.render.autoscaling.reasons import reasons
from capacity.render.autoscaling.screen import autoscale_tables, fleet_table
from capacity.traffic.daily import DailyCurve

COSTS = "The autoscaled fleet takes 96.00 USD for 48 replica-hours and"
MISSES = f"{COSTS} has a P99 of 1 s (1 s to 1 s), over the limit of 500 ms"
FAST = "has a P99 of 100 ms (100 ms to 100 ms), over the limit of 50 ms"
BESIDE = "; that is 33 % less than 3 replicas that hold it all the time."
NOT_EVEN = "Not even 4 replicas all the time hold the limit"
NO_OTHER = "No lower target and no higher --replicas-min that was tried holds the limit."
AS_IT_RISES = "of the late requests arrive from 00:00 to 00:10, as the rate rises from 10 rps to 12 rps:"
AT_ONCE = "after a rise (lag 0 s, look 15 s, start-up 0 s)."
EVEN = (
    "Why: the rate is even where most requests are late, 10 rps, and the fleet keeps too little in reserve for its "
    "chance: 2 replicas are asked for in the mean and"
)
KEEPS = "A lower --autoscale or a higher --replicas-min keeps more."


def scaled(found: Days, **changed: Any) -> Days:
    """With other settings of the autoscaler."""
    scaler = found.fleet.autoscaler
    assert scaler is not None
    return replace(found, fleet=found.fleet.scaled(replace(scaler, **changed)))


def held(found: Days) -> Days:
    return with_limited(found, Interval.exact(0.4))


def fixed(replicas: int, hours: float = 72.0) -> Days:
    found = days(hours=Interval.exact(hours))
    return held(replace(found, fleet=found.fleet.fixed(replicas)))


def screen(
    found: Days,
    worst: Worst | None = None,
    smallest: Days | None = None,
    remedies: Sequence[Days] = (),
    *,
    is_searched: bool = True,
) -> ScaledScreen:
    return ScaledScreen(
        found=found, smallest=smallest, remedies=tuple(remedies), worst=worst, is_searched=is_searched
    )


def of_fleet(found: Days, **changes: Any) -> Days:
    return replace(found, fleet=changed(found.fleet, **changes))


def limited(found: Days, quantile: float) -> Days:
    """With its limit at another quantile."""
    fleet = found.fleet
    objective = Objective.of(response={quantile: fleet.limits[0].allowed})
    floors_s = dict.fromkeys(objective.limits, fleet.floor_s(fleet.limits[0]))
    fleet = replace(fleet, scenario=replace(fleet.scenario, objective=objective), floors_s=floors_s)
    return replace(found, fleet=fleet, kept=kept(fleet, found.binding.found_s))


HUNTING = replace(days(), scalings=Interval.exact(240.0))
CASES = {
    "no batch is fast enough": (
        screen(days(limit_s=0.05), is_searched=False),
        f"{COSTS} {FAST}.",
        "Why: no batch is served within 50 ms at P99; the fastest takes 100 ms. No number of replicas changes that; "
        "raise --slo-p99.",
    ),
    "nor with the overhead of a request": (
        screen(
            of_fleet(days(limit_s=0.05), profile=replace(PROFILE, request_overhead_s=0.02)), is_searched=False
        ),
        f"{COSTS} {FAST}.",
        "Why: no batch is served within 50 ms at P99; the fastest takes 120 ms, of which 20 ms is overhead of the "
        "request. No number of replicas changes that; raise --slo-p99.",
    ),
    "nor at another quantile": (
        screen(limited(days(limit_s=0.05), 0.9), is_searched=False),
        f"{COSTS} {FAST}.".replace("P99", "P90"),
        "Why: no batch is served within 50 ms at P90; the fastest takes 100 ms. No number of replicas changes that; "
        "raise --slo-p90.",
    ),
    "one replica at most": (
        screen(scaled(days(replicas=1), replicas_max=1), RISING),
        f"{MISSES}.",
        "Why: the rate goes up to 10 rps, and the 1 replica of --replicas-max serves at most 10 rps; raise "
        "--replicas-max.",
        "Not even 1 replica all the time holds the limit.",
    ),
    "four replicas at most": (
        screen(of_fleet(days(), day=DailyCurve(times_s=(0.0,), rates_rps=(40.0,))), RISING),
        f"{MISSES}.",
        "Why: the rate goes up to 40 rps, and the 4 replicas of --replicas-max serve at most 40 rps; raise "
        "--replicas-max.",
        f"{NOT_EVEN}.",
    ),
    "full queues": (
        screen(days(queue_limit=2, lost=0.09), RISING),
        f"{MISSES}.",
        "Why: full queues reject 9.00 % of the requests; raise --queue-limit from 2, or leave it out.",
        f"{NOT_EVEN}.",
    ),
    "a batch wait": (
        screen(days(batch_size_max=2, batch_wait_max_s=0.45), WORST),
        f"{MISSES}.",
        "Why: a batch may wait 450 ms for others, and beside the fastest batch the limit leaves 400 ms; lower "
        "--batch-wait.",
        f"{NOT_EVEN}.",
    ),
    "a rise": (
        screen(days(), RISING),
        f"{MISSES}.",
        f"Why: 100 % {AS_IT_RISES} 1 replica serves before, at most 2 are asked for, and a new one serves up to "
        f"15 s {AT_ONCE}",
        f"{NOT_EVEN}; raise --replicas-max.",
    ),
    "a rise that is held": (
        screen(held(days()), replace(RISING, ready=2.5, wanted=4.0), fixed(1, 24.0)),
        f"{COSTS} has a P99 of 400 ms (400 ms to 400 ms), within 500 ms; that is 100 % more than the single replica "
        "that holds it all the time.",
        f"Where it is tightest: 100 % {AS_IT_RISES} 2.5 replicas serve before, all 4 of --replicas-max are "
        f"asked for, and a new one serves up to 15 s {AT_ONCE}",
    ),
    "a rise from none": (
        screen(scaled(days(), replicas_min=0, startup_s=20.0), replace(RISING, ready=0.5, wanted=1.0)),
        f"{MISSES}.",
        f"Why: 100 % {AS_IT_RISES} 0.5 replicas serve before, at most 1 is asked for, and a new one serves up "
        "to 50 s after the first request (a poll every 30 s, start-up 20 s).",
        f"{NOT_EVEN}; raise --replicas-max.",
    ),
    "a rise that is seen late": (
        screen(scaled(days(), startup_s=20.0, metric_lag_s=30.0), replace(RISING, share=0.123, ready=0.5)),
        f"{MISSES}.",
        f"Why: 12 % {AS_IT_RISES} 0.5 replicas serve before, at most 2 are asked for, and a new one serves up "
        "to 65 s after a rise (lag 30 s, look 15 s, start-up 20 s).",
        f"{NOT_EVEN}; raise --replicas-max.",
    ),
    "too little in reserve": (
        screen(days(), WORST, fixed(3)), f"{MISSES}{BESIDE}", f"{EVEN} 2 at most. {KEEPS}", NO_OTHER,
    ),
    "too little, with all that may be": (
        screen(
            replace(days(), course=Course(arrived=(1.0,), late=(0.0,), wanted=(4.0,), ready=(2.0,))),
            WORST, fixed(3),
        ),
        f"{MISSES}{BESIDE}", f"{EVEN} 4 at most, all of --replicas-max. {KEEPS}", NO_OTHER,
    ),
    "it hunts": (
        screen(HUNTING, WORST, fixed(3)),
        f"{MISSES}{BESIDE}",
        "The fleet hunts: 10 changes an hour. It shrinks in every lull of the load and grows again after it; a "
        "--stabilization longer than 300 s keeps it larger in between.",
        NO_OTHER,
    ),
    "six changes an hour are no hunt": (
        screen(replace(days(), scalings=Interval.exact(144.0)), WORST, fixed(3)),
        f"{MISSES}{BESIDE}", f"{EVEN} 2 at most. {KEEPS}", NO_OTHER,
    ),
    "it hunts by concurrency as the rate rises": (
        screen(scaled(HUNTING, target=Target(metric=Metric.CONCURRENCY, level=4.0)), RISING, fixed(3)),
        f"{MISSES}{BESIDE}",
        f"Why: 100 % {AS_IT_RISES} 1 replica serves before, at most 2 are asked for, and a new one serves up to "
        f"15 s {AT_ONCE}",
        "The fleet hunts: 10 changes an hour. Once the queues are gone so is the metric; the fleet shrinks, and the "
        "queues come back. A target of utilization is steadier than one of concurrency.",
        NO_OTHER,
    ),
    "too many are lost": (
        screen(with_limited(days(), Interval.exact(math.inf), lost_share=0.0345), None, fixed(3)),
        f"{COSTS} loses 3.45 % of the requests, too many for a P99, over the limit of 500 ms{BESIDE}",
        NO_OTHER,
    ),
    "too near to tell, with a way out": (
        screen(
            with_limited(days(), Interval(value=0.5, low=0.4, high=0.6)),
            None, fixed(3), [scaled(held(days()), replicas_min=2)],
        ),
        f"{COSTS} has a P99 of 500 ms (400 ms to 600 ms), too near 500 ms to tell{BESIDE}",
    ),
    "without a price": (
        screen(
            replace(
                of_fleet(held(days()), profile=replace(PROFILE, hourly_usd=None)),
                replica_hours=Interval(value=48.0, low=45.0, high=51.0),
            )
        ),
        "The autoscaled fleet takes 48 replica-hours (45 to 51) and has a P99 of 400 ms (400 ms to 400 ms), within "
        "500 ms.",
        f"{NOT_EVEN}; raise --replicas-max.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_answer_and_its_reasons(case: tuple[Any, ...]) -> None:
    shown, answer, *why = case
    assert str(next(autoscale_tables(shown, 80))) == answer
    assert list(reasons(shown)) == why


SCREEN = [
    "The autoscaled fleet takes 96.00 USD for 48 replica-hours and has a P99 of 1 s (1 s to 1 s), over",
    "the limit of 500 ms; --replicas-min 2 holds it for 33 % less than 3 replicas all the time.",
    " fleet                P99     late  hours     USD  mean  most  changes",
    " autoscaled           1 s  10.00 %   48.0   96.00  2.12     3        7",
    " 3 all the time    400 ms  10.00 %   72.0  144.00  2.00     2        0",
    " --replicas-min 2  400 ms  10.00 %   48.0   96.00  2.50     2        0",
    "From 00:00 to 24:00, and the highest of each:",
    " arrivals             ▃▃▃▃▄▄▄▄▄▄▄▄▄▄▅▅▅▅▅▅▅▅▅▆▆▆▆▆▆▆▆▆▇▇▇▇▇▇▇▇▇█████  2.65 rps",
    " replicas that serve  ▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃███████████████████████  2.5",
    " late                 ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁████  50.0 %",
    "12,345 requests; replicas asked for 2.12 in the mean, 3 at most; lost 0.123 %.",
]  # fmt: skip


def test_of_several_ways_out_the_cheapest_is_named_and_none_where_the_limit_is_held() -> None:
    """Its saving is its own: 48 of 72 replica-hours are a third less, 60 a sixth."""
    remedies = [
        replace(scaled(held(days()), replicas_min=count), replica_hours=Interval.exact(hours))
        for count, hours in ((2, 66.0), (3, 60.0))
    ]
    told = str(next(autoscale_tables(screen(days(), None, fixed(4), remedies), 80)))
    assert "--replicas-min 3 holds it for 17 % less than 4 replicas all the time." in told
    told = str(next(autoscale_tables(screen(held(days()), None, fixed(4), remedies), 80)))
    assert "that is 33 % less than 4 replicas that hold it all the time." in told


def test_the_whole_screen() -> None:
    """A hundred steps in 46 on a page of 80 columns, of which no line is longer; the last row is what would hold."""
    rising = tuple(60.0 + number for number in range(100))
    course = Course(
        arrived=rising,
        late=tuple(0.5 * one if one > 150.0 else 0.0 for one in rising),
        wanted=(2.0,) * 100,
        ready=(1.0,) * 50 + (2.5,) * 50,
    )
    found = replace(
        days(),
        course=course,
        replicas_mean=2.125,
        replicas_most=3,
        scalings=Interval.exact(7.0),
        requests=12345,
        lost_share=0.00123,
    )
    shown = screen(found, None, fixed(3), [replace(scaled(held(days()), replicas_min=2), replicas_mean=2.5)])
    console = Console(width=100, color_system=None, highlight=False)
    with console.capture() as text:
        for one in autoscale_tables(shown, 80, verbose=True):
            console.print(one)
    assert [line.rstrip() for line in text.get().splitlines()] == SCREEN


def course_lines(steps: int, width: int) -> list[str]:
    """The lines of a day whose second half has twice the arrivals, half of them late."""
    half = steps // 2
    course = Course(
        arrived=(60.0,) * half + (120.0,) * half,
        late=(0.0,) * half + (60.0,) * half,
        wanted=(2.0,) * steps,
        ready=(1.0,) * half + (3.0,) * half,
    )
    found = replace(days(), course=course)
    told = [
        one.plain for one in autoscale_tables(screen(found), width, verbose=True) if isinstance(one, Text)
    ]
    place = next(number for number, line in enumerate(told) if "the highest of each" in line)
    return told[place : place + 4]


@pytest.mark.parametrize(
    ("steps", "width", "columns"), [(8, 120, 8), (200, 120, 60), (200, 90, 56), (200, 30, 10), (200, 45, 11)]
)
def test_a_course_has_as_many_columns_as_the_screen_has_room_for(steps, width, columns) -> None:
    """At most 60, and at least 10."""
    head, arrivals, replicas, late = course_lines(steps, width)
    assert head == "From 00:00 to 24:00, and the highest of each:"
    half, middle = columns // 2, columns % 2
    drawn = {line[:20].strip(): line[22:].split("  ") for line in (arrivals, replicas, late)}
    assert {name: most for name, (_, most) in drawn.items()} == {
        "arrivals": "2 rps", "replicas that serve": "3", "late": "50.0 %"
    }  # fmt: skip
    blocks = {name: shown for name, (shown, _) in drawn.items()}
    assert {len(shown) for shown in blocks.values()} == {columns}
    assert (blocks["arrivals"][:half], blocks["arrivals"][half + middle :]) == ("▄" * half, "█" * half)
    assert (blocks["replicas that serve"][:half], blocks["late"][:half]) == ("▃" * half, "▁" * half)
    assert blocks["late"][half + middle :] == "█" * half


def test_a_course_of_zeros_is_a_flat_line() -> None:
    course = Course(arrived=(60.0, 0.0), late=(0.0, 0.0), wanted=(1.0, 1.0), ready=(0.0, 0.0))
    told = [
        one.plain
        for one in autoscale_tables(screen(replace(days(), course=course)), 120, verbose=True)
        if isinstance(one, Text)
    ]
    assert told[-4:-1] == [
        " arrivals             █▁  1 rps",
        " replicas that serve  ▁▁  0",
        " late                 ▁▁  0.0 %",
    ]


def test_numbers_of_replicas_are_shown_on_demand() -> None:
    console = Console(width=80, color_system=None, highlight=False)
    with console.capture() as text:
        console.print(fleet_table(screen(days(), None, fixed(3))))
    head, *rows = text.get().splitlines()
    assert head.split() == ["fleet", "P99", "late", "hours", "USD"]
    assert len(rows) == 2


@pytest.mark.parametrize(("quantile", "share"), [(0.9, "> 10 % lost"), (0.99, "> 1 % lost")])
def test_a_quantile_of_lost_requests_has_the_share_that_it_allows(quantile: float, share: str) -> None:
    lost = with_limited(limited(days(), quantile), Interval.exact(math.inf))
    console = Console(width=120)
    with console.capture() as capture:
        console.print(fleet_table(screen(lost)))
    assert share in capture.get()
