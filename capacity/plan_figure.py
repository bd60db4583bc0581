"""Plan as a figure: what is promised over the replicas, with the limit and the fleet that was chosen."""

from capacity.plan import Recommendation
from capacity.plots import Plot, new_plot
from capacity.replicas_curve import FleetPoint, ReplicasCurve, replicas_curve

REFUSED_COLOR = "#777777"
NOTES_MAX = 12  # more fleets would leave no room for their batches


def recommended_curve(recommendation: Recommendation) -> ReplicasCurve | None:
    """The promise that comes closest to its limit, over all that the search judged; None without a plan."""
    plan, performance = recommendation.plan, recommendation.performance
    if plan is None or performance is None:
        return None
    promise = recommendation.objective.binding(performance)
    return replicas_curve(plan, performance, promise, recommendation.considered)


def draw_plan(curve: ReplicasCurve) -> Plot:
    """Simulated fleets as points with bars, exact ones on a line, the chosen one in its own colour."""
    from matplotlib.ticker import MaxNLocator

    x_title = "replicas" + (" (▲ unstable, refused or beyond the chart)" if curve.beyond else "")
    plot = new_plot(x_title=x_title, y_title=curve.axis_title, title=curve.title)
    others = [point for point in curve.points if point.replicas != curve.chosen]
    exact = [point for point in curve.points if point.is_exact]
    if exact:
        plot.theory([point.replicas for point in exact], [point.found.value for point in exact])
    _draw(plot, [point for point in others if not point.is_exact], "", 0)
    chosen = [point for point in curve.points if point.replicas == curve.chosen]
    _draw(plot, chosen, f"chosen: {curve.chosen}, batch {chosen[0].batch_size_max}" if chosen else "", 1)
    for point in others if len(others) <= NOTES_MAX else []:
        plot.note(point.replicas, point.found.value, f"batch {point.batch_size_max}")
    plot.limit(curve.limit, f"limit: {curve.limit_text}")
    top = max([1.25 * curve.limit, *(1.05 * point.found.high for point in curve.points)])
    plot.axes.set_ylim(0.0, top)
    plot.axes.plot(curve.beyond, [0.97 * top] * len(curve.beyond), "^", color=REFUSED_COLOR, markersize=6.0)
    fleets = [*(point.replicas for point in curve.points), *curve.beyond]
    plot.axes.set_xlim(min(fleets) - 0.5, max(fleets) + 0.5)
    plot.axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    return plot


def _draw(plot: Plot, points: list[FleetPoint], label: str, number: int) -> None:
    if points:
        plot.simulated(
            [point.replicas for point in points], [point.found for point in points], label, number=number
        )
