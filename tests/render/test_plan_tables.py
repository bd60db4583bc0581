"""Tables: what candidates have in common has no column, and what is refused alike is one row."""

from dataclasses import replace

from rich.console import Console, RenderableType

from capacity.performance import Interval, Kind, Performance
from capacity.question.candidate import Candidate, Reason, Rejection, Verdict
from capacity.question.objective import Limit, Measure, Objective
from capacity.question.plan import Routing
from capacity.render.plan import considered_tables, plan_table, shown_limit
from capacity.search.recommendation import Headroom, Recommendation
from capacity.server.batch.plan import BatchPlan

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
