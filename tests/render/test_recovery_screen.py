"""What `capacity stress` says, word by word, from made-up runs."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from shown import lines
from stresses import THREE_TRIES, back_after, fleet_in_trouble, run_of, runs

from capacity.performance import Interval
from capacity.question.plan import Routing
from capacity.question.resilience import Breakdowns
from capacity.recovery.faults import ColdCache
from capacity.recovery.findings import Course, Remedy, Runs, Screen, SpikeSurvived
from capacity.recovery.fluid import fluid
from capacity.recovery.protection import Abandoned, Protection, Shedding
from capacity.recovery.stress import Stress
from capacity.render.recovery.screen import (
    course_of,
    fleet_in_words,
    how_soon,
    outcome,
    shown_seconds,
    stress_tables,
    trigger_in_words,
)
from capacity.traffic.clients import BudgetKind, Clients, RetryBudget

ONE_TRY = replace(THREE_TRIES, attempts=1)
PATIENT = Clients()


def screen_lines(found: Runs, width: int = 100, *, verbose: bool = False, **others: object) -> list[str]:
    screen = Screen(found=found, fluid=fluid(found.stress), **others)  # type: ignore[arg-type]
    return lines(stress_tables(screen, width, verbose=verbose))


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        ((1.5, 1.5), "at once"),
        ((2.0, 2.0), "in 2 s"),
        ((20.0, 20.0, 20.0, 20.1), "in 20 s"),  # ± 0.08
        ((10.0, 20.0, 30.0, 40.0), "in 25 ± 21 s"),  # Student's 3.18 times 12.91 / 2
        ((1.0, 2.0, 3.0, 4.0), "in 2 ± 2 s"),
        ((1.0, 2.0, 3.0, 94.0), "in 25 s (0 to 98)"),  # 25 ± 73, cut off at 0
        ((400.0, 500.0, 600.0, 590.0), "in 522 s (374 to 600)"),  # 522 ± 148, cut off at the horizon
        ((None, None), "not"),
    ],
)
def test_how_soon(seconds: Sequence[float | None], told: str) -> None:
    assert how_soon(back_after(*seconds)) == told


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (back_after(None, None, 3.0), "recover in 1 of 3 runs"),
        (back_after(None, None), "do not recover: 0 of 2 runs"),
        (back_after(1.0, 1.0, goodput=0.95), "recover at once; 95 % succeed meanwhile"),
        (back_after(1.0, 1.0, goodput=0.94, lost=1264), "recover at once; 94 % succeed meanwhile, 1,300 requests lost"),
        (back_after(1.0, 1.0, goodput=0.85, baseline=0.9), "recover at once; 85 % succeed meanwhile"),
        (back_after(1.0, 1.0, goodput=0.84, baseline=0.9), "recover at once; 84 % succeed meanwhile, 100 requests lost"),
    ],
)  # fmt: skip
def test_what_came_of_a_change(found: Runs, told: str) -> None:
    """Lost requests are mentioned only where success falls by more than the tolerated 5 points."""
    assert outcome(found) == told


def test_recovery_within_a_time() -> None:
    assert outcome(back_after(None, 3.0), " in time") == "recover in time in 1 of 2 runs"
    assert outcome(back_after(None, None), " in time") == "do not recover in time: 0 of 2 runs"
    assert outcome(back_after(1.0), " in time").startswith("recover at once;")


def test_the_verb_agrees_with_the_fleet() -> None:
    assert [fleet_in_words(count) for count in (0, 1, 2)] == ["0 replicas", "1 replica", "2 replicas"]
    for replicas, many in ((1, False), (2, True)):
        stress = fleet_in_trouble("spike:2x,30s", replicas=replicas, rate_rps=50.0)
        for seconds, verb in (
            ((2.0, 2.0), "recover" if many else "recovers"),
            ((2.0, None), "recover" if many else "recovers"),
            ((None, None), "do not recover" if many else "does not recover"),
        ):
            told = outcome(back_after(*seconds, stress=stress))
            assert told.startswith((f"{verb} in ", f"{verb}: "))


def test_how_many_runs_recover() -> None:
    """Bounds by Clopper and Pearson; for 0 of 4 runs the upper one is 1 - 0.05 ** (1/4)."""

    def told(*seconds: float | None) -> str:
        return screen_lines(back_after(*seconds))[1]

    within = "{} of 4 runs recover within 10 min ({}"
    all_of_them = "4 of 4 runs recover in 20 s (at least 47 %); 50 % succeed meanwhile: "
    assert told(20.0, 20.0, 20.0, 20.0).startswith(all_of_them)
    assert told(20.0, None, None, 20.0).startswith(within.format(2, "7 % to 93 %): "))
    assert told(None, None, None, None).startswith(within.format(0, "at most 53 %): "))


def suffered(*seconds: float | None, trigger: str = "lose:1,60s", **others: float) -> str:
    """What a fleet's users suffered, of runs that recover after these times."""
    return screen_lines(back_after(*seconds, stress=fleet_in_trouble(trigger), **others))[0]


def test_what_users_suffer_where_all_runs_recover() -> None:
    """From the trigger's beginning to the recovery: in seconds, and in minutes from two on."""
    took = "Losing 1 of 4 for 60 s at 320 rps becomes {}: 100 requests lost."
    assert suffered(20.0, 20.0, goodput=0.51) == took.format("80 s of disruption")
    assert suffered(1.6, 1.6) == took.format("62 s of outage")
    assert suffered(59.0, 59.0) == took.format("119 s of outage")
    assert suffered(60.0, 60.0) == took.format("2 minutes of outage")
    assert suffered(260.0, 280.0) == took.format("6 minutes of outage")
    assert suffered(20.0, 20.0, goodput=0.49) == took.format("80 s of outage")
    assert suffered(20.0, 20.0, trigger="spike:2.5x,90s", lost=1) == (
        "A spike of 2.5x for 90 s at 320 rps becomes 110 s of outage: 1 request lost."
    )


def test_what_users_suffer_where_a_fleet_recovers_at_once() -> None:
    assert suffered(1.5, 1.5) == "Losing 1 of 4 for 60 s at 320 rps costs 100 requests."
    assert suffered(0.0, 0.0, lost=1) == "Losing 1 of 4 for 60 s at 320 rps costs 1 request."


@pytest.mark.parametrize("horizon_s", [60.0, 600.0])
def test_what_users_suffer_where_no_run_recovers(horizon_s: float) -> None:
    """At least the trigger and the horizon after it."""
    told = screen_lines(back_after(None, None, stress=fleet_in_trouble(horizon_s=horizon_s)))[0]
    minutes = (60.0 + horizon_s) / 60.0
    assert (
        told
        == f"Losing 1 of 4 for 60 s at 320 rps becomes an outage of more than {minutes:g} minutes: 100 requests lost."
    )


@pytest.mark.parametrize("horizon_s", [85.0, 115.0])
def test_an_outage_is_not_called_longer_than_it_was_seen_to_be(horizon_s: float) -> None:
    """Where 2.4 or 2.9 minutes were seen, "more than 2" is true and "more than 3" is not."""
    told = screen_lines(back_after(None, None, stress=fleet_in_trouble(horizon_s=horizon_s)))[0]
    assert "an outage of more than 2 minutes" in told


def test_what_users_suffer_where_some_runs_recover() -> None:
    may = "Losing 1 of 4 for 60 s at 320 rps may become an outage without end: {} runs do not recover, 100 requests lost."
    assert suffered(20.0, None, None, 20.0) == may.format("2 of 4")
    assert suffered(None, None, 20.0) == may.format("2 of 3")


def best(*remedies: Remedy, found: Runs | None = None) -> str:
    """What the first line says of the changes that were tried."""
    without = screen_lines(found or back_after(None, None))[0]
    told = screen_lines(found or back_after(None, None), remedies=remedies)[0]
    assert told.startswith(without)
    return told.removeprefix(without)


def test_the_change_that_helps_most_is_told_at_once() -> None:
    """The one after which all runs recover soonest, and of those the one that loses least."""
    slow = Remedy(setting="--slow", found=back_after(30.0, 30.0, lost=5))
    soon = Remedy(setting="--soon", found=back_after(10.0, 10.0, lost=1264))
    less = Remedy(setting="--less", found=back_after(10.0, 10.0, lost=0))
    few = Remedy(setting="--few", found=back_after(1.0, None, lost=0))
    assert best(slow, soon, few) == " With --soon: over 10 s later, 1,300 lost."
    assert best(slow, soon, less, few) == " With --less: over 10 s later."
    assert best(Remedy(setting="--long", found=back_after(180.0, 180.0))) == (
        " With --long: over 3 minutes later, 100 lost."
    )
    assert best(few) == best() == ""


def test_of_changes_that_help_at_once_the_one_that_loses_least_is_told() -> None:
    sooner = Remedy(setting="--sooner", found=back_after(0.5, 0.5, lost=5000))
    less = Remedy(setting="--less", found=back_after(1.0, 1.0, lost=0))
    assert best(sooner, less) == " With --less: over at once."


def test_a_change_that_makes_it_no_better_is_not_told_to_help() -> None:
    worse = Remedy(setting="--worse", found=back_after(1.0, 1.0, lost=5000))
    assert best(worse, found=back_after(1.0, 1.0, lost=100)) == ""


def test_lost_requests_and_relapses_are_counted() -> None:
    def told(lost: int, *relapsed: bool) -> tuple[str, str]:
        found = runs(fleet_in_trouble(), *(run_of(1.0, lost=lost, relapsed=one) for one in relapsed))
        first, second = screen_lines(found)[:2]
        return first, second.partition("; ")[2].partition(": ")[0]

    # Half of all first tries fail, and what is tried again waits: users suffer, although no request is lost.
    assert told(0, False, False) == (
        "Losing 1 of 4 for 60 s at 320 rps costs no request.",
        "50 % succeed meanwhile",
    )
    assert told(1, False, False) == (
        "Losing 1 of 4 for 60 s at 320 rps costs 1 request.",
        "50 % succeed meanwhile",
    )
    assert told(12_345, True, False) == (
        "Losing 1 of 4 for 60 s at 320 rps costs 12,000 requests.",
        "50 % succeed meanwhile; 1 fell again later",
    )


@pytest.mark.parametrize(
    ("trigger", "told"),
    [
        ("spike:2.5x,90s", "after a spike of 2.5x for 90 s"),
        ("lose:1,60s", "after losing 1 of 4 for 60 s"),
        ("crash:2,60s", "after a crash of 2 of 4 for 60 s"),
        ("hang:3,60s", "after a hang of 3 of 4 for 60 s"),
        ("spot:1,2min,90min", "after a spot notice of 2 min to 1 of 4, replaced after 90 min"),
        ("spot:1,45s,1h", "after a spot notice of 45 s to 1 of 4, replaced after 1 h"),
        ("spot:1,1min,1d", "after a spot notice of 1 min to 1 of 4, replaced after 1 d"),
        ("pause:200ms,6/min,60s", "after 60 s of pauses of 200 ms, 6 a minute at each replica"),
        ("straggler:3x,60s", "after a slowdown of one replica by 3x for 60 s"),
    ],
)
def test_each_trigger_in_words(trigger: str, told: str) -> None:
    assert trigger_in_words(fleet_in_trouble(trigger)) == told


def test_conditions_beside_the_trigger() -> None:
    stress = replace(
        fleet_in_trouble("spike:2x,1s"),
        cold=ColdCache(batches=20, factor=3.0),
        breakdowns=Breakdowns(mtbf_s=172_800.0, recovery_s=90.0),
    )
    assert trigger_in_words(stress) == (
        "after a spike of 2x for 1 s with 20 cold batches (3x), with breakdowns of each replica every 2 d for 90 s"
    )


def why(stress: Stress, *seconds: float | None) -> str:
    head, _, told = screen_lines(back_after(*seconds or (1.0, 1.0), stress=stress))[1].partition(": ")
    assert " runs recover " in head
    return told


IF_ALL_FAIL = "even if every attempt fails, "
IN_THE_END = "no client gives up, so all that waits is served in the end."


@pytest.mark.parametrize(
    ("stress", "told"),
    [
        (fleet_in_trouble("lose:4,60s"), "nothing can be served meanwhile, so that nothing waits when it is over."),
        (fleet_in_trouble(rate_rps=299.0), "299 rps arrive meanwhile, and 300 rps can be served."),
        (fleet_in_trouble("spike:1.2x,60s", PATIENT, rate_rps=300.0), "360 rps arrive meanwhile, and 400 rps can be served."),
        (
            # 200 rps come meanwhile and can be served; if all fail, 400 come, all that the whole fleet can serve.
            fleet_in_trouble("lose:2,60s", replace(THREE_TRIES, attempts=2), rate_rps=200.0),
            "the overload ends before the queue holds more than clients wait for (500 ms).",
        ),
        (
            fleet_in_trouble("lose:1,5s", replace(THREE_TRIES, deadline_s=0.75), rate_rps=320.0),
            "the overload ends before the queue holds more than clients wait for (500 ms).",
        ),
        (
            fleet_in_trouble("crash:1,60s", routing=Routing.ROUND_ROBIN, rate_rps=90.0),
            f"{IF_ALL_FAIL}270 rps arrive meanwhile, and 300 rps can be served.",
        ),
        (
            fleet_in_trouble("crash:1,60s", routing=Routing.ROUND_ROBIN, rate_rps=100.0),
            "what waits when it is over is served before its clients give up for good.",
        ),
        (fleet_in_trouble("crash:1,60s", PATIENT, routing=Routing.ROUND_ROBIN, rate_rps=310.0), IN_THE_END),
        (fleet_in_trouble(clients=PATIENT, limit=200), IN_THE_END),
        (fleet_in_trouble(limit=200), "the queue limit of 200 keeps the queue short enough."),
        (
            # 20 rps too many for 60 s: the first 150 that wait are still in time, and 1,050 more wait at the end.
            fleet_in_trouble(clients=ONE_TRY),
            f"{IF_ALL_FAIL}320 rps come and 400 are served, so that the queue drains (fluid law: in 12 s).",
        ),
        (
            fleet_in_trouble("lose:1,5s", ONE_TRY),
            f"{IF_ALL_FAIL}320 rps come and 400 are served, so that the queue drains.",
        ),
    ],
)  # fmt: skip
def test_why_a_fleet_recovers(stress: Stress, told: str) -> None:
    assert why(stress) == told


@pytest.mark.parametrize(
    ("protection", "told"),
    [
        (Protection(shedding=Shedding.LATE), "shedding what would be late keeps the queue short enough."),
        (Protection(shedding=Shedding.CODEL), "CoDel keeps the queue short enough."),
        (Protection(shedding=Shedding.LIFO), "serving the newest first keeps the queue short enough."),
        (Protection(abandoned=Abandoned.DROPPED), "dropping what no client waits for keeps the queue short enough."),
        (Protection(abandoned=Abandoned.STOPPED), "stopping what no client waits for keeps the queue short enough."),
    ],
)  # fmt: skip
def test_what_keeps_the_queue_short(protection: Protection, told: str) -> None:
    assert why(fleet_in_trouble(protection=protection)) == told


@pytest.mark.parametrize(
    ("clients", "rate_rps", "told"),
    [
        (THREE_TRIES, 320.0, "three attempts make 960 rps"),
        (replace(THREE_TRIES, attempts=6), 320.0, "six attempts make 1,920 rps"),
        (replace(THREE_TRIES, attempts=7), 320.0, "7 attempts make 2,240 rps"),
        (
            replace(THREE_TRIES, budget=RetryBudget(kind=BudgetKind.FIRST_TRIES, ratio=0.5)),
            320.0,
            "1.5 attempts a request, as the retry budget allows, make 480 rps",
        ),
    ],
)
def test_why_a_fleet_does_not_recover(clients: Clients, rate_rps: float, told: str) -> None:
    served = "the fleet serves 400, and what it serves comes too late"
    assert why(fleet_in_trouble(clients=clients, rate_rps=rate_rps), None, 2.0) == f"{told}, {served}."


def test_a_fleet_that_could_catch_up_has_too_little_time() -> None:
    served = "the fleet serves 400, and what it serves comes too late"
    for rate_rps, comes in ((320.0, "320"), (400.0 - 1e-9, "400")):
        assert why(fleet_in_trouble(clients=ONE_TRY, rate_rps=rate_rps), None) == (
            f"at most {comes} attempts a second come, {served}; to catch up takes longer than the horizon."
        )


def test_what_would_help_is_listed_in_columns() -> None:
    """The largest spike first, if all is asked for; else no spike, and of the others what matters."""
    found = back_after(None, None)
    spikes = (
        SpikeSurvived(factor=1.5, lasting_s=None, searched_s=math.inf),
        SpikeSurvived(factor=2.0, lasting_s=None, searched_s=600.0),
        SpikeSurvived(factor=3.0, lasting_s=Interval(value=1.25, low=1.0, high=1.5), searched_s=600.0),
        SpikeSurvived(factor=4.0, lasting_s=Interval(value=0.5, low=0.25, high=math.inf), searched_s=600.0),
        SpikeSurvived(factor=5.0, lasting_s=Interval(value=0.5, low=0.0, high=math.inf), searched_s=600.0),
    )
    smallest = back_after(1.0, 1.0, stress=fleet_in_trouble(replicas=6), p99_s=0.25)
    remedies = tuple(
        Remedy(setting=name, found=back_after(1.0, 1.0, goodput=1.0)) for name in ("--shed late", "--x")
    )
    asked = {"smallest": smallest, "spikes": spikes, "remedies": remedies}

    def listed(left: int, *told: tuple[str, str]) -> list[str]:
        return [f" {name:<{left}}  {what}" for name, what in told]

    assert screen_lines(found, **asked)[2:] == listed(
        len("6 without any setting"),
        ("6 without any setting", "the smallest fleet that recovers as it is"),
        ("4 with --shed late", "at once, 100 requests lost"),
        ("       --x", "at once, 100 requests lost"),
    )
    in_full = listed(
        len("spike of 1.5x survived"),
        ("6 without any setting", "the smallest fleet that recovers as it is (P99 250 ms during it)"),
        ("4 with --shed late", "recover at once; 100 % succeed meanwhile"),
        ("       --x", "recover at once; 100 % succeed meanwhile"),
        ("spike of 5x survived", "for 500 ms (half of all runs; too few runs for an interval)"),
        ("spike of 4x survived", "for 500 ms (half of all runs; 250 ms or more)"),
        ("spike of 3x survived", "for 1.25 s (half of all runs; 1 s to 1.5 s)"),
        ("spike of 2x survived", "up to 600 s at least"),
        (
            "spike of 1.5x survived",
            "of any length in the end: fewer attempts come than are served, even if all fail",
        ),
    )
    assert screen_lines(found, verbose=True, **asked)[2 : 2 + len(in_full) + 1] == [*in_full, ""]


def test_where_a_fleet_that_needs_no_remedy_collapses_is_part_of_the_short_answer() -> None:
    spikes = (SpikeSurvived(factor=2.0, lasting_s=Interval(value=1.25, low=1.0, high=1.5), searched_s=600.0),)
    assert screen_lines(back_after(1.0, 1.0), spikes=spikes)[2:] == [
        " spike of 2x survived  for 1.25 s (half of all runs; 1 s to 1.5 s)"
    ]


def test_a_change_after_which_not_all_runs_recover_is_counted() -> None:
    remedies = (
        Remedy(setting="--a", found=back_after(1.0, None)),
        Remedy(setting="--b", found=back_after(20.0, 20.0, lost=0)),
    )
    assert screen_lines(back_after(None, None), remedies=remedies)[2:] == [
        " 4 with --a  1 of 2 runs recover",
        "        --b  in 20 s",
    ]


def test_fleets_that_the_trigger_takes_down_do_not_count_as_too_small_to_recover() -> None:
    smallest = back_after(1.0, 1.0, stress=fleet_in_trouble("lose:4,60s", replicas=5))
    told = screen_lines(back_after(None, stress=fleet_in_trouble("lose:4,60s")), smallest=smallest)
    assert told[2] == " 5 without any setting  the smallest fleet of which something is left"


def of_course(seconds: int, stress: Stress | None = None, recovered_s: float | None = None) -> Runs:
    """Two runs of this length; in each second 2 of 4 first tries succeed and 8 attempts are sent."""
    course = Course(came=(4,) * seconds, succeeded=(2,) * seconds, sent=(8,) * seconds)
    run = replace(run_of(recovered_s), course=course)
    return runs(stress or fleet_in_trouble(), run, run)


def course_lines(found: Runs, width: int = 100) -> list[str]:
    """The course, which is shown if all is asked for, from the empty line before it to the one after it."""
    told = screen_lines(found, width, verbose=True)
    first = next(number for number, line in enumerate(told) if line.startswith(" trigger "))
    assert not any(line.startswith(" trigger ") for line in screen_lines(found, width))
    return told[first - 1 : first + 5]


def test_which_seconds_are_shown() -> None:
    """From 10 s or a tenth of the trigger before it to 120 s or 1.5 times the recovery after it."""
    assert fleet_in_trouble().begins_s == 60.0
    assert shown_seconds(of_course(900)) == (50, 60 + 60 + 120)
    assert shown_seconds(of_course(900, recovered_s=100.0)) == (50, 60 + 60 + 150)
    assert shown_seconds(of_course(200)) == (50, 200)
    assert shown_seconds(of_course(900, fleet_in_trouble("lose:1,300s"))) == (30, 60 + 300 + 120)
    assert shown_seconds(of_course(2000, fleet_in_trouble("lose:1,1000s"))) == (0, 60 + 1000 + 120)


def test_a_course_is_the_mean_over_runs() -> None:
    """Attempts are known while every run goes on; seconds without a first try count as success."""
    first = Course(came=(4, 4, 0, 0, 2), succeeded=(4, 2, 0, 0, 1), sent=(5, 7, 9, 9, 1))
    second = Course(came=(2, 0, 0, 0, 2), succeeded=(1, 0, 0, 0, 0), sent=(3, 1, 2))
    found = runs(fleet_in_trouble(), *(replace(run_of(None), course=one) for one in (first, second)))
    shares, sent = course_of(found, 0, 5, 2)
    assert shares == [7 / 10, 1.0, 1 / 4]
    assert sent[0] == (5 + 7 + 3 + 1) / 4
    assert all(map(math.isnan, sent[1:]))
    shares, sent = course_of(found, 1, 3, 2)
    assert (shares, sent) == ([2 / 4], [(7 + 9 + 1 + 2) / 4])


@pytest.mark.parametrize(
    ("seconds", "width", "step"),
    [(132, 100, 2), (132, 99, 3), (133, 100, 3), (134, 200, 3), (140, 30, 7), (141, 30, 8), (60, 100, 1)],
)
def test_a_course_has_20_to_66_columns(seconds: int, width: int, step: int) -> None:
    """As many seconds to a column as it takes."""
    found = of_course(50 + seconds)
    blank, trigger, success, attempts, scale, after = course_lines(found, width)
    columns = math.ceil(seconds / step)
    marked = [50 + step * n < 120 and 50 + step * (n + 1) > 60 for n in range(columns)]
    assert blank == after == ""
    assert trigger == f" {'trigger':<28}{''.join('━' if one else ' ' for one in marked).rstrip()}"
    assert success == f" {'success of first tries':<28}{'█' * columns}  50 %"
    assert attempts == f" {'attempts a second':<28}{'█' * columns}  8"
    assert scale == f" {'':<28}one column is {step} s"


def test_a_course_is_labelled_with_its_last_value() -> None:
    course = Course(came=(4,) * 110, succeeded=(2,) * 109 + (1,), sent=(8,) * 109 + (4,))
    found = runs(fleet_in_trouble(), replace(run_of(None), course=course))
    _, _, success, attempts, *_ = course_lines(found)
    assert success == f" {'success of first tries':<28}{'█' * 59}▄  25 %"
    assert attempts == f" {'attempts a second':<28}{'█' * 59}▄  4"


def test_nothing_is_drawn_where_nothing_succeeds() -> None:
    seconds = 100
    course = Course(came=(4,) * seconds, succeeded=(0,) * seconds, sent=(8,) * seconds)
    found = runs(fleet_in_trouble(), replace(run_of(None), course=course))
    assert len(screen_lines(found)) == 2
    told = screen_lines(found, verbose=True)
    assert (told[2], told[3]) == ("", " load 0.800, 400 rps at most")
    assert not any("attempts a second" in line for line in told)


@pytest.mark.parametrize(
    ("clients", "law"),
    [
        (
            THREE_TRIES,
            "stuck; 3 attempts a request if all fail; a budget of 0.25 retries a first try and more keeps it down",
        ),
        (
            ONE_TRY,
            "back after 12.5 s; 1 attempt a request if all fail; "
            "a budget of 0.25 retries a first try and more keeps it down",
        ),
        (PATIENT, None),
    ],
)
def test_details(clients: Clients, law: str | None) -> None:
    stress = fleet_in_trouble(clients=clients)
    found = runs(stress, run_of(1.0, lost=1000, relapsed=True), run_of(None, lost=1000))
    told = screen_lines(found, verbose=True)[2:]
    assert told[:5] == [
        "", " load 0.800, 400 rps at most", " success during the trigger 50.00 % (50.00 % to 50.00 %)",
        " requests lost in a run 1,000 (1,000 to 1,000)", " 1 of 2 runs fell again after they had recovered",
    ]  # fmt: skip
    assert told[5:] == ([] if law is None else [f" fluid law: {law}"])
    steady = screen_lines(back_after(1.0, 1.0, stress=stress), verbose=True)
    assert not any("fell again" in line for line in steady)
