"""Rates as a figure: one curve with its intervals and its limit, in the style of the other figures."""

from typing import TYPE_CHECKING

from capacity.figures import PALETTE, STYLE
from capacity.plan import Verdict
from capacity.rates_curve import NAMES, RateCurve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLORS = {Verdict.MET: PALETTE[0], Verdict.MISSED: PALETTE[1], Verdict.INCONCLUSIVE: "#777777"}
_MARKERS = {Verdict.MET: "o", Verdict.MISSED: "x", Verdict.INCONCLUSIVE: "s"}


def draw_rates(curve: RateCurve) -> "Figure":
    """The curve; colour and marker say what is kept, missed or in doubt, a dashed line what is allowed."""
    import matplotlib.style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.style.context(["default", STYLE]):
        figure = Figure(figsize=(7.5, 4.3), dpi=72.0)
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0.1, 0.13, 0.86, 0.74))
        rates_rps = [rate_rps for rate_rps, _, _ in curve.points]
        axes.plot(rates_rps, [found.value for _, found, _ in curve.points], color="#bbbbbb", linewidth=1.0)
        for verdict, name in NAMES.items():
            some = [(rate_rps, found) for rate_rps, found, seen in curve.points if seen is verdict]
            if some:
                axes.errorbar(
                    [rate_rps for rate_rps, _ in some],
                    [found.value for _, found in some],
                    yerr=[
                        [found.value - found.low for _, found in some],
                        [found.high - found.value for _, found in some],
                    ],
                    fmt=_MARKERS[verdict],
                    color=_COLORS[verdict],
                    markersize=4.0,
                    linewidth=1.0,
                    label=name,
                )
        axes.axhline(curve.limit, color="#444444", linestyle="--", linewidth=1.0, label="limit")
        axes.set(xlabel="arrival rate [rps]", ylabel=curve.axis_title)
        axes.set_xlim(0.0, 1.02 * curve.right_rps)
        axes.set_ylim(0.0, 1.04 * curve.top)
        axes.legend(frameon=False, loc="upper left")
        figure.text(0.1, 0.97, curve.title, va="top", fontsize=10.5, fontweight="bold")
    return figure
