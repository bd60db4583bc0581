"""Figures that commands write: curves of a law, and an objective against rate or replicas."""

from collections.abc import Sequence

from capacity.curves import Curve, chart_title, require_one_chart, y_range
from capacity.plan import Verdict
from capacity.render.curves import NAMES, ObjectiveCurve
from capacity.render.plot import PALETTE, Plot, draw_points, new_plot

FORMS = {
    Verdict.MET: {"color": PALETTE[0], "marker": "o"},
    Verdict.MISSED: {"color": PALETTE[1], "marker": "x"},
    Verdict.INCONCLUSIVE: {"color": "#777777", "marker": "s"},
}
FLEETS_MAX = 12  # more would leave no room for their batches


def draw_curves(lines: Sequence[Curve]) -> Plot:
    """The curves in one pair of axes; logarithmic upwards where a tail needs it.

    Raises:
        InputError: no curve, more than 24, or curves whose axes differ.
    """
    first, (low, top) = require_one_chart(lines), y_range(lines)
    x_title, y_title = first.axis.axis_title, first.quantity.axis_title
    plot = new_plot(x_title=x_title, y_title=y_title, title=chart_title(lines), y_log=low > 0.0)
    for number, line in enumerate(lines):
        plot.theory(line.x, line.y, line.label, number=number, dash=number // len(PALETTE))
    plot.axes.set_xlim(0.0, max(line.x[-1] for line in lines))
    plot.axes.set_ylim(low, (1.1 if low > 0.0 else 1.04) * top)
    return plot


def draw_objective(curve: ObjectiveCurve) -> Plot:
    """Colour and marker say what is kept, missed or in doubt, a dashed line what is allowed."""
    plot = new_plot(x_title=curve.x_title, y_title=curve.y_title, title=curve.title)
    axes, points = plot.axes, curve.points
    values = [point.found.value for point in points]
    axes.plot([point.x for point in points], values, color="#bbbbbb", linewidth=1.0)
    for verdict, form in FORMS.items():
        some = [point for point in points if point.verdict is verdict]
        if some:
            x, found = [point.x for point in some], [point.found for point in some]
            draw_points(axes, x, found, label=NAMES[verdict], linestyle="none", markersize=4.0, **form)
    plot.limit(curve.limit, f"limit: {curve.promise.limit}")
    left, right = curve.x_range
    axes.set(xlim=(left, 1.02 * right), ylim=(0.0, 1.04 * curve.top))
    if curve.chosen is not None:
        chosen = [point for point in points if point.x == curve.chosen]
        at = [point.x for point in chosen], [point.found.value for point in chosen]
        axes.plot(
            *at, "o", markersize=10.0, color=PALETTE[2], fillstyle="none", label=f"chosen: {curve.chosen}"
        )
        _name_fleets(plot, curve)
    if curve.beyond:
        tops = [curve.top] * len(curve.beyond)
        axes.plot(curve.beyond, tops, "^", color="#777777", label="unstable, refused or beyond the axis")
    return plot


def _name_fleets(plot: Plot, curve: ObjectiveCurve) -> None:
    """Ticks at whole replicas, with the largest batch of each where there is room."""
    from matplotlib.ticker import MaxNLocator

    plot.axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    names = {n: f"{n}" for n in curve.beyond}
    names |= {n: f"{n}\nB {size}" for n, size in curve.batch_sizes.items()}
    if len(names) <= FLEETS_MAX:
        plot.axes.set_xticks(list(names), list(names.values()))
