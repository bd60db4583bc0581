"""Check: judges a saved plan again, and says whether it needs more than before."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from capacity.answer.documents import plain
from capacity.answer.refusals import format_refusal
from capacity.answer.saved_autoscaler import LEFT_OUT
from capacity.answer.saved_plan import SavedPlan
from capacity.answer.sentences import demand, fleet, format_found, limits_in_words
from capacity.errors import InputError
from capacity.files import printable, unpacked_name
from capacity.performance import Performance
from capacity.profile.load import ProfileLike
from capacity.question.budget import Effort
from capacity.question.candidate import Candidate, Judge, LikeIt, Reason, Rejection, Verdict, at_last
from capacity.question.objective import Limit, Objective
from capacity.question.parse import find_profile
from capacity.question.plan import Plan
from capacity.question.question import Question
from capacity.question.scenario import AnyScenario
from capacity.recovery.findings import Runs
from capacity.search.candidates import Progress, describe
from capacity.search.caveats import trace_caveats
from capacity.search.certificate import certify
from capacity.search.exact import judge_exactly, refuse_loads, theory_of
from capacity.search.plan_decision import recommend
from capacity.search.recommendation import Certificate, Recommendation, Survived
from capacity.search.recovery_plan import is_in_time
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import ClosedPopulation, Demand
from capacity.units import format_duration, format_rate, format_share


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One result of a check.

    Attributes:
        name: what was checked, in a few words.
        message: the result, with numbers.
        rejection: the numbers of a refusal; None if nothing was refused.
    """

    name: str
    verdict: Verdict
    message: str
    rejection: Rejection | None = None


class Gated(Protocol):
    """The result of checking a saved plan, as reports need it."""

    @property
    def findings(self) -> Sequence[Finding]:
        """The results, one for each thing that was checked."""

    @property
    def notes(self) -> Sequence[str]:
        """Further notes, in sentences."""

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of the findings."""

    @property
    def summary(self) -> str:
        """The plan and its verdict on one line."""


def verdict_of(findings: Iterable[Finding]) -> Verdict:
    """The worst of the verdicts: missed, then inconclusive, then met."""
    verdicts = [finding.verdict for finding in findings]
    worst = (Verdict.MISSED, Verdict.INCONCLUSIVE)
    return next((verdict for verdict in worst if verdict in verdicts), Verdict.MET)


def holds(verdict: Verdict, *, meets_limits: bool) -> str:
    """A verdict in words."""
    if verdict is Verdict.MISSED and meets_limits:
        return "holds, but more is needed now"
    told = {Verdict.MET: "holds", Verdict.MISSED: "does not hold", Verdict.INCONCLUSIVE: "is in doubt"}
    return told[verdict]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A plan judged again.

    Attributes:
        performance: performance of the whole fleet; None if theory refused the plan.
        survived: the events that it survived, up to the first that it did not.
    """

    candidate: Candidate
    performance: Performance | None = None
    survived: tuple[Survived, ...] = ()


def findings_of(objective: Objective, judged: Judged) -> Iterator[Finding]:
    """One finding for each limit, and one for each event up to the first that was not survived."""
    candidate, performance = judged.candidate, judged.performance
    rejection = candidate.rejection
    in_event = rejection is not None and rejection.event is not None
    for limit in objective.limits if performance is not None else ():
        if rejection is not None and not in_event and rejection.limit == limit:
            yield _refusal(str(limit), candidate)
        elif performance is not None:
            verdict = Verdict.MET if in_event else _by_interval(limit, performance, candidate)
            yield Finding(name=str(limit), verdict=verdict, message=format_found(limit, performance))
    yield from event_findings(objective, judged.survived)
    if rejection is not None and rejection.event is not None:
        yield _refusal(f"with {rejection.event}", candidate)
    elif rejection is not None and (performance is None or rejection.limit is None):
        yield _refusal("the plan", candidate)


def event_findings(objective: Objective, survived: Iterable[Survived]) -> Iterator[Finding]:
    """One finding for each event that a plan survived."""
    for one in survived:
        found = format_found(objective.binding(one.performance), one.performance)
        yield Finding(name=f"with {one.event}", verdict=Verdict.MET, message=found)


def _by_interval(limit: Limit, performance: Performance, candidate: Candidate) -> Verdict:
    """Verdict on a limit that was not refused: met if the candidate is accepted, else by the limit's own interval."""
    found = limit.found(performance)
    if candidate.accepted or (found is not None and candidate.settled and found.high <= limit.allowed):
        return Verdict.MET
    is_above = found is not None and found.low > limit.allowed
    return Verdict.MISSED if is_above and candidate.verdict is Verdict.MISSED else Verdict.INCONCLUSIVE


def _refusal(name: str, candidate: Candidate) -> Finding:
    return Finding(
        name=name, verdict=candidate.verdict, message=format_refusal(candidate), rejection=candidate.rejection
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NewProfile:
    """A profile that replaces a saved one.

    Attributes:
        role: name of the profile that it replaces; None if its own name says so.
        is_bare: whether it has batch times only, as a CSV does; price, overhead and instances then stay as saved.
    """

    profile: Any
    role: str | None = None
    is_bare: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GateInputs:
    """What is judged, and how it differs from what was saved.

    Attributes:
        plan: the saved plan, under the name of its current profile.
        effort: budget and precision of the judgement.
        replaced: new profile name by the saved name that it replaces.
        notes: what was replaced and what was kept, in sentences.
    """

    question: Question[Any, Any, Any]
    plan: Plan
    effort: Effort
    replaced: Mapping[str, str]
    notes: tuple[str, ...]

    @property
    def scenario(self) -> AnyScenario:
        """The plan before the judge."""
        return self.question.scenario(self.plan)

    def role(self, profile: str) -> str:
        """Name of the saved profile that a profile replaces."""
        return next((old for old, new in self.replaced.items() if new == profile), profile)


def gate_inputs(
    saved: SavedPlan, new: Sequence[NewProfile], rate_rps: float | None, requests_max: int | None = None
) -> GateInputs:
    """The saved question with its new inputs.

    Raises:
        InputError: a profile that replaces none, two that replace the same one, or a rate for a closed population.
    """
    question, plan = saved.question, saved.plan
    by_role: dict[str, Any] = {}
    notes: list[str] = []
    for one in new:
        role = _role(one, saved)
        if role in by_role:
            raise InputError(f"two profiles replace {role}; give one --profile for each")
        old = question.profile(role)
        if type(one.profile) is not type(old):
            raise InputError(
                f"{one.profile.name} is of another kind of server than {old.name}, which it would replace"
            )
        by_role[role] = _completed(one, old)
        notes.append(_replacement(old, by_role[role], one))
    if rate_rps is not None:
        question = replace(question, workload=_at_rate(question.workload, rate_rps, saved.name, notes))
    if by_role:
        profiles = tuple(by_role.get(profile.name, profile) for profile in question.profiles)
        question = replace(question, profiles=profiles)
    name = by_role[plan.profile].name if plan.profile in by_role else plan.profile
    plan = replace(plan, profile=name)
    theory_of(question.profile(name)).require_plan(question.scenario(plan))
    return GateInputs(
        question=question,
        plan=plan,
        effort=saved.effort if requests_max is None else replace(saved.effort, requests_max=requests_max),
        replaced={role: profile.name for role, profile in by_role.items()},
        notes=tuple(notes),
    )


def new_profiles(given: Sequence[ProfileLike], saved: SavedPlan) -> Iterator[NewProfile]:
    """New measurements: a file, `NAME=FILE` if the plan has several profiles, or a profile."""
    for one in given:
        role, profile = split_role(one, saved) if isinstance(one, str) else (None, one)
        if isinstance(profile, str | Path):
            is_bare = unpacked_name(Path(profile)).suffix.lower() == ".csv"
        else:
            is_bare = hasattr(profile, "columns")  # a DataFrame, which has those of a CSV
        yield NewProfile(profile=find_profile(profile), role=role, is_bare=is_bare)


def _role(new: NewProfile, saved: SavedPlan) -> str:
    """Name of the saved profile that a new one replaces: the one given, the one of the same name, or the only one."""
    names: list[str] = [profile.name for profile in saved.question.profiles]
    name: str = new.profile.name
    if new.role is not None:
        return new.role
    if name in names:
        return name
    if len(names) == 1:
        return names[0]
    raise InputError(
        f"--profile {name} is not one of the profiles of {saved.name} "
        f"({', '.join(names[:5])}); say "
        f"which it replaces: --profile {names[0]}=FILE"
    )


def split_role(text: str, saved: SavedPlan) -> tuple[str | None, str]:
    """Profile name and file of `NAME=FILE` if a saved profile has that name; else the whole text as a file."""
    name, separator, file = text.partition("=")
    if separator and name in [profile.name for profile in saved.question.profiles]:
        return name, file
    return None, text


def _completed(new: NewProfile, old: Any) -> Any:
    """The new profile, with what its file cannot say taken from the old one."""
    profile: Any = new.profile
    if profile.hourly_usd is None:
        profile = replace(profile, hourly_usd=old.hourly_usd)
    kept = {name: getattr(old, name) for name in old.BEYOND_CSV} if new.is_bare else {}
    return replace(profile, **kept) if kept else profile


def _replacement(old: Any, new: Any, given: NewProfile) -> str:
    if old == new:
        return f"profile {old.name} is unchanged"
    by = "by another with the same name" if old.name == new.name else f"by {new.name}"
    return f"profile {old.name} is replaced {by}{_kept(old, given.profile) if given.is_bare else ''}"


def _kept(old: Any, bare: Any) -> str:
    """What is kept of the old profile because a CSV does not have it, in words."""
    words = {"hourly_usd": "price", **old.BEYOND_CSV}
    *names, last = [
        word for name, word in words.items() if word and getattr(old, name) != getattr(bare, name)
    ] or [""]
    if not last:
        return ""
    return f"; its {', '.join(names)} and {last} are kept" if names else f"; its {last} is kept"


def _at_rate(workload: Demand, rate_rps: float, name: str, notes: list[str]) -> Demand:
    if isinstance(workload, ClosedPopulation):
        raise InputError(
            f"{printable(name)} is for {workload.users} users, not for a rate; leave --rate out, or make a "
            "plan with --rate"
        )
    if not math.isclose(rate_rps, workload.arrival_rate_rps, rel_tol=1e-12):
        notes.append(
            f"the arrival rate is {format_rate(rate_rps)} instead of {format_rate(workload.arrival_rate_rps)}"
        )
    return replace(workload, arrival_rate_rps=rate_rps)


_SAME_COST = 1e-9  # share of a cost below which two costs are equal

# Start of the finding that the fleet, sized again, needs no more replicas than before.
NO_MORE = "no more than"
_RECOVERS = "recovers within"  # start of the finding about recovery


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Size of a fleet. `role` is the saved profile that its own profile replaces."""

    role: str
    replicas: int
    hourly_usd: float | None

    def __str__(self) -> str:
        """Replicas, and the price if it is known."""
        count = f"{self.replicas} replica{'s' if self.replicas > 1 else ''}"
        return count if self.hourly_usd is None else f"{count} ({self.hourly_usd:.3f} USD/h)"

    def exceeds(self, other: "Size") -> bool:
        """Whether it costs more, or has more replicas if a price is unknown or equal."""
        if self.hourly_usd is None or other.hourly_usd is None:
            return self.replicas > other.replicas
        is_dearer = self.hourly_usd > other.hourly_usd * (1.0 + _SAME_COST)
        return is_dearer or (self.role == other.role and self.replicas > other.replicas)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateAnswer:
    """The answer of `capacity check`.

    Attributes:
        findings: one for each thing that was checked.
        performance: performance of the whole fleet; None if theory refused the plan.
        needed: the plan that the question needs now; None if that was not asked, or there is none.
        reproduced: whether the performance equals the saved one to the last digit; None if the inputs changed, or the
            file is of a version that did not save how to confirm it.
        notes: further notes, in sentences.
        like_it: what the plan does under traffic like the recorded trace; None without a trace.
    """

    inputs: GateInputs
    findings: tuple[Finding, ...]
    performance: Performance | None
    survived: tuple[Survived, ...]
    needed: Recommendation[BatchPlan] | None
    reproduced: bool | None
    notes: tuple[str, ...]
    like_it: LikeIt | None = None

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of the findings."""
        return verdict_of(self.findings)

    @property
    def rejection(self) -> Rejection | None:
        """Why the whole fleet misses its objective; None if it does not."""
        refusals = [
            one.rejection for one in self.findings if one.rejection is not None and self.is_of_fleet(one)
        ]
        return refusals[0] if refusals else None

    @staticmethod
    def is_of_fleet(finding: Finding) -> bool:
        """Whether a finding is of the whole fleet, and neither of an event nor of a larger one."""
        event = None if finding.rejection is None else finding.rejection.event
        return event is None and not finding.name.startswith(NO_MORE)

    @property
    def summary(self) -> str:
        """The plan and its verdict on one line."""
        told = holds(self.verdict, meets_limits=self.meets_limits) + self._instead
        return f"{fleet(self.inputs.plan)} {demand(self.inputs.question.workload)}: the plan {told}"

    @property
    def _instead(self) -> str:
        """What would do in place of a plan that does not hold: more replicas, or as many with another setting."""
        needed = None if self.needed is None or self.meets_limits else self.needed.plan
        recovers = all(one.verdict is Verdict.MET for one in self.findings if one.name.startswith(_RECOVERS))
        if needed is None or self.verdict is not Verdict.MISSED or not recovers:  # sized without trouble
            return ""
        (size,) = (one for one in self.findings if one.name.startswith(NO_MORE))
        if size.verdict is Verdict.MISSED:
            return f"; {fleet(needed)} would"
        return f", but no more is needed than{size.name.removeprefix(NO_MORE)} has: {fleet(needed)} would do"

    @property
    def meets_limits(self) -> bool:
        """Whether the plan meets its limits, whatever it would need if it were sized again."""
        return all(one.verdict is Verdict.MET for one in self.findings if not one.name.startswith(NO_MORE))


def gate(
    saved: SavedPlan, inputs: GateInputs, baseline: SavedPlan | None, judge: Judge, progress: Progress
) -> GateAnswer:
    """Judge a saved plan again with its own confirmation; if the inputs changed, also size a new fleet.

    With the same inputs, seed and versions, its performance is reproduced to the last digit.

    Raises:
        DomainError: a new profile does not cover a batch of one request.
    """
    for profile in inputs.question.profiles:
        theory_of(profile).require(profile)
    is_same = inputs.question == saved.question
    judged = _judged(saved, inputs, judge, progress, is_same=is_same)
    needed = (
        None
        if is_same
        else recommend(inputs.question, judge, progress, plan_alone=True, confidence=inputs.effort.confidence)
    )
    reproduced = None
    if is_same and inputs.effort == saved.effort and judged.performance is not None and saved.certificate:
        again = plain(judged.performance), plain(judged.survived)
        reproduced = again == (saved.answer.get("performance"), saved.answer.get("survived"))
    return GateAnswer(
        inputs=inputs,
        findings=(
            *findings_of(inputs.question.objective, judged),
            *_size_findings(saved, inputs, baseline, judged.candidate, needed),
        ),
        performance=judged.performance,
        survived=judged.survived,
        needed=needed,
        reproduced=reproduced,
        notes=(
            *inputs.notes,
            *_notes(saved, inputs, baseline, reproduced=reproduced),
            *_attempts(judged.performance),
            *_caveats(inputs, judged.candidate.like_it),
        ),
        like_it=judged.candidate.like_it,
    )


def _judged(
    saved: SavedPlan, inputs: GateInputs, judge: Judge, progress: Progress, *, is_same: bool
) -> Judged:
    """The plan as the judge sees it, or as theory refuses it.

    With the saved inputs, the saved certificate says how many requests to begin with. With new inputs, a first look
    as in a search says so, and refuses sooner.
    """
    question, plan, scenario = inputs.question, inputs.plan, inputs.scenario
    refused = theory_of(scenario.profile).refuse_setting(scenario, inputs.effort.confidence)
    rejection = refused or refuse_loads(question, plan)
    if rejection is not None:
        return Judged(candidate=Candidate(plan=plan, verdict=Verdict.MISSED, rejection=rejection))
    certificate = saved.certificate or Certificate()
    if not is_same:
        progress(f"judging {describe(plan)}")
        look = judge_exactly(scenario) or at_last(judge.search(scenario, 1))
        if look.verdict is Verdict.MISSED:
            return Judged(candidate=look, performance=look.performance)
        certificate = Certificate(requests_first=look.requests_looked)
    trial = certify(question, judge, plan, certificate, progress)
    return Judged(candidate=trial.candidate, performance=trial.whole.performance, survived=trial.survived)


def _size_findings(
    saved: SavedPlan,
    inputs: GateInputs,
    baseline: SavedPlan | None,
    candidate: Candidate,
    needed: Recommendation[BatchPlan] | None,
) -> Iterator[Finding]:
    """Whether the question needs more than the baseline has, or than the saved plan if there is no baseline."""
    if needed is None and baseline is None:
        return
    whose = "the plan" if baseline is None else "the baseline"
    have = _saved_size(saved if baseline is None else baseline)
    need = _needed_size(inputs, candidate, needed)
    name = f"{NO_MORE} {whose}"
    if need is None:
        assert needed is not None  # noqa: S101  (without a search the plan itself was met or refused)
        in_doubt = needed.verdict is Verdict.INCONCLUSIVE
        what = "is known to meet" if in_doubt else "meets"
        message = f"no plan within the limits {what} {limits_in_words(inputs.question.objective)}"
        yield Finding(name=name, verdict=needed.verdict, message=f"{message}; {whose} has {have}")
        return
    is_more, rejection = need.exceeds(have), None
    if is_more and need.replicas > have.replicas:
        rejection = Rejection(reason=Reason.REPLICAS_MAX, allowed=have.replicas, needed=need.replicas)
    yield Finding(
        name=name,
        verdict=Verdict.MISSED if is_more else Verdict.MET,
        message=f"needs {need}, {whose} has {have}",
        rejection=rejection,
    )


def _needed_size(
    inputs: GateInputs, candidate: Candidate, needed: Recommendation[BatchPlan] | None
) -> Size | None:
    """Size that is needed now: that of the search, or that of the plan itself if it is met and no larger.

    A search may stop at a fleet larger than a certified one whose batch size it does not try.
    """
    sizes = []
    if candidate.accepted or needed is None:
        sizes.append(_size(inputs.question, inputs.plan, inputs))
    if needed is not None and needed.plan is not None:
        sizes.append(_size(inputs.question, needed.plan, inputs))
    if not sizes:
        return None
    first, last = sizes[0], sizes[-1]
    return last if first.exceeds(last) else first


def _size(question: Question[Any, Any, Any], plan: Plan, inputs: GateInputs | None) -> Size:
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
            yield f"the baseline {baseline.name} is for a different workload or objective"
    changed = saved.versions_changed
    if changed:
        told = ", ".join(f"{name} {there} then and {here} now" for name, (there, here) in changed.items())
        yield f"other versions may give different last digits: {told}"
    if reproduced is False and not changed:
        yield "the performance differs from the saved one in its last digits: other machine, or edited answer"


def _attempts(performance: Performance | None) -> Iterator[str]:
    """How often clients tried, if they may try more than once or give up."""
    if performance is not None and performance.attempts_mean is not None:
        yield (
            f"attempts a request: {performance.attempts_mean:.4g}, and "
            f"{format_share(performance.loss_probability or 0.0)} of the requests were never answered"
        )


def _caveats(inputs: GateInputs, like_it: LikeIt | None) -> Iterator[str]:
    """What the profile and the trace leave open."""
    scenario = inputs.scenario
    yield from (one.message for one in theory_of(scenario.profile).profile_caveats(scenario))
    yield from (one.message for one in trace_caveats(scenario.workload, like_it))


def notes_on_trouble(answer: Mapping[str, Any], recovery: Finding | None) -> Iterator[str]:
    """Parts of the plan that a check does not judge."""
    if answer.get("recovery") is not None and recovery is None:
        yield "whether the fleet recovers from trouble was not judged again; run capacity stress --plan"
    if answer.get("disturbed") is not None:
        yield "pauses, breakdowns and classes of requests were not judged again; plan again to have them judged"
    if answer.get("autoscaled") is not None:
        yield LEFT_OUT


def recovery_finding(found: Runs, within_s: float) -> Finding:
    """Whether a fleet in trouble recovers in time in all runs, as `plan --recover-within` requires."""
    back, count = sum(run.recovered_s is not None for run in found.runs), len(found.runs)
    return Finding(
        name=recovery_name(within_s),
        verdict=Verdict.MET if is_in_time(found, within_s) else Verdict.MISSED,
        message=f"{back} of {count} runs recover in time",
    )


def recovery_name(within_s: float) -> str:
    """Name of the finding about recovery."""
    return f"{_RECOVERS} {format_duration(within_s)}"
