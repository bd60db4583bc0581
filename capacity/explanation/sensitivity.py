"""Sensitivity: how other batches, rates, service times and arrivals would change the same plan."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from capacity.question.candidate import Candidate
from capacity.question.plan import Plan
from capacity.question.question import Question
from capacity.search.what_if import Asker, burstier, fewest_replicas, with_demand, with_service

_STEP = 0.1  # step of the rate and the service time, up and down
_CV_STEP = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One changed input, and its effect on the plan.

    Attributes:
        what: the input: `batch size`, `batch wait`, `rate`, `users`, `service time` or `cv`.
        step: relative change of the input; None for a choice.
        shift: relative change of the limiting figure; infinite if the plan becomes unstable, None if undecided.
        replicas: number that would be enough, with the same batch; None if not asked, or none was found.
    """

    what: str
    plan: Plan
    candidate: Candidate
    step: float | None = None
    shift: float | None = None
    replicas: int | None = None

    @property
    def shift_per_step(self) -> float:
        """Relative change of the limiting figure for each 10 % of the input."""
        if self.shift is None or not self.step:
            return 0.0
        return abs(self.shift) * _STEP / abs(self.step)


def neighbours(asker: Asker, question: Question, plan: Plan, base: Candidate) -> Iterator[Change]:
    """The next smaller and larger batch, and the next shorter and longer batch wait."""
    profile = question.profile(plan.profile)
    sizes = sorted({*profile.batch_sizes, plan.batch_size_max})
    place = sizes.index(plan.batch_size_max)
    for size in [*sizes[max(0, place - 1) : place], *sizes[place + 1 : place + 2]]:
        wait_s = plan.batch_wait_max_s if size > 1 else 0.0
        yield _choice(asker, question, replace(plan, batch_size_max=size, batch_wait_max_s=wait_s), base,
                      "batch size")  # fmt: skip
    if plan.batch_size_max == 1:
        return
    searched = replace(question, batch_waits_s=None).batch_waits(profile, plan.batch_size_max)
    waits_s = sorted({*searched, plan.batch_wait_max_s})
    place = waits_s.index(plan.batch_wait_max_s)
    for wait_s in [*waits_s[max(0, place - 1) : place], *waits_s[place + 1 : place + 2]]:
        yield _choice(asker, question, replace(plan, batch_wait_max_s=wait_s), base, "batch wait")


def sensitivities(asker: Asker, question: Question, plan: Plan, base: Candidate) -> Iterator[Change]:
    """Rate and service time ten per cent up and down, and gaps that vary half as much again."""
    asked = "rate" if hasattr(question.workload, "arrival_rate_rps") else "users"
    for step in (_STEP, -_STEP):
        yield _given(asker, with_demand(question, 1.0 + step), plan, base, asked, step)
    for step in (_STEP, -_STEP):
        yield _given(asker, with_service(question, 1.0 + step), plan, base, "service time", step)
    bursty = burstier(question.workload, 1.0 + _CV_STEP)
    if bursty is not None:
        yield _given(asker, replace(question, workload=bursty), plan, base, "cv", _CV_STEP)


def most_sensitive(changes: tuple[Change, ...]) -> Change | None:
    """The input that moves the limiting figure most for each 10 %; None if none does."""
    most = max(changes, key=lambda change: change.shift_per_step, default=None)
    return most if most is not None and most.shift_per_step > 0.0 else None


def _choice(asker: Asker, question: Question, plan: Plan, base: Candidate, what: str) -> Change:
    candidate = asker.ask(question, plan, f"another {what}", careful=True)
    return Change(what=what, plan=plan, candidate=candidate, shift=_shift(question, base, candidate))


def _given(asker: Asker, question: Question, plan: Plan, base: Candidate, what: str, step: float) -> Change:
    candidate = asker.ask(question, plan, f"{what} {100.0 * step:+g} %", careful=True)
    return Change(
        what=what,
        plan=plan,
        candidate=candidate,
        step=step,
        shift=_shift(question, base, candidate),
        replicas=fewest_replicas(asker, question, plan, candidate),
    )


def _shift(question: Question, base: Candidate, candidate: Candidate) -> float | None:
    """Relative change of the plan's limiting figure."""
    rejection = candidate.rejection
    if candidate.performance is None and rejection is not None and rejection.limit.value == "stability":
        return math.inf
    if base.performance is None or candidate.performance is None:
        return None
    promise = question.objective.binding(base.performance)
    before, after = promise.found(base.performance), promise.found(candidate.performance)
    if before is None or after is None or before.value == 0.0:
        return None
    return after.value / before.value - 1.0
