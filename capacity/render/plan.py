"""Plan tables: the fleet that `capacity plan` recommends, and what else it considered."""

import math
from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from capacity.answer.sentences import (
    explain,
    format_headroom,
    format_loss,
    format_missed_at,
    format_verdict,
)
from capacity.question.candidate import Candidate, Reason
from capacity.question.objective import Limit, Measure, Objective, format_value
from capacity.question.plan import Plan, Routing
from capacity.question.question import Question
from capacity.render.tables import caveat_lines, performance_rows, plan_rows, short_rows, sparkline, table
from capacity.search.by_hour import Schedule
from capacity.search.recommendation import Recommendation
from capacity.server.batch.plan import BatchPlan
from capacity.units import format_duration, format_rate


def schedule_tables(day: Schedule) -> Iterator[RenderableType]:
    """Rates and replicas of the day, a row for each run of equal hours, and the saving."""
    yield Text(f"The day, hour by hour: rate {sparkline(day.rates_rps)}, replicas {sparkline(day.replicas)}")
    yield table(("<hours", "rate", "replicas"), hours_alike(day))
    yield from map(Text, schedule_sentences(day))


def schedule_sentences(day: Schedule) -> Iterator[str]:
    """What an ideal schedule saves, and the hours at which no fleet is known to meet the objective."""
    money = "" if day.daily_usd_saved is None else f" and {day.daily_usd_saved:.2f} USD"
    yield (
        f"With the fleet for the peak all day: {day.replica_hours_flat} replica-hours. An ideal schedule "
        f"would need {day.replica_hours_ideal}, and save {100.0 * day.share_saved:.0f} %{money} a day; its "
        "hours come from the search, and are not confirmed."
    )
    if day.unkept_rps:
        rates = ", ".join(map(format_rate, day.unkept_rps))
        yield (
            f"Not even the fleet for the peak is known to meet the objective at {rates}: the fewer requests "
            "arrive, the longer a batch waits to fill. Give a shorter --batch-wait, or 0ms."
        )


def hours_alike(day: Schedule) -> Iterator[tuple[str, str, str]]:
    """Hours with one rate and as many replicas, in words."""
    hours = list(enumerate(zip(day.rates_rps, day.replicas, strict=True)))
    start = 0
    for hour, held in hours:
        if hour + 1 == len(hours) or hours[hour + 1][1] != held:
            rate_rps, replicas = held
            yield f"{start:02}:00 to {hour + 1:02}:00", format_rate(rate_rps), str(replicas)
            start = hour + 1


_SHORT_QUANTILES = (0.5, 0.95, 0.99)
_SIZES_SHOWN, _SIZES_OF_MANY_KINDS = 8, 3
_PARTICULAR = ("routing", "wait")


def recommendation_tables(
    recommendation: Recommendation[BatchPlan], question: Question, confidence: float, *, verbose: bool = False
) -> Iterator[RenderableType]:
    """All tables of `capacity plan`; `verbose` adds every figure of the plan, and the work of the search."""
    verdict, *others = explain(recommendation, question)
    yield Text(verdict, style="bold")
    yield from map(Text, others)
    if recommendation.plan is not None:
        yield Text()
        yield plan_table(recommendation, verbose=verbose)
    replicas = None if recommendation.plan is None else recommendation.plan.replicas
    yield Text()
    yield from considered_tables(recommendation.considered, shown_limit(question.objective), replicas)
    if verbose:
        yield Text(tally_line(recommendation))
    if recommendation.performance is not None:
        yield Text(f"In brackets: {100.0 * confidence:g} % intervals.")
    yield from caveat_lines(recommendation.caveats)


def plan_table(recommendation: Recommendation, *, verbose: bool = False) -> Table:
    """The recommended plan with its performance and price."""
    rows: list[tuple[str, str]] = []
    plan, performance = recommendation.plan, recommendation.performance
    if plan is not None:
        rows.extend(plan_rows(plan) if verbose else _short_plan_rows(plan))
    if performance is not None:
        shown = {*_SHORT_QUANTILES, *recommendation.objective.quantiles}
        rows.extend(performance_rows(performance) if verbose else short_rows(performance, shown))
    if recommendation.headroom is not None:
        headroom = recommendation.headroom
        missed = format_missed_at(headroom, "missed")
        rows.append(("headroom", f"up to {format_headroom(headroom)}{missed}"))
    if recommendation.hourly_usd is not None:
        rows.append(("cost", f"{recommendation.hourly_usd:.3f} USD/h"))
    return table(("<", "<"), rows)


def _short_plan_rows(plan: Plan) -> list[tuple[str, str]]:
    """The parts of a plan that the sentences do not say and that differ from the defaults."""
    usual = {("routing", Routing.ROUND_ROBIN.value)}
    return [row for row in plan_rows(plan) if row[0] != "profile" and row not in usual]


def tally_line(recommendation: Recommendation[BatchPlan]) -> str:
    """Number of candidates by how they were decided."""
    tally = recommendation.tally
    return (
        f"Candidates: {tally.screened} screened by theory, {tally.simulated} simulated, {tally.certified} "
        f"confirmed; {tally.requests:.3g} requests."
    )


def shown_limit(objective: Objective) -> Limit:
    """The limit that tables have a column for: the one at the highest quantile of the response, if any."""
    limits = objective.limits
    responses = [limit for limit in limits if limit.measure is Measure.RESPONSE]
    return (responses or list(limits))[-1]


def considered_tables(
    candidates: Sequence[Candidate[BatchPlan]], limit: Limit, replicas: int | None = None
) -> Iterator[Table]:
    """A table for each profile: every candidate with its interval and refusal, similar ones in one row.

    Properties that all share have no column. If there are many fleet sizes, those nearest to `replicas` are shown, or
    the largest.
    """
    several = len({one.plan.profile for one in candidates}) > 1
    for profile, group in groupby(candidates, key=lambda one: one.plan.profile):
        title = f"Considered: {profile}" if several else "Considered"
        yield _considered_table(list(group), limit, replicas, title)


def _considered_table(
    candidates: Sequence[Candidate[BatchPlan]], limit: Limit, replicas: int | None, title: str
) -> Table:
    particular = [name for name in _PARTICULAR if len({_part(one.plan, name) for one in candidates}) > 1]
    columns = (
        *(f"<{name}" for name in particular),
        "replicas",
        "<batch",
        "load",
        f"~{limit.what}",
        *(["rejected"] if _loses(candidates) else []),
        "<verdict",
    )
    shown = _SIZES_SHOWN if len(particular) < len(_PARTICULAR) else _SIZES_OF_MANY_KINDS
    groups = (list(group) for _, group in groupby(_nearest(candidates, replicas, shown), _refused_alike))
    has_losses = _loses(candidates)
    rows = (_candidates_row(group, limit, particular, has_losses=has_losses) for group in groups)
    return table(columns, rows, title=title)


def _loses(candidates: Sequence[Candidate[BatchPlan]]) -> bool:
    """Whether any of them loses a request."""
    return any(format_loss(one.performance) for one in candidates)


def _nearest(
    candidates: Sequence[Candidate[BatchPlan]], replicas: int | None, count: int
) -> Iterator[Candidate[BatchPlan]]:
    """The candidates of a few fleet sizes."""
    sizes = {one.plan.replicas for one in candidates}
    middle = max(sizes) if replicas is None else replicas
    shown = sorted(sizes, key=lambda size: (abs(size - middle), size))[:count]
    return (one for one in candidates if one.plan.replicas in shown)


def _refused_alike(candidate: Candidate[BatchPlan]) -> tuple[object, ...]:
    """Properties shared by candidates in one row; a simulated candidate with a batch wait has its own."""
    plan = candidate.plan
    alike = (plan.profile, plan.routing, plan.replicas, plan.batch_wait_max_s > 0.0)
    if plan.batch_wait_max_s > 0.0:  # there are many
        return *alike, candidate.accepted
    if candidate.performance is None and candidate.rejection is not None:
        return *alike, candidate.rejection.reason, candidate.rejection.event
    return *alike, plan.batch_size_max, "simulated"


def _candidates_row(
    group: Sequence[Candidate[BatchPlan]], limit: Limit, particular: Sequence[str], *, has_losses: bool
) -> tuple[str, ...]:
    first, last = group[0], group[-1]
    nearest = min(group, key=lambda one: _distance(one, limit))
    sizes = sorted({one.plan.batch_size_max for one in group})
    load, found = _found(nearest, limit)
    refused = nearest.rejection
    is_load = refused is not None and refused.reason in (Reason.STABILITY, Reason.SURVIVAL)
    unstable = is_load and refused is not None and refused.limit is None
    best = first is not last and not nearest.accepted and unstable
    return (
        *(_parts(group, name) for name in particular),
        str(first.plan.replicas),
        _span(list(map(str, sizes))),
        load,
        found,
        *([format_loss(nearest.performance)] if has_losses else []),
        _verdict(nearest, is_short=len(particular) > 1) + (" at best" if best else ""),
    )


def _distance(candidate: Candidate[BatchPlan], limit: Limit) -> float:
    """The value that refused a candidate, or else the value found; candidates with lower ones come first."""
    if candidate.rejection is not None:
        return candidate.rejection.needed
    found = None if candidate.performance is None else limit.found(candidate.performance)
    return 0.0 if found is None else found.value


def _found(candidate: Candidate[BatchPlan], limit: Limit) -> tuple[str, str]:
    """Load and interval of a simulated candidate; an undecided one shows a lower bound of its quantile."""
    performance = candidate.performance
    if performance is None:
        return "", ""
    found = limit.found(performance)
    least = "" if candidate.settled or (found is not None and math.isinf(found.value)) else ">= "
    shown = "" if found is None else format_value(limit, found)
    return "" if performance.load is None else f"{performance.load:.3f}", f"{least}{shown}"


def _part(plan: BatchPlan, name: str) -> str:
    parts = {
        "routing": plan.routing.value,
        "wait": format_duration(plan.batch_wait_max_s),
    }
    return parts[name]


def _parts(group: Sequence[Candidate[BatchPlan]], name: str) -> str:
    """The values of one property in several candidates, from the least to the largest."""
    ordered = sorted(group, key=lambda one: one.plan.batch_wait_max_s)
    return _span(list(dict.fromkeys(_part(one.plan, name) for one in ordered)))


def _span(values: Sequence[str]) -> str:
    return values[0] if len(values) == 1 else f"{values[0]} to {values[-1]}"


def _verdict(candidate: Candidate[BatchPlan], *, is_short: bool) -> str:
    verdict = format_verdict(candidate)
    return verdict.removeprefix("missed: ") if is_short else verdict
