"""Sensitivity: how other batches, rates, service times and arrivals would change the same plan."""

from collections.abc import Iterator
from dataclasses import replace

from capacity.question.candidate import Candidate
from capacity.question.plan import Plan
from capacity.question.question import Question
from capacity.search.recommendation import CHANGE_STEP, Change
from capacity.search.what_if import Asker, burstier, fewest_replicas, shift_of, with_demand, with_service

_CV_STEP = 0.5


def sensitivities(asker: Asker, question: Question, plan: Plan, base: Candidate) -> Iterator[Change]:
    """Rate and service time ten per cent up and down, and gaps that vary half as much again."""
    asked = "rate" if hasattr(question.workload, "arrival_rate_rps") else "users"
    for step in (CHANGE_STEP, -CHANGE_STEP):
        yield _given(asker, with_demand(question, 1.0 + step), plan, base, asked, step)
    for step in (CHANGE_STEP, -CHANGE_STEP):
        yield _given(asker, with_service(question, 1.0 + step), plan, base, "service time", step)
    bursty = burstier(question.workload, 1.0 + _CV_STEP)
    if bursty is not None:
        yield _given(asker, replace(question, workload=bursty), plan, base, "cv", _CV_STEP)


def most_sensitive(changes: tuple[Change, ...]) -> Change | None:
    """The input that moves the limiting figure most for each 10 %; None if none does."""
    most = max(changes, key=lambda change: change.shift_per_step, default=None)
    return most if most is not None and most.shift_per_step > 0.0 else None


def _given(asker: Asker, question: Question, plan: Plan, base: Candidate, what: str, step: float) -> Change:
    candidate = asker.ask(question, plan, f"{what} {100.0 * step:+g} %", careful=True)
    return Change(
        what=what,
        plan=plan,
        candidate=candidate,
        step=step,
        shift=shift_of(question, base, candidate),
        replicas=fewest_replicas(asker, question, plan, candidate),
    )
