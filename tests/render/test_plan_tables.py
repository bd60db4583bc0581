"""Tables: what candidates have in common has no column, and what is refused alike is one row."""

from dataclasses import replace
from typing import Any

import pytest
from questions import batch_question
from rich.console import Console, RenderableType
from rich.text import Text

from capacity.performance import Interval, Kind, Performance
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.candidate import Candidate, Reason, Rejection, Verdict
from capacity.question.caveat import Caveat, CaveatCode
from capacity.question.objective import Limit, Measure, Objective
from capacity.question.plan import Routing
from capacity.render.plan import (
    considered_tables,
    instead_table,
    plan_table,
    recommendation_details,
    recommendation_lines,
    shown_limit,
    where_next,
)
from capacity.render.tables import notes_that_matter
from capacity.search.recommendation import Headroom, Recommendation
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import Workload

P99 = Limit(measure=Measure.RESPONSE, quantile=0.99, allowed=0.04)
PLAN = BatchPlan(profile="p", replicas=2, batch_size_max=1)


def candidate(plan: BatchPlan, p99_s: float | None = None, rejection: Rejection | None = None) -> Candidate:
    seen = None
    if p99_s is not None:
        quantiles = {0.99: Interval(value=p99_s, low=0.9 * p99_s, high=1.1 * p99_s)}
        seen = Performance(kind=Kind.SIMULATION, load=0.5, response_quantiles_s=quantiles)
        rejection = None if p99_s <= 0.04 else Rejection.of(P99, p99_s)
    verdict = Verdict.MET if rejection is None else Verdict.MISSED
    return Candidate(plan=plan, verdict=verdict, rejection=rejection, performance=seen)


def rows(candidates: list[Candidate]) -> list[list[str]]:
    """The cells of the table, led by those of its head."""
    return printed(*considered_tables(candidates, [P99]))[1:]


def printed(*tables: RenderableType) -> list[list[str]]:
    """The cells of each line."""
    console = Console(width=160)
    with console.capture() as text:
        console.print(*tables)
    lines = [line for line in text.get().splitlines() if line.strip() and "─" not in line]
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines]


def test_what_all_have_in_common_has_no_column() -> None:
    alike = [candidate(PLAN, 0.05), candidate(replace(PLAN, batch_size_max=4), 0.03)]
    assert rows(alike) == [
        ["replicas", "batch", "load", "P99", "verdict"],
        ["2", "1", "0.500", "50 (45 to 55) ms", "missed: P99 above 40 ms"],
        ["2", "4", "0.500", "30 (27 to 33) ms", "met"],
    ]


def test_router_and_wait_have_one_where_they_differ_and_profiles_a_table() -> None:
    others = [
        candidate(replace(PLAN, routing=Routing.RANDOM), 0.05),
        candidate(PLAN, 0.05),
        candidate(replace(PLAN, batch_size_max=4, batch_wait_max_s=0.002), 0.03),
        candidate(replace(PLAN, profile="q"), 0.03),
    ]
    assert rows(others) == [
        ["routing", "wait", "replicas", "batch", "load", "P99", "verdict"],
        ["random", "0 s", "2", "1", "0.500", "50 (45 to 55) ms", "P99 above 40 ms"],
        ["round-robin", "0 s", "2", "1", "0.500", "50 (45 to 55) ms", "P99 above 40 ms"],
        ["round-robin", "2 ms", "2", "4", "0.500", "30 (27 to 33) ms", "met"],
        ["Considered: q"],
        ["replicas", "batch", "load", "P99", "verdict"],
        ["2", "1", "0.500", "30 (27 to 33) ms", "met"],
    ]


def test_those_that_theory_refuses_alike_are_one_row_with_the_best_of_them() -> None:
    unstable = [
        candidate(
            replace(PLAN, batch_size_max=size),
            rejection=Rejection(reason=Reason.STABILITY, allowed=1.0, needed=load),
        )
        for size, load in ((1, 2.0), (2, 1.5), (4, 1.1))
    ]
    assert rows(unstable)[1:] == [["2", "1 to 4", "unstable: load 1.100 at best"]]
    gone = [
        replace(one, rejection=replace(one.rejection, reason=Reason.SURVIVAL, event="1 replica gone"))
        for one in unstable
        if one.rejection is not None
    ]
    assert rows([*unstable, *gone])[1:] == [
        ["2", "1 to 4", "unstable: load 1.100 at best"],
        ["2", "1 to 4", "unstable with 1 replica gone: load 1.100 at best"],
    ]


def test_fleets_that_wait_are_one_row_of_the_refused_and_one_of_the_accepted_each_by_its_best() -> None:
    waiting = [
        candidate(replace(PLAN, batch_size_max=size, batch_wait_max_s=wait_s), p99_s)
        for size, wait_s, p99_s in (
            (2, 0.001, 0.07),
            (4, 0.002, 0.05),
            (4, 0.003, 0.06),
            (2, 0.004, 0.03),
            (4, 0.004, 0.02),
            (4, 0.005, 0.03),
        )
    ]
    assert rows(waiting)[1:] == [
        ["1 ms to 3 ms", "2", "2 to 4", "0.500", "50 (45 to 55) ms", "missed: P99 above 40 ms"],
        ["4 ms to 5 ms", "2", "2 to 4", "0.500", "20 (18 to 22) ms", "met"],
    ]


def test_the_table_of_the_plan_has_what_was_asked_of_its_performance() -> None:
    """And how far the rate may rise; where that is known but roughly, from where on it is too high."""
    seen = candidate(PLAN, 0.03).performance
    objective = Objective.of(response={0.99: 0.04})
    found = Recommendation(verdict=Verdict.MET, objective=objective, plan=PLAN, performance=seen)
    settings = printed(plan_table(replace(found, performance=None)))
    assert ["replicas", "2"] in settings
    performance = [["load", "0.5"], ["response, P99", "30 (27 to 33) ms"]]
    assert printed(plan_table(found)) == [*settings, *performance]
    for refused_rps, told in ((55.5, ""), (70.0, ", missed at 70 rps (+75 %)")):
        headroom = Headroom(today_rps=40.0, accepted_rps=55.0, refused_rps=refused_rps)
        shown = printed(plan_table(replace(found, headroom=headroom, hourly_usd=6.0)))
        assert shown[-2:] == [["headroom", f"up to 55 rps (+38 %){told}"], ["cost", "6.000 USD/h"]]


def test_the_column_is_the_highest_quantile_of_the_response_or_else_the_last_promise() -> None:
    objective = Objective.of(response={0.5: 0.01, 0.99: 0.04}, utilization=0.8)
    assert str(shown_limit(objective)) == "P99 <= 40 ms"
    assert str(shown_limit(Objective.of(response_mean=0.1, utilization=0.8))) == "utilization <= 80 %"


QUESTION = batch_question(
    profiles=(ServiceProfile(name="p", timings=(BatchTiming(batch_size=1, mean_s=0.01),)),),
    workload=Workload(arrival_rate_rps=50.0),
    objective=Objective.of(response={0.99: 0.04}),
)
# From the least important to the most.
NOTES = tuple(
    Caveat(code=code, message=message)
    for code, message in (
        (CaveatCode.PRICE_UNKNOWN, "the price"),
        (CaveatCode.LOAD_HIGH, "the load"),
        (CaveatCode.PROFILE_UNIT, "the unit"),
    )
)


def recommended(**others: Any) -> Recommendation:
    met = candidate(PLAN, 0.03)
    usual: dict[str, Any] = {
        "verdict": Verdict.MET, "objective": QUESTION.objective, "plan": PLAN, "performance": met.performance,
        "considered": (candidate(replace(PLAN, replicas=1), 0.05), met),
    }  # fmt: skip
    return Recommendation(**usual | others)


def plain(pieces: Any) -> list[str]:
    return [one.plain for one in pieces if isinstance(one, Text)]


@pytest.mark.parametrize(
    ("fleets", "notes", "told"),
    [
        (1, 0, "More: -v (1 fleet)"),
        (2, 0, "More: -v (2 fleets)"),
        (2, 1, "More: -v (2 fleets)"),  # which is shown
        (2, 2, "More: -v (2 fleets, 1 more note)"),
        (2, 3, "More: -v (2 fleets, 2 more notes)"),
    ],
)
def test_where_more_is_found_the_fleets_and_the_notes_that_are_left_are_counted(
    fleets: int, notes: int, told: str
) -> None:
    found = recommended(caveats=NOTES[:notes])
    found = replace(found, considered=found.considered[:fleets])
    assert plain([where_next(found)]) == [f"{told}; -o plan.json, for explain and report."]
    refused = replace(found, plan=None, performance=None, verdict=Verdict.MISSED)
    assert plain([where_next(refused)]) == [f"{told}."]


def test_of_the_notes_the_one_that_matters_most_is_shown_and_the_others_if_asked() -> None:
    """Each of them once."""
    found = recommended(caveats=NOTES)
    brief = plain(recommendation_lines(found, QUESTION))
    assert [line for line in brief if line.startswith("Note: ")] == ["Note: the unit."]
    rest = plain(recommendation_details(found, QUESTION, 0.95))
    assert [line for line in rest if line.startswith("Note: ")] == ["Note: the load.", "Note: the price."]
    calm = recommended()
    for lines in (recommendation_lines(calm, QUESTION), recommendation_details(calm, QUESTION, 0.95)):
        assert not any(line.startswith("Note") for line in plain(lines))


def test_the_details_have_the_plan_what_was_considered_and_what_would_do_instead() -> None:
    other = candidate(replace(PLAN, replicas=4, routing=Routing.RANDOM), 0.02)
    found = recommended(alternatives=(other,))
    shown = printed(*recommendation_details(found, QUESTION, 0.9))
    assert ["replicas", "2"] in shown
    considered, instead = shown.index(["Considered"]), shown.index(["Instead"])
    assert shown[considered + 2 : instead] == [
        ["1", "1", "0.500", "50 (45 to 55) ms", "missed: P99 above 40 ms"],
        ["2", "1", "0.500", "30 (27 to 33) ms", "met"],
    ]
    assert shown[instead + 1][0] == "routing"
    assert shown[instead + 2] == ["random", "4", "1", "0.500", "20 (18 to 22) ms", "met"]
    assert plain(recommendation_details(found, QUESTION, 0.9))[-1] == "In brackets: 90 % intervals."
    assert ["Instead"] not in printed(*recommendation_details(recommended(), QUESTION, 0.9))


def test_what_would_do_instead_is_one_table_of_the_choices_with_their_prices() -> None:
    """The column of the wait is there since the plan has another one, though both alternatives share theirs."""
    profiles = tuple(
        ServiceProfile(name=name, timings=(BatchTiming(batch_size=1, mean_s=0.01),), hourly_usd=usd)
        for name, usd in (("p", 0.5), ("q", 2.0))
    )
    question = replace(QUESTION, profiles=profiles)
    waits = [
        candidate(replace(PLAN, profile=name, replicas=replicas, batch_wait_max_s=0.002), 0.02)
        for name, replicas in (("p", 4), ("q", 3))
    ]
    table = instead_table(recommended(alternatives=tuple(waits)), question, [P99])
    heads = [str(one.header) for one in table.columns]
    assert heads == ["profile", "wait", "replicas", "batch", "load", "P99", "USD/h", "verdict"]
    assert [str(next(iter(one.cells))) for one in table.columns[:3]] == ["p", "2 ms", "4"]
    assert list(map(str, table.columns[-2].cells)) == ["2.000", "6.000"]
    unpriced = instead_table(recommended(alternatives=tuple(waits[:1])), QUESTION, [P99])
    assert "USD/h" not in [str(one.header) for one in unpriced.columns]


def test_a_note_on_the_profile_of_another_plan_is_never_the_one_that_matters() -> None:
    other = Caveat(code=CaveatCode.PROFILE_UNIT, message="the other unit", of_another_profile=True)
    found = recommended(caveats=(other, *NOTES[:2]))
    brief, rest = (
        plain(recommendation_lines(found, QUESTION)),
        plain(recommendation_details(found, QUESTION, 0.9)),
    )
    assert [line for line in brief if line.startswith("Note: ")] == ["Note: the load."]
    assert [line for line in rest if line.startswith("Note: ")] == [
        "Note: the price.",
        "Note: the other unit.",
    ]
    alone = recommended(caveats=(other,))
    assert not any(line.startswith("Note") for line in plain(recommendation_lines(alone, QUESTION)))
    assert "1 more note" in where_next(alone).plain
    assert "Note: the other unit." in plain(recommendation_details(alone, QUESTION, 0.9))


def test_details_of_no_plan_have_no_plan() -> None:
    refused = recommended(plan=None, performance=None, verdict=Verdict.MISSED)
    shown = printed(*recommendation_details(refused, QUESTION, 0.9))
    assert shown[0] == ["Considered"]
    assert not any("In brackets" in line[0] for line in shown)


@pytest.mark.parametrize(
    ("notes", "told"),
    [
        (0, ["More: -v (the rest)."]),
        (1, ["Note: the price.", "More: -v (the rest)."]),
        (2, ["Note: the load.", "More: -v (the rest, 1 more note)."]),
        (3, ["Note: the unit.", "More: -v (the rest, 2 more notes)."]),
    ],
)
def test_other_answers_count_their_notes_alike(notes: int, told: list[str]) -> None:
    assert plain(notes_that_matter(NOTES[:notes], "the rest", verbose=False)) == told
    in_full = plain(notes_that_matter(NOTES[:notes], "the rest", verbose=True))
    every = ["Note: the unit.", "Note: the load.", "Note: the price."]
    assert in_full == every[3 - notes :]
