"""Rates as text: the rates, or users, at which a plan meets its objective, and where a load curve explodes."""

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from capacity.answer.sentences import (
    fleet_in,
    format_found,
    format_loss,
    format_refusal,
    limits_in_words,
    saturates,
)
from capacity.performance import Interval, Performance, format_interval
from capacity.question.candidate import Verdict
from capacity.question.objective import Limit
from capacity.render.plan import format_candidate, shown_limits
from capacity.render.tables import caveat_lines, table
from capacity.search.max_rate import Point, Rates, caveats
from capacity.traffic.scale import Scale
from capacity.traffic.workload import is_patient


def rates_tables(rates: Rates, chart: str, confidence: float) -> Iterator[RenderableType]:
    """All tables of `capacity max-rate`."""
    yield from (Text(sentence) for sentence in sentences(rates))
    if rates.points:
        yield _points_table(rates)
        yield Text(chart)
        yield Text(f"In brackets: {100.0 * confidence:g} % intervals.")
    yield from caveat_lines(caveats(rates))


_LONE = {
    Verdict.MET: "met",
    Verdict.MISSED: "missed",
    Verdict.INCONCLUSIVE: "in doubt, since the profile has too few samples",
}


def sentences(rates: Rates) -> Iterator[str]:
    """Sizes that meet the objective, what limits them at the ends, and what low rates give."""
    plan, objective, scale = rates.scenario.whole, rates.scenario.objective, rates.scale
    asked = fleet_in(rates.scenario)
    if rates.stretches:
        verb = "meet" if plan.replicas > 1 else "meets"
        yield f"{asked} {verb} {limits_in_words(objective)} {stretches_in_words(rates)}."
    elif rates.verdict is Verdict.INCONCLUSIVE:
        yield f"No {scale.one} is known at which {asked} would meet {limits_in_words(objective)}."
    else:
        best = "" if rates.closest is None else f": at best, {format_refusal(rates.closest)}"
        yield f"At no {scale.one} would {asked} meet {limits_in_words(objective)}{best}."
    if rates.lone is not None and rates.lone.performance is not None:
        lone = rates.lone.performance
        kept = _LONE[rates.lone.verdict]
        yield (
            f"At the lowest rates, where each request is alone, {format_found(rates.limit, lone)}: the "
            f"objective is {kept}."
        )
    if rates.saturation is not None:
        yield saturates(plan, rates.saturation)
    yield from _note_on_rising(rates)


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


def _points_table(rates: Rates) -> Table:
    """The curve, size by size."""
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
    return table(columns, (_row(rates, point, limits, has_losses=has_losses) for point in rates.points))


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
    return f"{rates.load(point.size):.3f}"


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
