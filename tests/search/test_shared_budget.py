"""One budget for all candidates: six profiles at one price, five of which have their P99 at the limit."""

from dataclasses import replace

import pytest
from questions import batch_question

from capacity.profile.load import load_profile
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.caveat import CaveatCode
from capacity.question.objective import Objective
from capacity.search.plan_decision import recommend
from capacity.traffic.workload import Workload
from simulations.judge import SimulationJudge

BASE = load_profile("resnet50-t4-fp16")
# Four replicas with batches up to 8 are then at load 0.95, with a P99 of 25.1 ms (25.0 to 25.2), just above the limit.
RATE_RPS, P99_S = 3379.0, 0.02495


def variant(name: str, factor: float) -> ServiceProfile:
    """The same server, as many times as slow."""
    timings = tuple(_slower(one, factor) for one in BASE.timings)
    return replace(BASE, name=name, timings=timings)


def _slower(one: BatchTiming, factor: float) -> BatchTiming:
    percentiles = {name: getattr(one, name) * factor for name in ("p90_s", "p95_s", "p99_s")}
    return replace(one, mean_s=one.mean_s * factor, **percentiles)


def test_the_sixth_profile_is_found_behind_five_that_straddle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Budgets are a twenty-fifth of the usual ones. Before, four straddlers took it, and a fifth replica was planned."""
    monkeypatch.setattr("capacity.search.batches.BatchTheory.search_requests_max", 16_000_000)
    five = [variant(f"five-{number}", 1.0 + 0.00005 * (number - 2)) for number in range(5)]
    question = batch_question(
        profiles=(*five, variant("sixth", 0.98)),
        workload=Workload(arrival_rate_rps=RATE_RPS),
        objective=Objective.of(response={0.99: P99_S}),
        batch_size_limit=8,
    )
    answer = recommend(question, SimulationJudge(requests_max=4_000_000), plan_alone=True)
    assert answer.plan is not None
    assert (answer.plan.profile, answer.plan.replicas) == ("sixth", 4)
    assert {one.code for one in answer.caveats}.isdisjoint(
        {CaveatCode.FLEETS_UNTRIED, CaveatCode.CHEAPER_INCONCLUSIVE}
    )
    assert answer.tally.requests < 16_000_000
