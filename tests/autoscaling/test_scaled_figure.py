"""The figure and the text lines of a scaled fleet show its course: read back from what is drawn."""

from dataclasses import replace

import pytest
from rich.text import Text
from test_causes import days

from capacity.autoscaling.findings import Course, ScaledScreen
from capacity.render.autoscaling.figure import autoscale_figure
from capacity.render.autoscaling.screen import autoscale_tables
from capacity.render.plot import PALETTE, Plot


def lines(plot: Plot) -> list[tuple[list[float], list[float]]]:
    """Coordinates of the lines drawn in a plot."""
    return [
        (list(map(float, line.get_xdata())), list(map(float, line.get_ydata()))) for line in plot.axes.lines
    ]


def test_a_scaled_fleet_is_drawn_by_the_hour_of_the_day() -> None:
    course = Course(
        arrived=(60.0, 0.0, 30.0), late=(6.0, 0.0, 30.0), wanted=(2.0, 3.0, 4.0), ready=(1.0, 2.0, 3.0)
    )
    found = replace(days(), course=course)
    fixed = replace(found, fleet=found.fleet.fixed(3))
    screen = ScaledScreen(found=found, smallest=fixed, remedies=(), worst=None, is_searched=True)
    figure = autoscale_figure(screen)
    arrivals, replicas, late = figure.plots
    assert [plot.axes.get_xlabel() for plot in figure.plots] == ["hour of the day"] * 3
    assert [plot.axes.get_ylabel() for plot in figure.plots] == ["1/s", "number", "share"]
    hours = pytest.approx([0.5 / 60, 1.5 / 60, 2.5 / 60])
    assert lines(arrivals) == [(hours, [1.0, 0.0, 0.5])]
    assert lines(replicas)[:2] == [(hours, [2.0, 3.0, 4.0]), (hours, [1.0, 2.0, 3.0])]
    assert lines(replicas)[2][1] == [3.0, 3.0]
    assert lines(late)[0] == (hours, [0.1, 0.0, 1.0])
    assert lines(late)[1][1] == [0.01, 0.01]
    colors = [line.get_color() for line in replicas.axes.lines[:2]]
    assert colors == list(PALETTE[:2])
    assert figure.figure.get_suptitle().startswith("flat scaled to ")
    assert len(autoscale_figure(replace(screen, smallest=None)).plots[1].axes.lines) == 2
    assert autoscale_figure(replace(screen, found=fixed)).figure.get_suptitle() == "flat scaled to 3"


def course_lines(steps: int, width: int, *, verbose: bool = False) -> list[str]:
    """The lines of a day whose second half has twice the arrivals, half of them late."""
    half = steps // 2
    course = Course(
        arrived=(60.0,) * half + (120.0,) * half,
        late=(0.0,) * half + (60.0,) * half,
        wanted=(2.0,) * steps,
        ready=(1.0,) * half + (3.0,) * half,
    )
    found = replace(
        days(), course=course, requests=12_345, replicas_mean=2.125, replicas_most=7, lost_share=0.01234
    )
    screen = ScaledScreen(found=found, smallest=None, remedies=(), worst=None, is_searched=True)
    told = [one.plain for one in autoscale_tables(screen, width, verbose=verbose) if isinstance(one, Text)]
    place = next(number for number, line in enumerate(told) if "the highest of each" in line)
    return told[place:]


@pytest.mark.parametrize(
    ("steps", "width", "columns"), [(8, 120, 8), (200, 120, 60), (200, 90, 56), (200, 30, 10), (200, 45, 11)]
)
def test_a_course_has_as_many_columns_as_the_screen_has_room_for(
    steps: int, width: int, columns: int
) -> None:
    """At most 60, and at least 10."""
    head, arrivals, replicas, late = course_lines(steps, width)
    assert head == "From 00:00 to 24:00, and the highest of each:"
    half, middle = columns // 2, columns % 2
    drawn = {line[:20].strip(): line[22:].split("  ") for line in (arrivals, replicas, late)}
    assert {name: most for name, (_, most) in drawn.items()} == {
        "arrivals": "2 rps", "replicas that serve": "3", "late": "50.0%"
    }  # fmt: skip
    blocks = {name: shown for name, (shown, _) in drawn.items()}
    assert {len(shown) for shown in blocks.values()} == {columns}
    assert (blocks["arrivals"][:half], blocks["arrivals"][half + middle :]) == ("▄" * half, "█" * half)
    assert (blocks["replicas that serve"][:half], blocks["late"][:half]) == ("▃" * half, "▁" * half)
    assert blocks["late"][half + middle :] == "█" * half


def test_verbose_adds_the_totals_below_the_course() -> None:
    *_, last = course_lines(8, 120, verbose=True)
    assert last == "12,345 requests; replicas asked for 2.12 in the mean, 7 at most; lost 1.234%."


def test_a_course_of_zeros_is_a_flat_line() -> None:
    course = Course(arrived=(60.0, 0.0), late=(0.0, 0.0), wanted=(1.0, 1.0), ready=(0.0, 0.0))
    screen = ScaledScreen(
        found=replace(days(), course=course), smallest=None, remedies=(), worst=None, is_searched=True
    )
    told = [one.plain for one in autoscale_tables(screen, 120) if isinstance(one, Text)]
    assert told[-3:] == [
        " arrivals             █▁  1 rps",
        " replicas that serve  ▁▁  0",
        " late                 ▁▁  0.0%",
    ]
