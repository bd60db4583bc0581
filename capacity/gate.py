"""Gate: a saved plan judged again, and whether what is needed now has grown."""

from collections.abc import Iterator
from dataclasses import dataclass

from capacity.caveats import profile_caveats
from capacity.certificate import certify
from capacity.exact import judge_exactly
from capacity.explain import promises
from capacity.findings import Finding, Judged, findings_of
from capacity.gate_inputs import GateInputs
from capacity.judge import Judge
from capacity.performance import Performance
from capacity.plan import (
    Candidate,
    Certificate,
    Limit,
    Plan,
    Recommendation,
    Rejection,
    Survived,
    Verdict,
)
from capacity.plan_file import SavedPlan
from capacity.plan_report import survived_documents
from capacity.planner import recommend
from capacity.question import Question
from capacity.report import performance_document
from capacity.screen import refuse_batch_size, require_batch_of_one
from capacity.search import Progress, describe, refuse_loads

_SAME_COST = 1e-9  # share of a cost within which two are the same

# How the finding begins that a fleet sized anew needs no more than there was.
_NO_MORE = "no more than"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large a fleet is. `role` is the saved profile in whose place its profile stands."""

    role: str
    replicas: int
    hourly_usd: float | None

    def __str__(self) -> str:
        """As people say it."""
        count = f"{self.replicas} replica{'s' if self.replicas > 1 else ''}"
        return count if self.hourly_usd is None else f"{count} ({self.hourly_usd:.3f} USD/h)"

    def exceeds(self, other: "Size") -> bool:
        """Whether it costs more, or has more replicas where those of both count alike."""
        if self.hourly_usd is None or other.hourly_usd is None:
            return self.replicas > other.replicas
        is_dearer = self.hourly_usd > other.hourly_usd * (1.0 + _SAME_COST)
        return is_dearer or (self.role == other.role and self.replicas > other.replicas)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateAnswer:
    """What became of a saved plan.

    Attributes:
        findings: all that was looked at.
        performance: of the whole fleet; None where theory refused it.
        needed: the plan that the question takes now; None where it was not asked for, or there is none.
        reproduced: whether the performance is the saved one to the last digit; None where anything changed.
        notes: what to know beside, in sentences.
    """

    inputs: GateInputs
    findings: tuple[Finding, ...]
    performance: Performance | None
    survived: tuple[Survived, ...]
    needed: Recommendation | None
    reproduced: bool | None
    notes: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        """Missed if anything is, else inconclusive if anything is."""
        verdicts = [finding.verdict for finding in self.findings]
        worst = (Verdict.MISSED, Verdict.INCONCLUSIVE)
        return next((verdict for verdict in worst if verdict in verdicts), Verdict.MET)

    @property
    def keeps_promises(self) -> bool:
        """Whether all but the need for more is met."""
        return all(one.verdict is Verdict.MET for one in self.findings if not one.name.startswith(_NO_MORE))


def gate(
    saved: SavedPlan, inputs: GateInputs, baseline: SavedPlan | None, judge: Judge, progress: Progress
) -> GateAnswer:
    """Judge a saved plan again, by the certificate that it had; where inputs changed, size a fleet anew.

    With the inputs, the seed and the versions of then, its performance comes out to the last digit.

    Raises:
        DomainError: a new profile does not cover a batch of one request.
    """
    for profile in inputs.question.profiles:
        require_batch_of_one(profile)
    is_same = inputs.question == saved.question
    judged = _judged(saved, inputs, judge, progress, is_same=is_same)
    needed = (
        None
        if is_same
        else recommend(
            inputs.question, judge, progress, with_headroom=False, confidence=inputs.effort.confidence
        )
    )
    reproduced = None
    if is_same and inputs.effort == saved.effort and judged.performance is not None:
        again = performance_document(judged.performance), survived_documents(judged.survived)
        reproduced = again == (saved.answer.get("performance"), saved.answer.get("survived"))
    return GateAnswer(
        inputs=inputs,
        findings=(
            *findings_of(inputs.question, judged),
            *_size_findings(saved, inputs, baseline, judged.candidate, needed),
        ),
        performance=judged.performance,
        survived=judged.survived,
        needed=needed,
        reproduced=reproduced,
        notes=(*inputs.notes, *_notes(saved, inputs, baseline, reproduced=reproduced)),
    )


def _judged(
    saved: SavedPlan, inputs: GateInputs, judge: Judge, progress: Progress, *, is_same: bool
) -> Judged:
    """The plan before the judge; what theory refuses does not get there.

    A saved certificate says where to begin with the saved inputs. With others that is seen by a look as of
    a search, which also refuses soonest.
    """
    question, plan = inputs.question, inputs.plan
    profile = question.profile(plan.profile)
    rejection = refuse_batch_size(profile, question.objective, plan.batch_size_max)
    rejection = rejection or refuse_loads(question, plan)
    if rejection is not None:
        return Judged(candidate=Candidate(plan=plan, verdict=Verdict.MISSED, rejection=rejection))
    certificate = saved.certificate or Certificate()
    if not is_same:
        progress(f"judging {describe(plan)}")
        scenario = question.scenario(plan)
        look = judge_exactly(scenario) or judge.search(scenario, 1)
        if look.verdict is Verdict.MISSED:
            return Judged(candidate=look, performance=look.performance)
        certificate = Certificate(requests_first=look.requests)
    trial = certify(question, judge, plan, certificate, progress)
    return Judged(candidate=trial.candidate, performance=trial.whole.performance, survived=trial.survived)


def _size_findings(
    saved: SavedPlan,
    inputs: GateInputs,
    baseline: SavedPlan | None,
    candidate: Candidate,
    needed: Recommendation | None,
) -> Iterator[Finding]:
    """Whether more is needed than the baseline has, or the plan where there is none."""
    if needed is None and baseline is None:
        return
    whose = "the plan" if baseline is None else "the baseline"
    have = _saved_size(saved if baseline is None else baseline)
    need = _needed_size(inputs, candidate, needed)
    name = f"{_NO_MORE} {whose}"
    if need is None:
        assert needed is not None  # noqa: S101  (without a search the plan itself was met or refused)
        in_doubt = needed.verdict is Verdict.INCONCLUSIVE
        what = "is known to keep" if in_doubt else "keeps"
        message = f"no plan within the limits {what} {promises(inputs.question.objective)}"
        yield Finding(name=name, verdict=needed.verdict, message=f"{message}; {whose} has {have}")
        return
    is_more, rejection = need.exceeds(have), None
    if is_more and need.replicas > have.replicas:
        rejection = Rejection(limit=Limit.REPLICAS_MAX, allowed=have.replicas, needed=need.replicas)
    yield Finding(
        name=name,
        verdict=Verdict.MISSED if is_more else Verdict.MET,
        message=f"needs {need}, {whose} has {have}",
        rejection=rejection,
    )


def _needed_size(inputs: GateInputs, candidate: Candidate, needed: Recommendation | None) -> Size | None:
    """What is needed now: what was found anew, or the plan itself where it is met and no larger.

    A search may stop at a fleet that is larger than a certified one, of a batch size that it does not try.
    """
    sizes = []
    if candidate.accepted or needed is None:
        sizes.append(_size(inputs.question, inputs.plan, inputs))
    if needed is not None and needed.plan is not None:
        sizes.append(_size(inputs.question, needed.plan, inputs))
    smallest = sizes[0] if sizes else None
    for size in sizes[1:]:
        smallest = size if smallest is None or smallest.exceeds(size) else smallest
    return smallest


def _size(question: Question, plan: Plan, inputs: GateInputs | None) -> Size:
    cost = question.profile(plan.profile).hourly_cost_usd(plan.replicas)
    role = plan.profile if inputs is None else inputs.role(plan.profile)
    return Size(role=role, replicas=plan.replicas, hourly_usd=cost)


def _saved_size(saved: SavedPlan) -> Size:
    return _size(saved.question, saved.plan, None)


def _notes(
    saved: SavedPlan, inputs: GateInputs, baseline: SavedPlan | None, *, reproduced: bool | None
) -> Iterator[str]:
    if baseline is not None:
        asked = (inputs.question.workload, inputs.question.objective)
        if (baseline.question.workload, baseline.question.objective) != asked:
            yield f"the baseline {baseline.name} is for another workload or objective"
    changed = saved.versions_changed
    if changed:
        told = ", ".join(f"{name} {there} then and {here} now" for name, (there, here) in changed.items())
        yield f"other versions may compute other digits: {told}"
    if reproduced is False and not changed:
        yield "the performance is not the saved one to the last digit: another machine, or an edited answer"
    plan = inputs.plan
    quantiles = inputs.question.objective.quantiles or (0.99,)
    profile = inputs.question.profile(plan.profile)
    yield from (one.message for one in profile_caveats(profile, plan.batch_size_max, quantiles))
