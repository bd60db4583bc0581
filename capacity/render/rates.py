"""Rates as text: sentences, a table and caveats for the rates, or users, at which a plan meets its objective."""

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
from capacity.performance import Performance
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
        *(["attempts"] if _has_attempts(rates) else []),
        "<verdict",
    )
    return table(columns, (_row(rates, point, limits, has_losses=has_losses) for point in rates.points))


def _lost_word(rates: Rates) -> str:
    """What is said of requests that are lost, the same at all rates."""
    found = (point.candidate.performance for point in rates.points)
    return next(one.lost_word for one in found if one is not None)


def _has_attempts(rates: Rates) -> bool:
    """Whether clients may try more than once, or give up."""
    return not is_patient(rates.scenario.workload)


def _attempts(performance: Performance | None) -> str:
    """Mean attempts at a request; empty if it is not known."""
    tries = None if performance is None else performance.attempts_mean
    return "" if tries is None else f"{tries:.4g}"


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
        *([_attempts(candidate.performance)] if _has_attempts(rates) else []),
        "in doubt" if candidate.verdict is Verdict.INCONCLUSIVE else candidate.verdict.value,
    )
