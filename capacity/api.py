"""The verbs that `import capacity as cap` offers, and where search meets simulation.

Each flag of a command is a keyword of the verb of the same name, with the same default, from the one table in
`capacity.question.asked`. Durations and rates are text with a unit, `slo_p99="80ms"`, or SI numbers by the keyword
with the unit in its name, `slo_p99_s=0.08`; a number without a unit is refused.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from capacity.answer.plan_like import PlanLike, Saved, as_saved
from capacity.api_asked import asked_grid, asked_question, asked_requests, asked_scenario, to_scale
from capacity.api_work import Report, Work, at_work
from capacity.doors import door
from capacity.errors import InputError
from capacity.files import is_file, located
from capacity.profile.load import ProfileLike, load_profile
from capacity.profile.profile import ServiceProfile
from capacity.question import parse
from capacity.question.arguments import Asked, many, silent
from capacity.question.budget import Effort
from capacity.question.scenario import AnyScenario, Scenario, with_autoscaler
from capacity.question.verbs import BATCHING, EFFORT, VERBS
from capacity.server.kinds import asked_of, require_one_kind

if TYPE_CHECKING:
    from capacity.answer.check import Finding, GateInputs
    from capacity.answer.saved_plan import SavedPlan
    from capacity.answers import (
        CheckAnswer,
        ComparisonAnswer,
        ExplanationAnswer,
        LawAnswer,
        LoadCurveAnswer,
        PlanAnswer,
        PredictionAnswer,
        RatesAnswer,
        SimulationAnswer,
        SweepAnswer,
        WorkloadAnswer,
    )
    from capacity.api_recovery import Trouble
    from capacity.evidence.compared import ComparedRun
    from capacity.evidence_answers import AuditAnswer, ImportAnswer, LlmProfileAnswer, StagesAnswer
    from capacity.formats.load_test import LoadRun
    from capacity.formats.running_plan import RunningPlan
    from capacity.performance import Interval, Performance
    from capacity.question.caveat import Caveat
    from capacity.question.comparison import PoissonError
    from capacity.question.grid import Grid
    from capacity.question.plan import Plan
    from capacity.question.question import Question
    from capacity.recovery.disturbance import Disturbances
    from capacity.render.report import Findings, PlanReport
    from capacity.traffic.daily import DailyCurve
    from capacity.traffic.workload import TraceArrivals


@door("plan")
def plan(asked: Asked) -> "PlanAnswer":
    """The cheapest fleet that meets the objective, how certain that is, and why fewer are not enough.

    Raises:
        InputError: an argument that cannot be read, or that contradicts another.
        DomainError: an argument out of range.

    >>> from capacity.profile.load import load_profile
    >>> resnet = load_profile("resnet50-t4-fp16").of_means()  # constant times, whose law is exact
    >>> answer = plan(resnet, rate="500rps", slo_p99="100ms", batch_wait="0ms", batch_size_max=4)
    >>> answer.plan.replicas, answer.verdict.value
    (1, 'met')
    """
    from capacity import api_autoscale, api_recovery
    from capacity.recovery.parse import read_disturbances

    day = parse.read_curve(asked.daily, asked.rate, asked.users)
    question = asked_question(asked, asked.rate if day is None else day.peak_rate_rps)
    effort = asked.effort
    api_autoscale.require_controlled(asked, question, day)
    trouble = api_recovery.read_trouble(asked)
    disturbances = read_disturbances(asked.pause, asked.request_class)
    question = api_recovery.in_trouble(question, trouble, disturbances)
    if asked.before is not None:
        asked.before(question)
    with at_work(effort, asked.progress) as work:
        answer = _planned(question, trouble, disturbances, work)
        if answer.plan is not None and day is not None:
            answer = replace(answer, **_over_the_day(answer.question, answer.plan, day, asked, work))
        if answer.plan is not None and asked.explain:
            answer = _explained(answer, answer.plan, work)
    return answer


def _planned(
    question: "Question", trouble: "Trouble | None", disturbances: "Disturbances | None", work: Work
) -> "PlanAnswer":
    """The cheapest plan, which endures and recovers from what was asked, with how far its rate may rise."""
    # Slow imports come only now, so that a mistake is reported at once.
    from capacity import api_recovery
    from capacity.answers import PlanAnswer
    from capacity.search.caveats import with_implausible
    from capacity.search.planner import recommend, with_headroom
    from simulations.servers import require_sound

    for profile in question.profiles:
        require_sound(profile, work.report)
    is_calm = trouble is None and disturbances is None
    found = recommend(
        question, work.judge, work.report, has_headroom=is_calm, confidence=work.effort.confidence
    )
    recovery = disturbed = None
    if disturbances is not None and found.plan is not None:
        found, disturbed = api_recovery.plan_disturbed(question, found, disturbances, work)
    if trouble is not None and found.plan is not None:
        found, recovery = api_recovery.plan_to_recover(question, found, trouble, work)
    if (plan := found.plan) is not None and not is_calm:
        found = with_headroom(question, found, work.judge, work.report)
        question = replace(question, replicas_min=plan.replicas, space=question.space.limited_as(plan))
    return PlanAnswer(
        question=question,
        effort=work.effort,
        recommendation=with_implausible(found, question),
        recovery=recovery,
        disturbed=disturbed,
    )


def _over_the_day(
    question: "Question", plan: Any, day: "DailyCurve", asked: Asked, work: Work
) -> dict[str, Any]:
    """Parts of an answer: the replicas of each hour, and the autoscaler, if one is asked for."""
    from capacity import api_autoscale
    from capacity.search.by_hour import schedule

    hours = schedule(question, plan, day.hourly_rates_rps, work.judge, work.report)
    return {
        "day": replace(hours, flags=parse.day_flags(asked.daily), curve=day),
        "autoscaled": api_autoscale.plan_autoscaled(question, plan, asked, day, work),
    }


def _explained(answer: "PlanAnswer", plan: "Plan", work: Work) -> "PlanAnswer":
    """The answer with its explanation."""
    from capacity.explanation.explanation import explain_plan

    found = answer.recommendation
    reasons = explain_plan(
        answer.question,
        plan,
        work.judge,
        work.report,
        performance=found.performance,
        like_it=found.like_it,
        precision=work.effort.precision,
        confidence=work.effort.confidence,
    )
    if reasons.saturation is not None:
        found = replace(found, changes=reasons.neighbours)
    return replace(answer, recommendation=found, explanation=reasons)


@door("simulate")
def simulate(asked: Asked) -> "SimulationAnswer":
    """The performance of one plan, with intervals.

    Raises:
        InputError: an argument that cannot be read, or that contradicts another.
        UnstableError: the plan cannot sustain the arrival rate.
        InconclusiveError: the budget is too small for an interval.
    """
    from capacity.units import QUANTILES

    quantiles, effort = parse.read_quantiles(asked.quantile, QUANTILES), asked.effort
    scenario = replace(
        parse.in_failure(with_autoscaler(asked_scenario(asked), asked), asked), quantiles=quantiles
    )
    # Slow imports come only now, so that a mistake is reported at once.
    from capacity.answers import SimulationAnswer
    from capacity.search.caveats import scenario_caveats

    with at_work(effort, asked.progress) as work:
        if asked.replay:
            served, performance = work.replay(scenario)
            caveats = scenario_caveats(scenario, performance)
        else:
            served, performance, caveats = None, *_simulated(scenario, work)
    return SimulationAnswer(
        scenario=scenario,
        performance=performance,
        caveats=tuple(caveats),
        effort=effort,
        served=served,
    )


def _simulated(scenario: AnyScenario, work: Work) -> "tuple[Performance, Iterator[Caveat]]":
    """The performance of a scenario, and what it leaves open."""
    from capacity.search.caveats import scenario_caveats

    work.require_answerable(scenario)
    plan = scenario.plan
    work.report(f"simulating {_count(plan.replicas)}, {plan.size_name} {plan.at_once}")
    simulation = work.simulate(scenario.quantiles)
    found, like_it = simulation.look(scenario), simulation.like_it(scenario)
    precision = work.effort.precision
    return found.performance, scenario_caveats(scenario, found.performance, like_it, found.width, precision)


@door("predict")
def predict(asked: Asked) -> "PredictionAnswer":
    """The performance of one plan from the exact law that describes it, without a simulation.

    There is a law for Poisson arrivals and constant batch times (`profile.of_means()` has these) under
    round-robin and random routing, and for measured times without batching at one replica.

    Raises:
        InputError: an argument that cannot be read, or that contradicts another.
        DomainError: no exact law; the message says why. Use `simulate` then.
        UnstableError: the plan cannot sustain the arrival rate.

    >>> from capacity.profile.load import load_profile
    >>> resnet = load_profile("resnet50-t4-fp16").of_means()
    >>> answer = predict(resnet, 2, rate="1500rps", batch_size_max=16)
    >>> round(1e3 * answer.performance.response_quantiles_s[0.99].value, 1)
    18.5
    """

    from capacity.answers import PredictionAnswer
    from capacity.queues.batch.fleet import predict as predict_exactly
    from capacity.server.batch.stability import require_answerable
    from capacity.traffic.workload import Workload
    from capacity.units import QUANTILES

    measured = parse.read_profile(asked.profile, asked.request_overhead, asked.instances_per_device)
    workload = parse.read_demand("poisson", asked.rate, None, None)
    assert isinstance(workload, Workload)  # noqa: S101  (no users were given)
    fleet = asked_of([measured]).plan(measured, asked)
    quantiles = parse.read_quantiles(asked.quantile, QUANTILES)
    require_answerable(measured, workload, fleet)
    return PredictionAnswer(
        scenario=Scenario(profile=measured, workload=workload, plan=fleet, quantiles=quantiles),
        performance=predict_exactly(measured, workload, fleet, quantiles),
    )


def simulate_law(
    law: Any,
    *,
    requests: int = 2_000_000,
    quantile: float | Sequence[float] | None = None,
    seed: int = 0,
    confidence: float = 0.95,
    engine: str = "kernel",
    workers: int | None = None,
    cluster: str | None = None,
    progress: Report = silent,
) -> "LawAnswer":
    """A law of `cap.queues` compared with a simulation of the queue that it describes.

    Args:
        law: a law such as `cap.queues.MMc(...)`.
        requests: number that count, in twenty independent runs.

    Raises:
        DomainError: a law that cannot be simulated by itself; the message says which can.
        InconclusiveError: too few requests for a valid interval.

    >>> from capacity.queues import MMc
    >>> answer = simulate_law(MMc(arrival_rate_rps=9.0, service_rate_rps=5.0, servers=2), quantile=0.9)
    >>> found = answer.performance.response_quantiles_s[0.9]
    >>> found.low < answer.theory.response_quantiles_s[0.9].value < found.high
    True
    """
    from capacity.answers import LawAnswer
    from capacity.units import QUANTILES, require_count
    from simulations.replication import Engine
    from simulations.validation.simulation import LawSimulation

    require_count("requests", requests)
    quantiles = parse.read_quantiles(many(quantile), QUANTILES)
    effort = Effort(seed=seed, confidence=confidence, engine=engine, workers=workers, cluster=cluster)
    name = type(law).__name__
    with at_work(effort, progress) as work:
        work.report(f"simulating {name}")
        simulation = LawSimulation(
            requests=requests,
            quantiles=quantiles,
            seed=seed,
            confidence=confidence,
            engine=Engine(engine),
            mapper=work.mapper,
        )
        found = simulation(law)
    return LawAnswer(model=name, theory=law.performance(quantiles), performance=found, effort=effort)


def sampling_intervals(
    profiles: Sequence[ProfileLike],
    statistics: Callable[..., Sequence[float]],
    *,
    seed: int = 0,
    confidence: float = 0.95,
) -> "list[Interval]":
    """Numbers computed from profiles, with intervals that come from the profiles' own samples.

    The samples are resampled 400 times. The intervals cover the error of the samples of these very runs, not the
    difference to another machine; for profiles without samples they have no width.

    Args:
        statistics: function of the profiles that returns numbers, always as many.

    >>> (faster,) = sampling_intervals(
    ...     ["serve-mlp-cpu-fp32", "serve-mlp-cpu-int8"],
    ...     lambda before, after: [after.throughput_rps(8) / before.throughput_rps(8)],
    ... )
    >>> 1.0 < faster.low < faster.value < faster.high < 3.0
    True
    """
    from simulations.statistics.profile_error import sampling_intervals as intervals_of

    measured = [load_profile(one) for one in profiles]
    return intervals_of(measured, statistics, confidence=confidence, seed=seed)


@door("max-rate")
def max_rate(asked: Asked) -> "RatesAnswer":
    """The arrival rates at which a plan meets the objective, and P99 against the rate.

    A trace is sped up and slowed down, a day has higher or lower rates; with users, it is the number of users.

    Raises:
        InputError: an argument that cannot be read, or that contradicts another.
    """
    scenario = with_autoscaler(asked_scenario(asked, to_scale, has_limits=True), asked)
    scenario = parse.in_failure(scenario, asked)
    effort = asked.effort
    from capacity.answers import RatesAnswer
    from capacity.search.max_rate import find_rates
    from simulations.servers import require_sound

    with at_work(effort, asked.progress) as work:
        require_sound(scenario.profile, work.report)
        rates = find_rates(scenario, work.judge, work.report, effort.confidence)
    return RatesAnswer(rates=rates, effort=effort)


@door("compare")
def compare(asked: Asked) -> "ComparisonAnswer":
    """Compare fleets side by side under the same requests, with how certain each difference is.

    Raises:
        InputError: fewer than two fleets or too many, or an argument that cannot be read.
    """

    paths = [as_saved(one, f"plan {number}") for number, one in enumerate(asked.plans, start=1)]
    from capacity.answer.compare import common_scenario, contenders
    from capacity.answer.saved_plan import read_plans
    from capacity.answers import ComparisonAnswer

    trace = None if not paths or asked.arrivals == "poisson" else asked.arrivals
    saved = read_plans(paths, trace)
    require_one_kind(saved)
    measured = _profiles_to_compare(saved, asked)
    fleets = contenders(saved, paths, asked.fleet, measured, _usual_rule(asked))
    first = fleets[0]
    shared = common_scenario(saved, asked.rate) if saved else asked_requests(first.profile, first.plan, asked)
    survival = parse.read_survival(asked)
    scenarios = [replace(shared, profile=one.profile, plan=one.plan).after(survival) for one in fleets]
    changes = {name: asked[name] for name in EFFORT.split() if asked[name] is not None}
    effort = replace(saved[0].effort if saved else Effort(), **changes)
    limited = {q for one in saved for q in one.question.objective.quantiles}
    quantiles = parse.read_quantiles(asked.quantile, sorted({0.5, 0.99, *limited}))
    with at_work(effort, asked.progress) as work:
        for one, scenario in zip(fleets, scenarios, strict=True):
            located(one.name, partial(work.require_answerable, scenario))
        work.report(f"simulating {len(fleets)} fleets under the same requests")
        comparison = work.compare(quantiles)(scenarios)
    return ComparisonAnswer(
        contenders=fleets, scenarios=tuple(scenarios), comparison=comparison, effort=effort
    )


def _usual_rule(asked: Asked) -> dict[str, Any]:
    """How batches start and how many may wait, in fleets that do not say it, by the keys of `--fleet`."""
    flags = VERBS["compare"].flags
    names = [name for name in BATCHING.split() if asked[name] not in (None, flags[name].default)]
    limit = {} if asked.queue_limit is None else {"queue-limit": str(asked.queue_limit)}
    return {name.replace("_", "-"): asked[name] for name in names} | limit


def _profiles_to_compare(saved: "Sequence[SavedPlan]", asked: Asked) -> list[Any]:
    """The profiles of fleets that flags describe, of the kind of the saved plans."""
    known = [parse.find_profile(one) for one in asked.profile]
    if not saved and not known:
        return []
    kind = asked_of([*(one.profile for one in saved), *known])
    kind.refuse(asked)
    for name, what in _OWN.items() if saved else ():
        if asked[name] is not None:
            raise InputError(f"a saved plan has its own {what}; leave --{name.replace('_', '-')} out")
    return [kind.ready(one, asked) for one in known]


_OWN = {
    "users": "users",
    "think_time": "users",
    "daily": "arrivals",
    "between": "arrivals",
    "autoscale": "autoscaler",
    "instances_per_device": "devices",
    "lengths": "lengths",
    "cached_share": "lengths",
    "context_tokens_max": "lengths",
}


@door("check")
def check(asked: Asked) -> "CheckAnswer":
    """Check whether a saved plan still meets its objective, with new measurements or at another rate.

    Raises:
        InputError: an argument that cannot be read, or a file without a plan.
    """

    plans = [as_saved(one) for one in (asked.plan, asked.baseline) if one is not None]
    from capacity.answer.check import gate, gate_inputs, new_profiles, notes_on_trouble
    from capacity.answer.saved_plan import read_plans
    from capacity.answers import CheckAnswer

    saved, *others = read_plans(plans, asked.arrivals)
    measured = list(new_profiles(asked.profile, saved))
    inputs = gate_inputs(saved, measured, asked.rate, asked.requests_max)
    effort = replace(inputs.effort, workers=asked.workers, cluster=asked.cluster)
    asked_of([saved.profile]).refuse(asked)
    from simulations.servers import require_sound

    with at_work(effort, asked.progress) as work:
        require_sound(inputs.scenario.profile)
        answer = gate(saved, inputs, others[0] if others else None, work.judge, work.report)
        recovery = None if asked.without_recovery else _recovery(saved, inputs, work)
    findings = answer.findings if recovery is None else (*answer.findings, recovery)
    notes = (*answer.notes, *notes_on_trouble(saved.answer, recovery))
    return CheckAnswer(answer=replace(answer, findings=findings, notes=notes), saved=saved, effort=effort)


def _recovery(saved: "SavedPlan", inputs: "GateInputs", work: "Work") -> "Finding | None":
    """Whether a plan still recovers in time; None if that was not asked of it."""
    from capacity import api_recovery
    from simulations.stress import StressSimulation

    trouble = api_recovery.saved_trouble(saved.answer, inputs.question.survival.spike)
    if trouble is None:
        return None
    work.report("what the plan does in trouble")
    effort = work.effort
    return api_recovery.check_recovery(
        trouble,
        saved.answer["recovery"].get("setting"),
        lambda trouble: trouble.stress_of(inputs.scenario, work.judge.saturated),
        StressSimulation(seed=effort.seed, confidence=effort.confidence, mapper=work.mapper),
    )


@door("explain")
def explain(asked: Asked) -> "ExplanationAnswer | StagesAnswer":
    """Why a saved plan is as it is: what limits it, what the answer depends on, and what would save most.

    The plan is confirmed again with its saved random numbers; the search is not repeated. For a server's statistics
    it says where a request's time goes, and why the queue is as long as it is.

    Raises:
        InputError: a file without a plan, or one without a confirmation.
    """

    from capacity.answer.saved_plan import is_plan_file, read_plans

    plan = asked.plan
    if isinstance(plan, str | Path) and not is_plan_file(Path(plan)):
        from capacity import api_evidence

        if api_evidence.is_of_another_tool(plan):
            if asked.arrivals is not None:
                raise InputError("--arrivals belongs to a saved plan; leave it out")
            return api_evidence.explain(plan)
    from capacity.answers import ExplanationAnswer
    from capacity.api_recovery import saved_trouble
    from capacity.explanation.explanation import explain_plan
    from capacity.search.certificate import certify

    saved = _confirmed(*read_plans([as_saved(plan)], asked.arrivals))
    asked_of([saved.profile]).refuse(asked)
    effort = replace(saved.effort, workers=asked.workers, cluster=asked.cluster)
    with at_work(effort, asked.progress) as work:
        assert saved.certificate is not None  # noqa: S101  (it was confirmed)
        trial = certify(saved.question, work.judge, saved.plan, saved.certificate, work.report)
        explanation = explain_plan(
            saved.question,
            saved.plan,
            work.judge,
            work.report,
            performance=trial.whole.performance if trial.candidate.accepted else None,
            like_it=trial.candidate.like_it,
            precision=saved.effort.precision,
            confidence=saved.effort.confidence,
        )
    explanation = replace(explanation, must_recover=saved_trouble(saved.answer) is not None)
    return ExplanationAnswer(saved=saved, verdict=trial.candidate.verdict, explanation=explanation)


def _confirmed(saved: "SavedPlan") -> "SavedPlan":
    """A saved plan with how it is confirmed again: as it was, or from the start where that is the way.

    Raises:
        InputError: the plan was not confirmed.
    """
    from capacity.search.exact import theory_of
    from capacity.search.recommendation import Certificate

    if saved.certificate is not None:
        return saved
    if theory_of(saved.profile).confirms_anew:  # older files of engines do not have it
        return replace(saved, certificate=Certificate())
    raise InputError(f"{saved.name} has no confirmation; make it again with capacity plan ... -o")


@door("report")
def report(asked: Asked) -> "PlanReport":
    """Write a saved plan as one page of HTML, with charts and tables, to pass on or to print.

    The plan is simulated again with its saved random numbers; the search is not repeated.

    Raises:
        InputError: a file that holds no plan, or one without a certificate; or a path that cannot be written.
    """

    from capacity.answer.saved_plan import read_plans
    from capacity.files import check_target, write_whole
    from capacity.render.report import write_page

    path = Path(asked.output)
    check_target(path, "a report", (".html",))
    kept = as_saved(asked.plan)
    saved = _confirmed(*read_plans([kept], asked.arrivals))
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
    from capacity.render.report import Findings
    from capacity.search.certificate import certify
    from capacity.traffic.workload import is_patient

    assert saved.certificate is not None  # noqa: S101  (who asks has looked)
    question, plan, confidence = saved.question, saved.plan, saved.effort.confidence
    trial = certify(question, work.judge, plan, saved.certificate, work.report)
    recommendation = read_recommendation(saved, trial)
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
        digest=digest,
    )


def _distribution(scenario: AnyScenario, work: Work) -> "Performance | None":
    """Enough quantiles of the limited time for a curve; None if the budget is too small for them."""
    from capacity.errors import InconclusiveError
    from capacity.render.report import timed
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


def _digest(plan: Saved) -> str | None:
    """SHA-256 of a plan's file; None for an answer or a stream, which cannot be read again."""
    import hashlib

    if not isinstance(plan, str | Path) or not is_file(plan):
        return None
    return hashlib.sha256(Path(plan).read_bytes()).hexdigest()


@door("sweep")
def sweep(asked: Asked) -> "SweepAnswer":
    """A grid of rates, plans and profiles, one row each.

    Raises:
        InputError: an argument that cannot be read, or too many cells.
    """
    return _swept(asked_grid(asked), asked, asked.output)


def _swept(grid: "Grid[Any]", asked: Asked, output: Any = None) -> "SweepAnswer":
    """The rows of a grid, of which a file may hold some already.

    Args:
        output: file that holds the rows; None for the answer alone.
    """
    from capacity.answer.sweep import SweepTable, check_file, kept_rows
    from capacity.traffic.workload import remarks_of
    from capacity.units import QUANTILES

    quantiles, effort = parse.read_quantiles(many(asked["quantile"]), QUANTILES), asked.effort
    for remark in remarks_of(grid.workloads[0]):
        asked.progress(f"note: {remark}")
    cells = list(grid.cells())
    table = SweepTable(
        form=grid.settings.rows,
        quantiles=quantiles,
        seed=effort.seed,
        confidence=effort.confidence,
        scale=grid.scale,
        is_in_failure=grid.is_in_failure,
        is_scaled=grid.autoscaler is not None,
    )
    path = None if output is None else Path(output)
    if path is not None:
        check_file(path)
    how = {name: asked[name] for name in ("confidence", "precision", "requests_max", "seed")}
    settings = grid.document(**how, quantiles=quantiles)
    from capacity.answers import SweepAnswer
    from simulations.simulate import Countdown, answers, load_of

    with (
        kept_rows(path, settings, table.columns, len(cells), fresh=bool(asked.get("fresh"))) as rows,
        at_work(effort, asked.progress) as work,
    ):
        left = cells[len(rows) :]
        found = answers(left, work.simulate(quantiles))
        countdown = Countdown(len(cells), len(rows), work.report)
        for cell, answer in zip(left, found, strict=True):
            rows.append(table.row(cell, answer, load_of(cell, answer)))
            countdown.tick()
    return SweepAnswer(grid=grid, table=table, cells=tuple(rows), path=path)


# Shares of the users who saturate the fleet.
_USERS = (0.1, 0.3, 0.5, 0.7, 0.85, 1.0, 1.2, 1.5)


@door("curve")
def curve(asked: Asked) -> "LoadCurveAnswer":
    """Where the response time of a fleet explodes: a quantile from nearly no load to nearly full load.

    A trace or a day is scaled, and with users there are ever more of them. For a language model it is the time to first
    token that explodes.

    Raises:
        InputError: an argument that cannot be read.
    """

    if asked.profile is None:
        raise InputError("give a --profile, whose fleet is simulated; cap.curves draws what theory knows")
    parse.read_quantiles([asked.quantile], ())
    scenario = with_autoscaler(asked_scenario(asked, to_scale), asked)
    left = parse.in_failure(scenario, asked)
    from capacity.answers import LoadCurveAnswer
    from capacity.question.grid import Grid
    from capacity.server.kinds import settings_of

    plan = scenario.plan
    grid = Grid(
        profiles=(scenario.profile,),
        workloads=tuple(scenario.sized(size).workload for size in _sizes_of_a_curve(left, asked)),
        replicas=(plan.replicas,),
        routings=(plan.routing,),
        settings=settings_of(scenario),
        survival=parse.read_survival(asked),
        autoscaler=scenario.autoscaler,
    )
    found = _swept(grid, asked)
    return LoadCurveAnswer(grid=grid, table=found.table, cells=found.cells, plan=plan)


def _sizes_of_a_curve(scenario: AnyScenario, asked: Asked) -> list[float]:
    """The rates of a curve, up to nearly the sustainable one, or its users, up to more than saturate the fleet.

    Users saturate it once their think and service times are full of other users' services (Denning & Buzen 1978).
    """
    from capacity.search.exact import theory_of
    from capacity.traffic.scale import scale_of
    from capacity.traffic.workload import ClosedPopulation, Workload

    demand, scale, theory = scenario.workload, scale_of(scenario.workload), theory_of(scenario.profile)
    judge = Work(asked.effort, map, asked.progress).judge
    most_rps = theory.size_max(replace(scenario, workload=Workload(arrival_rate_rps=1.0)), judge)
    if isinstance(demand, ClosedPopulation):
        least_s = scenario.profile.service_floor_mean_s(scenario.plan.batch_size_max)
        saturating = most_rps * (demand.think_time_s + least_s)
        return sorted({*(scale.whole(share * saturating) for share in _USERS), *scale.tried})
    rates_rps = {*(share * most_rps for share in theory.curve_loads), *scale.tried}
    return sorted(rate_rps for rate_rps in rates_rps if rate_rps < most_rps)


@door("workload")
def describe_workload(asked: Asked) -> "WorkloadAnswer":
    """How heavy and bursty recorded traffic is, whether it is Poisson, and what assuming Poisson would cost.

    Raises:
        InputError: an argument that cannot be read, or that contradicts another.
    """

    from capacity.answers import WorkloadAnswer
    from capacity.traffic.description import describe
    from capacity.traffic.lengths import has_lengths, read_token_trace

    profile, trace = asked.profile, Path(asked.trace)
    if (profile is None) != (asked.replicas is None):
        raise InputError("give --profile and --replicas together, or neither to describe the trace alone")
    if profile is None and asked.rate is not None:
        raise InputError("--rate is for the plan that --profile and --replicas describe; give those too")
    effort = asked.effort
    parse.read_quantiles([asked.quantile], ())
    arrivals, lengths = (
        read_token_trace(trace)
        if has_lengths(trace)
        else (cast("TraceArrivals", parse.read_arrivals(f"trace:{trace}")), None)
    )
    about = describe(arrivals)
    if profile is None:
        return WorkloadAnswer(description=about, effort=effort, lengths=lengths)
    measured = parse.read_profile(profile, asked.request_overhead)
    error = _poisson_error(measured, about.trace, asked)
    return WorkloadAnswer(description=about, effort=effort, error=error, profile=measured, lengths=lengths)


def _poisson_error(measured: ServiceProfile, trace: "TraceArrivals", asked: Asked) -> "PoissonError[Any]":
    """Effect of assuming Poisson arrivals on a quantile of one fleet."""
    from capacity.question.comparison import PoissonError
    from capacity.server.batch.stability import require_answerable
    from capacity.traffic.parse import workload as workload_of
    from capacity.traffic.workload import PoissonArrivals

    quantile, confidence = asked.quantile, asked.confidence
    recorded, fleet = workload_of(trace, asked.rate), asked_of([measured]).plan(measured, asked)
    require_answerable(measured, recorded, fleet)
    both = replace(asked.effort, confidence=parse.both_confidence(confidence))
    with at_work(both, asked.progress) as work:
        simulation = work.simulate((quantile,))
        work.report("simulating the trace")
        scenario = Scenario(profile=measured, workload=recorded, plan=fleet)
        by_trace = simulation.of_traffic_like(scenario)
        work.report("simulating Poisson arrivals")
        poisson = replace(recorded, arrivals=PoissonArrivals())
        by_poisson = simulation(replace(scenario, workload=poisson)).response_quantiles_s[quantile]
    return PoissonError(
        plan=fleet,
        arrival_rate_rps=recorded.arrival_rate_rps,
        quantile=quantile,
        by_trace=by_trace,
        by_poisson=by_poisson,
        confidence=confidence,
    )


@door("import")
def import_file(asked: Asked) -> "LlmProfileAnswer | ImportAnswer":
    """The content of other tools' files: a profile, a workload, a load test, or the settings of a server.

    Raises:
        InputError: an unknown format; for a language model, a missing flag that clients cannot see, a missing sweep,
            or steps that miss the throughput of the saturated run among the files.
        DependencyError: a URL does not answer.
    """

    from capacity import api_evidence

    paths, kind = api_evidence.sources(asked["files"]), asked.kind
    if kind is not None or (len(paths) == 1 and not api_evidence.is_sweep(paths[0])):
        if len(paths) > 1:
            raise InputError(f"--as {kind} reads one file, got {len(paths)}")
        return api_evidence.import_file(paths[0], kind, asked)
    api_evidence.require_sweeps(paths)
    from capacity import api_profile
    from capacity.formats.registry import Kind, read
    from simulations.saturation import require_check

    if asked.device_kind is not None:
        raise InputError(
            "--kind is of a profile of batch times, and these are sweeps over an engine; leave it out"
        )
    engine = api_profile.asked_engine(asked)
    settings = api_profile.sweep_settings(engine, asked)
    runs = [run for path in paths for run in read(Path(path), Kind.RUNS)]
    asked.progress("working out the steps")
    answer = api_profile.profile_of_sweeps(runs, engine, settings)
    require_check(answer.profile)
    return answer


@door("audit")
def audit(asked: Asked) -> "AuditAnswer":
    """Whether a load test can be believed, by laws that its own figures must obey.

    Raises:
        InputError: the file is of no known format, or holds no load test.
    """

    from capacity import api_evidence

    _ = asked.effort  # refuses what is out of range, even if nothing is predicted
    effort = {name: asked[name] for name in ("seed", "precision", "workers", "progress")}
    known = api_evidence.Told(
        users=asked.users, loop=asked.loop, think_time_s=asked.think_time, rate_rps=asked.rate
    )
    running = api_evidence.running_plan(asked.plan)
    _require_one_prediction(asked, running)
    predicted, notes = _prediction(asked, running, effort)
    return api_evidence.audit(asked.file, known, predicted, notes)


def _require_one_prediction(asked: Asked, running: "RunningPlan | None") -> None:
    """Refuse two predictions, or half of one."""
    profile, plan = asked.profile, asked.plan
    if running is not None and profile is None:
        raise InputError("the plan says how a server batches and not how long it takes; give --profile too")
    if profile is not None and plan is not None and running is None:
        raise InputError("give --profile or --plan to predict by, not both")
    of_profile = {
        "--replicas": asked.replicas != 1, "--batch-size-max": asked.batch_size_max,
        "--routing": asked.routing != "round-robin", "--batch-wait": asked.batch_wait,
        "--queue-limit": asked.queue_limit,
        "--request-overhead": asked.request_overhead and running is None,
        "--lengths": asked.lengths is not None and plan is None,
        **{f"--{name.replace('_', '-')}": asked[name] is not None for name in _OF_ENGINES},
    }  # fmt: skip
    told = [flag for flag, is_told in of_profile.items() if is_told]
    if told and profile is None:
        raise InputError(f"{told[0]} belongs to --profile; give a profile too, or leave it out")
    if told and running is not None:
        raise InputError(f"{told[0]} is in the plan of the server; leave it out, or --plan")


# Settings of a language model's engines that an audit takes besides its profile.
_OF_ENGINES = ("sequences_max", "batched_tokens_max", "kv_tokens", "prefix_caching")


def _prediction(
    asked: Asked, running: "RunningPlan | None", effort: Mapping[str, Any]
) -> "tuple[Callable[[LoadRun], ComparedRun] | None, tuple[str, ...]]":
    """A function that predicts each run of an audit, None without a profile; and notes on it."""
    from capacity import api_evidence
    from capacity.answer.saved_plan import read_plans

    requests = {"lengths": asked.lengths}
    if asked.plan is not None and running is None:
        (saved,) = read_plans([as_saved(asked.plan)])
        if (share := saved.question.space.cached_share) > 0.0:
            requests["cached_share"] = share
        return partial(api_evidence.predicted, saved.profile, saved.plan, requests, effort), ()
    if asked.profile is None:
        return None, ()
    found = parse.find_profile(asked.profile)
    kind = asked_of([found])
    kind.refuse(asked, ("users", "think_time"))  # of the file, not of the prediction
    profile = kind.ready(found, asked)
    plan, notes = (kind.plan(profile, asked), ()) if running is None else kind.running(profile, running)
    return partial(api_evidence.predicted, profile, plan, requests, effort), notes


def render_plan(plan: PlanLike, target: str, arrivals: str | None = None) -> str:
    """A saved plan as settings for its server, autoscaler, monitoring or load generator.

    Args:
        plan: a file written by `capacity plan -o`, or an answer of `plan`.
        target: `triton`, `kubernetes`, `keda`, `kserve`, `ray-serve`, `bentoml`, `compose`, `serve-api`, `k6` or
            `prometheus` for a fleet that batches, `vllm` for a language model; `envoy`, `istio` or `grpc` for the
            clients of a plan of either that recovers.
        arrivals: `trace:FILE`, if the plan's trace was too long to be saved with it.

    Raises:
        InputError: a file without a plan, an unknown target, or one that cannot run such a plan.
    """
    from capacity.answer.saved_plan import read_plans
    from capacity.render.deploy.registry import find_target, render

    find_target(target)  # before the file is read
    (saved,) = read_plans([as_saved(plan)], arrivals)
    return render(saved, target)


def _count(replicas: int) -> str:
    return f"{replicas} replica" + ("s" if replicas > 1 else "")


__all__ = [
    "at_work",
    "audit",
    "check",
    "compare",
    "curve",
    "describe_workload",
    "explain",
    "load_profile",
    "max_rate",
    "plan",
    "predict",
    "render_plan",
    "report",
    "sampling_intervals",
    "simulate",
    "simulate_law",
    "sweep",
]
