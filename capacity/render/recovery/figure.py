"""Stress figure: the course of a run, and the map of spikes that are survived."""

import math

from capacity.performance import Interval
from capacity.recovery.findings import Runs, Screen
from capacity.recovery.fluid import spike_survived_s
from capacity.render.plot import Panels, new_panels
from capacity.render.recovery.screen import course_of, fleet_in_words, shown_seconds, trigger_in_words


def stress_figure(screen: Screen) -> Panels:
    """Success over time, attempts over time, and the longest spike that is survived by its height."""
    found = screen.found
    stress = found.stress
    has_map = any(one.lasting_s is not None for one in screen.spikes)
    has_sessions = any(run.sessions is not None for run in found.runs)
    titles = ["success of first tries", "attempts", *(["spikes survived"] if has_map else [])]
    titles += ["live sessions", "prefix hits", "mean time to first token"] if has_sessions else []
    units = ["share", "1/s", *(["duration [s]"] if has_map else []), "sessions", "share", "s"]
    figure = new_panels(
        titles,
        x_title="s after the trigger began",
        y_title=units[: len(titles)],
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
    if has_sessions:
        _sessions(figure, found, first, last)
    return figure


def _sessions(figure: Panels, found: Runs, first: int, last: int) -> None:
    """Draw live sessions, prefix hits and times to first token, each as a mean over some seconds."""
    stress, step = found.stress, max(1, (last - first) // 100)
    begins = range(first, last, step)
    means = [found.sessions_mean(begin, begin + step) for begin in begins]
    seconds = [begin + 0.5 * step - stress.begins_s for begin in begins]
    for plot, name in zip(figure.plots[-3:], ("live", "hit_share", "ttft_mean_s"), strict=True):
        values = [getattr(mean, name) for mean in means]
        plot.theory(seconds, [math.nan if one is None else one for one in values], "mean of the runs")
        plot.limit(0.0, "trigger begins", axis="x")
        plot.limit(stress.lasts_s, "trigger ends", axis="x")


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
