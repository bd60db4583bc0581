"""The panel of a report on which sliders move: its numbers are those of the sweep, and its verdicts those it states."""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planned import saved_plan
from saved_reports import QUICK, Page, save
from test_report_sections import FOUND, findings

import capacity as cap
from capacity.explanation.around import DETAILS, Around, Explored, fleets_around
from capacity.performance import Interval, Kind, Performance, format_interval
from capacity.question.candidate import Verdict
from capacity.question.grid import Answer, Outcome
from capacity.question.objective import Limit, Measure, Objective
from capacity.question.resilience import Spike, Survival
from capacity.render.report.sections import Section
from capacity.render.report.what_if import Numbers, Panel, what_if
from capacity.traffic.workload import ClosedPopulation, TraceArrivals, Workload

TIMES = pd.DataFrame({"batch_size": [1, 2, 4], "mean_ms": [5.0, 7.0, 10.0]})
FILES = Path(__file__).parent.parent / "kept" / "files"
REQUESTS = 20_000_000
AXES = ("outputs", "traffic", "replicas", "size")


def grid_of(page: Page) -> dict[str, Any]:
    """What the script of a page reads."""
    (data,) = [one for one in page.all("script") if one.attributes.get("id") == "what-if-grid"]
    found: dict[str, Any] = json.loads(data.text)
    return found


def cells_of(grid: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each cell with its values on the axes, in words."""
    axes = {axis["name"]: axis["texts"] for axis in grid["axes"]}
    yield from zip(product(*(axes[name] for name in AXES)), grid["cells"], strict=True)


def values_of(row: dict[str, Any], name: str) -> tuple[float | None, ...]:
    return row[f"{name}_s"], row[f"{name}_low_s"], row[f"{name}_high_s"]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    folder = tmp_path_factory.mktemp("what_if")
    answer = cap.plan(TIMES, rate="500rps", slo_p99="30ms", requests_max=REQUESTS, hourly_usd=0.5, **QUICK)
    return Page(cap.report(save(answer, folder / "plan.json"), folder / "report.html").page)


def test_every_point_has_the_number_of_the_sweep(page: Page) -> None:
    grid = grid_of(page)
    said = next(one.text for one in page.all("li") if "capacity sweep gives these numbers" in one.text)
    effort = dict(
        re.findall(r"--(seed|precision|requests-max) ([0-9]+(?:\.[0-9]+)?)", said.partition(";")[0])
    )
    axes = {axis["name"]: axis for axis in grid["axes"]}
    swept = cap.sweep(
        TIMES,
        rate=[text.replace(" ", "") for text in axes["traffic"]["texts"]],
        replicas=[int(text) for text in axes["replicas"]["texts"]],
        batch_size_max=[int(text) for text in axes["size"]["texts"]],
        seed=int(effort["seed"]),
        precision=float(effort["precision"]),
        requests_max=int(effort["requests-max"]),
    )
    rows = swept.rows()
    shown = list(cells_of(grid))
    assert len(rows) == len(shown) > 100
    answered = 0
    for (_, rate, replicas, size), cell in shown:
        (row,) = [
            one
            for one in rows
            if (f"{one['arrival_rate_rps']:g} rps", str(one["replicas"]), str(one["batch_size_max"]))
            == (rate, replicas, size)
        ]
        if isinstance(cell, str):
            assert {"unstable": "unstable", "too few requests": "inconclusive"}[cell] == row["outcome"]
        else:
            value, low, high = values_of(row, "response_p99")
            assert cell[1] == format_interval(Interval(value=value, low=low, high=high))
            answered += 1
    assert answered > 50
    assert {"unstable"} <= {cell for _, cell in shown if isinstance(cell, str)}


def test_the_point_of_the_plan_is_what_simulate_says(page: Page) -> None:
    grid = grid_of(page)
    own = {axis["name"]: axis["texts"][axis["own"]] for axis in grid["axes"]}
    assert (own["traffic"], own["limit"]) == ("500 rps", "30 ms")
    (cell,) = [cell for place, cell in cells_of(grid) if place == tuple(own[name] for name in AXES)]
    fleet = {"replicas": int(own["replicas"]), "batch_size_max": int(own["size"])}
    simulated = cap.simulate(
        TIMES, rate="500rps", precision=QUICK["precision"], requests_max=REQUESTS, **fleet
    )
    p99 = simulated.performance.response_quantiles_s[0.99]
    assert cell[1] == format_interval(p99)
    (point,) = [one for one in page.all("p") if one.attributes.get("class") == "point"]
    assert (
        re.sub(r"\s+", " ", point.text)
        == f"P99 {format_interval(p99)} ✓ met {0.5 * fleet['replicas']:.3f} USD/h"
    )


def test_without_script_there_is_a_table_and_no_slider(page: Page) -> None:
    (panel,) = [one for one in page.all("div") if one.attributes.get("id") == "what-if-panel"]
    assert "hidden" in panel.attributes
    assert len(panel.all("input")) == 4
    grid, rows = grid_of(page), page.rows("P99 by rate and replicas")
    axes = {axis["name"]: axis for axis in grid["axes"]}
    assert [row[0] for row in rows] == [axes["replicas"]["texts"][place] for place in grid["rows"]]
    told = {
        place[1:3]: cell
        for place, cell in cells_of(grid)
        if place[3] == axes["size"]["texts"][axes["size"]["own"]]
    }
    for row in rows:
        for rate, text in zip(axes["traffic"]["texts"], row[1:], strict=True):
            cell = told[rate, row[0]]
            assert text == cell if isinstance(cell, str) else text.endswith(cell[0])


def test_each_slider_has_its_name_and_its_value_in_words(page: Page) -> None:
    labels = {one.attributes["for"]: one.text for one in page.all("label")}
    axes = {axis["name"]: axis for axis in grid_of(page)["axes"]}
    for slider in page.all("input"):
        axis = axes[slider.attributes["name"] or ""]
        assert labels[slider.attributes["id"] or ""] == axis["label"]
        assert slider.attributes["aria-valuetext"] == axis["texts"][axis["own"]]
        assert (slider.attributes["min"], slider.attributes["step"]) == ("0", "1")
        assert int(slider.attributes["max"] or "") == len(axis["texts"]) - 1
        assert int(slider.attributes["value"] or "") == axis["own"]
    (live,) = [one for one in page.all("p") if one.attributes.get("aria-live")]
    assert live.attributes["aria-live"] == "polite"


def test_engines_have_sequences_and_lengths(tmp_path: Path) -> None:
    asked = {"lengths": "input=uniform:low=20,high=60;output=geometric:mean=20", "slo_ttft_p99": "300ms"}
    effort = {"requests_max": 400_000, "precision": 0.2}
    answer = cap.plan(FILES / "line.json", rate="60rps", sequences_max=8, **asked, **effort)
    written = cap.report(save(answer, tmp_path / "plan.json"), tmp_path / "report.html")
    page = Page(written.page)
    grid = grid_of(page)
    axes = {axis["name"]: axis for axis in grid["axes"]}
    assert axes["outputs"]["texts"] == ["10 tokens (× 0.5)", "20 tokens (× 1)", "40 tokens (× 2)"]
    assert axes["size"]["label"] == "Sequences"
    assert page.all("input")[0].attributes["name"] == "outputs"
    rate = axes["traffic"]["texts"][0]
    longer = asked["lengths"].replace("mean=20", "mean=40")
    for replicas, size in product(axes["replicas"]["texts"], axes["size"]["texts"]):
        (cell,) = [
            cell for place, cell in cells_of(grid) if place == ("40 tokens (× 2)", rate, replicas, size)
        ]
        if isinstance(cell, str):
            continue
        found = cap.simulate(
            FILES / "line.json", rate=rate.replace(" ", ""), lengths=longer, replicas=int(replicas),
            sequences_max=int(size), **effort,
        )  # fmt: skip
        assert cell[1] == format_interval(found.performance.ttft_quantiles_s[0.99])
        return
    raise AssertionError("no point of the longer outputs has a number")


def test_a_plan_that_survives_has_the_numbers_of_what_is_left(tmp_path: Path) -> None:
    asked = {"survive": "n-1", "precision": QUICK["precision"], "requests_max": REQUESTS // 10}
    answer = cap.plan(TIMES, rate="500rps", slo_p99="30ms", batch_wait="0ms", **asked)
    written = Page(cap.report(save(answer, tmp_path / "plan.json"), tmp_path / "report.html").page)
    fleet = {"replicas": answer.plan.replicas, "batch_size_max": answer.plan.batch_size_max}
    left = cap.simulate(TIMES, rate="500rps", **fleet, **asked).performance.response_quantiles_s[0.99]
    (point,) = [one for one in written.all("span") if one.attributes.get("id") == "what-if-found"]
    assert point.text == format_interval(left)
    assert any("the worst failure that the plan must survive" in one.text for one in written.all("li"))


# Made-up grids.
P99 = Limit(measure=Measure.RESPONSE, quantile=0.99, allowed=0.05)
SAVED = saved_plan(batch_wait_max_s=0.0)  # 5 replicas, batches up to 16, 1000 rps, P99 within 50 ms


def performance(p99_s: float, **others: Any) -> Performance:
    interval = Interval(value=p99_s, low=0.9 * p99_s, high=1.1 * p99_s)
    return Performance(kind=Kind.SIMULATION, response_quantiles_s={0.99: interval}, **others)


def answered(p99_s: float, **others: Any) -> Answer:
    return Answer(outcome=Outcome.ANSWERED, performance=performance(p99_s, **others))


def explored(saved: Any = SAVED, own: Answer | None = None, **cells: Answer) -> Explored:
    """Grids whose cells all have 40 ms, but for some at their places."""
    around: Around = fleets_around(saved.question, saved.plan, (), DETAILS[0])
    count = len(list(around.cells()))
    found = {int(place.removeprefix("at_")): answer for place, answer in cells.items()}
    answers = [found.get(place, answered(0.04)) for place in range(count)]
    answers[around.own_cell] = own or answered(0.04)
    return Explored(around=around, answers=tuple(answers), needs=(1000,) * count, requests_max=1000)


def panel_of(around: Explored, saved: Any = SAVED) -> Panel:
    made = what_if(findings(saved, around=around))
    assert isinstance(made, Panel)
    return made


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.floats(0.001, 10.0), min_size=3, max_size=3).map(sorted),
    st.integers(0, 14),
)
def test_the_verdict_is_that_of_the_interval_against_the_limit(ends: list[float], place: int) -> None:
    low, value, high = ends
    seen = Performance(
        kind=Kind.SIMULATION, response_quantiles_s={0.99: Interval(value=value, low=low, high=high)}
    )
    panel = panel_of(explored(at_0=Answer(outcome=Outcome.ANSWERED, performance=seen)))
    told = panel.cells[0]
    assert isinstance(told, Numbers)
    allowed = P99.allowed * (place + 2) / 8
    stated = Verdict.MET if high <= allowed else Verdict.MISSED if low > allowed else Verdict.INCONCLUSIVE
    assert told.verdict(place) is stated
    assert panel.axes[-1].texts[place] == replace(P99, allowed=allowed).allowed_text


def test_a_page_says_why_it_has_no_slider_for_the_batch() -> None:
    found = explored()
    assert not any("no slider" in note for note in panel_of(found).notes)
    around = fleets_around(SAVED.question, SAVED.plan, (), DETAILS[-1])
    count = len(list(around.cells()))
    one = replace(found, around=around, answers=(answered(0.04),) * count, needs=(1000,) * count)
    assert len(around.sizes) == 1
    assert (
        "There is no slider for batch (16): fleets with other values take more simulated requests than a page may."
        in panel_of(one).notes
    )
    alone = replace(one, around=replace(around, sizes_left_out=0))
    assert "There is no slider for batch (16): no other value was considered." in panel_of(alone).notes


def test_an_interval_without_an_end_is_never_met() -> None:
    seen = Performance(
        kind=Kind.SIMULATION, response_quantiles_s={0.99: Interval(value=0.01, low=0.008, high=math.inf)}
    )
    told = panel_of(explored(at_0=Answer(outcome=Outcome.ANSWERED, performance=seen))).cells[0]
    assert isinstance(told, Numbers)
    assert {told.verdict(place) for place in range(15)} == {Verdict.INCONCLUSIVE}


def test_points_without_numbers_say_why() -> None:
    found = explored(
        at_0=Answer(outcome=Outcome.UNSTABLE),
        at_1=Answer(outcome=Outcome.PROFILE_RANGE),
        at_2=Answer(outcome=Outcome.INCONCLUSIVE),
        at_3=Answer(outcome=Outcome.INCONCLUSIVE),
        at_4=Answer(outcome=Outcome.ANSWERED, performance=Performance(kind=Kind.SIMULATION)),
    )
    panel = panel_of(replace(found, needs=(None, None, 5000, None, *found.needs[4:])))
    assert panel.cells[:5] == (
        "unstable", "not measured", "too few requests", "too near saturation", "too few requests"
    )  # fmt: skip
    assert any("more than the 1 000 simulated requests" in note for note in panel.notes)
    assert not any("simulated requests" in note for note in panel_of(explored()).notes)


def test_lost_requests_are_no_number() -> None:
    lost = Performance(
        kind=Kind.SIMULATION,
        response_quantiles_s={0.99: Interval.exact(0.01)},
        response_quantiles_with_losses_s={0.99: Interval.exact(math.inf)},
    )
    told = panel_of(explored(at_0=Answer(outcome=Outcome.ANSWERED, performance=lost))).cells[0]
    assert isinstance(told, Numbers)
    assert (told.short, told.full) == ("lost", "infinite")
    assert {told.verdict(place) for place in range(15)} == {Verdict.MISSED}


def test_other_limits_count_as_they_were_planned() -> None:
    objective = Objective.of(response={0.99: 0.05}, loss=0.02, utilization=0.9)
    saved = saved_plan(batch_wait_max_s=0.0, objective=objective)
    own = {"loss_probability": 0.001, "utilization": 0.5}
    found = explored(
        saved,
        answered(0.04, **own),
        at_0=answered(0.04, loss_probability=0.03, utilization=0.5),
        at_1=answered(0.04, loss_probability=0.001, utilization=0.95),
        at_2=answered(0.04, **own),
    )
    certified = replace(FOUND.certified, performance=performance(0.04, **own))
    made = what_if(findings(saved, around=found, certified=certified, performance=performance(0.04, **own)))
    assert isinstance(made, Panel)
    first, second, third = made.cells[:3]
    assert isinstance(first, Numbers)
    assert isinstance(second, Numbers)
    assert isinstance(third, Numbers)
    assert (first.other, second.other, third.other) == ("loss 3 %", "utilization 95 %", "")
    assert [one.verdict(14) for one in (first, second, third)] == [
        Verdict.MISSED,
        Verdict.MISSED,
        Verdict.MET,
    ]
    assert third.verdict(0) is Verdict.MISSED
    assert (first.verdict(4), third.verdict(4)) == (
        Verdict.MISSED,
        Verdict.INCONCLUSIVE,
    )  # 36 to 44 ms, of 37.5
    assert "The verdict is on loss <= 2 %, utilization <= 90 % too." in made.notes


def test_a_limit_on_a_share_stays_below_all_of_it() -> None:
    saved = saved_plan(batch_wait_max_s=0.0, objective=Objective.of(utilization=0.8))
    own = answered(0.04, utilization=0.7)
    seen = performance(0.04, utilization=0.7)
    made = what_if(findings(saved, around=explored(saved, own), performance=seen))
    assert isinstance(made, Panel)
    assert made.axes[-1].texts == ("20 %", "30 %", "40 %", "50 %", "60 %", "70 %", "80 %", "90 %")
    assert made.axes[-1].own == 6


def test_what_the_numbers_leave_out_is_said() -> None:
    spike = Spike(factor=2.0, startup_time_s=60.0)
    saved = saved_plan(batch_wait_max_s=0.0, survival=Survival(spare=1, spike=spike))
    notes = " ".join(panel_of(explored(saved), saved).notes)
    assert "Each fleet is in the worst failure that the plan must survive" in notes
    assert "The spike that the plan must survive is not judged here." in notes
    assert "not from the sequential test" in notes
    plain = " ".join(panel_of(explored()).notes)
    assert "failure" not in plain
    assert "spike" not in plain
    assert "Not every number of replicas" not in plain
    large = saved_plan(batch_wait_max_s=0.0, replicas=40)
    assert "Not every number of replicas" in " ".join(panel_of(explored(large), large).notes)


def test_fleets_of_which_a_failure_leaves_nothing_say_so() -> None:
    saved = saved_plan(batch_wait_max_s=0.0, survival=Survival(spare=1))
    found = explored(saved, **{f"at_{place}": Answer(outcome=Outcome.UNSTABLE) for place in range(2)})
    assert panel_of(found, saved).cells[0] == "nothing is left"


def test_a_trace_is_told_by_its_rate_and_its_speed() -> None:
    trace = TraceArrivals(instants_s=tuple(number / 100.0 for number in range(101)), name="log.csv")
    saved = saved_plan(
        batch_wait_max_s=0.0, workload=Workload(arrival_rate_rps=100.0, arrivals=trace), headroom_rps=None
    )
    panel = panel_of(explored(saved), saved)
    assert panel.axes[1].texts[:2] == ("50 rps (× 0.5)", "62.5 rps (× 0.625)")
    assert tuple(panel.table.heads[:3]) == ("replicas", "50 rps", "62.5 rps")


def test_users_are_counted() -> None:
    saved = saved_plan(batch_wait_max_s=0.0, workload=ClosedPopulation(users=40, think_time_s=0.1))
    panel = panel_of(explored(saved), saved)
    assert (panel.axes[1].label, panel.axes[1].texts[0]) == ("Number of users", "20 users")


def test_where_there_is_no_grid_the_page_says_why() -> None:
    none = what_if(FOUND)
    assert isinstance(none, Section)
    assert none.lead == "Not shown: fleets like this one take more simulated requests than a page may."
    scaled = what_if(findings(replace(SAVED, answer={"autoscaled": {}})))
    assert isinstance(scaled, Section)
    assert scaled.lead.startswith("Not shown: an autoscaler sizes this fleet over the day")


def test_no_text_ends_the_element_that_holds_the_grid() -> None:
    data = panel_of(explored()).data
    assert "<" not in data
    hostile = replace(panel_of(explored()), prices=("</script><script>alert(1)</script>",))
    assert "<" not in hostile.data
    assert json.loads(hostile.data)["prices"] == ["</script><script>alert(1)</script>"]
