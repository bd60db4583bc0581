"""Page: a saved plan as one HTML page for those who decide, with the numbers beside every chart."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from capacity.answer.refusals import format_refusal
from capacity.answer.saved_day import read_curve
from capacity.answer.sentences import demand, explain, fleet, format_found, limits_in_words
from capacity.files import versions
from capacity.performance import Kind
from capacity.question.candidate import Reason, Verdict
from capacity.question.caveat import in_order
from capacity.question.objective import format_value
from capacity.question.plan import Plan
from capacity.render.autoscaling.report import day_parts
from capacity.render.report import figures
from capacity.render.report.command import commands, inputs
from capacity.render.report.findings import Findings
from capacity.render.report.sections import (
    VERDICTS,
    Section,
    capital,
    day_section,
    distribution_section,
    frontier_section,
    map_section,
    rate_section,
    refused_section,
    window_section,
)
from capacity.render.report.what_if import Panel, what_if

if TYPE_CHECKING:
    from jinja2 import Template

_HOURS_OF_MONTH = 730.0  # a twelfth of a year


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanReport:
    """An HTML page and its first sentences."""

    page: str
    sentence: str
    verdict: Verdict

    @property
    def exit_code(self) -> int:
        """0 met, 3 missed, 4 inconclusive."""
        return self.verdict.exit_code


def write_page(found: Findings) -> PlanReport:
    """The page; the same findings give the same bytes."""
    sentence, *reasons = _verdict(found)
    verdict, panel = found.recommendation.verdict, what_if(found)
    page = template("page.html.j2").render(
        title=f"{found.saved.plan.profile}: capacity report",
        verdict=verdict.value,
        sentence=sentence,
        limits=list(_limit_rows(found)),
        price=_price(found),
        what_ifs=[
            *[("With one fewer", one) for one in reasons[:1]],
            ("If a replica dies", _one_lost(found)),
            *_alternatives(found, reasons),
        ],
        assumptions=list(assumptions(found)),
        first=rate_section(found),
        panel=panel if isinstance(panel, Panel) else None,
        no_panel=panel if isinstance(panel, Section) else None,
        sections=[
            *(day_section(part) for part in day_parts(found.saved)),
            map_section(found),
            distribution_section(found),
            frontier_section(found),
            window_section(found),
            refused_section(found),
        ],
        inputs=list(inputs(found.saved, found.digest)),
        commands=commands(found.saved),
        written=found.written.isoformat(),
        confidence=_confidence(found),
    )
    return PlanReport(page=page, sentence=sentence, verdict=verdict)


@cache
def template(name: str) -> "Template":
    """A template of a page, with the colours of its figures on a dark screen and the version that writes it."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("capacity.render.report", package_path=""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_typeset,
    )
    environment.globals |= figures.PAGE_COLOURS | {"version": versions()["capacity"]}
    return environment.get_template(name)


def _typeset(value: object) -> object:
    """Plain text with typographic signs; markup is unchanged."""
    return value.replace("<=", "≤").replace(">=", "≥") if type(value) is str else value


def _verdict(found: Findings) -> list[str]:
    """The sentences of `capacity plan`; if the plan is no longer certified, why not."""
    if found.recommendation.verdict is Verdict.MET:
        return list(explain(found.recommendation, found.saved.question, read_curve(found.saved)))
    saved, is_missed = found.saved, found.recommendation.verdict is Verdict.MISSED
    fate = "does not meet" if is_missed else "is not known to meet"
    return [
        f"{fleet(saved.plan)} {fate} {limits_in_words(saved.question.objective)} "
        f"{demand(saved.question.workload)} any more: {format_refusal(found.certified)}."
    ]


def _limit_rows(found: Findings) -> Iterator[tuple[str, str, str, float]]:
    """Each limit, its predicted value, and the share of the limit that this uses up, at most 1."""
    performance = found.recommendation.performance
    for limit in found.saved.question.objective.limits:
        seen = None if performance is None else limit.found(performance)
        pressure = None if performance is None else limit.pressure(performance)
        predicted = "not known" if seen is None else format_value(limit, seen)
        if pressure is None or math.isinf(pressure.value):
            yield str(limit), predicted, "", 1.0
        else:
            yield str(limit), predicted, f"{100.0 * pressure.value:.0f} %", min(1.0, pressure.value)


def _confidence(found: Findings) -> str:
    """What the numbers in brackets are."""
    performance = found.recommendation.performance
    if performance is not None and performance.kind is Kind.EXACT:
        return "By an exact law; no simulation is behind it."
    return f"In brackets: {100.0 * found.saved.effort.confidence:g} % intervals."


def _price(found: Findings) -> str:
    hourly_usd = found.recommendation.hourly_usd
    if hourly_usd is None:
        return "Not known: the profile has no price. Plan with --hourly-usd to have one."
    return f"{hourly_usd:.3f} USD/h, about {_HOURS_OF_MONTH * hourly_usd:.0f} USD in a month of 730 hours"


_HEADS = {
    "Headroom": "If traffic grows",
    "Random routing": "If routing is random",
    "Instead": "Instead",
    "Under Poisson": "With Poisson arrivals",
    "Without failures": "Without failures",
}


def _alternatives(found: Findings, reasons: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What the plan survives, how far the rate may rise, and other routing; nothing twice."""
    told = {f"With {one.event}:" for one in found.recommendation.survived if _is_one_gone(found, one.plan)}
    for text in reasons[1:]:
        event, colon, rest = text.partition(":")
        if f"{event}{colon}" in told:
            continue
        head = next((head for begins, head in _HEADS.items() if text.startswith(begins)), None)
        if head is None and colon:
            yield event, capital(rest.strip())
        else:
            what = rest.strip() if head == event else text.removeprefix("Headroom").lstrip(": ")
            yield head or "Also", what if head == "Instead" else capital(what)


def _is_one_gone(found: Findings, plan: Plan) -> bool:
    return found.one_lost is not None and found.one_lost.plan == plan


def _one_lost(found: Findings) -> str:
    """The fleet's performance with one replica gone."""
    one = found.one_lost
    if one is None:
        return "Nothing is left: no request is answered until the replica is back."
    left = f"{one.plan.replicas} {'is' if one.plan.replicas == 1 else 'are'} left"
    limit = found.saved.question.objective
    refused = one.rejection
    if refused is not None and refused.reason is Reason.STABILITY:
        return (
            f"{left}, at load {refused.needed:.3f} with the same batches: more requests arrive than they can "
            "serve, and the queues grow until it is back."
        )
    if one.performance is None:
        return f"{left}: {format_refusal(one)}."
    told = format_found(limit.binding(one.performance), one.performance)
    told = told if one.settled else told.replace(" is ", " is at least ", 1)
    return f"{left}, and {told}: the objective is {VERDICTS[one.verdict]}."


def assumptions(found: Findings) -> Iterator[tuple[str, str]]:
    """Assumptions: what may change the verdict first; then unchecked ones, and last those that were checked."""
    told = set()
    for caveat in in_order(found.recommendation.caveats):
        told.add(caveat.message)
        yield "Note", f"{_sentence(caveat.message)}"
    for checked in (False, True):
        for one in found.assumptions:
            if one.checked is checked and one.how not in told:
                yield "Checked" if checked else "Assumed", f"{_sentence(one.what)[:-1]}: {one.how}."


def _sentence(text: str) -> str:
    return f"{capital(text)}."
