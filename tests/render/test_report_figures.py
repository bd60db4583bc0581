"""The charts of a report: lines, limits and labels in their places, read back from the drawing."""

import math
from functools import partial
from typing import Any

import pytest
import shown
from matplotlib.colors import to_hex
from shown import inches

from capacity.performance import Interval, ServedBatch, Window
from capacity.question.candidate import Verdict
from capacity.question.objective import Limit, Measure
from capacity.render.plot import GREY, PALETTE, Plot
from capacity.render.report import figures

P99 = Limit(measure=Measure.RESPONSE, quantile=0.99, allowed=0.05)
LOSS = Limit(measure=Measure.LOSS, allowed=0.02)
MET, MISSED, DOUBT = Verdict.MET, Verdict.MISSED, Verdict.INCONCLUSIVE
ACCENT, LIMIT = PALETTE[:2]
around = partial(shown.around, share=0.25)


def lines(plot: Plot, style: str = "-") -> list[tuple[Any, list[float], list[float]]]:
    """The colour and points of each line of one style."""
    return [
        (line.get_color(), list(map(float, line.get_xdata())), list(map(float, line.get_ydata())))
        for line in plot.axes.lines
        if line.get_linestyle() == style
    ]


def marks(plot: Plot) -> list[tuple[Any, ...]]:
    return [
        (line.get_marker(), line.get_color(), list(line.get_xdata()), list(line.get_ydata()))
        for line in plot.axes.lines
        if line.get_linestyle() == "None" and line.get_markersize() == 4.0
    ]


def labels(plot: Plot) -> dict[str, Any]:
    return {text.get_text(): text for text in plot.axes.texts}


def place(text: Any) -> tuple[Any, ...]:
    """The point that it labels, its offset from there, and its alignment."""
    return (*map(float, text.xy), *map(float, text.xyann), text.get_ha())


SPOTS = (
    (100.0, around(0.02), MET),
    (200.0, around(0.04), MET),
    (300.0, around(0.048), DOUBT),
    (400.0, around(0.08), MISSED),
    (500.0, Interval.exact(math.inf), MISSED),
)


def test_a_limited_value_is_drawn_over_the_rate() -> None:
    plot = figures.draw_rates(SPOTS, P99, 200.0, 280.0)
    axes = plot.axes
    assert inches(plot) == (4.7, 2.8)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("arrival rate [rps]", "P99 [ms]")
    assert (axes.get_xlim(), axes.get_ylim()) == ((0.0, pytest.approx(515.0)), (0.0, 100.0))
    assert lines(plot) == [(ACCENT, [100.0, 200.0, 300.0, 400.0], pytest.approx([20.0, 40.0, 48.0, 80.0]))]
    assert marks(plot) == [
        ("o", ACCENT, [100.0, 200.0], pytest.approx([20.0, 40.0])),
        ("x", LIMIT, [400.0], pytest.approx([80.0])),
        ("s", GREY, [300.0], pytest.approx([48.0])),
    ]
    (band,) = axes.collections
    ends = {(x, round(y, 9)) for x, y in band.get_paths()[0].vertices.tolist()}  # type: ignore[union-attr]
    assert {(100.0, 15.0), (100.0, 25.0), (400.0, 60.0), (400.0, 100.0)} <= ends
    assert (band.get_alpha(), list(band.get_linewidth())) == (0.2, [0.0])
    assert lines(plot, "--") == [(LIMIT, [0.0, 1.0], [50.0, 50.0])]
    assert [(color, x) for color, x, _ in lines(plot, ":")] == [(GREY, [200.0] * 2), (GREY, [280.0] * 2)]
    assert {line.get_linewidth() for line in axes.lines if line.get_linestyle() in ("--", ":")} == {1.2}
    told = labels(plot)
    assert place(told["objective 50 ms"]) == (0.0, 50.0, 4.0, 3.0, "left")
    assert place(told["planned 200 rps"]) == (200.0, 0.97, 4.0, 0.0, "left")
    assert place(told["headroom 280 rps"]) == (280.0, 0.86, -4.0, 0.0, "right")
    assert {text.get_fontsize() for text in axes.texts} == {8.5}
    assert told["planned 200 rps"].get_bbox_patch().get_boxstyle().pad == pytest.approx(1.0 / 8.5, abs=0.005)
    assert told["planned 200 rps"].get_va() == "top"


@pytest.mark.parametrize("accepted_rps", [None, 200.0, 150.0])
def test_headroom_is_drawn_only_above_the_planned_rate(accepted_rps: float | None) -> None:
    plot = figures.draw_rates(SPOTS, P99, 200.0, accepted_rps)
    assert set(labels(plot)) == {"objective 50 ms", "planned 200 rps"}


def test_shares_are_in_percent() -> None:
    plot = figures.draw_rates([(100.0, around(0.01), MET)], LOSS, 100.0, None)
    assert plot.axes.get_ylabel() == f"{LOSS.what} [%]"
    assert plot.axes.get_ylim() == (0.0, 4.0)
    assert lines(plot)[0][2] == [1.0]
    assert place(labels(plot)["planned 100 rps"])[-1] == "right"  # right of the middle


def test_a_distribution_shows_the_share_that_takes_longer() -> None:
    known = {0.5: around(0.02), 0.9: around(0.04), 0.999: Interval(value=0.1, low=0.05, high=math.inf)}
    plot = figures.draw_distribution(known, {0.99: 0.08, 0.5: 0.02})
    axes = plot.axes
    assert (axes.get_xlabel(), axes.get_yscale()) == ("response time [ms]", "log")
    assert axes.get_ylabel() == "share of requests that take longer [%]"
    assert axes.get_xlim() == (0.0, pytest.approx(1.08 * 80.0))
    assert axes.get_ylim() == pytest.approx((0.8, 100.0))
    assert lines(plot) == [(ACCENT, pytest.approx([20.0, 40.0]), pytest.approx([50.0, 10.0]))]
    (band,) = axes.collections
    assert (band.get_alpha(), list(band.get_linewidth())) == (0.2, [0.0])
    assert lines(plot, "--") == [
        (LIMIT, [80.0, 80.0], pytest.approx([1.0, 100.0])),
        (LIMIT, [0.0, 80.0], pytest.approx([1.0, 1.0])),
        (LIMIT, [20.0, 20.0], [50.0, 100.0]),
        (LIMIT, [0.0, 20.0], [50.0, 50.0]),
    ]
    told = labels(plot)
    assert place(told["at most 1 % above 80 ms"]) == pytest.approx((80.0, 1.0, -4.0, 4.0, "right"))
    assert place(told["at most 50 % above 20 ms"]) == (20.0, 50.0, 4.0, 4.0, "left")
    assert {line.get_linewidth() for line in axes.lines if line.get_linestyle() == "--"} == {1.2}


def test_a_distribution_without_a_limit() -> None:
    plot = figures.draw_distribution({0.5: around(0.02), 0.99: around(0.08)}, {})
    assert plot.axes.get_xlim() == (0.0, pytest.approx(1.08 * 100.0))
    assert plot.axes.get_ylim() == pytest.approx((0.8, 100.0))
    assert lines(plot, "--") == []


def test_a_frontier_shows_the_price_of_a_lower_value() -> None:
    spots = (
        (1.0, around(0.08), MISSED),
        (2.0, around(0.04), MET),
        (2.0, around(0.045), MET),
        (3.0, around(0.042), MET),
        (4.0, around(0.02), MET),
        (5.0, around(0.1), MISSED),
        (9.0, around(0.101), MISSED),
    )
    plot = figures.draw_frontier(spots, (2.0, 0.04), P99, is_priced=True)
    axes = plot.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("price [USD/h]", "P99 [ms]")
    assert (axes.get_xlim(), axes.get_ylim()) == ((0.0, pytest.approx(5.6)), (0.0, 100.0))
    (step,) = [line for line in axes.lines if line.get_drawstyle() == "steps-post"]
    assert (list(step.get_xdata()), list(step.get_ydata())) == ([2.0, 4.0], pytest.approx([40.0, 20.0]))
    assert [(mark, x) for mark, _, x, _ in marks(plot)] == [("o", [2.0, 2.0, 3.0, 4.0]), ("x", [1.0, 5.0])]
    (ring,) = [line for line in axes.lines if line.get_markersize() == 11.0]
    assert (list(ring.get_xdata()), list(ring.get_ydata()), ring.get_fillstyle()) == ([2.0], [40.0], "none")
    chosen = labels(plot)["chosen"]
    assert (place(chosen), chosen.get_va()) == ((2.0, 40.0, -9.0, -9.0, "right"), "top")
    assert place(labels(plot)["objective 50 ms"]) == (0.0, 50.0, 4.0, 3.0, "left")


@pytest.mark.parametrize(("chosen_s", "above"), [(0.0199, True), (0.02, False)])
def test_the_name_of_the_chosen_fleet_stands_above_it_near_the_axis(chosen_s: float, *, above: bool) -> None:
    plot = figures.draw_frontier([(1.0, around(chosen_s), MET)], (1.0, chosen_s), P99, is_priced=False)
    chosen = labels(plot)["chosen"]
    assert (chosen.xyann[1], chosen.get_va()) == ((9.0, "bottom") if above else (-9.0, "top"))


@pytest.mark.parametrize("most", [1.0, 2.0, 5.0, 40.0])
def test_fleets_without_a_price_are_counted_in_whole_replicas(most: float) -> None:
    spots = [(1.0, around(0.04), MET), (most, around(0.02), MET)]
    whole = figures.draw_frontier(spots, (1.0, 0.04), P99, is_priced=False).axes
    assert whole.get_xlabel() == "replicas"
    assert {tick % 1.0 for tick in whole.get_xticks()} == {0.0}
    assert len(whole.get_xticks()) > 1


def window(*sizes: int, length_s: float = 2.0, waiting: tuple[int, ...] = (0, 5, 1)) -> Window:
    batches = [
        ServedBatch(replica=n % 2, size=size, started_s=0.5 * n - 0.25, finished_s=0.5 * n + 0.25)
        for n, size in enumerate(sizes)
    ]
    instants_s = tuple(0.5 * n for n in range(len(waiting)))
    return Window(
        length_s=length_s,
        replicas=3,
        replicas_shown=2,
        batches=tuple(batches),
        instants_s=instants_s,
        waiting=waiting,
    )


def test_a_window_has_a_lane_for_each_replica() -> None:
    """The first batch began before the window, the last one ends after it."""
    panels = figures.draw_window(window(4, 8, 4, 8, 4))
    lanes, queue = (plot.axes for plot in panels.plots)
    assert inches(panels) == pytest.approx((4.7, 1.9 + 0.44))
    assert (lanes.get_ylabel(), queue.get_ylabel(), queue.get_xlabel()) == ("replica", "waiting", "time [s]")
    assert (lanes.get_xlim(), lanes.get_ylim()) == ((0.0, 2.0), (1.5, -0.5))
    assert [tick.get_text() for tick in lanes.get_yticklabels()] == ["1", "2"]
    heights = [axes.get_position().height for axes in (lanes, queue)]
    assert heights[0] == pytest.approx(heights[1])  # 1 + 2 x 0.5 for two lanes, 2 for the queue
    small, large = lanes.patches
    assert [to_hex(one.get_facecolor()) for one in (small, large)] == [figures.SHADES[0], figures.SHADES[4]]
    assert {to_hex(one.get_edgecolor()) for one in (small, large)} == {"#ffffff"}
    assert {one.get_linewidth() for one in (small, large)} == {0.5}
    corners = small.get_path().vertices.reshape(-1, 5, 2).tolist()  # type: ignore[attr-defined]
    assert corners[0] == [[0.0, -0.36], [0.25, -0.36], [0.25, 0.36], [0.0, 0.36], [0.0, -0.36]]
    assert corners[2][1] == [2.0, -0.36]
    assert large.get_path().vertices.reshape(-1, 5, 2).tolist()[0][2] == pytest.approx([0.75, 1.36])  # type: ignore[attr-defined]
    assert small.get_path().codes.tolist() == [1, 2, 2, 2, 79] * 3  # type: ignore[attr-defined, union-attr]


def test_waiting_requests_are_drawn_below() -> None:
    _, queue = (plot.axes for plot in figures.draw_window(window(4)).plots)
    (step,) = queue.lines
    assert (list(step.get_xdata()), list(step.get_ydata())) == ([0.0, 0.5, 1.0], [0, 5, 1])
    assert (step.get_drawstyle(), step.get_linewidth(), step.get_color()) == ("steps-post", 1.0, ACCENT)
    assert queue.get_ylim() == (0.0, pytest.approx(5.5))
    (area,) = queue.collections
    assert (area.get_alpha(), list(area.get_linewidth())) == (0.25, [0.0])
    assert all(float(tick).is_integer() for tick in queue.get_yticks())
    assert len([tick for tick in queue.get_yticks() if 0.0 <= tick <= 5.5]) <= 4
    _, empty = (plot.axes for plot in figures.draw_window(window(4, waiting=(0, 0))).plots)
    assert empty.get_ylim() == (0.0, pytest.approx(1.1))


@pytest.mark.parametrize(
    ("length_s", "title", "tick"), [(1.0, "time [s]", "0.5"), (0.999, "time [ms]", "500")]
)
def test_a_short_window_is_in_milliseconds(length_s: float, title: str, tick: str) -> None:
    _, queue = (plot.axes for plot in figures.draw_window(window(4, length_s=length_s)).plots)
    assert queue.get_xlabel() == title
    assert queue.xaxis.get_major_formatter()(0.5, 0) == tick


def ends(*sizes: int) -> list[int]:
    return figures.shade_ends(window(*sizes))


def test_sizes_are_spread_over_the_shades() -> None:
    assert ends(3) == [3]
    assert ends(1, 2, 4) == [1, 2, 4]
    assert ends(1, 2, 3, 4, 5, 6, 7) == [1, 2, 4, 5, 7]
    assert ends(*range(1, 11)) == [2, 4, 6, 8, 10]
    assert figures.shade_ends(window()) == [1]


@pytest.mark.parametrize(
    ("size", "found", "shade"),
    [(3, [3], 0), (1, [1, 2], 0), (2, [1, 2], 4), (2, [1, 2, 4], 2), (3, [1, 2, 4], 4), (3, [1, 2, 3, 4], 2),
     (5, [2, 4, 6, 8, 10], 2), (6, [2, 4, 6, 8, 10], 2), (7, [2, 4, 6, 8, 10], 3)],
)  # fmt: skip
def test_larger_sizes_have_darker_shades(size: int, found: list[int], shade: int) -> None:
    assert figures.shade_of(size, found) == shade


def test_colours_of_dark_pages() -> None:
    for light, dark in zip(figures.SHADES, figures.DARK_SHADES, strict=True):
        assert figures.DARK_COLOURS[light] == dark
    assert figures.DARK_COLOURS[figures.LIMIT_TEXT] == "#ff9d5c"


def test_an_svg_is_ready_for_a_page() -> None:
    text = figures.inline_svg(
        figures.draw_distribution({0.5: around(0.02), 0.9: around(0.04)}, {}), "k", "A & name"
    )
    head = text.partition(">")[0]
    assert head.startswith("<svg")
    assert head.endswith('preserveAspectRatio="xMinYMid" role="img" aria-label="A & name"')
    assert "viewBox=" in head
    for absent in ("<?xml", "<metadata", "<style", "xmlns", "xlink", "font-family", " width=", " height="):
        assert absent not in head
    for absent in ("<metadata", "<style", "xlink:href", "font-family", "\n "):
        assert absent not in text
    assert 'id="k-' in text
    assert 'href="#k-' in text
    assert text == text.strip()
