"""The verb `report`: a saved plan as one page."""

import os
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from capacity.answer.plan_like import Saved, as_saved
from capacity.api.saved import confirmed
from capacity.api.work import Work, at_work
from capacity.doors import door
from capacity.errors import InputError, quoted
from capacity.files import is_file
from capacity.question.arguments import Asked
from capacity.question.scenario import AnyScenario
from capacity.server.kinds import asked_of

if TYPE_CHECKING:
    from capacity.answer.saved_plan import SavedPlan
    from capacity.explanation.around import Explored
    from capacity.performance import Performance
    from capacity.render.report.findings import Findings
    from capacity.render.report.page import PlanReport
    from capacity.search.recommendation import Recommendation


# Relative half-width of the fleets around a plan, of which there are hundreds; theirs is shown with each.
_AROUND_PRECISION = 0.05


@door("report")
def report(asked: Asked) -> "PlanReport":
    """Write a saved plan as one page of HTML, with charts and tables, to pass on or to print.

    The plan is simulated again with its saved random numbers; the search is not repeated.

    Raises:
        InputError: a file that holds no plan, or one without a certificate; or a path that cannot be written.
    """

    from capacity.answer.saved_plan import read_plans
    from capacity.files import check_target, write_whole
    from capacity.render.report.page import write_page

    path = Path(asked.output)
    check_target(path, "a report", (".html",))
    kept = as_saved(asked.plan)
    saved = confirmed(*read_plans([kept], asked.arrivals))
    asked_of([saved.profile]).refuse(asked)
    effort = replace(saved.effort, workers=asked.workers, cluster=asked.cluster)
    with at_work(effort, asked.progress) as work:
        report = write_page(_report_findings(saved, work, _digest(kept)))
    write_whole(path, report.page.encode())
    return report


def _report_findings(saved: "SavedPlan", work: Work, digest: str | None) -> "Findings":
    """Everything that a report shows of a plan, most of it simulated again."""
    from capacity.answer.saved_answer import read_recommendation
    from capacity.explanation.explanation import find_assumptions
    from capacity.explanation.nearby import one_lost, performance_at_rates
    from capacity.render.report.findings import Findings
    from capacity.search.certificate import certify
    from capacity.traffic.workload import is_patient

    assert saved.certificate is not None  # noqa: S101  (who asks has looked)
    question, plan, confidence = saved.question, saved.plan, saved.effort.confidence
    trial = certify(question, work.judge, plan, saved.certificate, work.report)
    recommendation = read_recommendation(saved, trial)
    around = _explored(saved, recommendation, work)
    distribution = _distribution(question.scenario(plan), work)
    seen = distribution or trial.whole.performance
    drawn = seen if is_patient(question.workload) else None  # no picture shows attempts
    return Findings(
        saved=saved,
        recommendation=recommendation,
        certified=trial.candidate,
        assumptions=tuple(
            find_assumptions(
                question,
                plan,
                trial.whole,
                certified=trial.candidate.accepted,
                precision=saved.effort.precision,
            )
        ),
        rates=performance_at_rates(question, trial.whole, work.judge, work.report, confidence),
        one_lost=one_lost(question, trial, work.judge, work.report, confidence),
        distribution=distribution,
        window=None if drawn is None else work.window(question.scenario(plan), drawn),
        around=around,
        digest=digest,
        written=today(),
    )


def _explored(saved: "SavedPlan", found: "Recommendation", work: Work) -> "Explored | None":
    """The grids around a plan, simulated; None for a fleet that an autoscaler sizes, or if they take too long."""
    from capacity.answer.saved_autoscaler import read_autoscaler
    from capacity.explanation.around import (
        DETAILS,
        ENOUGH_SHARE,
        LEAST_SHARE,
        Explored,
        fleets_around,
        requests_worth,
    )
    from capacity.units import QUANTILES
    from simulations.simulate import Countdown, allowance, answer, answers, needed

    if read_autoscaler(saved) is not None:
        return None
    total = requests_worth(saved.question, saved.plan, saved.effort.requests_max)
    simulation = work.simulate(sorted({*QUANTILES, *saved.question.objective.quantiles}))
    for detail in DETAILS:
        around = fleets_around(saved.question, saved.plan, found.considered, detail)
        cells = list(around.cells())
        needs = needed(cells, simulation)
        requests_max = allowance(needs, total)
        fitting = [need <= requests_max for need in needs if need is not None]
        if sum(fitting) >= ENOUGH_SHARE * len(fitting):
            break
    own = answer(simulation, cells[around.own_cell])
    if own.performance is None or sum(fitting) < LEAST_SHARE * len(fitting):
        return None
    simulation = replace(
        simulation,
        requests_max=min(saved.effort.requests_max, requests_max),
        precision=max(simulation.precision, _AROUND_PRECISION),
    )
    countdown, answered = Countdown(len(cells), 0, work.report), []
    for one in answers(cells, simulation):
        answered.append(one)
        countdown.tick()
    answered[around.own_cell] = own
    return Explored(
        around=around, answers=tuple(answered), needs=tuple(needs), requests_max=simulation.requests_max
    )


def _distribution(scenario: AnyScenario, work: Work) -> "Performance | None":
    """Enough quantiles of the limited time for a curve; None if the budget is too small for them."""
    from capacity.errors import InconclusiveError
    from capacity.render.report.sections import timed
    from capacity.search.exact import judge_exactly

    limited = scenario.objective.by_quantile(timed(scenario.objective))
    shares = [0.02, 0.05, *(number / 10 for number in range(1, 10)), 0.95, 0.97, 0.98, 0.985, 0.99]
    tail = [0.993, 0.995, 0.997, 0.998, 0.999] if max(limited, default=0.0) > 0.99 else []
    quantiles = tuple(sorted({*shares, *tail, *limited}))
    work.report("simulating the response times")
    exact = judge_exactly(scenario, quantiles)
    if exact is not None:
        return exact.performance
    try:
        found: Performance = work.simulate(quantiles)(scenario)
    except InconclusiveError:
        return None
    return found


def today() -> date:
    """Today, or the day of SOURCE_DATE_EPOCH, both in UTC.

    Raises:
        InputError: the variable does not hold seconds since 1970.

    Source:
        Reproducible Builds, SOURCE_DATE_EPOCH specification 1.1: if set, it replaces the current time.
    """
    seconds = os.environ.get("SOURCE_DATE_EPOCH")
    if seconds is None:
        return datetime.now(UTC).date()
    try:
        return datetime.fromtimestamp(int(seconds), UTC).date()
    except (ValueError, OverflowError, OSError):
        raise InputError(
            f"SOURCE_DATE_EPOCH {quoted(seconds)} is not whole seconds since 1970; mend or unset it"
        ) from None


def _digest(plan: Saved) -> str | None:
    """SHA-256 of a plan's file; None for an answer or a stream, which cannot be read again."""
    import hashlib

    if not isinstance(plan, str | Path) or not is_file(plan):
        return None
    return hashlib.sha256(Path(plan).read_bytes()).hexdigest()
