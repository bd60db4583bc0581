"""Findings: what became of each promise of a plan that was judged, with its numbers."""

from collections.abc import Iterator
from dataclasses import dataclass

from capacity.explain import format_found, format_refusal
from capacity.objective import Promise
from capacity.performance import Performance
from capacity.plan import Candidate, Rejection, Survived, Verdict
from capacity.question import Question


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: what, in a few words.
        message: what was found, with numbers.
        rejection: the numbers of a refusal, where there was one.
    """

    name: str
    verdict: Verdict
    message: str
    rejection: Rejection | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What became of a plan.

    Attributes:
        performance: of the whole fleet; None where theory refused it.
        survived: the events that it outlived, up to the first that it did not.
    """

    candidate: Candidate
    performance: Performance | None = None
    survived: tuple[Survived, ...] = ()


def findings_of(question: Question, judged: Judged) -> Iterator[Finding]:
    """What became of each promise, and of each event up to the first that was not outlived."""
    candidate, performance = judged.candidate, judged.performance
    rejection = candidate.rejection
    in_event = rejection is not None and rejection.event is not None
    for promise in question.objective.promises if performance is not None else ():
        if rejection is not None and not in_event and rejection.promise == promise:
            yield _refusal(str(promise), candidate)
        elif performance is not None:
            verdict = Verdict.MET if in_event else _by_interval(promise, performance, candidate)
            yield Finding(name=str(promise), verdict=verdict, message=format_found(promise, performance))
    for one in judged.survived:
        found = format_found(question.objective.binding(one.performance), one.performance)
        yield Finding(name=f"with {one.event}", verdict=Verdict.MET, message=found)
    if rejection is not None and rejection.event is not None:
        yield _refusal(f"with {rejection.event}", candidate)
    elif rejection is not None and (performance is None or rejection.promise is None):
        yield _refusal("the plan", candidate)


def _by_interval(promise: Promise, performance: Performance, candidate: Candidate) -> Verdict:
    """Of a promise that was not the one refused; all are met together or each speaks for itself."""
    found = promise.found(performance)
    if candidate.accepted or (found is not None and candidate.settled and found.high <= promise.allowed):
        return Verdict.MET
    is_above = found is not None and found.low > promise.allowed
    return Verdict.MISSED if is_above and candidate.verdict is Verdict.MISSED else Verdict.INCONCLUSIVE


def _refusal(name: str, candidate: Candidate) -> Finding:
    return Finding(
        name=name,
        verdict=candidate.verdict,
        message=format_refusal(candidate),
        rejection=candidate.rejection,
    )
