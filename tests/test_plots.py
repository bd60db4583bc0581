"""Plots: lines for theory, bars that span intervals, labels that nothing covers, the same bytes twice."""

import math
import subprocess
import sys
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.text import Annotation, Text

from capacity.errors import InputError
from capacity.heat_map import steps_between
from capacity.performance import Interval
from capacity.plots import Panels, Plot, new_panels, new_plot
from capacity.queues.mmc import MMc

PNG = b"\x89PNG\r\n\x1a\n"
LOADS = [i / 100.0 for i in range(2, 98)]


def blank(**more: Any) -> Plot:
    return new_plot(x_title="utilization ρ", y_title="mean wait [s]", title="Waits", **more)


def wait_s(load: float, servers: int, rate_rps: float = 1.0) -> float:
    return MMc(
        arrival_rate_rps=load * servers * rate_rps, service_rate_rps=rate_rps, servers=servers
    ).wait_mean_s


def about(value: float) -> Interval:
    return Interval(value=value, low=0.8 * value, high=1.3 * value)


def by_servers(*servers: int, y_log: bool = True) -> Plot:
    plot = blank(y_log=y_log)
    for number, c in enumerate(servers):
        plot.theory(LOADS, [wait_s(load, c) for load in LOADS], f"c = {c}", number=number)
        plot.simulated([0.5, 0.9], [about(wait_s(load, c)) for load in (0.5, 0.9)], number=number)
    return plot


def crowded() -> Plot:
    plot = by_servers(1, 2, 4, 8, 16, 32)
    plot.limit(1.0, "objective: 1 s")
    plot.limit(0.7, "the 70 % rule", axis="x")
    plot.limit(0.72, "what is busy", axis="x")
    plot.note(0.5, wait_s(0.5, 1), "one server at half load (hardly a queue)")
    return plot


def against_rate() -> Plot:
    plot = blank()
    for number, rate_rps in enumerate((2.0, 5.0, 10.0)):
        rates = [rate_rps * load for load in LOADS]
        plot.theory(
            rates, [wait_s(load, 1, rate_rps) for load in LOADS], f"μ = {rate_rps:g} rps", number=number
        )
    plot.axes.set_ylim(0.0, 5.0)  # lines leave through the top
    plot.limit(10.0, "the fastest server's wall", axis="x")
    return plot


def merged() -> Plot:
    plot = blank()
    for number in range(7):
        plot.theory(LOADS, [load + 1e-3 * number for load in LOADS], f"line {number}", number=number)
    return plot


def many() -> Plot:
    plot = blank()
    for number in range(30):
        plot.theory([0.0, 1.0], [1.0, 1.0 + number], f"{number}", number=number, dash=number // 7)
    return plot


def beside() -> Panels:
    panels = new_panels(
        ["c = 1", "c = 16", "c = 64"], x_title="ρ", y_title="wait [s]", title="Three fleets", y_log=True
    )
    for plot, c in zip(panels.plots, (1, 16, 64), strict=True):
        plot.theory(LOADS, [wait_s(load, c) for load in LOADS], "theory of one line that has a long name")
        plot.simulated([0.9], [about(wait_s(0.9, c))], number=1)
        plot.limit(0.1, "objective")
    return panels


PLOTS: dict[str, Callable[[], Plot | Panels]] = {
    "crowded": crowded,
    "against rate": against_rate,
    "merged": merged,
    "many": many,
    "panels": beside,
}
every_plot = pytest.mark.parametrize("made", [make() for make in PLOTS.values()], ids=list(PLOTS))


def plots_of(made: Plot | Panels) -> list[Plot]:
    return made.plots if isinstance(made, Panels) else [made]


def labels_of(made: Plot | Panels) -> list[Text]:
    made._repr_png_()
    made.figure.canvas.draw()
    inner = [text for plot in plots_of(made) for text in plot.axes.texts]
    return [text for text in (*inner, *made.figure.texts) if text.get_visible() and text.get_text()]


def segments_of(plot: Plot) -> list[Any]:
    found = [one for one in plot.axes.collections if isinstance(one, LineCollection)]
    return [segment.tolist() for one in found for segment in one.get_segments()]


@every_plot
def test_labels_neither_overlap_nor_are_cut_off(made: Plot | Panels) -> None:
    boxes = [Text.get_window_extent(text) for text in labels_of(made)]
    assert not [1 for one, other in combinations(boxes, 2) if one.overlaps(other)]
    figure = made.figure.bbox
    assert all(box.x0 >= 0.0 and box.y0 >= 0.0 for box in boxes)
    assert all(box.x1 <= figure.x1 and box.y1 <= figure.y1 for box in boxes)


@every_plot
def test_no_line_runs_through_a_name(made: Plot | Panels) -> None:
    labels_of(made)
    for plot in plots_of(made):
        names = [text for text in plot.axes.texts if isinstance(text, Annotation) and text.get_visible()]
        names = [name for name in names if not name.get_text().startswith("one server")]  # a note
        inner = plot.axes.bbox
        for line in plot.axes.lines:
            path = line.get_path().transformed(line.get_transform())
            boxes = [Text.get_window_extent(name) for name in names]
            inside = [box for box in boxes if box.x1 < inner.x1 and box.y1 < inner.y1]
            assert not any(path.intersects_bbox(box, filled=False) for box in inside)


@every_plot
def test_ticks_and_titles_are_in_the_figure(made: Plot | Panels) -> None:
    labels_of(made)
    for plot in plots_of(made):
        box = plot.axes.get_tightbbox(for_layout_only=True)
        assert box is not None
        assert box.x0 >= 0.0
        assert box.y0 >= 0.0


def test_there_is_no_legend_and_a_key_where_there_is_more_than_theory() -> None:
    lines, both = blank(), by_servers(1)
    lines.theory([0.0, 1.0], [1.0, 2.0], "a line")
    assert lines.key() == []
    assert both.key() == ["line: theory", "dot: simulation, with its confidence interval"]
    assert lines.axes.get_legend() is None


def test_theory_is_a_line_named_in_its_colour() -> None:
    plot = by_servers(1, 4)
    lines = [line for line in plot.axes.lines if len(line.get_xdata()) == len(LOADS)]
    assert list(lines[1].get_ydata()) == [wait_s(load, 4) for load in LOADS]
    names = {text.get_text(): text for text in plot.axes.texts}
    rgb = mpl.colors.to_rgb(lines[1].get_color())
    assert names["c = 4"].get_color() == pytest.approx([0.7 * share for share in rgb])
    assert lines[0].get_color() != lines[1].get_color()


@pytest.mark.parametrize("method", ["simulated", "measured"])
def test_bars_span_the_intervals(method: str) -> None:
    plot, spans = blank(), [about(1.0), about(3.0)]
    if method == "simulated":
        plot.simulated([0.2, 0.8], spans, "simulated")
    else:
        plot.measured([0.2, 0.8], [1.0, 3.0], "measured", intervals=spans)
    ends = [number for segment in segments_of(plot) for point in segment for number in point]
    assert ends == pytest.approx([0.2, 0.8, 0.2, 1.3, 0.8, 2.4, 0.8, 3.9])


def test_measured_points_are_open_squares() -> None:
    plot = blank()
    plot.measured([1.0, 2.0], [3.0, 4.0])
    (squares,) = (line for line in plot.axes.lines if line.get_marker() == "s")
    assert squares.get_markerfacecolor() == "white"


@pytest.mark.parametrize(("x_log", "y_log"), [(True, False), (False, True), (True, True)])
def test_logarithmic_axes_have_plain_numbers(*, x_log: bool, y_log: bool) -> None:
    plot = blank(x_log=x_log, y_log=y_log)
    plot.theory([0.01, 1.0, 100.0], [0.01, 1.0, 100.0])
    plot._repr_png_()
    plot.figure.canvas.draw()
    for axis, is_log in ((plot.axes.xaxis, x_log), (plot.axes.yaxis, y_log)):
        assert (axis.get_scale() == "log") is is_log
        if is_log:
            words = {tick.get_text() for tick in axis.get_ticklabels()}
            assert {"0.01", "0.1", "1", "10", "100"} <= words


def test_a_short_logarithmic_axis_has_twos_and_fives() -> None:
    plot = blank(y_log=True)
    plot.theory([0.0, 1.0], [1.2, 9.0])
    plot._repr_png_()
    assert {"2", "5"} <= {tick.get_text() for tick in plot.axes.yaxis.get_ticklabels()}


def test_what_is_never_negative_starts_at_zero_unless_limits_are_set() -> None:
    plot = blank()
    plot.theory([1.0, 2.0], [3.0, 4.0])
    plot._repr_png_()
    assert plot.axes.get_ylim()[0] == 0.0
    plot.axes.set_ylim(2.5, 4.5)
    plot._repr_png_()
    assert plot.axes.get_ylim() == (2.5, 4.5)


def test_an_unstable_stretch_is_a_gap() -> None:
    plot = blank(y_log=True)
    plot.theory([0.0, 0.5, 1.0, 1.5], [0.0, 1.0, math.inf, math.nan], "line")
    (line,) = (one for one in plot.axes.lines if len(one.get_xdata()) == 4)
    assert [math.isnan(y) for y in line.get_ydata()] == [True, False, True, True]
    plot._repr_png_()
    (name,) = (text for text in plot.axes.texts if text.get_text() == "line")
    assert name.xy == pytest.approx((0.5, 1.0))


def test_a_reference_is_a_dashed_line_with_a_name_and_is_not_theory() -> None:
    plot = blank(x_log=True, y_log=True)
    plot.measured([1.0, 64.0], [1.0, 12.0], "measured")
    plot.reference([1.0, 64.0], [1.0, 64.0], "times B")
    plot._repr_png_()
    (line,) = (one for one in plot.axes.lines if list(one.get_ydata()) == [1.0, 64.0])
    assert line.is_dashed()
    assert plot.key() == ["square: measured"]
    (name,) = (text for text in plot.axes.texts if text.get_text() == "times B")
    assert name.xy == pytest.approx((64.0, 64.0))


def test_bars_write_their_values_and_the_first_is_on_top() -> None:
    plot = blank()
    plot.bars(["one queue", "separate queues"], [1.25, 80.0], intervals=[about(1.25), about(80.0)])
    plot._repr_png_()
    assert [text.get_text() for text in plot.axes.texts] == ["1.25", "80"]
    heights = [text.get_window_extent().y0 for text in plot.axes.texts]
    assert heights[0] > heights[1]
    assert [tick.get_text() for tick in plot.axes.get_yticklabels()] == ["one queue", "separate queues"]


def test_a_heat_map_writes_numbers_and_outlines_what_is_accepted() -> None:
    plot = blank()
    plot.heat_map(
        [1, 2, 3],
        [8, 16],
        np.array([[math.nan, 5.0, 6.125], [70.0, 80.0, 90.0]]),
        accepted=np.array([[False, True, True], [False, False, False]]),
        unit="ms",
    )
    assert [text.get_text() for text in plot.axes.texts] == ["–", "5", "6.12", "70", "80", "90"]
    edges = {
        (tuple(line.get_xdata()), tuple(line.get_ydata()))
        for line in plot.axes.lines
        if line.get_color() == "#D55E00"
    }
    assert edges == {
        ((0.5, 0.5), (-0.5, 0.5)),
        ((2.5, 2.5), (-0.5, 0.5)),
        ((0.5, 1.5), (-0.5, -0.5)),
        ((1.5, 2.5), (-0.5, -0.5)),
        ((0.5, 1.5), (0.5, 0.5)),
        ((1.5, 2.5), (0.5, 0.5)),
    }
    assert plot.key() == ["cells: ms", "outlined: accepted", "–: refused"]
    assert plot._repr_png_().startswith(PNG)


def test_the_key_of_a_heat_map_says_what_outline_and_dash_mean() -> None:
    plot = blank()
    plot.heat_map(
        [1], [1, 2], [[70.0], [math.nan]], accepted=[[True], [False]], outlined="70 % or more", missing="none"
    )
    assert plot.key() == ["outlined: 70 % or more", "–: none"]
    plot.heat_map([1], [1], [[70.0]], outlined="70 % or more", missing="none")
    assert plot.key() == []


def test_nothing_accepted_has_no_edges() -> None:
    assert steps_between([[False, False]]) == []


# ---- bytes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".svg"])
@pytest.mark.parametrize("make", PLOTS.values(), ids=PLOTS)
def test_the_same_data_give_the_same_bytes(
    tmp_path: Path, suffix: str, make: Callable[[], Plot | Panels]
) -> None:
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    made = make()
    made.save(first)
    made.save(second)  # saving changes nothing
    assert first.read_bytes() == second.read_bytes()
    with mpl.rc_context({"font.size": 20.0, "axes.facecolor": "black", "savefig.dpi": 30.0}):
        make().save(second)
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("make", [against_rate, beside])
def test_the_last_expression_of_a_cell_is_shown_as_png(make: Callable[[], Plot | Panels]) -> None:
    assert make()._repr_png_().startswith(PNG)
    assert make()._repr_png_() == make()._repr_png_() == make().png()


def test_each_panel_shows_the_whole() -> None:
    panels = beside()
    assert panels.plots[1]._repr_png_() == panels._repr_png_() == panels.png()


def test_panels_share_the_numbers_of_their_y_axis() -> None:
    panels = beside()
    panels._repr_png_()
    assert len({plot.axes.get_ylim() for plot in panels.plots}) == 1
    assert panels.plots[0].axes.get_ylabel() == "wait [s]"
    assert panels.plots[1].axes.get_ylabel() == ""


def test_panels_with_axes_of_their_own_may_have_a_title_for_each() -> None:
    named = {"x_title": "x", "title": "t", "share_y": False}
    panels = new_panels(["a", "b"], y_title=("rate [rps]", "time [s]"), **named)
    assert [plot.axes.get_ylabel() for plot in panels.plots] == ["rate [rps]", "time [s]"]
    panels = new_panels(["a", "b"], y_title="time [s]", **named)
    assert [plot.axes.get_ylabel() for plot in panels.plots] == ["time [s]", "time [s]"]


@pytest.mark.parametrize(
    ("y_titles", "share_y"), [(["a"], False), (["a", "b", "c"], False), (["a", "b"], True)]
)
def test_panels_have_as_many_titles_as_axes(y_titles: list[str], *, share_y: bool) -> None:
    with pytest.raises(InputError, match="2 panels need one y_title, or one for each and share_y=False"):
        new_panels(["1", "2"], x_title="x", y_title=y_titles, title="t", share_y=share_y)


def test_a_plot_may_be_filled_further_after_it_was_shown() -> None:
    plot, other = by_servers(1), by_servers(1)
    plot._repr_png_()
    for one in (plot, other):
        one.theory(LOADS, [100.0 * wait_s(load, 1) for load in LOADS], "hundredfold", number=3)
    assert plot._repr_png_() == other._repr_png_()


def test_drawing_loads_no_pyplot_and_leaves_no_style() -> None:
    before = dict(mpl.rcParams)
    crowded()._repr_png_()
    assert dict(mpl.rcParams) == before
    program = (
        "import sys\nfrom capacity.plots import new_plot\nassert 'matplotlib' not in sys.modules\n"
        "plot = new_plot(x_title='x', y_title='y', title='t')\nplot.theory([1, 2], [1, 2], 'a')\n"
        "plot._repr_png_()\nassert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[1])


# ---- refusals -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda plot: plot.theory([1.0, 2.0], [1.0]), "lengths differ: 2 and 1"),
        (lambda plot: plot.theory([], []), "at least one value"),
        (lambda plot: plot.theory(["a"], [1.0]), "x must be a sequence of numbers"),
        (lambda plot: plot.theory([1.0], [math.inf]), "nothing to draw"),
        (lambda plot: plot.theory([1.0], [0.0]), "nothing to draw"),
        (lambda plot: plot.simulated([1.0], []), "lengths differ: 1 and 0"),
        (lambda plot: plot.simulated([1.0], [Interval.exact(0.0)]), "cannot be drawn on a logarithmic axis"),
        (
            lambda plot: plot.simulated([1.0], [Interval(value=1.0, low=1.0, high=math.inf)]),
            "cannot draw inf",
        ),
        (lambda plot: plot.measured([1.0], [math.nan]), "interval needs low"),
        (lambda plot: plot.measured([1.0, 2.0], [1.0, 2.0], intervals=[about(1.0)]), "lengths differ"),
        (lambda plot: plot.bars(["a"], [1.0, 2.0]), "lengths differ"),
        (lambda plot: plot.bars(["a"], [math.inf]), "cannot draw inf"),
        (lambda plot: plot.limit(math.nan, "a"), "cannot draw nan"),
        (lambda plot: plot.limit(1.0, "a", axis="z"), 'axis must be "x" or "y"'),
        (lambda plot: plot.note(1.0, math.inf, "a"), "cannot draw inf"),
        (lambda plot: plot.reference([1.0], [1.0, 2.0], "a"), "lengths differ: 1 and 2"),
        (lambda plot: plot.reference([1.0, 2.0], [0.0, 2.0], "a"), "at 0 or below on a logarithmic axis"),
        (lambda plot: plot.reference([1.0, math.inf], [1.0, 2.0], "a"), "a point not finite"),
        (lambda plot: plot.heat_map([1, 2], [1], [[1.0]]), "values must be 1 rows of 2 cells"),
        (lambda plot: plot.heat_map([1], [1], [[1.0]], accepted=[[]]), "accepted must be 1 rows of 1 cells"),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw: Callable[[Plot], None], words: str) -> None:
    from capacity.errors import CapacityError

    with pytest.raises(CapacityError, match=words):
        draw(blank(y_log=True))


def test_panels_need_a_title_and_files_a_known_suffix(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one title"):
        new_panels([], x_title="x", y_title="y", title="t")
    with pytest.raises(InputError, match=r"\.png or a \.svg"):
        by_servers(1).save(tmp_path / "a.pdf")
