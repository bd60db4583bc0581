"""Figures show the numbers they are given in the units of their axes, read back from the drawn lines."""

import math
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import shown
from planned import ENGINES
from stresses import fleet_in_trouble, run_of

from capacity.answer.sweep import SweepTable
from capacity.performance import Kind, Performance
from capacity.question.candidate import Candidate, Verdict
from capacity.question.objective import Limit, Measure
from capacity.recovery.findings import Course, Runs, Screen, SpikeSurvived
from capacity.recovery.fluid import fluid
from capacity.render.figures import (
    ObjectiveCurve,
    Point,
    draw_objective,
    draw_quantiles,
    draw_sweep,
    rate_curve,
    replicas_curve,
)
from capacity.render.plot import PALETTE, Plot
from capacity.render.recovery.figure import stress_figure
from capacity.server.batch.plan import BatchPlan
from capacity.server.batch.rows import BatchRows
from capacity.traffic.scale import RATES

P99 = Limit(measure=Measure.RESPONSE, quantile=0.99, allowed=0.05)
LOSS = Limit(measure=Measure.LOSS, quantile=None, allowed=0.02)
PLAN = BatchPlan(profile="p", replicas=2, batch_size_max=8)


around = partial(shown.around, share=0.25)


def judged(p99_s: float, verdict: Verdict = Verdict.MISSED, plan: BatchPlan = PLAN) -> Candidate:
    performance = Performance(kind=Kind.SIMULATION, response_quantiles_s={0.99: around(p99_s)})
    return Candidate(plan=plan, verdict=verdict, performance=performance)


def bars(plot: Plot) -> list[list[tuple[float, float, float, float]]]:
    """The x, value and interval ends of each series of points."""
    found = []
    for series in plot.axes.containers:
        points, _, (ends,) = series.lines
        found.append(
            [
                (float(x), float(y), float(low[1]), float(high[1]))
                for x, y, (low, high) in zip(*points.get_data(), ends.get_segments(), strict=True)
            ]
        )
    return found


def about(*points: tuple[float, float]) -> Any:
    """Points with the intervals of `around`."""
    return [pytest.approx((x, y, 0.75 * y, 1.25 * y)) for x, y in points]


def ends(point: Point) -> Any:
    return pytest.approx((point.found.value, point.found.low, point.found.high))


def lines(plot: Plot) -> list[tuple[list[float], list[float]]]:
    """All lines that join at least two points."""
    return [
        (list(map(float, line.get_xdata())), list(map(float, line.get_ydata())))
        for line in plot.axes.lines
        if len(line.get_xdata()) > 1 and line.get_linestyle() != "None"
    ]


def titles(plot: Plot) -> tuple[str, str]:
    return plot.axes.get_xlabel(), plot.axes.get_ylabel()


def test_rates_are_drawn_up_to_twice_the_limit() -> None:
    """In milliseconds; an interval ends at the top of the axis, and a value above it is left out."""
    tried = [(10.0, judged(0.04, Verdict.MET)), (20.0, judged(0.1)), (30.0, judged(0.1001))]
    points = [SimpleNamespace(size=rate_rps, candidate=one) for rate_rps, one in tried]
    rates: Any = SimpleNamespace(limit=P99, scenario=SimpleNamespace(whole=PLAN), points=points, scale=RATES)
    curve = rate_curve(rates)
    assert curve.title == "P99 of 2 x p, batches up to 8"
    assert [(one.x, one.verdict, one.size) for one in curve.points] == [
        (10.0, Verdict.MET, 8),
        (20.0, Verdict.MISSED, 8),
    ]
    assert list(map(ends, curve.points)) == [(40.0, 30.0, 50.0), (100.0, 75.0, 100.0)]
    assert (curve.allowed, curve.top, curve.x_range) == (50.0, 100.0, (0.0, 20.0))
    assert (curve.x_title, curve.y_title) == ("arrival rate [rps]", "P99 [ms]")


def test_a_limit_on_losses_has_no_unit() -> None:
    curve = ObjectiveCurve(title="t", limit=LOSS, points=())
    assert (curve.allowed, curve.top, curve.y_title) == (0.02, 0.04, LOSS.what)
    assert curve.x_range == (0.0, 1.0)


def test_rates_of_a_language_model() -> None:
    promise = Limit(measure=Measure.TTFT, quantile=0.99, allowed=0.2)
    performance = Performance(kind=Kind.SIMULATION, ttft_quantiles_s={0.99: around(0.1)})
    found = Candidate(plan=ENGINES, verdict=Verdict.MET, performance=performance)
    unstable = Candidate(plan=ENGINES, verdict=Verdict.MISSED)
    tried = [(5.0, found), (9.0, unstable)]
    points = [SimpleNamespace(size=rate_rps, candidate=one) for rate_rps, one in tried]
    rates: Any = SimpleNamespace(
        limit=promise, scenario=SimpleNamespace(whole=ENGINES), points=points, scale=RATES
    )
    curve = rate_curve(rates)
    assert curve.title == "TTFT P99 of 3 x line, up to 16 sequences"
    (point,) = curve.points
    assert (point.x, point.size, point.verdict) == (5.0, 16, Verdict.MET)
    assert ends(point) == (100.0, 75.0, 125.0)


def test_the_best_size_is_the_fastest_that_meets_the_limit() -> None:
    """A size without a value is the best only where no other was tried."""
    three = replace(PLAN, replicas=3)
    refused = Candidate(plan=replace(three, batch_size_max=1), verdict=Verdict.MET)
    tried = [
        refused,
        judged(0.01, Verdict.INCONCLUSIVE, replace(three, batch_size_max=2)),
        judged(0.04, Verdict.MET, replace(three, batch_size_max=4)),
        judged(0.03, Verdict.MET, replace(three, batch_size_max=16)),
    ]
    curve = replicas_curve(judged(0.045, Verdict.MET), P99, tried)
    assert curve.sizes == {2: 8, 3: 16}
    assert curve.x_range == (1.5, 3.5)
    assert curve.title == "P99 of p by replicas, the best batch that was tried"
    assert curve.x_title == "replicas (B: largest batch)"


def test_an_objective_is_drawn_point_by_point() -> None:
    verdicts = (Verdict.MISSED, Verdict.MET, Verdict.INCONCLUSIVE)
    points = [Point(x=n, found=around(10.0 * n), verdict=one, size=n) for n, one in enumerate(verdicts, 1)]
    curve = ObjectiveCurve(title="t", limit=P99, points=tuple(points), chosen=2, beyond=(4, 5))
    plot = draw_objective(curve)
    # Drawn in this order: what meets the limit, what misses it, what is in doubt.
    assert bars(plot) == [about((2, 20.0)), about((1, 10.0)), about((3, 30.0))]
    assert ([1.0, 2.0, 3.0], [10.0, 20.0, 30.0]) in lines(plot)
    assert plot.axes.get_xlim() == (0.5, pytest.approx(1.02 * 5.5))
    assert plot.axes.get_ylim() == (0.0, pytest.approx(104.0))
    (ring,) = [one for one in plot.axes.lines if one.get_label() == "chosen: 2"]
    assert (list(ring.get_xdata()), list(ring.get_ydata())) == ([2], [20.0])
    (top,) = [one for one in plot.axes.lines if one.get_label().startswith("unstable, refused")]
    assert (list(top.get_xdata()), list(top.get_ydata())) == ([4, 5], [100.0, 100.0])


@pytest.mark.parametrize(("count", "is_named"), [(12, True), (13, False)])
def test_up_to_a_dozen_fleets_are_named(count: int, *, is_named: bool) -> None:
    points = tuple(
        Point(x=n, found=around(10.0), verdict=Verdict.MET, size=2 * n) for n in range(1, count + 1)
    )
    plot = draw_objective(ObjectiveCurve(title="t", limit=P99, points=points, chosen=1))
    names = [tick.get_text() for tick in plot.axes.get_xticklabels()]
    assert ("3\nB 6" in names) is is_named


def test_quantiles_are_drawn_in_percent_and_milliseconds() -> None:
    known = {0.5: around(0.01), 0.99: around(0.04)}
    performances = [Performance(kind=Kind.SIMULATION, response_quantiles_s=known)] * 2
    plot = draw_quantiles(performances, ["one", "other"])
    assert titles(plot) == ("quantile (%)", "response (ms)")
    assert bars(plot) == [about((50.0, 10.0), (99.0, 40.0))] * 2
    assert [series.get_label() for series in plot.axes.containers] == ["one", "other"]
    assert [series.lines[0].get_color() for series in plot.axes.containers] == list(PALETTE[:2])
    with pytest.raises(ValueError, match="zip"):
        draw_quantiles(performances, ["one"])


def test_quantiles_of_a_language_model_have_a_panel_each() -> None:
    performance = Performance(
        kind=Kind.SIMULATION,
        ttft_quantiles_s={0.5: around(0.1)},
        itl_quantiles_s={0.9: around(0.02)},
        response_quantiles_s={0.99: around(4.0)},
    )
    panels = draw_quantiles([performance, performance], ["one", "other"])
    assert [plot.axes.get_title(loc="left") for plot in panels.plots] == [
        "first token",
        "between tokens",
        "response",
    ]
    assert [titles(plot) for plot in panels.plots] == [
        ("quantile (%)", f"{name} (ms)") for name in ("TTFT", "ITL", "response")
    ]
    assert [bars(plot) for plot in panels.plots] == [
        [about(point)] * 2 for point in ((50.0, 100.0), (90.0, 20.0), (99.0, 4000.0))
    ]
    colors = [series.lines[0].get_color() for series in panels.plots[0].axes.containers]
    assert colors == list(PALETTE[:2])
    with pytest.raises(ValueError, match="zip"):
        draw_quantiles([performance], ["one", "other"])


def test_a_sweep_has_a_line_of_its_highest_quantile_for_each_fleet() -> None:
    """A point without known ends has no bar; without a known value there is no point."""
    table = SweepTable(form=BatchRows(), quantiles=(0.5, 0.9), seed=0, confidence=0.95)
    names = [column.name for column in table.columns]

    def row(rate_rps: float, replicas: int, p90_s: float | None, *, ends: bool = True) -> Any:
        found = around(p90_s or 0.0)
        given = {
            "profile": "p",
            "arrival_rate_rps": rate_rps,
            "replicas": replicas,
            "batch_size_max": 8,
            "routing": "random",
            "response_p50_s": 0.001,
            "response_p90_s": p90_s,
            "response_p90_low_s": found.low if ends else None,
            "response_p90_high_s": found.high if ends else None,
        }
        return tuple(given.get(name) for name in names)

    rows = [row(10.0, 1, 0.02), row(20.0, 1, 0.04), row(10.0, 2, 0.01, ends=False), row(20.0, 2, None)]
    plot = draw_sweep(table, rows)
    assert titles(plot) == ("arrival rate (requests/s)", "response (ms)")
    assert plot.figure.get_suptitle() == "P90 of the response"
    assert bars(plot) == [about((10.0, 20.0), (20.0, 40.0)), [pytest.approx((10.0, 10.0, 10.0, 10.0))]]
    assert lines(plot) == [([10.0, 20.0], [20.0, 40.0])]
    assert [series.get_label() for series in plot.axes.containers] == [
        "1 x p, batch 8, random",
        "2 x p, batch 8, random",
    ]
    assert [series.lines[0].get_color() for series in plot.axes.containers] == list(PALETTE[:2])


def fleet_row(replicas: int, batch: int, p99_s: float | None, **more: Any) -> dict[str, Any]:
    found = around(p99_s or 0.0)
    return {
        "profile": "p",
        "arrival_rate_rps": 10.0,
        "replicas": replicas,
        "batch_size_max": batch,
        "batch_wait_max_s": 0.0,
        "routing": "random",
        "outcome": "unstable" if p99_s is None else "answered",
        "response_p99_s": p99_s,
        "response_p99_low_s": None if p99_s is None else found.low,
        "response_p99_high_s": None if p99_s is None else found.high,
    } | more


def swept(*rows: dict[str, Any], limit_s: float | None = None) -> Plot:
    table = SweepTable(form=BatchRows(), quantiles=(0.99,), seed=0, confidence=0.95)
    cells = [tuple(row.get(column.name) for column in table.columns) for row in rows]
    return draw_sweep(table, cells, limit_s=limit_s)


SQUARE = [(1, 4, None), (1, 8, 0.04), (2, 4, 0.03), (2, 8, 0.02)]


def test_a_sweep_of_replicas_and_batches_is_a_map() -> None:
    """An interval that reaches 25 % above 20, 30 and 40 ms ends at 25, 37.5 and 50 ms."""
    plot = swept(*(fleet_row(*one) for one in SQUARE), limit_s=0.03)
    assert titles(plot) == ("batch, at most", "replicas")
    assert plot.figure.get_suptitle() == "P99 of the response at 10 rps, and what stays within 30 ms"
    places = {tuple(map(int, text.get_position())): text.get_text() for text in plot.axes.texts}
    assert places == {(0, 0): "–", (1, 0): "40", (0, 1): "30", (1, 1): "20"}
    assert [tick.get_text() for tick in plot.axes.get_xticklabels()] == ["4", "8"]
    assert [tick.get_text() for tick in plot.axes.get_yticklabels()] == ["1", "2"]
    labels = plot.axes.get_legend_handles_labels()[1]
    assert labels == ["cells: ms", "within 30 ms", "– unstable"]
    (outline,) = [one for one in plot.axes.collections if one.get_label() == "within 30 ms"]
    corners = sorted((float(x), float(y)) for line in outline.get_segments() for x, y in line)
    assert {x for x, _ in corners} == {0.5, 1.5}  # around the one cell at the upper right
    assert {y for _, y in corners} == {0.5, 1.5}


def test_a_map_counts_lost_requests_as_late_and_says_why_a_cell_is_empty() -> None:
    """With 2 % lost P99 is infinite, whatever that of served requests is."""
    lost = {"loss_probability": 0.02, "response_p99_with_losses_s": None}
    few = {
        "loss_probability": 0.001,
        "response_p99_with_losses_s": 0.06,
        "response_p99_with_losses_high_s": 0.07,
    }
    rows = [
        fleet_row(1, 4, 0.02, **lost),
        fleet_row(1, 8, 0.04, **few),
        fleet_row(2, 4, None, outcome="inconclusive"),
        fleet_row(2, 8, None, outcome="profile_range"),
    ]
    plot = swept(*rows)
    assert sorted(text.get_text() for text in plot.axes.texts) == ["60", "–", "–", "–"]
    assert plot.axes.get_legend_handles_labels()[1] == [
        "cells: ms",
        "– too many are lost, too few requests, beyond the profile",
    ]
    assert plot.figure.get_suptitle() == "P99 of the response at 10 rps"


def test_a_map_of_many_fleets_is_larger() -> None:
    few = swept(*(fleet_row(*one) for one in SQUARE))
    assert few.figure.get_size_inches().tolist() == [7.5, 4.3]
    many = swept(*(fleet_row(n, size, 0.02) for n in range(1, 31) for size in range(1, 33)))
    assert many.figure.get_size_inches().tolist() == pytest.approx([17.6, 9.8])


def test_a_wait_of_nothing_is_a_number() -> None:
    waits = {"wait_p99_s": 0.0, "wait_p99_low_s": 0.0, "wait_p99_high_s": 0.0}
    table = SweepTable(form=BatchRows(), quantiles=(0.99,), seed=0, confidence=0.95)
    rows = [fleet_row(*one) | waits for one in SQUARE]
    plot = draw_sweep(table, [tuple(row.get(one.name) for one in table.columns) for row in rows], "wait")
    assert [text.get_text() for text in plot.axes.texts] == ["0"] * 4
    assert plot.figure.get_suptitle() == "P99 of the wait at 10 rps"


@pytest.mark.parametrize(
    "other",
    [{"arrival_rate_rps": 20.0}, {"routing": "round-robin"}, {"profile": "q"}, {"batch_wait_max_s": 0.002}],
)
def test_a_sweep_in_which_more_varies_has_lines(other: dict[str, Any]) -> None:
    rows = [fleet_row(*one) for one in SQUARE]
    plot = swept(*rows, rows[-1] | other, limit_s=0.03)
    assert titles(plot) == ("arrival rate (requests/s)", "response (ms)")
    assert not list(plot.axes.texts)
    assert "limit: 30 ms" in plot.axes.get_legend_handles_labels()[1]


def test_a_sweep_in_which_less_varies_has_lines() -> None:
    for rows in ([SQUARE[1], SQUARE[3]], [SQUARE[2], SQUARE[3]], [SQUARE[3]]):
        plot = swept(*(fleet_row(*one) for one in rows))
        assert titles(plot) == ("arrival rate (requests/s)", "response (ms)")


def test_a_stress_is_drawn_second_by_second_from_its_trigger() -> None:
    """The trigger begins after 60 s, the plot 10 s earlier."""
    stress = fleet_in_trouble()
    course = Course(came=(4,) * 53, succeeded=(2,) * 52 + (1,), sent=(8,) * 52 + (6,))
    run = replace(run_of(None), course=course)
    spikes = tuple(
        SpikeSurvived(factor=factor, lasting_s=lasting_s, searched_s=600.0)
        for factor, lasting_s in ((4.0, around(0.25)), (3.0, None), (2.0, around(1.0)))
    )
    found = Runs(stress=stress, runs=(run, run), confidence=0.95)
    figure = stress_figure(Screen(found=found, fluid=fluid(stress), spikes=spikes))
    success, attempts, survived = figure.plots
    assert [titles(plot) for plot in figure.plots] == [
        ("s after the trigger began", "share"),
        ("s after the trigger began", "1/s"),
        ("times the usual traffic", "duration [s]"),
    ]
    seconds = [-9.5, -8.5, -7.5]
    assert lines(success)[0] == (seconds, [0.5, 0.5, 0.25])
    assert lines(attempts)[0] == (seconds, [8.0, 8.0, 6.0])
    upright = [[0.0, 0.0], [60.0, 60.0]]
    assert [x for x, _ in lines(success)[1:]] == upright
    assert [x for x, _ in lines(attempts)[2:]] == upright
    assert lines(attempts)[1][1] == [400.0, 400.0]
    assert bars(survived) == [about((2.0, 1.0), (4.0, 0.25))]
    factors, law = lines(survived)[0]
    assert (len(factors), factors[0], factors[20], factors[-1]) == (
        41,
        2.0,
        pytest.approx(math.sqrt(8.0)),
        pytest.approx(4.0),
    )
    # A spike that brings `factor` times .8 of the capacity fills half a second's worth of the queue.
    assert law == pytest.approx([0.5 / (0.8 * one - 1.0) for one in factors])
    assert tuple(figure.figure.get_size_inches()) == pytest.approx((13.8, 4.0))
    assert figure.figure.get_suptitle() == "4 replicas of made-up at 320 rps, after losing 1 of 4 for 60 s"


def test_spikes_are_drawn_only_where_one_has_a_known_length() -> None:
    stress = fleet_in_trouble(rate_rps=160.0)
    run = replace(run_of(1.0), course=Course(came=(4,) * 60, succeeded=(4,) * 60, sent=(4,) * 60))
    screen = Screen(found=Runs(stress=stress, runs=(run,), confidence=0.95), fluid=fluid(stress))
    never = SpikeSurvived(factor=4.0, lasting_s=None, searched_s=600.0)
    assert len(stress_figure(replace(screen, spikes=(never,))).plots) == 2
    one = SpikeSurvived(factor=2.0, lasting_s=around(9.0), searched_s=600.0)
    law = stress_figure(replace(screen, spikes=(one,))).plots[2].axes.lines[0]
    assert list(law.get_xdata()) == [2.0]
    assert math.isnan(law.get_ydata()[0])  # 2 x 160 rps are fewer than 400: any spike is survived
