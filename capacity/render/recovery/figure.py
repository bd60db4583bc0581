"""Stress figure: the course of a run, and the map of spikes that are survived."""

import math

from capacity.performance import Interval
from capacity.recovery.findings import Screen
from capacity.recovery.fluid import spike_survived_s
from capacity.render.plot import Panels, new_panels
from capacity.render.recovery.screen import course_of, fleet_in_words, shown_seconds, trigger_in_words


def stress_figure(screen: Screen) -> Panels:
    """Success over time, attempts over time, and the longest spike that is survived by its height."""
    found = screen.found
    stress = found.stress
    has_map = any(one.lasting_s is not None for one in screen.spikes)
    titles = ["success of first tries", "attempts", *(["spikes survived"] if has_map else [])]
    figure = new_panels(
        titles,
        x_title="s after the trigger began",
        y_title=["share", "1/s", "duration [s]"][: len(titles)],
        title=f"{fleet_in_words(stress.plan.replicas)} of {stress.profile.name} at {stress.rate_rps:g} rps, "
        f"{trigger_in_words(stress)}",
        width=4.6 * len(titles),
    )
    first, last = shown_seconds(found)
    shares, sent = course_of(found, first, last, 1)
    seconds = [first + place + 0.5 - stress.begins_s for place in range(len(shares))]
    success, attempts = figure.plots[:2]
    success.theory(seconds, shares, "mean of the runs")
    attempts.theory(seconds, sent, "sent", number=1)
    attempts.limit(stress.capacity_rps, "the fleet serves")
    for plot in (success, attempts):
        plot.limit(0.0, "trigger begins", axis="x")
        plot.limit(stress.lasts_s, "trigger ends", axis="x")
    if has_map:
        _map(figure, screen)
    return figure


def _map(figure: Panels, screen: Screen) -> None:
    """Draw the boundary: fleets recover below the points, and not above them."""
    stress, plot = screen.found.stress, figure.plots[2]
    known: list[tuple[float, Interval]] = [
        (one.factor, one.lasting_s) for one in screen.spikes if one.lasting_s is not None
    ]
    known.sort()
    plot.axes.set_xlabel("times the usual traffic")
    least, most = known[0][0], known[-1][0]
    factors = [least * (most / least) ** (step / 40.0) for step in range(41)] if most > least else [least]
    law = [spike_survived_s(stress, factor) for factor in factors]
    plot.theory(factors, [one if math.isfinite(one) else math.nan for one in law], "fluid law")
    plot.simulated([one for one, _ in known], [one for _, one in known], "half of all runs", number=1)
