"""Looks of plots: sizes in points and inches, colours, marks and margins, read back from the drawing."""

import math
from typing import Any

import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.image import AxesImage
from shown import inches

from capacity.performance import Interval
from capacity.render.plot import GREY, LIMITS, PALE, PALETTE, Plot, new_panels, new_plot, new_stack

SPAN = Interval(value=2.0, low=1.0, high=4.0)


def blank(**more: Any) -> Plot:
    return new_plot(**{"x_title": "x", "y_title": "y", "title": "A title"} | more)


def test_sizes() -> None:
    assert inches(blank()) == (7.5, 4.3)
    assert inches(blank(width=5.0, height=3.0)) == (5.0, 3.0)
    panels = new_panels(["a", "b"], x_title="x", y_title="y", title="t")
    assert inches(panels) == (11.0, 4.0)
    assert len(panels.plots) == 2
    assert inches(new_stack(["a", "b"], x_title="x", shares=[1, 3])) == (7.5, 4.3)
    assert panels.figure.dpi == 150


def test_titles_are_bold_and_on_the_left() -> None:
    """A title has at most ten letters an inch."""
    plot = blank(width=5.0, title="word " * 20)
    (title,) = plot.figure.texts
    assert [len(line) for line in title.get_text().splitlines()] == [49, 49]
    assert (title.get_fontsize(), title.get_weight(), title.get_ha()) == (10.5, "bold", "left")
    assert title.get_position()[0] == 0.01
    (panel,) = new_panels(["a"], x_title="x", y_title="y", title="t").plots
    heading = panel.axes._left_title  # type: ignore[attr-defined]
    assert (heading.get_text(), heading.get_fontsize(), heading.get_weight()) == ("a", 9.0, "bold")


def test_axes_are_open_above_and_right_on_a_pale_grid() -> None:
    plot = blank()
    axes = plot.axes
    plot.figure.draw_without_rendering()
    assert {name: spine.get_visible() for name, spine in axes.spines.items()} == {
        "left": True, "bottom": True, "top": False, "right": False
    }  # fmt: skip
    assert to_hex(axes.spines["left"].get_edgecolor()) == GREY
    grid = axes.get_xgridlines()[0]
    assert (grid.get_visible(), grid.get_linewidth(), to_hex(grid.get_color())) == (True, 0.6, "#e4e4e4")
    assert axes.get_axisbelow() is True
    assert axes.xaxis.label.get_fontsize() == axes.get_xticklabels()[0].get_fontsize() == 9.0
    assert axes.margins() == (0.02, 0.06)
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "linear")
    logs = blank(x_log=True, y_log=True).axes
    assert (logs.get_xscale(), logs.get_yscale()) == ("log", "log")


def test_stacked_plots_share_the_height_and_the_x_axis() -> None:
    first, second = new_stack(["a", "b"], x_title="x", shares=[1.0, 3.0]).plots
    assert [first.axes.get_ylabel(), second.axes.get_ylabel()] == ["a", "b"]
    assert (first.axes.get_xlabel(), second.axes.get_xlabel()) == ("", "x")
    assert second.axes.get_position().height == pytest.approx(3.0 * first.axes.get_position().height)
    assert second.axes.get_position().y0 < first.axes.get_position().y0
    assert first.axes.margins() == (0.0, 0.06)
    assert first.axes.get_shared_x_axes().joined(first.axes, second.axes)


def test_colours_and_dashes_of_lines_repeat() -> None:
    plot = blank()
    for number in range(9):
        plot.theory([0.0, 1.0], [1.0, 2.0], number=number, dash=number)
    lines = plot.axes.lines
    assert [line.get_color() for line in lines] == [*PALETTE, *PALETTE[:2]]
    assert [line.get_linestyle() for line in lines] == ["-", "--", "-.", ":", "-", "--", "-.", ":", "-"]
    assert {line.get_linewidth() for line in lines} == {1.8}
    plot = blank()
    plot.theory([0.0, 1.0], [1.0, 2.0])
    assert (plot.axes.lines[0].get_color(), plot.axes.lines[0].get_linestyle()) == (PALETTE[0], "-")
    plot = blank()
    plot.reference([0.0, 1.0], [1.0, 2.0])
    (line,) = plot.axes.lines
    assert (line.get_color(), line.get_linestyle(), line.get_linewidth()) == (GREY, "--", 1.0)


def test_limits_differ_in_their_dashes() -> None:
    plot, alike = blank(), blank()
    for n in range(5):
        plot.limit(float(n), f"{n}")
        alike.axes.axhline(float(n), linestyle=LIMITS[n % 4], linewidth=1.0)
    for line, other in zip(plot.axes.lines, alike.axes.lines, strict=True):
        assert line._unscaled_dash_pattern == other._unscaled_dash_pattern  # type: ignore[attr-defined]
        assert (line.get_color(), line.get_linewidth()) == (GREY, 1.0)
    assert len({str(line._unscaled_dash_pattern) for line in plot.axes.lines}) == 4  # type: ignore[attr-defined]
    upright = blank()
    upright.limit(3.0, "wall", axis="x")
    assert list(upright.axes.lines[0].get_xdata()) == [3.0, 3.0]


@pytest.mark.parametrize(
    ("method", "marker", "size", "face"),
    [("simulated", "o", 4.0, PALETTE[1]), ("measured", "s", 4.5, "white")],
)
def test_points_have_a_bar_with_caps(method: str, marker: str, size: float, face: str) -> None:
    plot = blank()
    if method == "simulated":
        plot.simulated([1.0], [SPAN], "a", number=1)
    else:
        plot.measured([1.0], [2.0], "a", number=1, intervals=[SPAN])
    (series,) = plot.axes.containers
    points, caps, (bars,) = series.lines
    assert (points.get_marker(), points.get_markersize(), points.get_color()) == (marker, size, PALETTE[1])
    assert points.get_markerfacecolor() == face
    assert (points.get_linestyle(), bars.get_zorder()) == ("None", 3.0)
    assert [cap.get_markersize() for cap in caps] == [5.0, 5.0]  # 2.5 points to each side
    assert list(bars.get_linewidth()) == [1.2]


def test_bars_leave_room_for_their_values() -> None:
    plot = blank()
    plot.bars(["a", "b"], [1.0, 2.00049], number=2, intervals=[SPAN, SPAN])
    bars: list[Any] = list(plot.axes.patches)
    assert [bar.get_height() for bar in bars] == [0.6, 0.6]
    assert {to_hex(bar.get_facecolor()) for bar in bars} == {PALETTE[2].lower()}
    assert [text.get_text() for text in plot.axes.texts] == ["1", "2"]
    assert {text.get_position()[0] for text in plot.axes.texts} == {4.0}
    assert plot.axes.yaxis.get_inverted()
    assert plot.axes.margins()[0] == 0.12
    assert [cap.get_markersize() for cap in plot.axes.lines] == [5.0, 5.0]
    assert not any(line.get_visible() for line in plot.axes.get_ygridlines())


def heat_map(values: list[list[float]], **more: Any) -> Plot:
    plot = blank()
    plot.heat_map(["a", "b", "c"], ["p", "q"], values, **more)
    return plot


def shares(plot: Plot) -> Any:
    (image,) = [one for one in plot.axes.images if isinstance(one, AxesImage)]
    assert image.get_clim() == (0.0, 1.2)
    return image.get_array()


def test_larger_cells_are_darker_on_a_log_scale_if_values_span_a_lot() -> None:
    """More than a factor of ten."""
    even = shares(heat_map([[1.0, 5.5, 10.0], [1.0, 1.0, 1.0]]))
    assert even[0].tolist() == [0.0, 0.5, 1.0]
    apart = shares(heat_map([[1.0, 10.0, 100.0], [1.0, 1.0, 1.0]]))
    assert apart[0].tolist() == pytest.approx([0.0, 0.5, 1.0])
    below = shares(heat_map([[-1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]))
    assert below[0].tolist() == [0.0, 0.5, 1.0]


def test_numbers_in_cells_contrast_with_them() -> None:
    plot = heat_map([[0.0, 8.0, 10.0], [8.1, 1.2345, math.nan]])
    told = {text.get_text(): text.get_color() for text in plot.axes.texts}
    assert told == {
        "0": "#222222", "8": "#222222", "10": "white", "8.1": "white", "1.23": "#222222", "–": "#222222"
    }  # fmt: skip
    assert plot.axes.get_xlim() == (-0.55, 2.55)
    assert plot.axes.get_ylim() == (-0.55, 1.55)
    assert [tick.get_text() for tick in plot.axes.get_xticklabels()] == ["a", "b", "c"]
    assert [tick.get_text() for tick in plot.axes.get_yticklabels()] == ["p", "q"]
    assert not any(spine.get_visible() for spine in plot.axes.spines.values())
    assert not any(line.get_visible() for line in plot.axes.get_xgridlines())
    assert plot.axes.xaxis.get_tick_params()["length"] == 0.0
    (missing,) = [one for one in plot.axes.collections if one.get_label() == "– refused"]
    assert to_hex(missing.get_facecolor()[0]) == PALE


def test_accepted_cells_are_outlined() -> None:
    plot = heat_map([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], accepted=[[True, True, False], [False, False, False]])
    outlines = [one for one in plot.axes.collections if isinstance(one, LineCollection)]
    assert [set(one.get_linewidth()) for one in outlines] == [{2.6}, {2.6}]
    assert {to_hex(one.get_color()[0]) for one in outlines} == {PALETTE[1].lower()}


@pytest.mark.parametrize(("count", "columns"), [(15, 1), (16, 2), (31, 2), (32, 3)])
def test_a_legend_has_a_column_for_every_sixteen_lines(count: int, columns: int) -> None:
    plot = blank()
    for number in range(count):
        plot.theory([0.0, 1.0], [1.0, 2.0], f"line {number}", number=number)
    plot._write_legends()
    legend = plot.axes.get_legend()
    assert legend._ncols == columns  # type: ignore[attr-defined]


def test_a_legend_breaks_its_lines_after_26_letters() -> None:
    plot = blank()
    plot.theory([0.0, 1.0], [1.0, 2.0], "12345 789 123456789 123456 x")
    assert list(plot.entries) == ["12345 789 123456789 123456\nx"]
    plot.png()
    legend = plot.axes.get_legend()
    assert (legend.get_frame_on(), legend.texts[0].get_fontsize()) == (False, 8.0)
    box, inside = legend.get_window_extent(), plot.axes.get_window_extent()
    assert box.x0 >= inside.x1
    assert box.y1 == pytest.approx(inside.y1, abs=0.1 * inside.height)


@pytest.mark.parametrize(("right", "steps"), [(199.5, [1.0, 2.0, 5.0, 10.0]), (200.0, [1.0, 10.0, 100.0])])
def test_a_logarithmic_axis_has_twos_and_fives_below_200_times(right: float, steps: list[float]) -> None:
    plot = blank(x_log=True)
    plot.theory([1.0, right], [1.0, 2.0])
    plot.axes.set_xlim(1.0, right)
    plot.png()
    ticks = [float(tick) for tick in plot.axes.get_xticks() if 1.0 <= tick <= right]
    assert ticks[: len(steps)] == steps


def test_an_axis_begins_at_zero_where_no_value_is_negative() -> None:
    def begins(x: list[float], y: list[float], **limits: tuple[float, float]) -> tuple[float, float]:
        plot = blank()
        plot.theory(x, y)
        plot.axes.set(**limits)
        plot.png()
        return plot.axes.get_xlim()[0], plot.axes.get_ylim()[0]

    assert begins([0.0, 1.0], [3.0, 4.0]) == (0.0, 0.0)
    assert begins([5.0, 10.0], [0.0, 1.0]) == (pytest.approx(4.9), 0.0)
    assert begins([-1.0, 1.0], [-1.0, 1.0]) == (pytest.approx(-1.04), pytest.approx(-1.12))
    assert begins([0.0, 1.0], [3.0, 4.0], xlim=(-0.5, 1.0), ylim=(2.0, 4.0)) == (-0.5, 2.0)
