"""Rates as text: the rates, or users, at which a plan meets its objective, and where a load curve explodes."""

import math
from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from capacity.answer.refusals import format_loss, format_refusal
from capacity.answer.saturation import saturates
from capacity.answer.sentences import fleet_in, format_found, limits_in_words
from capacity.performance import Interval, Performance, format_interval, format_span
from capacity.question.candidate import Verdict
from capacity.question.objective import Limit
from capacity.render.plan import format_candidate, shown_limits
from capacity.render.tables import caveat_lines, notes_that_matter, table
from capacity.search.max_rate import Point, Rates, caveats
from capacity.traffic.scale import Scale
from capacity.traffic.workload import is_patient
from capacity.units import format_rate

# Sizes that are shown unless all are asked for: a few below the highest accepted one, that one, and the next.
_ROWS = 4


def rates_tables(rates: Rates, *, verbose: bool = False) -> Iterator[RenderableType]:
    """The answer of `capacity max-rate`, a few sizes, and the note that matters most."""
    verdict, *others = sentences(rates)
    yield Text(verdict, style="bold")
    yield from map(Text, others)
    if verbose:
        return
    if not rates.points:
        yield from caveat_lines(caveats(rates))
        return
    yield _points_table(rates, _telling(rates), is_plain=True)
    tried = f"{len(rates.points)} {rates.scale.many} tried, as a chart"
    yield from notes_that_matter(caveats(rates), tried, verbose=False)


def rates_details(rates: Rates, chart: str, confidence: float) -> Iterator[RenderableType]:
    """What was assumed, every size that was tried, the chart, and all notes."""
    yield from map(Text, _lone(rates))
    yield from map(Text, _note_on_rising(rates))
    if rates.points:
        yield _points_table(rates, rates.points)
        yield Text(chart)
        yield Text(f"In brackets: {100.0 * confidence:g} % intervals.")
    yield from caveat_lines(caveats(rates))


def _telling(rates: Rates) -> list[Point]:
    """The highest accepted size and the next, or the first ones; and some below that, evenly."""
    points = rates.points
    accepted = [place for place, point in enumerate(points) if point.verdict is Verdict.MET]
    edge = min(accepted[-1] + 1 if accepted else _ROWS - 1, len(points) - 1)
    last = max(0, edge - 1)
    places = {edge, *(round(last * step / (_ROWS - 2)) for step in range(_ROWS - 1))}
    return [points[place] for place in sorted(places)]


_LONE = {
    Verdict.MET: "met",
    Verdict.MISSED: "missed",
    Verdict.INCONCLUSIVE: "in doubt, since the profile has too few samples",
}


def sentences(rates: Rates) -> Iterator[str]:
    """Sizes that meet the objective, what limits them at the ends, and what low rates give."""
    plan, objective, scale = rates.scenario.whole, rates.scenario.objective, rates.scale
    asked = fleet_in(rates.scenario)
    if (carried := _carried(rates)) is not None:
        yield f"{asked} {carried}."
    elif rates.stretches:
        verb = "meet" if plan.replicas > 1 else "meets"
        yield f"{asked} {verb} {limits_in_words(objective)} {stretches_in_words(rates)}."
    elif rates.verdict is Verdict.INCONCLUSIVE:
        yield f"No {scale.one} is known at which {asked} would meet {limits_in_words(objective)}."
    else:
        best = "" if rates.closest is None else f": at best, {format_refusal(rates.closest)}"
        yield f"At no {scale.one} would {asked} meet {limits_in_words(objective)}{best}."
    if rates.lone is not None and rates.lone.verdict is not Verdict.MET:
        yield from _lone(rates)
    if rates.cold_rps is not None:
        more = (
            "" if rates.scenario.bistable else "; --allow-bistable finds what it carries while they are warm"
        )
        warm = (
            ""
            if rates.warm_rps is None
            else f", from empty ones without it up to {format_rate(rates.warm_rps)}"
        )
        served = format_span(format_rate, rates.cold_rps)
        yield f"From empty caches and a backlog the fleet serves {served}{warm}{more}."
    elif rates.saturation is not None:
        yield saturates(plan, rates.saturation)


def _carried(rates: Rates) -> str | None:
    """What the fleet carries, and what is too much; None unless it is any rate, or number of users, up to one."""
    scale = rates.scale
    if len(rates.stretches) != 1 or scale.multiple is not None:
        return None
    low, high = rates.stretches[0].low, rates.stretches[0].high
    if low.value > scale.step or math.isinf(high.high):
        return None
    carry = "carry" if rates.scenario.whole.replicas > 1 else "carries"
    be, too_much = ("are", "too many") if scale.step else ("is", "too much")
    return (
        f"{carry} {scale.shown(high.value)} within {limits_in_words(rates.scenario.objective)}; "
        f"{scale.shown(high.high)} {be} {too_much}"
    )


def _lone(rates: Rates) -> Iterator[str]:
    """What requests find that are alone."""
    if rates.lone is not None and rates.lone.performance is not None:
        found, kept = format_found(rates.limit, rates.lone.performance), _LONE[rates.lone.verdict]
        yield f"At the lowest rates, where each request is alone, {found}: the objective is {kept}."


def _note_on_rising(rates: Rates) -> Iterator[str]:
    """Note on assumptions, if any were made."""
    if rates.only_rises and rates.points:
        why = "since batches start at once" if rates.saturation is None else "as in all runs so far"
        yield f"Assumed: {rates.limit.what} rises with the {rates.scale.one}, {why}."


def stretches_in_words(rates: Rates) -> str:
    """All stretches at which the objective is met, in words, with the name of a trace or a day."""
    scale = rates.scale
    where = "" if scale.multiple is None else f"{scale.multiple.name} "
    return where + ", and ".join(scale.stretch(one.low, one.high) for one in rates.stretches)


def _points_table(rates: Rates, points: Sequence[Point], *, is_plain: bool = False) -> Table:
    """Some sizes of the curve, size by size."""
    limits, scale = shown_limits(rates.scenario.objective, rates.limit), rates.scale
    has_losses = any(format_loss(point.candidate.performance) for point in rates.points)
    columns = (
        *_scale_heads(scale),
        "utilization" if scale.step else "load",  # users have no rate of their own
        *(limit.what for limit in limits),
        *([_lost_word(rates)] if has_losses else []),
        *_numbers_of(rates),
        "<verdict",
    )
    rows = (_row(rates, point, limits, has_losses=has_losses) for point in points)
    return table(columns, rows, is_plain=is_plain)


def _lost_word(rates: Rates) -> str:
    """What is said of requests that are lost, the same at all rates."""
    found = (point.candidate.performance for point in rates.points)
    return next(one.lost_word for one in found if one is not None)


def _numbers_of(rates: Rates) -> dict[str, str]:
    """Fields of a performance that only some worlds have, by the heads of their columns."""
    tries = {} if is_patient(rates.scenario.workload) else {"attempts": "attempts_mean"}
    is_fixed = rates.scenario.autoscaler is None
    return tries | ({} if is_fixed else {"mean replicas": "replicas_mean", "most": "replicas_most"})


def _number(performance: Performance | None, name: str) -> str:
    """A field of a performance; empty if it is not known."""
    value = None if performance is None else getattr(performance, name)
    return "" if value is None else f"{value:.4g}"


def _scale_heads(scale: Scale) -> tuple[str, ...]:
    """Heads of the columns of `_scale_cells`."""
    return (scale.head,) if scale.multiple is None else (scale.multiple.head, scale.head)


def _scale_cells(scale: Scale, size: float) -> tuple[str, ...]:
    """A size, and the multiple of a trace or a day."""
    times = scale.times(size)
    return (scale.shown(size),) if times is None else (f"{times:.3g} x", scale.shown(size))


def _busy(rates: Rates, point: Point) -> str:
    performance = point.candidate.performance
    if rates.scale.step:
        return "" if performance is None else f"{performance.utilization:.3f}"
    load = rates.load(point)
    return "" if load is None else f"{load:.3f}"


def _row(rates: Rates, point: Point, limits: Sequence[Limit], *, has_losses: bool) -> tuple[str, ...]:
    candidate = point.candidate
    return (
        *_scale_cells(rates.scale, point.size),
        _busy(rates, point),
        *(format_candidate(candidate, limit) for limit in limits),
        *([format_loss(candidate.performance)] if has_losses else []),
        *(_number(candidate.performance, name) for name in _numbers_of(rates).values()),
        "in doubt" if candidate.verdict is Verdict.INCONCLUSIVE else candidate.verdict.value,
    )


_FACTORS = {2.0: "doubles", 5.0: "reaches 5 times that", 10.0: "reaches 10 times that"}
LoadPoint = tuple[float | None, float, Interval]


def load_curve_texts(fleet: str, name: str, points: Sequence[LoadPoint], scale: Scale) -> Iterator[str]:
    """Sentences with the quantile at the lowest load, and the loads at which it is a multiple of that.

    Args:
        fleet: the fleet in words.
        points: load, which users do not have, size [requests/s, or users] and the quantile [s], rising.
        scale: the words for sizes.
    """
    if not points:
        yield f"{fleet}: no load could be simulated to the asked precision."
        return
    load, size, alone = points[0]
    at = f"with {scale.brief(size)}" if load is None else f"at load {load:.2f} ({scale.brief(size)})"
    yield f"{fleet}: {name} is {format_interval(alone)} {at}."
    for factor, words in _FACTORS.items():
        above = [n for n, (_, _, found) in enumerate(points) if found.value >= factor * alone.value]
        if not above:
            load, size, _ = points[-1]
            end = scale.brief(size) if load is None else f"load {load:.2f}"
            yield f"Up to {end} it stays below {factor:.0f} times that."
            return
        yield f"It {words} between {_between(points[max(0, above[0] - 1)], points[above[0]], scale)}."


def _between(before: LoadPoint, after: LoadPoint, scale: Scale) -> str:
    """Two neighbouring points, by their loads and sizes."""
    (low, low_size, _), (high, high_size, _) = before, after
    if low is None or high is None:
        return f"{scale.brief(low_size)} and {scale.brief(high_size)}"
    return f"load {low:.2f} and {high:.2f}, {scale.brief(low_size)} to {scale.brief(high_size)}"
