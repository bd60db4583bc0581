"""Rates as text: sentences, a table and caveats for the rates at which a plan meets its objective."""

import math
from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from capacity.answer.sentences import fleet, format_found, format_loss, format_refusal, limits_in_words
from capacity.performance import Interval, format_span
from capacity.question.candidate import Verdict
from capacity.question.objective import format_value
from capacity.question.stability import load
from capacity.render.tables import caveat_lines, table
from capacity.search.max_rate import Point, Rates, Stretch, caveats
from capacity.units import format_rate


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
    """Rates that meet the objective, what limits them at the ends, and what low rates give."""
    plan, objective = rates.scenario.plan, rates.scenario.objective
    if rates.stretches:
        verb = "meet" if plan.replicas > 1 else "meets"
        stretches = ", and ".join(format_stretch(stretch) for stretch in rates.stretches)
        yield f"{fleet(plan)} {verb} {limits_in_words(objective)} {stretches}."
    elif rates.verdict is Verdict.INCONCLUSIVE:
        yield f"No rate is known at which {fleet(plan)} would meet {limits_in_words(objective)}."
    else:
        best = "" if rates.closest is None else f": at best, {format_refusal(rates.closest)}"
        yield f"At no rate would {fleet(plan)} meet {limits_in_words(objective)}{best}."
    if rates.lone is not None and rates.lone.performance is not None:
        lone = rates.lone.performance
        kept = _LONE[rates.lone.verdict]
        yield (
            f"At the lowest rates, where each request is alone, {format_found(rates.limit, lone)}: the "
            f"objective is {kept}."
        )
    yield from _note_on_rising(rates)


def _note_on_rising(rates: Rates) -> Iterator[str]:
    """Note on assumptions, if any were made."""
    if rates.only_rises and rates.points:
        yield f"Assumed: {rates.limit.what} rises with the rate, since batches start at once."


def format_rate_interval(end: Interval) -> str:
    """A rate with the ends of its bracket.

    >>> format_rate_interval(Interval(value=398.0, low=398.0, high=402.0))
    '398 (398 to 402) rps'
    """
    if end.high == math.inf:
        return f"at least {format_rate(end.value)}"
    return format_span(format_rate, end)


def format_stretch(stretch: Stretch) -> str:
    """The lowest and the highest rate at which the objective is met, in words."""
    start = "up" if stretch.low.value == 0.0 else f"from {format_rate_interval(stretch.low)}"
    return f"{start} to {format_rate_interval(stretch.high)}"


def _points_table(rates: Rates) -> Table:
    """The curve, rate by rate."""
    limit = rates.limit
    has_losses = any(format_loss(point.candidate.performance) for point in rates.points)
    columns = ("rate", "load", limit.what, *(["rejected"] if has_losses else []), "<verdict")
    return table(columns, (_row(rates, point, has_losses=has_losses) for point in rates.points))


def _row(rates: Rates, point: Point, *, has_losses: bool) -> tuple[str, ...]:
    scenario, candidate = rates.scenario, point.candidate
    performance = candidate.performance
    found = None if performance is None else rates.limit.found(performance)
    least = "" if candidate.settled or (found is not None and math.isinf(found.value)) else ">= "
    return (
        format_rate(point.arrival_rate_rps),
        f"{load(scenario.profile, point.arrival_rate_rps, scenario.plan):.3f}",
        "" if found is None else least + format_value(rates.limit, found),
        *([format_loss(performance)] if has_losses else []),
        "in doubt" if candidate.verdict is Verdict.INCONCLUSIVE else candidate.verdict.value,
    )
