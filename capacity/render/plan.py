"""Plan tables: the fleet that `capacity plan` recommends, and what else it considered."""

import math
from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from capacity.answer.refusals import format_loss, format_verdict
from capacity.answer.saturation import at_saturation
from capacity.answer.sentences import explain, format_headroom, format_missed_at
from capacity.performance import Performance, format_interval
from capacity.question.candidate import Candidate, Reason
from capacity.question.caveat import Caveat, in_order
from capacity.question.objective import Limit, Measure, Objective, format_value
from capacity.question.plan import Plan
from capacity.question.question import Question
from capacity.render.tables import caveat_lines, performance_rows, plan_rows, sparkline, table
from capacity.search.by_hour import Schedule
from capacity.search.recommendation import Change, Recommendation
from capacity.units import format_rate

_DAY_LINES = 3  # rates, replicas and the saving


def schedule_tables(day: Schedule, *, verbose: bool = False) -> Iterator[RenderableType]:
    """Rates and replicas of the day and the saving; if asked, a row for each run of equal hours."""
    rates, replicas = day.rates_rps, day.replicas
    slowest, highest = format_rate(min(rates)).removesuffix(" rps"), format_rate(max(rates))
    yield Text(f"Hour by hour: rate {sparkline(rates)} {slowest} to {highest}")
    yield Text(f"          replicas {sparkline(replicas)} {min(replicas)} to {max(replicas)}")
    if verbose:
        yield table(("<hours", "rate", "replicas"), hours_alike(day))
    yield from map(Text, schedule_sentences(day, briefly=not verbose))


def schedule_sentences(day: Schedule, *, briefly: bool = False) -> Iterator[str]:
    """What an ideal schedule saves, and the hours at which no fleet is known to meet the objective."""
    money = "" if day.daily_usd_saved is None else f", {day.daily_usd_saved:.2f} USD a day"
    yield (
        f"An ideal schedule takes {day.replica_hours_ideal} of {day.replica_hours_flat} replica-hours: "
        f"{100.0 * day.share_saved:.0f} % less{money}{'' if briefly else ', by the search'}."
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


_SIZES_SHOWN, _SIZES_OF_MANY_KINDS = 8, 3
_PARTICULAR = (
    2  # columns that a table has only if its candidates differ there: the routing, and another setting
)


def recommendation_lines(
    recommendation: Recommendation, question: Question, day: Schedule | None = None, *, verbose: bool = False
) -> Iterator[RenderableType]:
    """The answer in a few sentences, and the note that matters most; `verbose` has every sentence in full.

    Args:
        day: the schedule that is shown below.
    """
    besides = 0 if day is None else _DAY_LINES
    verdict, *others = explain(
        recommendation, question, None if day is None else day.curve, briefly=not verbose, besides=besides
    )
    yield Text(verdict, style="bold")
    yield from map(Text, others)
    yield from caveat_lines(_notes(recommendation)[0])
    if recommendation.changes:
        yield changes_table(recommendation.changes)


def where_next(recommendation: Recommendation) -> RenderableType:
    """Where more is found."""
    count, notes = len(recommendation.considered), len(_notes(recommendation)[1])
    also = f", {notes} more note{'s' if notes > 1 else ''}" if notes > 0 else ""
    kept = "" if recommendation.plan is None else "; -o plan.json, for explain and report"
    return Text(f"More: -v ({count} fleet{'s' if count != 1 else ''}{also}){kept}.")


def _notes(recommendation: Recommendation) -> tuple[list[Caveat], list[Caveat]]:
    """The note that matters most, which is none about the profile of another plan, and the others."""
    notes = in_order(recommendation.caveats)
    first = 1 if notes and not notes[0].of_another_profile else 0
    return notes[:first], notes[first:]


def recommendation_details(
    recommendation: Recommendation, question: Question, confidence: float
) -> Iterator[RenderableType]:
    """Every figure of the plan, what was considered, the work of the search, and the other notes."""
    if recommendation.plan is not None:
        yield Text()
        yield plan_table(recommendation)
    replicas = None if recommendation.plan is None else recommendation.plan.replicas
    limits = shown_limits(question.objective)
    yield Text()
    yield from considered_tables(recommendation.considered, limits, replicas)
    if recommendation.alternatives:
        yield instead_table(recommendation, question, limits)
    yield Text(tally_line(recommendation))
    if recommendation.saturation is not None:
        yield Text(at_saturation(recommendation.saturation))
    if recommendation.performance is not None:
        yield Text(f"In brackets: {100.0 * confidence:g} % intervals.")
    yield from caveat_lines(_notes(recommendation)[1])


def plan_table(recommendation: Recommendation) -> Table:
    """The recommended plan with its performance and price."""
    rows: list[tuple[str, str]] = []
    plan, performance = recommendation.plan, recommendation.performance
    if plan is not None:
        rows.extend(plan_rows(plan))
    if performance is not None:
        rows.extend(performance_rows(performance))
    if recommendation.headroom is not None:
        headroom = recommendation.headroom
        missed = format_missed_at(headroom, "missed")
        rows.append(("headroom", f"up to {format_headroom(headroom)}{missed}"))
    if recommendation.hourly_usd is not None:
        rows.append(("cost", f"{recommendation.hourly_usd:.3f} USD/h"))
        if performance is not None and performance.output_tokens_per_s:
            per_usd = performance.output_tokens_per_s / recommendation.hourly_usd
            rows.append(("output tokens for it", f"{per_usd:.0f} a second for each USD/h"))
    return table(("<", "<"), rows)


def tally_line(recommendation: Recommendation) -> str:
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


_SAY_LESS = (Measure.WAIT, Measure.LOSS, Measure.UTILIZATION)


def shown_limits(objective: Objective, binding: Limit | None = None) -> list[Limit]:
    """The limits that tables have a column for: of each measure the one at the highest quantile.

    The last one is `shown_limit`, or `binding` instead of the one of its measure; what says less has no other column.
    """
    chosen = binding or shown_limit(objective)
    by_measure = {one.measure: one for one in objective.limits if one.measure not in _SAY_LESS}
    return [*(one for one in by_measure.values() if one.measure is not chosen.measure), chosen]


def considered_tables(
    candidates: Sequence[Candidate],
    limits: Sequence[Limit],
    replicas: int | None = None,
) -> Iterator[Table]:
    """A table for each profile: every candidate with its interval and refusal, similar ones in one row.

    Properties that all share have no column. If there are many fleet sizes, those nearest to `replicas` are shown, or
    the largest.
    """
    several = len({one.plan.profile for one in candidates}) > 1
    for profile, group in groupby(candidates, key=lambda one: one.plan.profile):
        whose = f"Considered: {profile}" if several else "Considered"
        yield _considered_table(list(group), limits, replicas, whose)


def _considered_table(
    candidates: Sequence[Candidate], limits: Sequence[Limit], replicas: int | None, title: str
) -> Table:
    particular = _particular([one.plan for one in candidates])
    columns = _columns(candidates, limits, particular)
    shown = _SIZES_SHOWN if len(particular) < _PARTICULAR else _SIZES_OF_MANY_KINDS
    groups = (list(group) for _, group in groupby(_nearest(candidates, replicas, shown), _refused_alike))
    has_losses = _loses(candidates)
    rows = (_candidates_row(group, limits, particular, has_losses=has_losses) for group in groups)
    return table(columns, rows, title=title)


def instead_table(recommendation: Recommendation, question: Question, limits: Sequence[Limit]) -> Table:
    """Each choice that was not made, with what it differs in from the others and the plan, and its price."""
    found, plan = recommendation.alternatives, recommendation.plan
    particular = _particular([*(one.plan for one in found), *([] if plan is None else [plan])])
    has_losses = _loses(found)
    prices = [question.hourly_usd(one.plan) for one in found]
    has_prices = any(price is not None for price in prices)

    def with_price(cells: Sequence[str], price: str) -> tuple[str, ...]:
        *others, verdict = cells
        return (*others, *([price] if has_prices else []), verdict)

    rows = [
        with_price(
            _candidates_row([one], limits, particular, has_losses=has_losses),
            "" if price is None else f"{price:.3f}",
        )
        for one, price in zip(found, prices, strict=True)
    ]
    return table(with_price(_columns(found, limits, particular), "USD/h"), rows, title="Instead")


def _particular(plans: Sequence[Plan]) -> list[str]:
    """The properties in which plans differ."""
    return [name for name in _parts_of(plans[0]) if len({_parts_of(one)[name] for one in plans}) > 1]


def _columns(
    candidates: Sequence[Candidate], limits: Sequence[Limit], particular: Sequence[str]
) -> tuple[str, ...]:
    """Heads of a table of candidates, which differ in some properties."""
    return (
        *(f"<{name}" for name in particular),
        "replicas",
        f"<{candidates[0].plan.size_name}",
        "load",
        *(f"~{limit.what}" for limit in limits),
        *([_lost_word(candidates)] if _loses(candidates) else []),
        "<verdict",
    )


def _lost_word(candidates: Sequence[Candidate]) -> str:
    """What is said of requests that are lost, the same for all candidates of a question."""
    return next(one.performance.lost_word for one in candidates if one.performance is not None)


def _loses(candidates: Sequence[Candidate]) -> bool:
    """Whether any of them loses a request."""
    return any(format_loss(one.performance) for one in candidates)


def _nearest(candidates: Sequence[Candidate], replicas: int | None, count: int) -> Iterator[Candidate]:
    """The candidates of a few fleet sizes."""
    sizes = {one.plan.replicas for one in candidates}
    middle = max(sizes) if replicas is None else replicas
    shown = sorted(sizes, key=lambda size: (abs(size - middle), size))[:count]
    return (one for one in candidates if one.plan.replicas in shown)


def _refused_alike(candidate: Candidate) -> tuple[object, ...]:
    """Properties shared by candidates in one row; a simulated candidate with a batch wait has its own."""
    plan = candidate.plan
    alike = (plan.profile, plan.routing, plan.replicas, plan.starts_at_once)
    if not plan.starts_at_once:  # there are many
        return *alike, candidate.accepted
    if candidate.performance is None and candidate.rejection is not None:
        return *alike, candidate.rejection.reason, candidate.rejection.event
    return *alike, plan.settings, "simulated"


def _candidates_row(
    group: Sequence[Candidate], limits: Sequence[Limit], particular: Sequence[str], *, has_losses: bool
) -> tuple[str, ...]:
    first, last = group[0], group[-1]
    nearest = min(group, key=lambda one: _distance(one, limits[-1]))
    sizes = sorted({one.plan.at_once for one in group})
    refused = nearest.rejection
    is_load = refused is not None and refused.reason in (Reason.STABILITY, Reason.SURVIVAL)
    unstable = is_load and refused is not None and refused.limit is None
    best = first is not last and not nearest.accepted and unstable
    return (
        *(_parts(group, name) for name in particular),
        str(first.plan.replicas),
        _span(list(map(str, sizes))),
        _load(nearest),
        *(format_candidate(nearest, limit) for limit in limits),
        *([format_loss(nearest.performance)] if has_losses else []),
        _verdict(nearest, is_short=len(particular) > 1) + (" at best" if best else ""),
    )


def _distance(candidate: Candidate, limit: Limit) -> float:
    """The value that refused a candidate, or else the value found; candidates with lower ones come first."""
    if candidate.rejection is not None:
        return candidate.rejection.needed
    found = None if candidate.performance is None else limit.found(candidate.performance)
    return 0.0 if found is None else found.value


def _load(candidate: Candidate) -> str:
    """Load of a simulated candidate."""
    performance = candidate.performance
    return "" if performance is None or performance.load is None else f"{performance.load:.3f}"


def format_candidate(candidate: Candidate, limit: Limit) -> str:
    """Interval of a simulated candidate; an undecided one shows a lower bound of its quantile."""
    if candidate.performance is None:
        return ""
    found = limit.found(candidate.performance)
    least = "" if candidate.settled or (found is not None and math.isinf(found.value)) else ">= "
    return least + ("" if found is None else format_value(limit, found))


def _parts_of(plan: Plan) -> dict[str, str]:
    """The properties of a plan that are shown if candidates differ there, by name."""
    return {"profile": plan.profile, "routing": plan.routing.value, **dict([plan.other_setting])}


def _parts(group: Sequence[Candidate], name: str) -> str:
    """The values of one property in several candidates, from the least to the largest."""
    ordered = sorted(group, key=lambda one: one.plan.settings)
    return _span(list(dict.fromkeys(_parts_of(one.plan)[name] for one in ordered)))


def _span(values: Sequence[str]) -> str:
    return values[0] if len(values) == 1 else f"{values[0]} to {values[-1]}"


def changes_table(changes: Sequence[Change]) -> Table:
    """Effects of other engine settings on the same fleet."""

    def p99(found: Performance | None, name: str) -> str:
        known = {} if found is None else getattr(found, name)
        return format_interval(known[0.99]) if 0.99 in known else ""

    rows = [
        (
            one.what,
            "" if one.saturation is None else format_rate(one.saturation.rate_rps * one.plan.replicas),
            *(p99(one.candidate.performance, name) for name in _CHANGED),
        )
        for one in changes
    ]
    return table(("<setting", "saturates at", *_CHANGED.values()), rows, title="Other settings")


_CHANGED = {"ttft_quantiles_s": "TTFT P99", "itl_quantiles_s": "ITL P99", "response_quantiles_s": "P99"}


def _verdict(candidate: Candidate, *, is_short: bool) -> str:
    verdict = format_verdict(candidate)
    return verdict.removeprefix("missed: ") if is_short else verdict
