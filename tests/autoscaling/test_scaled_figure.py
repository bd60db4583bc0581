"""The figure of a scaled fleet, read back from what is drawn."""

from dataclasses import replace

import pytest
from test_causes import days

from capacity.autoscaling.findings import Course, ScaledScreen
from capacity.render.autoscaling.figure import autoscale_figure
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
    assert lines(late)[1][1] == pytest.approx([0.01, 0.01])
    assert {tick % 1.0 for tick in replicas.axes.get_yticks()} == {0.0}
    colors = [line.get_color() for line in replicas.axes.lines[:2]]
    assert colors == list(PALETTE[:2])
    assert figure.figure.get_suptitle().startswith("flat scaled to ")
    assert len(autoscale_figure(replace(screen, smallest=None)).plots[1].axes.lines) == 2
    assert autoscale_figure(replace(screen, found=fixed)).figure.get_suptitle() == "flat scaled to 3"
