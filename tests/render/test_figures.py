"""Figures: axes with units, every line in the legend, nothing covered or cut off, the same bytes twice."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest

from capacity.errors import DependencyError, InputError
from capacity.performance import Interval
from capacity.question.candidate import Verdict
from capacity.question.objective import Limit, Measure
from capacity.queues.curves import Axis, Curve, Quantity, curves
from capacity.render.figures import ObjectiveCurve, Point, draw_curves, draw_objective
from capacity.render.plot import PALETTE, Plot

ROOT = Path(__file__).parents[2]
SIGNATURES = {".png": b"\x89PNG\r\n\x1a\n", ".svg": b"<?xml"}
LQ, W, P99 = Quantity.QUEUE_LENGTH, Quantity.RESPONSE, Quantity.P99
RHO, LAMBDA = Axis.UTILIZATION, Axis.ARRIVAL_RATE
PROMISE = Limit(measure=Measure.RESPONSE, quantile=0.99, allowed=0.05)

CHARTS: dict[str, Callable[[], tuple[Curve, ...]]] = {
    "merged": lambda: curves(LQ, RHO, [10.0, 5.0, 2.0]),
    "rates": lambda: curves(LQ, LAMBDA, [10.0, 5.0, 2.0]),
    "responses": lambda: curves(W, LAMBDA, [10.0, 5.0, 2.0]),
    "servers": lambda: curves(P99, RHO, [1.0], [1, 2, 4, 8, 16]),
    "crowded ends": lambda: curves(LQ, RHO, [10.0, 5.0], [1, 2, 4, 8, 16, 32, 64, 128]),
    "short lines": lambda: curves(LQ, LAMBDA, [1.0], [1, 2, 4, 8, 16]),
    "nearly equal": lambda: curves(LQ, LAMBDA, [10.0, 9.9, 9.8]),
    "two dozen": lambda: curves(P99, LAMBDA, [10.0, 5.0, 2.0, 1.0], [1, 2, 4, 8, 16, 32], points=40),
    "two dozen merged": lambda: curves(LQ, RHO, [1.0 + n / 7.0 for n in range(24)]),
    "far apart": lambda: curves(W, RHO, [1.0, 1e3, 1e6, 1e9, 1e15]),
    "some zero": lambda: curves(LQ, LAMBDA, [1.0], [1, 10_000], utilization_max=0.1, points=20),
    "all zero": lambda: curves(LQ, RHO, [1.0], [10_000], utilization_max=0.1, points=20),
}
every_chart = pytest.mark.parametrize("name", CHARTS)


@cache
def chart(name: str) -> tuple[Curve, ...]:
    return CHARTS[name]()


@cache
def drawn_chart(name: str) -> Plot:
    """With its legend; tests only look at it."""
    plot = draw_curves(chart(name))
    plot.png()
    return plot


def plain(text: str) -> str:
    return " ".join(text.split())


def legend_of(plot: Plot) -> Any:
    plot.png()
    return plot.axes.get_legend()


def seen(x: float, value: float, verdict: Verdict, size: int = 8) -> Point:
    found = Interval(value=value, low=0.8 * value, high=1.2 * value)
    return Point(x=x, found=found, verdict=verdict, size=size)


def fleets(*replicas: int) -> ObjectiveCurve:
    points = [seen(n, 300.0 / n, Verdict.MET if n > 6 else Verdict.MISSED, size=4 * n) for n in replicas]
    return ObjectiveCurve(
        title="P99 of p by replicas", limit=PROMISE, points=tuple(points), chosen=7, beyond=(1, 2)
    )


def rates() -> ObjectiveCurve:
    verdicts = (Verdict.MET, Verdict.INCONCLUSIVE, Verdict.MISSED)
    points = [seen(100.0 * n, 25.0 * n, verdict) for n, verdict in enumerate(verdicts, start=1)]
    return ObjectiveCurve(title="P99 of 2 x p, batches up to 8", limit=PROMISE, points=tuple(points))


@every_chart
def test_axes_are_titled_with_units_and_every_line_is_drawn_and_named(name: str) -> None:
    lines, plot = chart(name), drawn_chart(name)
    assert plot.axes.get_xlabel() == lines[0].axis.axis_title
    assert plot.axes.get_ylabel() == lines[0].quantity.axis_title
    drawn = plot.axes.lines
    assert [(tuple(d.get_xdata()), tuple(d.get_ydata())) for d in drawn] == [(c.x, c.y) for c in lines]
    assert len({(d.get_color(), d.get_linestyle()) for d in drawn}) == len(lines)
    legend = plot.axes.get_legend()
    assert [plain(text.get_text()) for text in legend.texts] == [line.label for line in lines]
    assert [handle.get_color() for handle in legend.legend_handles] == [d.get_color() for d in drawn]


@every_chart
def test_names_neither_overlap_nor_cover_the_axes_nor_are_cut_off(name: str) -> None:
    plot = drawn_chart(name)
    legend = plot.axes.get_legend()
    plot.figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in (*legend.texts, *plot.figure.texts)]
    assert not [1 for one, other in combinations(boxes, 2) if one.overlaps(other)]
    assert not any(box.overlaps(plot.axes.bbox) for box in boxes)
    for box in boxes:
        assert box.x0 >= 0.0
        assert box.y0 >= 0.0
        assert box.x1 <= plot.figure.bbox.x1
        assert box.y1 <= plot.figure.bbox.y1


@pytest.mark.parametrize(
    ("name", "scale"), [("rates", "linear"), ("servers", "linear"), ("far apart", "log")]
)
def test_scale_upwards(name: str, scale: str) -> None:
    assert draw_curves(chart(name)).axes.get_yscale() == scale


def test_a_tail_to_999_needs_a_logarithm() -> None:
    lines = curves(P99, RHO, [10.0], [1, 4], utilization_max=0.999)
    axes = draw_curves(lines).axes
    assert axes.get_yscale() == "log"
    assert axes.get_ylim()[1] > lines[0].y[-1]


def test_colours_are_those_of_okabe_and_ito() -> None:
    published = {"#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"}
    assert set(PALETTE) == published - {"#F0E442"}


def test_verdicts_of_rates_are_told_apart_and_none_is_cut_off() -> None:
    plot = draw_objective(rates())
    names = [plain(text.get_text()) for text in legend_of(plot).texts]
    assert names == ["limit: 50 ms", "met", "missed", "in doubt"]
    assert (plot.axes.get_xlabel(), plot.axes.get_ylabel()) == ("arrival rate [rps]", "P99 [ms]")
    assert plot.axes.get_xlim()[1] > 300.0


def test_fleets_are_named_with_their_batches_and_the_chosen_one_is_ringed() -> None:
    plot = draw_objective(fleets(5, 6, 7, 8))
    names = [plain(text.get_text()) for text in legend_of(plot).texts]
    assert names == ["limit: 50 ms", "chosen: 7", "unstable, refused or beyond the axis", "met", "missed"]
    ticks = [plain(tick.get_text()) for tick in plot.axes.get_xticklabels()]
    assert ticks == ["1", "2", "5 B 20", "6 B 24", "7 B 28", "8 B 32"]
    (ring,) = (line for line in plot.axes.lines if line.get_fillstyle() == "none")
    assert list(ring.get_xdata()) == [7]


def test_many_fleets_have_ticks_at_whole_numbers() -> None:
    plot = draw_objective(fleets(*range(3, 90)))
    plot.png()
    assert all(float(tick).is_integer() for tick in plot.axes.get_xticks())


def test_a_plan_without_points_and_one_without_rates_are_drawn() -> None:
    for curve in (fleets(), ObjectiveCurve(title="t", limit=PROMISE, points=())):
        assert draw_objective(curve).png().startswith(SIGNATURES[".png"])


@pytest.mark.parametrize("suffix", [".png", ".svg", ".PNG"])
def test_files_are_of_their_format_and_the_same_bytes_twice(tmp_path: Path, suffix: str) -> None:
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    plot = draw_curves(chart("rates"))
    plot.save(first)
    draw_curves(chart("rates")).save(second)
    assert first.read_bytes().startswith(SIGNATURES[suffix.lower()])
    assert first.read_bytes() == second.read_bytes()
    plot.save(second)  # saving changes nothing
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_bytes_do_not_depend_on_the_users_style(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    draw_curves(chart("servers")).save(path)
    before = path.read_bytes()
    with mpl.rc_context({"font.size": 20.0, "axes.facecolor": "black", "savefig.dpi": 30.0}):
        draw_curves(chart("servers")).save(path)
    assert path.read_bytes() == before


@pytest.mark.long
def test_another_process_writes_the_same_bytes_without_pyplot(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    program = (
        "import sys; from pathlib import Path\n"
        "from capacity.queues.curves import *; from capacity.render.figures import *\n"
        "lines = curves(Quantity.QUEUE_LENGTH, Axis.ARRIVAL_RATE, [10.0, 5.0, 2.0])\n"
        "for suffix in ('.png', '.svg'): draw_curves(lines).save(Path(sys.argv[1] + suffix))\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program, str(there)], check=True, cwd=ROOT)
    for suffix in (".png", ".svg"):
        draw_curves(chart("rates")).save(here.with_suffix(suffix))
        assert there.with_suffix(suffix).read_bytes() == here.with_suffix(suffix).read_bytes()


def test_svg_keeps_its_words_and_no_date(tmp_path: Path) -> None:
    path = tmp_path / "a.svg"
    draw_curves(chart("servers")).save(path)
    text = path.read_text(encoding="utf-8")
    for words in (
        "c = 1<", "c = 16<", "utilization ρ", "P99 response time [s]", "M/M/c, μ = 1 rps",
    ):  # fmt: skip
        assert words in text
    assert "<dc:date>" not in text


@pytest.mark.parametrize("name", ["a.pdf", "a", "a.png.txt", ".png"])
def test_other_formats_are_refused_with_the_two(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"\.png or \.svg"):
        draw_curves(chart("merged")).save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").touch()
    for name in ("none/a.png", "folder.png", "file/a.svg", "nul\0.png"):
        mend = "give a file name" if name == "folder.png" else "check the path"
        with pytest.raises(InputError, match=mend) as caught:
            draw_curves(chart("merged")).save(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_a_full_disk_is_not_the_callers_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "a.png").write_text("old", encoding="utf-8")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DependencyError, match="No space left on device"):
        draw_curves(chart("merged")).save(tmp_path / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_text(encoding="utf-8") == "old"


def test_one_figure_has_one_pair_of_axes() -> None:
    with pytest.raises(InputError, match="the same axes"):
        draw_curves([*chart("rates"), *chart("responses")])
    with pytest.raises(InputError, match="1 to 24 curves"):
        draw_curves([])


def test_nothing_of_matplotlib_is_left_changed() -> None:
    before: dict[str, Any] = dict(mpl.rcParams)
    draw_curves(chart("servers"))
    assert dict(mpl.rcParams) == before


def test_importing_loads_neither_matplotlib_nor_plotext() -> None:
    program = (
        "import sys, capacity.render.figures, capacity.render.charts\n"
        "assert not {'matplotlib', 'plotext'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
