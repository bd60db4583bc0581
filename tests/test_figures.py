"""Figures: axes with units, names at the ends of lines that nothing covers, the same bytes twice."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

from capacity.curves import Axis, Curve, Quantity, curves
from capacity.errors import DependencyError, InputError
from capacity.figures import PALETTE, draw_curves, save
from capacity.labels import spread

SIGNATURES = {".png": b"\x89PNG\r\n\x1a\n", ".svg": b"<?xml"}
LQ, W, P99 = Quantity.QUEUE_LENGTH, Quantity.RESPONSE, Quantity.P99
RHO, LAMBDA = Axis.UTILIZATION, Axis.ARRIVAL_RATE

CHARTS: dict[str, tuple[Curve, ...]] = {
    "merged": curves(LQ, RHO, [10.0, 5.0, 2.0]),
    "rates": curves(LQ, LAMBDA, [10.0, 5.0, 2.0]),
    "responses": curves(W, LAMBDA, [10.0, 5.0, 2.0]),
    "servers": curves(P99, RHO, [1.0], [1, 2, 4, 8, 16]),
    "crowded ends": curves(LQ, RHO, [10.0, 5.0], [1, 2, 4, 8, 16, 32, 64, 128]),
    "short lines": curves(LQ, LAMBDA, [1.0], [1, 2, 4, 8, 16]),
    "nearly equal": curves(LQ, LAMBDA, [10.0, 9.9, 9.8]),
    "two dozen": curves(P99, LAMBDA, [10.0, 5.0, 2.0, 1.0], [1, 2, 4, 8, 16, 32], points=40),
    "two dozen merged": curves(LQ, RHO, [1.0 + n / 7.0 for n in range(24)]),
    "far apart": curves(W, RHO, [1.0, 1e3, 1e6, 1e9, 1e15]),
    "some zero": curves(LQ, LAMBDA, [1.0], [1, 10_000], utilization_max=0.1, points=20),
    "all zero": curves(LQ, RHO, [1.0], [10_000], utilization_max=0.1, points=20),
}
every_chart = pytest.mark.parametrize("lines", CHARTS.values(), ids=CHARTS)


def names_of(figure: Figure) -> list[Annotation]:
    return [child for child in figure.axes[0].texts if isinstance(child, Annotation)]


def boxes_of(figure: Figure) -> Iterator[Bbox]:
    figure.canvas.draw()
    for name in names_of(figure):
        yield Text.get_window_extent(name)


def plain(text: str) -> str:
    return " ".join(text.split())


@every_chart
def test_axes_are_titled_with_units_and_there_is_no_legend(lines: tuple[Curve, ...]) -> None:
    (axes,) = draw_curves(lines).axes
    assert axes.get_xlabel() == lines[0].axis.axis_title
    assert axes.get_ylabel() == lines[0].quantity.axis_title
    assert axes.get_legend() is None


@every_chart
def test_every_line_is_drawn_and_named_in_its_colour(lines: tuple[Curve, ...]) -> None:
    figure = draw_curves(lines)
    drawn = figure.axes[0].lines
    assert [(tuple(d.get_xdata()), tuple(d.get_ydata())) for d in drawn] == [(c.x, c.y) for c in lines]
    assert [plain(name.get_text()) for name in names_of(figure)] == [line.label for line in lines]
    for line, name in zip(drawn, names_of(figure), strict=True):
        rgb = mpl.colors.to_rgb(line.get_color())
        assert name.get_color() == pytest.approx([0.7 * share for share in rgb])
    assert len({(d.get_color(), d.get_linestyle()) for d in drawn}) == len(lines)


@every_chart
def test_names_neither_overlap_nor_are_cut_off(lines: tuple[Curve, ...]) -> None:
    figure = draw_curves(lines)
    boxes = list(boxes_of(figure))
    assert len(boxes) == len(lines)
    for box in boxes:
        assert box.x0 >= 0.0
        assert box.y0 >= 0.0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1
    assert not [1 for one, other in combinations(boxes, 2) if one.overlaps(other)]
    title = figure.texts[0].get_window_extent()
    assert not any(box.overlaps(title) for box in boxes)


@every_chart
def test_no_line_runs_through_a_name(lines: tuple[Curve, ...]) -> None:
    figure = draw_curves(lines)
    axes = figure.axes[0]
    boxes = list(boxes_of(figure))
    paths = [line.get_path().transformed(axes.transData) for line in axes.lines]
    assert not any(path.intersects_bbox(box, filled=False) for path in paths for box in boxes)


@pytest.mark.parametrize("chart", ["rates", "responses", "servers"])
def test_where_there_is_room_a_name_is_right_at_its_end(chart: str) -> None:
    figure = draw_curves(CHARTS[chart])
    to_points = figure.axes[0].transData.transform
    for line, box in zip(CHARTS[chart], boxes_of(figure), strict=True):
        x, y = to_points((line.x[-1], line.y[-1]))
        assert 0.0 < box.x0 - x < 15.0
        assert abs((box.y0 + box.y1) / 2.0 - y) < 10.0


@pytest.mark.parametrize(
    ("chart", "scale"), [("rates", "linear"), ("servers", "linear"), ("far apart", "log")]
)
def test_scale_upwards(chart: str, scale: str) -> None:
    assert draw_curves(CHARTS[chart]).axes[0].get_yscale() == scale


def test_a_tail_to_999_needs_a_logarithm() -> None:
    lines = curves(P99, RHO, [10.0], [1, 4], utilization_max=0.999)
    axes = draw_curves(lines).axes[0]
    assert axes.get_yscale() == "log"
    assert axes.get_ylim()[1] > lines[0].y[-1]


def test_colours_are_those_of_okabe_and_ito() -> None:
    published = {"#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"}
    assert set(PALETTE) == published - {"#F0E442"}


# ---- moving names apart ---------------------------------------------------------------------


def test_what_does_not_overlap_stays_where_it_is() -> None:
    assert spread([10.0, 30.0], [10.0, 10.0], 0.0, 100.0) == pytest.approx([10.0, 30.0])


def test_what_overlaps_parts_evenly() -> None:
    assert spread([50.0, 50.0, 50.0], [10.0] * 3, 0.0, 100.0) == pytest.approx([40.0, 50.0, 60.0])


def test_what_would_leave_the_figure_is_pushed_back() -> None:
    assert spread([99.0, 99.0], [10.0] * 2, 0.0, 100.0) == pytest.approx([85.0, 95.0])
    assert spread([1.0, 1.0], [10.0] * 2, 0.0, 100.0) == pytest.approx([5.0, 15.0])


# ---- files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".svg", ".PNG"])
def test_files_are_of_their_format_and_the_same_bytes_twice(tmp_path: Path, suffix: str) -> None:
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    figure = draw_curves(CHARTS["rates"])
    save(figure, first)
    save(draw_curves(CHARTS["rates"]), second)
    assert first.read_bytes().startswith(SIGNATURES[suffix.lower()])
    assert first.read_bytes() == second.read_bytes()
    save(figure, second)  # saving changes nothing
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_bytes_do_not_depend_on_the_users_style(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    save(draw_curves(CHARTS["servers"]), path)
    before = path.read_bytes()
    with mpl.rc_context({"font.size": 20.0, "axes.facecolor": "black", "savefig.dpi": 30.0}):
        save(draw_curves(CHARTS["servers"]), path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_another_process_writes_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    here, there = tmp_path / f"here{suffix}", tmp_path / f"there{suffix}"
    save(draw_curves(CHARTS["rates"]), here)
    program = (
        "import sys; from pathlib import Path\n"
        "from capacity.curves import *; from capacity.figures import *\n"
        "lines = curves(Quantity.QUEUE_LENGTH, Axis.ARRIVAL_RATE, [10.0, 5.0, 2.0])\n"
        "save(draw_curves(lines), Path(sys.argv[1]))"
    )
    subprocess.run([sys.executable, "-c", program, str(there)], check=True, cwd=Path(__file__).parents[1])
    assert there.read_bytes() == here.read_bytes()


def test_svg_keeps_its_words_and_no_date(tmp_path: Path) -> None:
    path = tmp_path / "a.svg"
    save(draw_curves(CHARTS["servers"]), path)
    text = path.read_text(encoding="utf-8")
    for words in (
        "c = 1<",
        "c = 2<",
        "c = 16<",
        "utilization ρ",
        "P99 response time [s]",
        "M/M/c, μ = 1 rps",
    ):
        assert words in text
    assert "<dc:date>" not in text


@pytest.mark.parametrize("name", ["a.pdf", "a", "a.png.txt", ".png"])
def test_other_formats_are_refused_with_the_two(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"\.png or a \.svg"):
        save(draw_curves(CHARTS["merged"]), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").touch()
    for name in ("none/a.png", "folder.png", "file/a.svg", "nul\0.png"):
        mend = "give the name of a file" if name == "folder.png" else "check the path"
        with pytest.raises(InputError, match=mend) as caught:
            save(draw_curves(CHARTS["merged"]), tmp_path / name)
        assert "\n" not in str(caught.value)


def test_a_full_disk_is_not_the_callers_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "a.png").write_text("old", encoding="utf-8")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DependencyError, match="No space left on device"):
        save(draw_curves(CHARTS["merged"]), tmp_path / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_text(encoding="utf-8") == "old"


# ---- manners --------------------------------------------------------------------------------


def test_one_figure_has_one_pair_of_axes() -> None:
    with pytest.raises(InputError, match="the same axes"):
        draw_curves([*CHARTS["rates"], *CHARTS["responses"]])
    with pytest.raises(InputError, match="1 to 24 curves"):
        draw_curves([])


def test_nothing_of_matplotlib_is_left_changed() -> None:
    before: dict[str, Any] = dict(mpl.rcParams)
    draw_curves(CHARTS["servers"])
    assert dict(mpl.rcParams) == before


def test_importing_loads_neither_matplotlib_nor_plotext() -> None:
    program = (
        "import sys, capacity.figures, capacity.charts\n"
        "assert not {'matplotlib', 'plotext', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[1])


def test_drawing_does_not_load_pyplot(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from capacity.curves import *; from capacity.figures import *\n"
        "save(draw_curves(curves(Quantity.WAIT, Axis.UTILIZATION, [1.0])), Path(sys.argv[1]))\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    path = str(tmp_path / "a.svg")
    subprocess.run([sys.executable, "-c", program, path], check=True, cwd=Path(__file__).parents[1])
