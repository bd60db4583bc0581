"""Plots: lines for theory, bars that span intervals, a legend that covers nothing, the same bytes twice."""

import math
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.collections import LineCollection

from capacity.errors import InputError
from capacity.performance import Interval
from capacity.queues.markov.mmc import MMc
from capacity.render.plot import Panels, Plot, new_panels, new_plot

ROOT = Path(__file__).parents[2]
PNG = b"\x89PNG\r\n\x1a\n"
LOADS = [i / 100.0 for i in range(2, 98)]


def blank(**more: Any) -> Plot:
    return new_plot(**{"x_title": "utilization ρ", "y_title": "mean wait [s]", "title": "Waits"} | more)


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


def many() -> Plot:
    plot = blank(title="A title that says so much of thirty lines that it has to go on in a second line")
    for number in range(30):
        plot.theory([0.0, 1.0], [1.0, 1.0 + number], f"{number}", number=number, dash=number // 7)
    return plot


def cells() -> Plot:
    plot = blank()
    plot.heat_map(
        [1, 2, 3],
        [8, 16],
        np.array([[math.nan, 5.0, 6.125], [70.0, 80.0, 90.0]]),
        accepted=np.array([[False, True, True], [False, False, False]]),
        unit="ms",
    )
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
    "many": many,
    "cells": cells,
    "panels": beside,
}
every_plot = pytest.mark.parametrize("made", PLOTS, indirect=True)


@cache
def plot_of(name: str) -> Plot | Panels:
    """Tests only look at it."""
    return PLOTS[name]()


@pytest.fixture
def made(request: pytest.FixtureRequest) -> Plot | Panels:
    return plot_of(request.param)


def texts_of(made: Plot | Panels) -> list[Any]:
    """What is written in legends, beside bars and above the axes."""
    made.png()
    made.figure.draw_without_rendering()
    legends = [legend for plot in made.plots if (legend := plot.axes.get_legend()) is not None]
    return [
        *made.figure.texts,
        *(plot.axes._left_title for plot in made.plots if plot.axes.get_title(loc="left")),
        *(text for legend in legends for text in legend.texts),
    ]


def legend_of(plot: Plot) -> list[str]:
    plot.png()
    return names_in(plot)


def names_in(plot: Plot) -> list[str]:
    """Of a plot that is drawn."""
    return [" ".join(text.get_text().split()) for text in plot.axes.get_legend().texts]


def segments_of(plot: Plot) -> list[Any]:
    found = [one for one in plot.axes.collections if isinstance(one, LineCollection)]
    return [segment.tolist() for one in found for segment in one.get_segments()]


@every_plot
def test_texts_neither_overlap_nor_cover_the_axes_nor_are_cut_off(made: Plot | Panels) -> None:
    boxes = [text.get_window_extent() for text in texts_of(made)]
    assert not [1 for one, other in combinations(boxes, 2) if one.overlaps(other)]
    assert not any(box.overlaps(plot.axes.bbox) for box in boxes for plot in made.plots)
    figure = made.figure.bbox
    for box in [*boxes, *(plot.axes.get_tightbbox() for plot in made.plots)]:
        assert box.x0 >= 0.0
        assert box.y0 >= 0.0
        assert box.x1 <= figure.x1
        assert box.y1 <= figure.y1


def test_the_legend_tells_kinds_where_there_is_more_than_theory() -> None:
    lines, both = blank(), by_servers(1)
    lines.theory([0.0, 1.0], [1.0, 2.0], "a line")
    assert legend_of(lines) == ["a line"]
    assert legend_of(both) == ["c = 1", "theory", "simulation, with its interval"]
    assert legend_of(blank()) == []


def test_panels_with_one_legend_have_it_once_and_others_each() -> None:
    panels = beside()
    panels.png()
    assert [len(names_in(plot)) for plot in panels.plots] == [0, 0, 4]
    panels.plots[0].theory([0.1, 0.2], [1.0, 2.0], "one more")
    panels.png()
    assert [len(names_in(plot)) for plot in panels.plots] == [5, 4, 4]


@pytest.mark.parametrize("method", ["simulated", "measured"])
def test_bars_span_the_intervals(method: str) -> None:
    plot, spans = blank(), [about(1.0), about(3.0)]
    if method == "simulated":
        plot.simulated([0.2, 0.8], spans, "simulated")
    else:
        plot.measured([0.2, 0.8], [1.0, 3.0], "measured", intervals=spans)
    ends = [number for segment in segments_of(plot) for point in segment for number in point]
    assert ends == pytest.approx([0.2, 0.8, 0.2, 1.3, 0.8, 2.4, 0.8, 3.9])


@pytest.mark.parametrize(("x_log", "y_log"), [(True, False), (False, True), (True, True)])
def test_logarithmic_axes_have_plain_numbers(*, x_log: bool, y_log: bool) -> None:
    plot = blank(x_log=x_log, y_log=y_log)
    plot.theory([0.01, 1.0, 100.0], [0.01, 1.0, 100.0])
    plot.png()
    plot.figure.draw_without_rendering()
    for axis, is_log in ((plot.axes.xaxis, x_log), (plot.axes.yaxis, y_log)):
        assert (axis.get_scale() == "log") is is_log
        if is_log:
            words = {tick.get_text() for tick in axis.get_ticklabels()}
            assert {"0.01", "0.1", "1", "10", "100"} <= words


def test_an_unstable_stretch_is_not_drawn() -> None:
    plot = blank(y_log=True)
    plot.theory([0.0, 0.5, 1.0, 1.5], [0.0, 1.0, math.inf, math.nan], "line")
    plot.theory([0.0, 1.0], [math.inf, math.nan], "nothing")
    assert legend_of(plot) == ["line", "nothing"]
    assert plot.axes.get_ylim()[1] < 100.0


def test_a_reference_is_a_dashed_line_and_is_not_theory() -> None:
    plot = blank(x_log=True, y_log=True)
    plot.measured([1.0, 64.0], [1.0, 12.0], "measured")
    plot.reference([1.0, 64.0], [1.0, 64.0], "times B")
    plot._repr_png_()
    (line,) = (one for one in plot.axes.lines if list(one.get_ydata()) == [1.0, 64.0])
    assert line.is_dashed()
    assert legend_of(plot) == ["times B", "measured"]


def test_a_heat_map_writes_numbers_and_outlines_what_is_accepted() -> None:
    plot = cells()
    assert [text.get_text() for text in plot.axes.texts] == ["–", "5", "6.12", "70", "80", "90"]
    edges = {tuple(map(tuple, segment)) for segment in segments_of(plot)}
    assert edges == {
        ((0.5, -0.5), (0.5, 0.5)),
        ((2.5, -0.5), (2.5, 0.5)),
        ((0.5, -0.5), (1.5, -0.5)),
        ((1.5, -0.5), (2.5, -0.5)),
        ((0.5, 0.5), (1.5, 0.5)),
        ((1.5, 0.5), (2.5, 0.5)),
    }
    assert legend_of(plot) == ["cells: ms", "accepted", "– refused"]


def luminance(color: Any) -> float:
    """Relative luminance as of WCAG 2.2."""
    parts = np.array(mpl.colors.to_rgb(color))
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def test_the_numbers_of_a_heat_map_stand_out_from_their_cells() -> None:
    """Pale, dark and missing alike by more than the 3 to 1 that WCAG 2.2 asks of large text."""
    plot, values = blank(), [math.nan, *range(21)]
    plot.heat_map(values, [1], [values])
    (image,) = plot.axes.images
    for text, cell in zip(plot.axes.texts, image.to_rgba(image.get_array())[0], strict=True):
        dark, light = sorted((luminance(text.get_color()), luminance(cell[:3])))
        assert (light + 0.05) / (dark + 0.05) >= 3.0, text.get_text()


def test_the_legend_of_a_heat_map_says_what_outline_and_dash_mean() -> None:
    plot, full = blank(), blank()
    plot.heat_map(
        [1], [1, 2], [[70.0], [math.nan]], accepted=[[True], [False]], outlined="70 % or more", missing="none"
    )
    assert legend_of(plot) == ["70 % or more", "– none"]
    full.heat_map([1], [1], [[70.0]], accepted=[[False]])
    assert legend_of(full) == []


def test_a_heat_map_without_any_number_is_drawn() -> None:
    plot = blank()
    plot.heat_map([1, 2], [1], [[math.nan, math.inf]])
    assert legend_of(plot) == ["– refused"]


@pytest.mark.parametrize(
    ("suffix", "make"), [(".png", crowded), (".svg", against_rate), (".svg", cells), (".svg", beside)]
)
def test_the_same_data_give_the_same_bytes(tmp_path, suffix, make) -> None:
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
    shown = make()._repr_png_()
    assert shown.startswith(PNG)
    assert shown == make().png()


def test_each_panel_shows_the_whole() -> None:
    panels = beside()
    assert panels.plots[1]._repr_png_() == panels._repr_png_() == panels.png()


def test_panels_share_the_numbers_of_their_y_axis() -> None:
    panels = beside()
    panels._repr_png_()
    assert len({plot.axes.get_ylim() for plot in panels.plots}) == 1
    assert panels.plots[0].axes.get_ylabel() == "wait [s]"
    assert not panels.plots[1].axes.yaxis.label.get_visible() or panels.plots[1].axes.get_ylabel() == ""


def test_panels_with_a_title_for_each_have_axes_of_their_own() -> None:
    panels = new_panels(["a", "b"], y_title=("rate [rps]", "time [s]"), x_title="x", title="t")
    panels.plots[0].theory([0.0, 1.0], [1.0, 2.0])
    assert [plot.axes.get_ylabel() for plot in panels.plots] == ["rate [rps]", "time [s]"]
    assert panels.plots[0].axes.get_ylim() != panels.plots[1].axes.get_ylim()


@pytest.mark.parametrize(
    ("titles", "y_titles"), [([], "y"), (["1", "2"], ["a"]), (["1", "2"], ["a", "b", "c"])]
)
def test_panels_have_as_many_titles_as_axes(titles: list[str], y_titles: str | list[str]) -> None:
    with pytest.raises(InputError, match=f"{len(titles)} panels need a title each, and one y_title or"):
        new_panels(titles, x_title="x", y_title=y_titles, title="t")


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
        "import sys\nfrom capacity.render.plot import new_plot\nassert 'matplotlib' not in sys.modules\n"
        "plot = new_plot(x_title='x', y_title='y', title='t')\nplot.theory([1, 2], [1, 2], 'a')\n"
        "plot._repr_png_()\nassert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


@pytest.mark.parametrize(("values", "accepted"), [([[1.0]], None), ([[1.0, 2.0]], [[]])])
def test_a_heat_map_has_a_cell_for_each_name(values: list[list[float]], accepted: list[list[bool]]) -> None:
    with pytest.raises(InputError, match="values and accepted need 1 rows of 2 cells"):
        blank().heat_map([1, 2], [1], values, accepted=accepted)


def test_files_have_a_known_suffix(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.png or \.svg"):
        by_servers(1).save(tmp_path / "a.pdf")
