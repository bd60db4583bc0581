"""Comparison report: fleets side by side, and their differences from the first, as a table and as JSON."""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from capacity.answer.documents import Document, picked, plain
from capacity.answer.sentences import demand
from capacity.performance import Interval, Performance, format_interval
from capacity.profile.llm import LlmProfile
from capacity.question.caveat import Caveat
from capacity.question.comparison import Comparison, Contender
from capacity.question.tokens import TokenPlan
from capacity.render.tables import batch_wait, caveat_lines, table
from capacity.search.batch_caveats import interval_caveats, profile_caveats
from capacity.search.caveats import trace_caveats
from capacity.traffic.workload import Demand
from capacity.units import format_duration, format_quantile, format_rate


def comparison_document(
    contenders: Sequence[Contender[Any, Any]],
    workload: Document,
    comparison: Comparison,
    caveats: Sequence[Caveat],
    *,
    seed: int,
    confidence: float,
) -> Document:
    """Document of `capacity compare`."""
    differences = (None, *comparison.differences)
    return {
        "workload": workload,
        "fleets": [
            {
                "name": contender.name,
                "plan": plain(contender.plan),
                "performance": plain(performance),
                "cost": None if contender.hourly_usd is None else picked(contender, "hourly_usd"),
                "difference": plain(difference),
            }
            for contender, performance, difference in zip(
                contenders, comparison.performances, differences, strict=True
            )
        ],
        "caveats": plain(caveats),
        "seed": seed,
        "confidence": confidence,
    }


def comparison_caveats(
    contenders: Sequence[Contender], workload: Demand, comparison: Comparison, precision: float
) -> list[Caveat]:
    """Caveats on the profiles, a trace or the budget, each once."""
    quantiles = tuple(comparison.performances[0].response_quantiles_s)
    caveats = [
        caveat
        for one in contenders
        for caveat in profile_caveats(one.profile, one.plan.batch_size_max, quantiles)
    ]
    caveats += trace_caveats(workload)
    for one, width in zip(contenders, comparison.widths, strict=True):
        caveats += interval_caveats(one.profile, width, precision)
    return list(dict.fromkeys(caveats))


def comparison_tables(
    contenders: Sequence[Contender],
    workload: Demand,
    comparison: Comparison,
    caveats: Sequence[Caveat],
    confidence: float,
) -> Iterator[RenderableType]:
    """A column for each fleet; the rows describe it, its performance, and its differences from the first."""
    letters = [chr(ord("A") + number) for number in range(len(contenders))]
    yield Text(f"The same requests {demand(workload)}, for each fleet.")
    yield table(
        ("<", *(f"<{letter}" for letter in letters)),
        [
            *_fleet_rows(contenders),
            *_performance_rows(comparison.performances),
            ("cost", *map(_cost, contenders)),
            *_difference_rows(comparison),
        ],
    )
    shown = f"In brackets: {100.0 * confidence:g} % intervals; differences are those of the same requests."
    yield Text(shown)
    yield from caveat_lines(caveats)


def _fleet_rows(contenders: Sequence[Contender]) -> Iterator[tuple[str, ...]]:
    plans = [contender.plan for contender in contenders]
    yield "fleet", *(contender.name.replace(",", ", ") for contender in contenders)
    yield "profile", *(plan.profile for plan in plans)
    yield "replicas", *(str(plan.replicas) for plan in plans)
    yield "largest batch", *(str(plan.batch_size_max) for plan in plans)
    yield "batch wait", *map(batch_wait, plans)
    yield "routing", *(plan.routing.value for plan in plans)
    if any(plan.queue_limit is not None for plan in plans):
        yield "queue limit", *("" if plan.queue_limit is None else str(plan.queue_limit) for plan in plans)


def _performance_rows(performances: Sequence[Performance]) -> Iterator[tuple[str, ...]]:
    for name, values in (
        ("load", [one.load for one in performances]),
        ("utilization", [one.utilization for one in performances]),
        ("P(loss)", [one.loss_probability or None for one in performances]),
    ):
        if any(value is not None for value in values):
            yield name, *("" if value is None else f"{value:.4g}" for value in values)
    yield "response, mean", *(format_interval(one.intervals["response_mean_s"]) for one in performances)
    has_losses = any(one.response_quantiles_with_losses_s for one in performances)
    for q in performances[0].response_quantiles_s:
        name = f"response{' of served requests' if has_losses else ''}, {format_quantile(q)}"
        yield name, *(format_interval(one.response_quantiles_s[q]) for one in performances)
    for q in performances[0].response_quantiles_s if has_losses else ():
        late = [(one.response_quantiles_with_losses_s or one.response_quantiles_s)[q] for one in performances]
        yield f"response, rejected as late, {format_quantile(q)}", *map(format_interval, late)


def _cost(contender: Contender) -> str:
    return "" if contender.hourly_usd is None else f"{contender.hourly_usd:.3f} USD/h"


def _difference_rows(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    differences = comparison.differences
    yield "mean, less A's", "", *(format_difference(one.response_mean_s) for one in differences)
    for q in comparison.performances[0].response_quantiles_s:
        name = f"{format_quantile(q)}, less A's"
        yield name, "", *(format_difference(one.response_quantiles_s[q]) for one in differences)


def token_comparison_tables(
    contenders: Sequence[Contender[LlmProfile, TokenPlan]],
    comparison: Comparison,
    rate_rps: float,
    confidence: float,
) -> Iterator[RenderableType]:
    """A column for each fleet of a language model; the rows have the first token, the gaps and the response."""
    letters = [chr(ord("A") + number) for number in range(len(contenders))]
    yield Text(f"The same requests at {format_rate(rate_rps)}, for each fleet.")
    yield table(
        ("<", *(f"<{letter}" for letter in letters)),
        [
            *_token_fleet_rows(contenders),
            *_token_performance_rows(comparison.performances),
            *_token_difference_rows(comparison),
        ],
    )
    yield Text(
        f"In brackets: {100.0 * confidence:g} % intervals; differences are those of the same requests."
    )


def _token_fleet_rows(contenders: Sequence[Contender[LlmProfile, TokenPlan]]) -> Iterator[tuple[str, ...]]:
    plans = [one.plan for one in contenders]
    yield "fleet", *(one.name.replace(",", ", ") for one in contenders)
    yield "profile", *(plan.profile for plan in plans)
    yield "replicas", *(str(plan.replicas) for plan in plans)
    yield "sequences, most", *(str(plan.sequences_max) for plan in plans)
    yield "tokens a step, most", *(str(plan.batched_tokens_max) for plan in plans)
    yield "routing", *(plan.routing.value for plan in plans)
    if any(one.hourly_usd is not None for one in contenders):
        yield "cost", *("" if x is None else f"{x:.3f} USD/h" for x in (one.hourly_usd for one in contenders))


_TOKEN_FIELDS = {
    "TTFT": "ttft_quantiles_s",
    "TPOT": "tpot_quantiles_s",
    "ITL": "itl_quantiles_s",
    "response": "response_quantiles_s",
}


def _token_performance_rows(performances: Sequence[Performance]) -> Iterator[tuple[str, ...]]:
    yield "load", *("" if one.load is None else f"{one.load:.3f}" for one in performances)
    yield "output tokens a second", *(f"{one.output_tokens_per_s or 0.0:.0f}" for one in performances)
    for name, field in _TOKEN_FIELDS.items():
        for q in getattr(performances[0], field):
            found = (getattr(one, field)[q] for one in performances)
            yield f"{name}, {format_quantile(q)}", *map(format_interval, found)


def _token_difference_rows(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    for name, field in _TOKEN_FIELDS.items():
        for q in getattr(comparison.differences[0], field):
            found = (getattr(one, field)[q] for one in comparison.differences)
            yield f"{name} {format_quantile(q)}, less A's", "", *map(format_difference, found)


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
