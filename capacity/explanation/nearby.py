"""Nearby: the same plan at other rates and with a replica gone, by laws or short trials, for display."""

from dataclasses import replace

from capacity.question.candidate import Candidate, Judge, Verdict
from capacity.question.question import Question
from capacity.search.candidates import Progress
from capacity.search.certificate import Trial
from capacity.search.exact import theory_of
from capacity.search.what_if import Asker
from capacity.traffic.workload import Workload

# Of the sustainable rate; close to it a trial takes longest and says least.
_LOADS = (0.02, 0.2, 0.35, 0.5, 0.6, 0.7, 0.78, 0.85, 0.9, 0.94, 0.97)
_BESIDE = 0.03  # share of today's rate within which no other is tried


def performance_at_rates(
    question: Question, today: Candidate, judge: Judge, progress: Progress, confidence: float = 0.95
) -> tuple[tuple[float, Candidate], ...]:
    """Performance of a plan at about ten rates and at today's, rising; it ends after two refusals above today's.

    It is empty for a closed population, which has no rate of its own.

    Args:
        today: the plan as it was confirmed.
    """
    if not isinstance(question.workload, Workload):
        return ()
    today_rps, scenario = question.workload.arrival_rate_rps, question.scenario(today.plan)
    wall_rps = theory_of(scenario.profile).size_max(scenario, judge)
    asker = Asker(judge, progress, confidence=confidence)
    found, refused = [(today_rps, today)], 0
    for rate_rps in (load * wall_rps for load in _LOADS):
        if abs(rate_rps - today_rps) < _BESIDE * today_rps:
            continue
        one = asker.judge_one(scenario.at_rate(rate_rps), f"simulating {rate_rps:.4g} rps")
        found.append((rate_rps, one))
        # With a batch wait low rates may be refused too, and the next ones kept.
        refused += rate_rps > today_rps and one.verdict is Verdict.MISSED
        if refused == 2:
            break
    return tuple(sorted(found, key=lambda one: one[0]))


def one_lost(
    question: Question, trial: Trial, judge: Judge, progress: Progress, confidence: float = 0.95
) -> Candidate | None:
    """Performance of the rest while one replica is gone; None if there is no rest.

    Args:
        trial: the confirmation of the plan, which may have covered that event.
    """
    plan = trial.whole.plan
    if plan.replicas == 1:
        return None
    left = replace(plan, replicas=plan.replicas - 1)
    for event in trial.survived:
        if event.plan == left:
            return Candidate(plan=left, verdict=Verdict.MET, performance=event.performance)
    scenario = question.scenario(left)
    asker = Asker(judge, progress, confidence=confidence)
    return asker.judge_one(scenario, "simulating one replica fewer", careful=True)
