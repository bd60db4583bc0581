"""Headroom: how far the arrival rate may rise before a plan misses its objective."""

from collections.abc import Callable

from capacity.question.candidate import Candidate, Doubt, Judge, Verdict
from capacity.question.refusal import refuse_load
from capacity.question.scenario import Scenario
from capacity.question.stability import device_throughput_max_rps, sustainable_rate_rps
from capacity.search.exact import judge_exactly
from capacity.search.recommendation import Headroom
from capacity.traffic.workload import Workload

_FIRST_STEP = 0.02  # share of today's rate; doubled until not accepted
_RESOLUTION = 0.01  # share of the rate to within which either end is found


def find_headroom(scenario: Scenario, judge: Judge, progress: Callable[[str], None]) -> Headroom:
    """Upper end of the rates, from today's on, at which the plan is still accepted.

    Rises by doubled steps to a rate that is not accepted, then bisects on the accepted side and, if
    that rate was in doubt, on the refused side too. With a batch wait a plan may be refused, accepted and
    refused again as the rate rises; a refused stretch narrower than the step over it is not seen.
    """
    trials = _Trials(scenario, judge, progress)
    low_rps, step = trials.today_rps, _FIRST_STEP
    high_rps = low_rps * (1.0 + step)
    while high_rps < trials.refused_rps and trials.verdict(high_rps) is Verdict.MET:
        low_rps, step = high_rps, 2.0 * step
        high_rps = trials.today_rps * (1.0 + step)
    high_rps = min(high_rps, trials.refused_rps)
    while high_rps > low_rps * (1.0 + _RESOLUTION):
        middle_rps = (low_rps + high_rps) / 2.0
        if trials.verdict(middle_rps) is Verdict.MET:
            low_rps = middle_rps
        else:
            high_rps = middle_rps
    trials.close_in(high_rps)
    return Headroom(
        today_rps=trials.today_rps,
        accepted_rps=low_rps,
        refused_rps=trials.refused_rps,
        doubt=trials.doubt,
    )


class _Trials:
    """Rates judged one after another, and the lowest that is refused."""

    def __init__(self, scenario: Scenario, judge: Judge, progress: Callable[[str], None]) -> None:
        workload = scenario.workload
        assert isinstance(workload, Workload)  # noqa: S101  (a closed population has no rate)
        self.scenario, self.judge, self.progress = scenario, judge, progress
        self.today_rps = workload.arrival_rate_rps
        self.refused_rps = max(self.today_rps, _served_max_rps(scenario))
        self.doubt: Doubt | None = None

    def verdict(self, rate_rps: float) -> Verdict:
        trial = self.scenario.at_rate(rate_rps)
        if refuse_load(trial) is not None:
            candidate = Candidate(plan=trial.plan, verdict=Verdict.MISSED)
        else:
            self.progress(f"headroom: trying {rate_rps:.4g} rps")
            candidate = judge_exactly(trial) or self.judge.accepts(trial)
        if candidate.verdict is Verdict.MISSED:
            self.refused_rps = min(self.refused_rps, rate_rps)
        elif candidate.verdict is Verdict.INCONCLUSIVE and self.doubt is not Doubt.PROFILE:
            self.doubt = candidate.doubt or Doubt.REQUESTS  # report what no budget settles, if any
        return candidate.verdict

    def close_in(self, open_rps: float) -> None:
        """Bisect to the lowest refused rate, from one that is not accepted."""
        while self.refused_rps > open_rps * (1.0 + _RESOLUTION):
            middle_rps = (open_rps + self.refused_rps) / 2.0
            if self.verdict(middle_rps) is not Verdict.MISSED:
                open_rps = middle_rps


def _served_max_rps(scenario: Scenario) -> float:
    """The rate from which on theory refuses the plan. [requests/s]"""
    plan, allowed = scenario.plan, scenario.objective.loss_allowed
    if plan.queue_limit is None or allowed is None:
        return sustainable_rate_rps(scenario.profile, plan)
    devices = scenario.profile.devices(plan.replicas)
    return devices * device_throughput_max_rps(scenario.profile, plan.batch_size_max) / (1.0 - allowed)
