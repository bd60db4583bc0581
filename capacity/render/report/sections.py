"""Sections: the charts of a report page, each next to its numbers."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from capacity.answer.refusals import format_loss, format_verdict
from capacity.answer.saved_plan import SavedPlan
from capacity.answer.sentences import format_headroom
from capacity.performance import Interval, Window, format_interval
from capacity.question.candidate import Candidate, Reason, Verdict
from capacity.question.objective import Limit, Measure, Objective, format_value
from capacity.question.plan import Plan
from capacity.render.autoscaling.report import DayPart
from capacity.render.plot import Panels
from capacity.render.report import figures
from capacity.render.report.findings import Findings, shown
from capacity.traffic.workload import ClosedPopulation
from capacity.units import format_duration, format_quantile, format_rate

_REFUSED_MAX, _FRONTIER_MAX, _MAP_MAX = 8, 8, 6  # rows; the saved plan has all
_SHOWN_QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999)
VERDICTS = {Verdict.MET: "met", Verdict.MISSED: "missed", Verdict.INCONCLUSIVE: "in doubt"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Text of a table's cell, and a class for its style."""

    text: str
    look: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table: its caption, the heads of its columns, and rows whose first cell names the row."""

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A section of the page: its text, a chart and a table, or why there is none."""

    key: str
    title: str
    lead: str
    svg: Markup | None = None
    table: Table | None = None


def capital(text: str) -> str:
    """The text with its first letter as a capital."""
    return f"{text[:1].upper()}{text[1:]}"


def _chart(panels: Panels, key: str, alt: str) -> Markup:
    return Markup(figures.inline_svg(panels, key, str(escape(alt))))  # noqa: S704  (alt is escaped)


def _value(limit: Limit, found: Interval | None) -> str:
    return "" if found is None else format_value(limit, found)


def _found(candidate: Candidate, limit: Limit) -> Interval | None:
    return None if candidate.performance is None else limit.found(candidate.performance)


def _verdict_cell(candidate: Candidate) -> Cell:
    return Cell(text=format_verdict(candidate), look=candidate.verdict.value)


def _word_cell(candidate: Candidate) -> Cell:
    return Cell(text=VERDICTS[candidate.verdict], look=candidate.verdict.value)


def rate_section(found: Findings) -> Section:
    """The limited quantity over the arrival rate."""
    limit = shown(found)
    title = f"{capital(limit.what)} over the arrival rate"
    workload = found.saved.question.workload
    if isinstance(workload, ClosedPopulation):
        lead = "Not shown: users who wait for their answers have no arrival rate of their own."
        return Section(key="rate", title=title, lead=lead)
    spots = [
        (rate_rps, seen, one.verdict)
        for rate_rps, one in found.rates
        if (seen := _found(one, limit)) is not None
    ]
    if not any(math.isfinite(seen.value) for _, seen, _ in spots):
        lead = f"Not shown: nothing is known of {limit.what} at other rates."
        return Section(key="rate", title=title, lead=lead)
    headroom = found.recommendation.headroom
    accepted_rps = None if headroom is None else headroom.accepted_rps
    lead = f"The objective is {limit}, and the plan is made for {format_rate(workload.arrival_rate_rps)}."
    if headroom is not None:
        lead += f" It still meets the objective at {format_headroom(headroom)}, in shorter runs."
    lead += " The verdicts at other rates come from shorter simulations too."
    drawn = figures.draw_rates(spots, limit, workload.arrival_rate_rps, accepted_rps)
    rows = [
        (Cell(text=format_rate(rate_rps)), Cell(text=_value(limit, _found(one, limit))), _word_cell(one))
        for rate_rps, one in found.rates
    ]
    table = Table(
        caption=f"{capital(limit.what)} by arrival rate", heads=("rate", limit.what, "verdict"), rows=rows
    )
    return Section(
        key="rate", title=title, lead=lead, svg=_chart(drawn, "rate", f"{title}. {lead}"), table=table
    )


def day_section(part: DayPart) -> Section:
    """A part about the day of the plan."""
    rows = [[Cell(text=text) for text in row] for row in part.rows]
    table = Table(caption=part.caption, heads=part.heads, rows=rows)
    return Section(key=part.key, title=part.title, lead=part.lead, table=table)


def map_section(found: Findings) -> Section:
    """Replicas and batches, or sequences, of the plan's profile and routing, each with the best other settings."""
    plan, limit = found.saved.plan, shown(found)
    best: dict[tuple[int, int], Candidate] = {}
    for one in _with_certified(found):
        if (one.plan.profile, one.plan.routing) == (plan.profile, plan.routing):
            place = (one.plan.replicas, one.plan.at_once)
            best[place] = min((best.get(place, one), one), key=lambda seen: _rank(seen, limit))
    best[plan.replicas, plan.at_once] = found.certified
    counts = sorted({replicas for replicas, _ in best}, key=lambda n: (abs(n - plan.replicas), n))[:_MAP_MAX]
    names = {one.plan.at_once: one.plan.at_once_text for one in best.values()}
    sizes = sorted(names)
    rows = [
        (Cell(text=str(n)), *(_map_cell(best.get((n, size)), limit, plan) for size in sizes))
        for n in sorted(counts, reverse=True)
    ]
    table = Table(
        caption=f"{capital(limit.what)} of each fleet that was tried",
        heads=("replicas", *(names[size] for size in sizes)),
        rows=rows,
    )
    lead = (
        f"{capital(limit.what)} with the best other settings that were tried. ✓ meets the objective, ✕ does "
        "not, ? is in doubt; “unstable” is refused by theory, and an empty cell was not tried. The chosen "
        "plan is framed."
    )
    return Section(key="map", title="Replicas and how each is set", lead=lead, table=table)


def _with_certified(found: Findings) -> Iterator[Candidate]:
    """The considered candidates, with the plan itself as it was certified."""
    yield from (one for one in found.recommendation.considered if one.plan != found.saved.plan)
    yield found.certified


def _rank(candidate: Candidate, limit: Limit) -> tuple[bool, bool, float]:
    seen = _found(candidate, limit)
    return not candidate.accepted, seen is None, 0.0 if seen is None else seen.value


def _map_cell(candidate: Candidate | None, limit: Limit, plan: Plan) -> Cell:
    if candidate is None:
        return Cell(text="", look="untried")
    seen, rejection = _found(candidate, limit), candidate.rejection
    sign = {Verdict.MET: "✓", Verdict.MISSED: "✕", Verdict.INCONCLUSIVE: "?"}[candidate.verdict]
    look = candidate.verdict.value
    if (candidate.plan.replicas, candidate.plan.at_once) == (plan.replicas, plan.at_once):
        look += " chosen"
    if seen is None:
        is_load = rejection is not None and rejection.reason in (Reason.STABILITY, Reason.SURVIVAL)
        return Cell(text="unstable" if is_load else f"{sign} refused", look=f"{look} theory")
    short = "lost" if math.isinf(seen.value) else _value(limit, Interval.exact(seen.value))
    return Cell(text=f"{sign} {'' if candidate.settled else '≥ '}{short}", look=look)


def distribution_section(found: Findings) -> Section:
    """Distribution of the limited time: the share of requests that takes longer."""
    measure, seen = timed(found.saved.question.objective), found.distribution
    title = "Response times" if measure is Measure.RESPONSE else f"Times of {measure.short}"
    if seen is None:
        lead = "Not shown: the budget of requests does not suffice for the whole distribution."
        return Section(key="times", title=title, lead=lead)
    certified = found.recommendation.performance
    quantiles_s = dict(getattr(seen, measure.value))
    quantiles_s |= {} if certified is None else dict(getattr(certified, measure.value))
    quantiles_s = dict(sorted(quantiles_s.items()))
    limits_s = dict(found.saved.question.objective.by_quantile(measure))
    middle, late = quantiles_s[0.5], quantiles_s[max(limits_s, default=0.99)]
    done = "are answered" if measure is Measure.RESPONSE else f"have a {measure.short}"
    lead = (
        f"Half of the requests {done} within {format_duration(middle.value)}, and "
        f"{100.0 * max(limits_s, default=0.99):.4g} % within {format_duration(late.value)}."
    )
    if seen.loss_probability:
        lead += f" These are the served ones: {format_loss(seen)} of the requests are lost."
    if not limits_s:
        lead += " The objective has no limit on a percentile of the response time."
    shown = sorted({*_SHOWN_QUANTILES, *limits_s} & set(quantiles_s))
    rows = [
        (
            Cell(text=format_quantile(q)),
            Cell(text=format_interval(quantiles_s[q])),
            Cell(text=format_duration(limits_s[q]) if q in limits_s else ""),
        )
        for q in shown
    ]
    what = "response time" if measure is Measure.RESPONSE else measure.short
    table = Table(caption="Percentiles", heads=("percentile", what, "objective"), rows=rows)
    drawn = figures.draw_distribution(quantiles_s, limits_s, what)
    alt = f"Share of requests that take longer than a given time. {lead}"
    return Section(key="times", title=title, lead=lead, svg=_chart(drawn, "times", alt), table=table)


def timed(objective: Objective) -> Measure:
    """The time whose distribution is shown: the response if it is limited, else the first with limited percentiles."""
    limited = [
        limit.measure
        for limit in objective.limits
        if limit.quantile is not None and limit.measure.is_duration
    ]
    is_usual = not limited or Measure.RESPONSE in limited or limited[0] is Measure.WAIT
    return Measure.RESPONSE if is_usual else limited[0]


def frontier_section(found: Findings) -> Section:
    """The cost of a lower percentile."""
    limit = shown(found)
    title, priced = f"Cost and {limit.what}", found.recommendation.hourly_usd is not None
    spots: list[tuple[float, Interval, Verdict]] = []
    best: dict[float, Candidate] = {}
    for one in _with_certified(found):
        seen, cost = _found(one, limit), _cost(found.saved, one.plan)
        if seen is None or cost is None or math.isinf(seen.value):
            continue
        spots.append((cost, seen, one.verdict))
        best[cost] = min((best.get(cost, one), one), key=lambda two: _rank(two, limit))
    certified = found.certified.performance
    chosen_cost, here = (
        _cost(found.saved, found.saved.plan),
        None if certified is None else limit.found(certified),
    )
    drawable = [one for one in spots if one[1].value <= figures.TOP * limit.allowed]
    if not drawable or here is None or chosen_cost is None:
        return Section(key="cost", title=title, lead="Not shown: no fleet was simulated to its end.")
    unit = "USD/h" if priced else "replicas"
    lead = (
        "Each mark is a fleet that was simulated; the line joins those that meet the objective and that no "
        f"fleet as cheap beats in {limit.what}."
    )
    best[chosen_cost] = found.certified
    heads = (unit, "fleet", limit.what, "verdict")
    rows = [
        (Cell(text=f"{cost:.3f}" if priced else f"{cost:g}"), *_fleet_cells(best[cost], found.saved, limit))
        for cost in sorted(best)[:_FRONTIER_MAX]
    ]
    drawn = figures.draw_frontier(spots, (chosen_cost, here.value), limit, is_priced=priced)
    table = Table(caption="The chosen fleet, and the best at other prices", heads=heads, rows=rows)
    return Section(
        key="cost", title=title, lead=lead, svg=_chart(drawn, "cost", f"{title}. {lead}"), table=table
    )


def _fleet_cells(one: Candidate, saved: SavedPlan, limit: Limit) -> tuple[Cell, ...]:
    """A fleet, its limited value and its verdict."""
    words = Cell(text=_short_fleet(one.plan, saved), look="words")
    return words, Cell(text=_least(one, limit)), _word_cell(one)


def _cost(saved: SavedPlan, plan: Plan) -> float | None:
    """Price, or number of replicas if there is one profile without a price."""
    profile = next((one for one in saved.question.profiles if one.name == plan.profile), None)
    if profile is None:
        return None
    price = profile.hourly_cost_usd(plan.replicas)
    return float(plan.replicas) if price is None else float(price)


def _least(candidate: Candidate, limit: Limit) -> str:
    """The limited value; for an undecided run, its lower bound."""
    return ("" if candidate.settled else "≥ ") + _value(limit, _found(candidate, limit))


def _short_fleet(plan: Plan, saved: SavedPlan) -> str:
    """A fleet as `4 replicas, batch 16`, with profile and routing only if there are several."""
    question = saved.question
    name = f"{plan.replicas} replica{'s' if plan.replicas > 1 else ''}"
    if len(question.profiles) > 1:
        name = f"{plan.replicas} × {plan.profile}"
    routing = f", {plan.routing.value}" if len(question.routings) > 1 else ""
    return f"{name}, {plan.server_text}{routing}"


def window_section(found: Findings) -> Section:
    """Effect of batching: batches and queues in a short stretch of a run."""
    window = found.window
    if window is None or not window.batches:
        performance = found.recommendation.performance
        has_batches = performance is None or performance.batch_size_mean is not None
        few, steps = "too few requests were served", "an engine puts a new batch together for each step"
        lead = f"Not shown: {few if has_batches else steps}."
        return Section(key="fleet", title="The fleet at work", lead=lead)
    length = format_duration(window.length_s)
    title = f"{length} of the simulated fleet"
    queues = "the queue" if window.replicas == 1 else f"the queues of all {window.replicas} replicas"
    lead = f"Each bar is one batch, the darker the larger; below, how many requests wait in {queues}."
    if window.length_s < 10.0:
        lead += " Ten seconds would have too many batches to see."
    if window.replicas_shown < window.replicas:
        lead += f" The first {window.replicas_shown} of {window.replicas} replicas are shown."
    return Section(
        key="fleet",
        title=title,
        lead=lead,
        svg=_chart(figures.draw_window(window), "fleet", f"{title}. {lead}"),
        table=_window_table(window),
    )


def _window_table(window: Window) -> Table:
    ends = figures.shade_ends(window)
    rows = []
    for low, high in zip([0, *ends], ends, strict=False):
        sizes = [batch.size for batch in window.batches if low < batch.size <= high]
        span = str(high) if min(sizes) == high else f"{min(sizes)} to {high}"
        look = f"shade{figures.shade_of(high, ends)}"
        rows.append((Cell(text=span, look=look), Cell(text=str(len(sizes))), Cell(text=str(sum(sizes)))))
    mean = sum(window.waiting) / len(window.waiting)
    caption = (
        f"Batches shown, by size; {mean:.3g} requests wait on average, and {max(window.waiting)} at most"
    )
    return Table(caption=caption, heads=("batch size", "batches", "requests"), rows=rows)


def refused_section(found: Findings) -> Section:
    """The refused fleets closest to the objective, and how many theory refused."""
    limit = shown(found)
    refused = [one for one in found.recommendation.considered if not one.accepted]
    simulated = [one for one in refused if _found(one, limit) is not None]
    objective = found.saved.question.objective

    def pressure(one: Candidate) -> float:
        assert one.performance is not None  # noqa: S101  (it was simulated)
        share = objective.binding(one.performance).pressure(one.performance)
        return math.inf if share is None else share.value

    nearest = sorted(simulated, key=pressure)[:_REFUSED_MAX]
    rows = [
        (
            Cell(text=_short_fleet(one.plan, found.saved)),
            Cell(
                text=""
                if one.performance is None or one.performance.load is None
                else f"{one.performance.load:.3f}"
            ),
            Cell(text=_least(one, limit)),
            _verdict_cell(one),
        )
        for one in nearest
    ]
    by_theory = len(refused) - len(simulated)
    lead = (
        f"Fleets considered: {len(found.recommendation.considered)}. Refused: {len(refused)}"
        f"{f', {by_theory} of them by theory alone' if by_theory else ''}."
    )
    title = "Refused neighbours"
    if not rows:
        return Section(key="refused", title=title, lead=lead)
    if len(simulated) > len(nearest):
        lead += f" The {len(nearest)} that came nearest:"
    heads = ("fleet", "load", limit.what, "verdict")
    table = Table(caption="Refused after a simulation, the nearest first", heads=heads, rows=rows)
    return Section(key="refused", title=title, lead=lead, table=table)
