"""The verbs `check`, `explain` and `render_plan`: what becomes of a saved plan."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from capacity.answer.plan_like import PlanLike, as_saved
from capacity.api.work import Work, at_work
from capacity.doors import door
from capacity.errors import InputError
from capacity.question.arguments import Asked
from capacity.server.kinds import asked_of

if TYPE_CHECKING:
    from capacity.answer.check import Finding, GateInputs
    from capacity.answer.saved_plan import SavedPlan
    from capacity.answers.evidence import StagesAnswer
    from capacity.answers.saved import CheckAnswer, ExplanationAnswer


@door("check")
def check(asked: Asked) -> "CheckAnswer":
    """Check whether a saved plan still meets its objective, with new measurements or at another rate.

    Raises:
        InputError: an argument that cannot be read, or a file without a plan.
    """
    plans = [as_saved(one) for one in (asked.plan, asked.baseline) if one is not None]
    from capacity.answer.check import gate, gate_inputs, new_profiles, notes_on_trouble
    from capacity.answer.saved_plan import read_plans
    from capacity.answers.saved import CheckAnswer

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
    from capacity.api.trouble import check_recovery, saved_trouble
    from simulations.stress import StressSimulation

    trouble = saved_trouble(saved.answer, inputs.question.survival.spike)
    if trouble is None:
        return None
    work.report("what the plan does in trouble")
    effort = work.effort
    return check_recovery(
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
        from capacity.api.files import is_of_another_tool

        if is_of_another_tool(plan):
            if asked.arrivals is not None:
                raise InputError("--arrivals belongs to a saved plan; leave it out")
            return stages_of(plan)
    from capacity.answers.saved import ExplanationAnswer
    from capacity.api.trouble import saved_trouble
    from capacity.explanation.explanation import explain_plan
    from capacity.search.certificate import certify

    saved = confirmed(*read_plans([as_saved(plan)], asked.arrivals))
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


def confirmed(saved: "SavedPlan") -> "SavedPlan":
    """A saved plan with how it is confirmed again: as it was, or from the start where that is the way.

    Raises:
        InputError: the plan was not confirmed.
    """
    from capacity.search.exact import theory_of
    from capacity.search.recommendation import Certificate

    if saved.certificate is not None:
        return saved
    if theory_of(saved.profile).confirms_from_start:  # older files of engines do not have it
        return replace(saved, certificate=Certificate())
    raise InputError(f"{saved.name} has no confirmation; make it again with capacity plan ... -o")


def render_plan(plan: PlanLike, target: str, arrivals: str | None = None) -> str:
    """A saved plan as settings for its server, autoscaler, monitoring or load generator.

    Args:
        plan: a file written by `capacity plan -o`, or an answer of `plan`.
        target: `triton`, `kubernetes`, `keda`, `kserve`, `ray-serve`, `bentoml`, `compose`, `serve-api`, `k6` or
            `prometheus` for a fleet that batches, `vllm` or `llama-server` for a language model; `envoy`, `istio` or
            `grpc` for the clients of a plan of either that recovers.
        arrivals: `trace:FILE`, if the plan's trace was too long to be saved with it.

    Raises:
        InputError: a file without a plan, an unknown target, or one that cannot run such a plan.
    """
    from capacity.answer.saved_plan import read_plans
    from capacity.render.deploy.registry import find_target, render

    find_target(target)  # before the file is read
    (saved,) = read_plans([as_saved(plan)], arrivals)
    return render(saved, target)


def stages_of(source: str | Path) -> "StagesAnswer":
    """Where a request's time goes in the server that a file describes.

    Raises:
        InputError: the file has no stages.
    """
    from capacity.answers.evidence import StagesAnswer
    from capacity.api.files import load_test, running_plan

    running = running_plan(source)
    if running is not None:
        raise InputError(
            f"{Path(source).name} says how a server batches and nothing of its times; capacity simulate --profile "
            f"PROFILE --rate RATE {running.flags} says what that does"
        )
    test = load_test(source)
    if not any(run.stages_s for run in test.runs):
        raise InputError(
            f"{test.name} has no times of the server's stages; Triton's statistics, its page of metrics and "
            "perf_analyzer's results have"
        )
    return StagesAnswer(test=replace(test, runs=tuple(run for run in test.runs if run.stages_s)))
