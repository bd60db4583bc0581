"""The verbs `check`, `explain`, `render_plan` and `verify`: what becomes of a saved plan."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capacity.answer.plan_like import PlanLike, as_saved
from capacity.api.work import Work, at_work
from capacity.doors import door
from capacity.errors import DependencyError, InputError
from capacity.question.arguments import Asked
from capacity.question.budget import Effort
from capacity.question.parse import seconds_of
from capacity.server.kinds import asked_of
from capacity.traffic.any_lengths import are_sessions
from capacity.traffic.lengths import LengthRows

if TYPE_CHECKING:
    from capacity.answer.check import Finding, GateInputs
    from capacity.answer.saved_plan import SavedPlan
    from capacity.answers.evidence import StagesAnswer
    from capacity.answers.saved import CheckAnswer, ExplanationAnswer
    from capacity.answers.verification import VerificationAnswer
    from capacity.api.work import Report
    from capacity.measurement.http import Address
    from capacity.traffic.lengths import Pairs
    from capacity.traffic.workload import Workload
    from capacity.verification.conversations import ConversationSchedule
    from capacity.verification.load_test import LoadTest
    from capacity.verification.run import Arrivals
    from capacity.verification.subject import Subject


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
    """Why a saved plan is as it is, and what would save most; or why the queue of a running server is long, from its
    metrics.

    A plan is confirmed again with its saved random numbers, without the search, and explained by what limits it and
    what the answer depends on. "Why is my queue long?" is answered from a server's statistics or its /metrics: where a
    request's time goes, how many wait, and what would shorten the queue.

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
            `prometheus` for a fleet that batches; `vllm`, `sglang`, `llama-server`, `kubernetes`, `keda`, `kserve`,
            `inference-pool`, `prometheus`, `guidellm` or `aiperf` for a language model; of either `haproxy` or
            `nginx`, and `envoy`, `istio` or `grpc` for the clients of a plan that recovers.
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
            f"{test.name} has no times of the server's stages; Triton's statistics, its page of metrics or vLLM's, and "
            "perf_analyzer's results have"
        )
    return StagesAnswer(test=replace(test, runs=tuple(run for run in test.runs if run.stages_s)))


@door("verify")
def verify(asked: Asked) -> "VerificationAnswer":
    """What a plan predicts beside an open-loop load test of the server that runs it.

    It sends requests for as long as `duration` says, `runs` times. An interrupt, or an error in a later run, ends it
    with what there is: the answer's `stop` is then what ended it.

    Raises:
        InputError: an argument that cannot be read, no plan, or a server that refuses the requests.
        UnstableError: the plan cannot sustain the rate.
        DependencyError: a server does not answer, or aiohttp is not installed.
    """
    from capacity.answers.verification import VerificationAnswer
    from capacity.measurement.http import import_aiohttp
    from capacity.verification.kinds import kind_of
    from capacity.verification.quantities import read_tolerances, with_tolerances
    from capacity.verification.subject import asked_subject, check_urls
    from capacity.verification.verification import Verifier

    import_aiohttp()
    report = asked.progress
    subject = asked_subject(asked, report)
    quantities = kind_of(subject.profile).quantities
    tolerances = read_tolerances(asked.tolerance, quantities)
    effort = Effort(**{name: asked[name] for name in ("seed", "confidence", "precision", "workers")})
    load = _load_test(asked, subject)
    notes = check_urls(asked.url, subject.plan)
    addresses, seen = _read_metrics(asked.metrics, asked.url, subject, report)
    verifier = Verifier(
        subject=subject,
        load=replace(load, metrics=addresses),
        effort=effort,
        workbench=asked.get("workbench") or partial(at_work, report=report),
    )
    found = verifier.verify(with_tolerances(tolerances, verifier.quantiles, quantities), (*notes, *seen))
    return VerificationAnswer(found=found, environment=_environment(asked.url))


def _load_test(asked: Asked, subject: "Subject") -> "LoadTest":
    """The load that is sent, before the addresses of metrics are known."""
    from capacity.verification.kinds import kind_of
    from capacity.verification.load_test import LoadTest
    from simulations.draws.arrivals import Seed, Stage, Stream

    kind = kind_of(subject.profile)

    def draw(workload: "Workload", number: int) -> "Arrivals":
        """The arrivals that the simulator would draw for a run."""
        seed = Seed(value=asked.seed, stage=Stage.VERIFY, replication=number)
        return Stream(workload, asked.requests_max, seed)

    return LoadTest(
        target=kind.target(asked, subject),
        workload=subject.workload,
        draw=draw,
        **_drawn_requests(subject, asked.seed),
        warm_up_s=asked.warm_up,
        duration_s=asked.duration,
        runs=asked.runs,
        seed=asked.seed,
        report=asked.progress,
        routing=subject.plan.routing,
        requests_max=asked.requests_max,
        is_calibrated=kind.is_calibrated and seconds_of(asked, "request_overhead") is None,
    )


def _drawn_requests(subject: "Subject", seed: int) -> "dict[str, Any]":
    """What draws the lengths of requests, or the sessions whose turns they are, by name in `LoadTest`."""
    if subject.lengths is None:
        return {}
    if are_sessions(subject.lengths):
        return {"sessions": partial(_drawn_sessions, subject, seed)}
    return {"lengths": partial(_drawn_lengths, subject, seed)}


def _drawn_sessions(subject: "Subject", seed: int, number: int, lasting_s: float) -> "ConversationSchedule":
    """The sessions that the simulator would draw for a run."""
    from capacity.verification.conversations import ConversationSchedule
    from simulations.draws.arrivals import Purpose, Seed, Stage
    from simulations.engine_replication import draw_sessions

    own = Seed(value=seed, stage=Stage.VERIFY, replication=number)
    drawn = draw_sessions(subject.scenario, lasting_s, own)
    salt = int(own.generator(Purpose.STEPS).integers(2**63))
    block_tokens = subject.profile.kv.block_tokens
    return ConversationSchedule.of(drawn.turns, drawn.starts_s, lasting_s, block_tokens, salt)


def _drawn_lengths(subject: "Subject", seed: int, number: int, count: int) -> "Pairs":
    """The lengths that the simulator would draw for the first requests of a run, or those of a trace."""
    import numpy as np

    from simulations.draws.arrivals import Purpose, Seed, Stage

    lengths = subject.lengths
    assert lengths is not None  # noqa: S101  (or nothing is drawn)
    assert not are_sessions(lengths)  # noqa: S101  (which are drawn otherwise)
    if subject.requests["in_order"] and isinstance(lengths, LengthRows):
        given, got = (np.array(column[:count]) for column in (lengths.input_tokens, lengths.output_tokens))
        return given, got
    generator = Seed(value=seed, stage=Stage.VERIFY, replication=number).generator(Purpose.LENGTHS)
    return lengths.draw(generator.random((count, 2)))


def _read_metrics(
    given: Sequence[str], urls: Sequence[str], subject: "Subject", report: "Report"
) -> "tuple[tuple[Address, ...], tuple[str, ...]]":
    """Addresses of the metrics, and a note if they cannot be read; an error if they were asked for.

    Another note, reported before the run, says that servers batch otherwise than planned.
    """
    from capacity.verification.kinds import kind_of
    from capacity.verification.subject import metrics_addresses

    kind = kind_of(subject.profile)
    addresses, note = metrics_addresses(given, urls, subject.plan, kind.told_by_metrics)
    if note is not None:
        return (), (note,)
    try:
        watched, notes = kind.look(addresses, subject)
    except DependencyError as error:
        if given:
            raise DependencyError(f"{error}; give other --metrics, or none") from None
        return (), (f"{kind.told_by_metrics} are not known: {error}",)
    for each in notes:
        report(f"note: {each}")
    return watched, notes


def _environment(urls: Sequence[str]) -> dict[str, Any]:
    """Where the load came from and went to."""
    from importlib.metadata import version

    from capacity.files import versions
    from capacity.measurement.findings import machine, process
    from capacity.measurement.http import parse_address

    shown = [parse_address(url, "--url").shown for url in urls]
    sender = {**machine(), **process()}
    return {"urls": shown, "sender": sender, "versions": versions() | {"aiohttp": version("aiohttp")}}
