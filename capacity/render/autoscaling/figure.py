"""Autoscale as a figure: arrivals, replicas and late requests over the day."""

from capacity.autoscaling.findings import COURSE_S, ScaledScreen
from capacity.render.plot import Panels, count_by_whole, new_panels
from capacity.traffic.daily import HOUR_S


def autoscale_figure(screen: ScaledScreen) -> Panels:
    """Three panels over the time of day."""
    found = screen.found
    course, fleet = found.course, found.fleet
    hours = [(fleet.begins_s + (step + 0.5) * COURSE_S) / HOUR_S for step, _ in enumerate(course.arrived)]
    scaler = fleet.autoscaler
    figure = new_panels(
        ["arrivals", "replicas", "late requests"],
        x_title="hour of the day",
        y_title=["1/s", "number", "share"],
        title=f"{fleet.profile.name} scaled to {scaler.target if scaler else fleet.replicas}",
        width=13.8,
    )
    arrivals, replicas, late = figure.plots
    arrivals.theory(hours, [count / COURSE_S for count in course.arrived], "mean of the runs")
    replicas.theory(hours, course.wanted, "asked for")
    count_by_whole(replicas.axes.yaxis)
    replicas.theory(hours, course.ready, "serve", number=1)
    if screen.smallest is not None:
        replicas.limit(screen.smallest.fleet.replicas, "smallest fixed fleet")
    shares = [
        count / arrived if arrived else 0.0
        for count, arrived in zip(course.late, course.arrived, strict=True)
    ]
    late.theory(hours, shares, "lost or beyond the limit")
    limit = found.binding.limit
    late.limit(1.0 - (limit.quantile or 0.0), limit.lost_text)
    return figure
