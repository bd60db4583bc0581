"""Rates as text: sentences, a table and the caveats for the rates that a plan keeps."""

import math
from collections.abc import Iterator
from itertools import pairwise

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from capacity.caveats import Caveat, CaveatCode, plausibility_caveats, profile_caveats, trace_caveats
from capacity.explain import fleet, format_found, format_loss, format_refusal, format_value, promises
from capacity.performance import Interval
from capacity.plan import Doubt, Verdict
from capacity.plan_caveats import MENDS
from capacity.rates import Point, Rates, Stretch
from capacity.stability import load
from capacity.tables import caveat_lines, table
from capacity.units import format_rate
from capacity.workload import is_trace


def rates_tables(rates: Rates, chart: str, confidence: float) -> Iterator[RenderableType]:
    """All that `capacity max-rate` shows."""
    yield from (Text(sentence) for sentence in sentences(rates))
    if rates.points:
        yield _points_table(rates)
        yield Text(chart)
        yield Text(f"In brackets: {100.0 * confidence:g} % intervals.")
    yield from caveat_lines(caveats(rates))


def sentences(rates: Rates) -> Iterator[str]:
    """Which rates are kept, what binds at the ends, and what low rates come to."""
    plan, objective = rates.scenario.plan, rates.scenario.objective
    if rates.stretches:
        verb = "keep" if plan.replicas > 1 else "keeps"
        stretches = ", and ".join(_stretch(stretch) for stretch in rates.stretches)
        yield f"{fleet(plan)} {verb} {promises(objective)} {stretches}."
    elif rates.verdict is Verdict.INCONCLUSIVE:
        yield f"No rate is known at which {fleet(plan)} would keep {promises(objective)}."
    else:
        why = "" if rates.closest is None else format_refusal(rates.closest)
        yield f"At no rate {fleet(plan)} would keep {promises(objective)}: at best {why}."
    if rates.lone is not None and rates.lone.performance is not None:
        lone = rates.lone.performance
        kept = "is kept" if rates.lone.verdict is Verdict.MET else "is missed"
        yield (
            f"A request that meets nobody, at the lowest rates: {format_found(rates.promise, lone)}; "
            f"the objective {kept}."
        )
    yield from _note_on_rising(rates)


def _note_on_rising(rates: Rates) -> Iterator[str]:
    """What was taken for granted, where it was."""
    if rates.only_rises and rates.points:
        yield f"Batches start at once: {rates.promise.what} is taken to rise with the rate."


def format_rate_interval(end: Interval) -> str:
    """A rate with the ends between which it lies.

    >>> format_rate_interval(Interval(value=398.0, low=398.0, high=402.0))
    '398 (398 to 402) rps'
    """
    if end.high == math.inf:
        return f"at least {format_rate(end.value)}"
    if end.low == end.high:
        return format_rate(end.value)
    shown = [format_rate(x).removesuffix(" rps") for x in (end.value, end.low, end.high)]
    return f"{shown[0]} ({shown[1]} to {shown[2]}) rps"


def caveats(rates: Rates) -> list[Caveat]:
    """What the rates leave open."""
    scenario = rates.scenario
    quantiles = scenario.objective.quantiles or (0.99,)
    if rates.refusal is not None:
        return list(plausibility_caveats(scenario.profile, max(quantiles)))
    return [
        *profile_caveats(scenario.profile, scenario.plan.batch_size_max, quantiles),
        *trace_caveats(scenario.workload, quantiles),
        *_own_caveats(rates),
    ]


def _own_caveats(rates: Rates) -> Iterator[Caveat]:
    for low_rps, high_rps in rates.doubts:
        mend = ", and ".join(dict.fromkeys(MENDS[doubt] for doubt in _doubts(rates, low_rps, high_rps)))
        where = f"from {format_rate(low_rps)} to {format_rate(high_rps)}"
        where = f"at {format_rate(low_rps)}" if low_rps == high_rps else where
        yield Caveat(
            code=CaveatCode.RATES_IN_DOUBT,
            message=f"{where} the plan could be neither accepted nor refused; {mend}",
        )
    end_rps = rates.stretches[-1].high if rates.stretches else None
    is_doubted = end_rps is not None and any(high_rps > end_rps.value for _, high_rps in rates.doubts)
    if end_rps is not None and end_rps.high == math.inf and not is_doubted:
        yield Caveat(
            code=CaveatCode.RATES_OPEN,
            message=f"the objective still holds at {format_rate(rates.stretches[-1].high.value)}, the "
            "highest rate that was tried, as the queue limit rejects the excess; --loss-max limits that",
        )
    if not rates.only_rises:
        rates_rps = [point.arrival_rate_rps for point in rates.points]
        step_rps = max(high - low for low, high in pairwise(rates_rps))
        yield Caveat(
            code=CaveatCode.RATES_UNSEEN,
            message="times may fall and rise again with the rate; what happens between two rates that were "
            f"tried, up to {format_rate(step_rps)} apart, is not seen; capacity simulate tries one more",
        )


def _doubts(rates: Rates, low_rps: float, high_rps: float) -> Iterator[Doubt]:
    """Why the rates between two are open."""
    usual = Doubt.TRACE if is_trace(rates.scenario.workload) else Doubt.REQUESTS
    for point in rates.points:
        if low_rps <= point.arrival_rate_rps <= high_rps and point.verdict is Verdict.INCONCLUSIVE:
            yield point.candidate.doubt or usual


def _stretch(stretch: Stretch) -> str:
    start = "up" if stretch.low.value == 0.0 else f"from {format_rate_interval(stretch.low)}"
    return f"{start} to {format_rate_interval(stretch.high)}"


def _points_table(rates: Rates) -> Table:
    """The curve, rate by rate."""
    promise = rates.promise
    has_losses = any(format_loss(point.candidate.performance) for point in rates.points)
    columns = ("rate", "load", promise.what, *(["lost"] if has_losses else []), "<verdict")
    return table(columns, (_row(rates, point, has_losses=has_losses) for point in rates.points))


def _row(rates: Rates, point: Point, *, has_losses: bool) -> tuple[str, ...]:
    scenario, candidate = rates.scenario, point.candidate
    performance = candidate.performance
    found = None if performance is None else rates.promise.found(performance)
    least = "" if candidate.settled or (found is not None and math.isinf(found.value)) else ">= "
    return (
        format_rate(point.arrival_rate_rps),
        f"{load(scenario.profile, point.arrival_rate_rps, scenario.plan):.3f}",
        "" if found is None else least + format_value(rates.promise, found),
        *([format_loss(performance)] if has_losses else []),
        "in doubt" if candidate.verdict is Verdict.INCONCLUSIVE else candidate.verdict.value,
    )
