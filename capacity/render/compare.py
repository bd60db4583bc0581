"""Comparison report: fleets side by side, and their differences from the first, as a table and as JSON."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from capacity.answer.documents import Document, outage_document, picked, plain, requests_document
from capacity.answer.sentences import demand, replicas_text
from capacity.performance import Interval, Performance, format_interval, format_share_interval
from capacity.question.caveat import Caveat
from capacity.question.comparison import Comparison, Contender
from capacity.question.objective import Measure
from capacity.question.plan import plan_words
from capacity.question.scenario import AnyScenario
from capacity.render.tables import caveat_lines, table
from capacity.units import format_duration, format_quantile


def comparison_document(
    contenders: Sequence[Contender[Any, Any]],
    scenarios: Sequence[AnyScenario],
    comparison: Comparison,
    caveats: Sequence[Caveat],
    *,
    seed: int,
    confidence: float,
) -> Document:
    """Document of `capacity compare`."""
    differences = (None, *comparison.differences)
    return {
        "workload": requests_document(scenarios[0].workload, scenarios[0].lengths),
        "fleets": [
            {
                "name": contender.name,
                "plan": plain(contender.plan),
                **outage_document(scenario.outage, scenario.plan),
                "performance": plain(performance),
                "cost": None if contender.hourly_usd is None else picked(contender, "hourly_usd"),
                "difference": plain(difference),
            }
            for contender, scenario, performance, difference in zip(
                contenders, scenarios, comparison.performances, differences, strict=True
            )
        ],
        "caveats": plain(caveats),
        "seed": seed,
        "confidence": confidence,
    }


def comparison_tables(
    contenders: Sequence[Contender[Any, Any]],
    scenarios: Sequence[AnyScenario],
    comparison: Comparison,
    caveats: Sequence[Caveat],
    confidence: float,
) -> Iterator[RenderableType]:
    """A column for each fleet; the rows describe it, its performance, and its differences from the first."""
    letters = [chr(ord("A") + number) for number in range(len(contenders))]
    found = _in_a_sentence(contenders, comparison, letters)
    yield Text(
        f"The same requests {demand(scenarios[0].workload)}{found}.", style="bold" if found[0] == ":" else ""
    )
    yield table(
        ("<", *(f"<{letter}" for letter in letters)),
        [
            *_fleet_rows(contenders, scenarios),
            *_performance_rows(comparison.performances),
            ("cost", *map(_cost, contenders, comparison.performances)),
            *_difference_rows(comparison),
        ],
    )
    shown = f"In brackets: {100.0 * confidence:g} % intervals; differences are those of the same requests."
    yield Text(shown)
    if any((one.utilization or 0.0) - (one.load or 1.0) > _BUSIER for one in comparison.performances):
        yield Text(f"Utilization is above load: {contenders[0].plan.names.busier}.")
    yield from caveat_lines(caveats)


def _in_a_sentence(
    contenders: Sequence[Contender[Any, Any]], comparison: Comparison, letters: Sequence[str]
) -> str:
    """The highest quantile of the first fleet, how much each other has more or less, and what it costs.

    Of a language model it is that of the first token and of the time per token, which may part. Where requests are
    lost, the quantiles of those served say too little, and there is none.
    """
    if any(one.loss_probability for one in comparison.performances):
        return ", for each fleet"
    of_tokens = [one for one in (Measure.TTFT, Measure.TPOT) if getattr(comparison.differences[0], one)]
    told = [_told_of(one, comparison, letters) for one in of_tokens or (Measure.RESPONSE,)]
    usd = list(map(_hourly_usd, contenders, comparison.performances))
    prices = [_price_beside(usd[0], one, letter) for one, letter in zip(usd[1:], letters[1:], strict=True)]
    known = [one for one in prices if one]
    return f": {'; '.join([*told, *([', '.join(known)] if known else [])])}"


def _told_of(measure: Measure, comparison: Comparison, letters: Sequence[str]) -> str:
    """The highest quantile of one duration in the first fleet, and how much each other has more or less."""
    seen = getattr(comparison.performances[0], measure)
    q = max(seen)
    others = [
        f"in {letter} {_less_or_more(getattr(one, measure)[q])}"
        for letter, one in zip(letters[1:], comparison.differences, strict=True)
    ]
    name = (
        f"{measure.short} {format_quantile(q)}" if measure.short else f"{format_quantile(q)} of the response"
    )
    return f"{name} is {format_interval(seen[q])} in A, {', '.join(others)}"


def _less_or_more(difference: Interval) -> str:
    """A difference in words: `2 (1 to 3) ms less`."""
    if difference.low == difference.high == 0.0:
        return "the same"
    if difference.low <= 0.0 <= difference.high:
        return "not known to differ"
    if difference.low > 0.0:
        return f"{format_interval(difference)} more"
    less = Interval(value=-difference.value, low=-difference.high, high=-difference.low)
    return f"{format_interval(less)} less"


def _price_beside(first: float | None, other: float | None, letter: str) -> str:
    """What a fleet costs more or less than the first; empty if a price is not known. [USD/h]"""
    if first is None or other is None:
        return ""
    if math.isclose(first, other, rel_tol=1e-9):
        return f"{letter} costs as much"
    return f"{letter} costs {abs(other - first):.3f} USD/h {'more' if other > first else 'less'}"


def _fleet_rows(
    contenders: Sequence[Contender[Any, Any]], scenarios: Sequence[AnyScenario]
) -> Iterator[tuple[str, ...]]:
    yield "fleet", *(contender.name.replace(",", ", ") for contender in contenders)
    plans = [
        plan_words(contender.plan) | {"replicas": replicas_text(scenario)}
        for contender, scenario in zip(contenders, scenarios, strict=True)
    ]
    for name in dict.fromkeys(name for plan in plans for name in plan):
        yield name, *(plan.get(name, "") for plan in plans)


_BUSIER = 0.1  # of utilization above load, from which it is explained

# Durations that fleets are compared by, in the order of the rows.
_MEASURES = (Measure.TTFT, Measure.TPOT, Measure.ITL, Measure.RESPONSE, Measure.SESSION)


def _performance_rows(performances: Sequence[Performance]) -> Iterator[tuple[str, ...]]:
    for name, values in (
        ("load", [one.load for one in performances]),
        ("utilization", [one.utilization for one in performances]),
        ("P(loss)", [one.loss_probability or None for one in performances]),
        ("attempts a request", [one.attempts_mean for one in performances]),
        ("share tried more than once", [one.retried_share for one in performances]),
        ("replicas, mean", [one.replicas_mean for one in performances]),
        ("replicas, most", [one.replicas_most for one in performances]),
        ("changes of replicas", [one.scalings for one in performances]),
        ("output tokens a second", [one.output_tokens_per_s for one in performances]),
        ("sessions live", [one.sessions_live_mean for one in performances]),
    ):
        if any(value is not None for value in values):
            yield name, *("" if value is None else f"{value:.4g}" for value in values)
    shares = [one.hit_share for one in performances]
    if any(share is not None for share in shares):
        yield "prefix hits", *("" if one is None else format_share_interval(one.interval) for one in shares)
    for measure in _MEASURES:
        name = measure.short or "response"
        if measure.mean.value in performances[0].intervals:
            yield (
                f"{name}, mean",
                *(format_interval(one.intervals[measure.mean.value]) for one in performances),
            )
        has_losses = any(getattr(one, measure.with_losses) for one in performances)
        served = " of served requests" if has_losses else ""
        for q in getattr(performances[0], measure):
            found = (getattr(one, measure)[q] for one in performances)
            yield f"{name}{served}, {format_quantile(q)}", *map(format_interval, found)
        for q in getattr(performances[0], measure) if has_losses else ():
            late = [(getattr(one, measure.with_losses) or getattr(one, measure))[q] for one in performances]
            yield (
                f"{name}, {performances[0].lost_word} as late, {format_quantile(q)}",
                *map(format_interval, late),
            )


def _hourly_usd(contender: Contender[Any, Any], performance: Performance) -> float | None:
    """Price of a fleet; the mean of one that an autoscaler sizes; None if it is not known. [USD/h]"""
    return contender.hourly_usd if performance.hourly_usd is None else performance.hourly_usd


def _cost(contender: Contender[Any, Any], performance: Performance) -> str:
    usd = _hourly_usd(contender, performance)
    return "" if usd is None else f"{usd:.3f} USD/h"


def _difference_rows(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    differences = comparison.differences
    shares = [one.hit_share for one in differences if one.hit_share is not None]
    if shares:
        yield "prefix hits, less A's", "", *(format_share_interval(share) for share in shares)
    for measure in _MEASURES:
        name = f"{measure.short} ".lstrip()
        if getattr(differences[0], measure.mean) is not None:
            means = (getattr(one, measure.mean) for one in differences)
            yield f"{name}mean, less A's", "", *map(format_difference, means)
        for q in getattr(differences[0], measure):
            found = (getattr(one, measure)[q] for one in differences)
            yield f"{name}{format_quantile(q)}, less A's", "", *map(format_difference, found)


def format_difference(interval: Interval) -> str:
    """A difference with its sign and interval, in the unit of the largest of them.

    >>> format_difference(Interval(value=-0.0032, low=-0.0034, high=0.0003))
    '-3.2 (-3.4 to +0.3) ms, in doubt'
    """
    if interval.low == interval.high == 0.0:
        return "none"
    unit = format_duration(max(abs(interval.low), abs(interval.high))).split(" ")[1]
    scale = {"s": 1.0, "ms": 1e3, "µs": 1e6, "ns": 1e9}[unit]
    value, low, high = (f"{scale * x:+.3g}" for x in (interval.value, interval.low, interval.high))
    doubt = ", in doubt" if interval.low <= 0.0 <= interval.high else ""
    return f"{value} ({low} to {high}) {unit}{doubt}"
