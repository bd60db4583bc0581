"""What if: variants of a question, and a plan's verdict under them, by law or by short trials."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from capacity.errors import DomainError
from capacity.question.candidate import Candidate, Doubt, Judge, Reason, Rejection, Verdict
from capacity.question.objective import Objective
from capacity.question.plan import Plan
from capacity.question.question import Question
from capacity.question.scenario import Scenario
from capacity.search.candidates import Progress, survival_candidate
from capacity.search.exact import judge_exactly, theory_of
from capacity.search.recommendation import Change
from capacity.traffic.workload import Demand, GammaArrivals, PoissonArrivals, Workload

# Simulated requests after which no more is asked; a count, so that answers do not depend on speed.
REQUESTS_MAX = 300_000_000


def scaled_demand(demand: Demand, factor: float) -> Demand:
    """The rate or the users times a factor; users are whole, and change by at least one."""
    if isinstance(demand, Workload):
        return replace(demand, arrival_rate_rps=factor * demand.arrival_rate_rps)
    users = round(factor * demand.users)
    if users == demand.users and factor != 1.0:
        users += 1 if factor > 1.0 else -1
    return replace(demand, users=max(1, users))


def relaxed_objective(objective: Objective, factor: float) -> Objective:
    """Every limit that is a duration, times a factor; shares stay the same."""
    return Objective(
        limits=tuple(
            replace(limit, allowed=factor * limit.allowed) if limit.measure.is_duration else limit
            for limit in objective.limits
        )
    )


def burstier(demand: Demand, factor: float) -> Demand | None:
    """Arrivals whose gaps vary more by a factor; None if the gaps have no such number to change."""
    if not isinstance(demand, Workload):
        return None
    match demand.arrivals:
        case PoissonArrivals():
            cv = 1.0
        case GammaArrivals(cv=given):
            cv = given
        case _:
            return None
    return replace(demand, arrivals=GammaArrivals(cv=min(20.0, factor * cv)))


def with_service(question: Question, factor: float) -> Question:
    """The question for devices that take `factor` times as long for every batch or step."""
    return replace(question, profiles=tuple(one.scaled(factor) for one in question.profiles))


def with_demand(question: Question, factor: float) -> Question:
    """The question with the rate or the users times a factor."""
    return replace(question, workload=scaled_demand(question.workload, factor))


def with_limits(question: Question, factor: float) -> Question:
    """The question with every limit that is a duration times a factor."""
    return replace(question, objective=relaxed_objective(question.objective, factor))


class Asker:
    """Judges scenarios one by one, by a law where one is exact and else by short trials.

    All trials draw the same random numbers, so two answers differ only by their scenarios.
    What stays in doubt is reported as doubt; so is all that comes after the budget is spent.
    """

    def __init__(
        self, judge: Judge, progress: Progress, requests_max: int = REQUESTS_MAX, confidence: float = 0.95
    ) -> None:
        self.judge, self.progress, self.requests_max = judge, progress, requests_max
        self.confidence = confidence
        self.requests = self.careful_requests = 0

    def judge_one(self, scenario: Scenario, what: str, *, careful: bool = False) -> Candidate[Any]:
        """What theory refuses, what a law knows, what a trial finds; a longer trial if that is in doubt."""
        theory = theory_of(scenario.profile)
        refused = theory.refuse_setting(scenario, self.confidence) or theory.refuse_load(scenario)
        if refused is not None:
            return Candidate(plan=scenario.plan, verdict=Verdict.MISSED, rejection=refused)
        exact = judge_exactly(scenario)
        if exact is not None:
            return exact
        if self.requests >= self.requests_max:
            rejection = Rejection(
                reason=Reason.BUDGET, allowed=self.requests_max, needed=2 * self.requests_max
            )
            return Candidate(plan=scenario.plan, verdict=Verdict.INCONCLUSIVE, rejection=rejection)
        self.progress(what)
        candidate = self.judge.accepts(scenario)
        self.requests += candidate.requests
        if not careful or candidate.verdict is not Verdict.INCONCLUSIVE or candidate.doubt is Doubt.PROFILE:
            return candidate  # no simulation mends a profile
        if self.careful_requests >= theory.careful_requests_max:
            return candidate
        self.progress(f"{what}, more carefully")
        longer = self.judge.certify(scenario, 1, candidate.requests_looked)
        self.requests += longer.requests
        self.careful_requests += longer.requests
        return longer

    def ask(self, question: Question, plan: Plan, what: str, *, careful: bool = False) -> Candidate[Any]:
        """The verdict on a plan, and on what each event leaves of it, for a question.

        Args:
            careful: whether to run longer where a short trial leaves a doubt.
        """
        whole = self.judge_one(question.scenario(plan), what, careful=careful)
        if whole.verdict is Verdict.MET:
            for event, scenario in question.events(plan):
                outcome = self.judge_one(scenario, f"{what}, {event}", careful=careful)
                if outcome.verdict is not Verdict.MET:
                    return replace(survival_candidate(plan, event, outcome), performance=outcome.performance)
        return whole


def fewest_replicas(asker: Asker, question: Question, plan: Plan, known: Candidate) -> int | None:
    """Fewest replicas, in full devices, with which the same batch and routing meet the objective.

    From the plan's number by growing steps, then bisected; up to twice that and four more. A plan in
    doubt is not enough.

    Args:
        known: the verdict on the plan itself, for that question.
    """
    step = question.family(plan).per_device
    today, most = -(-plan.replicas // step), 2 * -(-plan.replicas // step) + 4

    def meets(devices: int) -> bool:
        if devices == today:
            return known.accepted
        other = replace(plan, replicas=devices * step)
        return asker.ask(question, other, f"with {other.replicas} replicas").accepted

    refused, accepted, stride = (0, today, 1) if meets(today) else (today, 0, 1)
    while accepted == 0 and refused < most:  # upwards, to the first that meets it
        devices = min(refused + stride, most)
        refused, accepted = (refused, devices) if meets(devices) else (devices, 0)
        stride *= 2
    if accepted == 0:
        return None
    while accepted - refused > 1:
        devices = max(refused + 1, accepted - stride) if refused == 0 else (refused + accepted) // 2
        refused, accepted = (refused, devices) if meets(devices) else (devices, accepted)
        stride *= 2
    return accepted * step


def neighbours(
    asker: Asker, question: Question, plan: Plan, base: Candidate | None = None, *, careful: bool = True
) -> Iterator[Change[Any]]:
    """The same fleet with its settings one step up and down; a setting that some request does not fit is left out.

    Args:
        base: result of the plan itself, with which changes are compared; None without it.
        careful: whether to run longer where a short trial leaves a doubt.
    """
    theory = theory_of(question.profile(plan.profile))
    for what, other in theory.neighbours(question, plan):
        scenario = question.scenario(other)
        try:
            candidate = asker.ask(question, other, f"another {what}", careful=careful)
            saturation = theory.saturation(scenario, asker.judge)
        except DomainError:  # that a prompt fits no step is only seen once it is drawn
            continue
        shift = None if base is None else shift_of(question, base, candidate)
        yield Change(what=what, plan=other, candidate=candidate, shift=shift, saturation=saturation)


def shift_of(question: Question, base: Candidate, candidate: Candidate) -> float | None:
    """Relative change of what binds the plan."""
    rejection = candidate.rejection
    if candidate.performance is None and rejection is not None and rejection.reason is Reason.STABILITY:
        return math.inf
    if base.performance is None or candidate.performance is None:
        return None
    limit = question.objective.binding(base.performance)
    before, after = limit.found(base.performance), limit.found(candidate.performance)
    if before is None or after is None or before.value == 0.0:
        return None
    return after.value / before.value - 1.0
