"""Two ways to ask the same: what a plan survives in a steady state, and what `stress` sees meanwhile."""

import pytest

import capacity as cap
from capacity.performance import Interval

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("no_headroom")]

FLEET = {"rate": "1200rps", "batch_size_max": 8}
QUIET = {"only_verdict": True, "horizon": "40s"}


def meet(one: Interval, other: Interval) -> bool:
    return one.low <= other.high and other.low <= one.high


def test_a_lost_replica_is_one_fewer() -> None:
    stress = cap.stress("resnet50-t4-fp16", replicas=3, trigger="lose:1,60s", **FLEET, **QUIET)
    left = cap.simulate("resnet50-t4-fp16", 2, **FLEET)
    assert meet(stress.screen.found.response_p99_s, left.performance.response_quantiles_s[0.99])


def test_a_spike_is_the_spike_of_a_plan() -> None:
    plan = cap.plan(
        "resnet50-t4-fp16", slo_p99="60ms", batch_wait="0ms", spike="1.5x", startup_time="20s", **FLEET
    )
    (survived,) = plan.recommendation.survived
    stress = cap.stress(
        "resnet50-t4-fp16", replicas=plan.plan.replicas, trigger="spike:1.5x,20s", **FLEET, **QUIET
    )
    assert plan.plan.batch_size_max == FLEET["batch_size_max"]
    assert meet(stress.screen.found.response_p99_s, survived.performance.response_quantiles_s[0.99])


def test_a_rollout_is_one_replica_away_at_a_time() -> None:
    stress = cap.stress(
        "resnet50-t4-fp16", replicas=3, trigger="rollout", startup_time="20s", **FLEET, **QUIET
    )
    left = cap.simulate("resnet50-t4-fp16", 2, **FLEET)
    assert meet(stress.screen.found.response_p99_s, left.performance.response_quantiles_s[0.99])
