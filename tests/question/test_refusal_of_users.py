"""Users who make one another wait: what theory refuses at once, against the exact law of one replica and simulation."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import capacity as cap
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.candidate import Verdict
from capacity.question.objective import Objective
from capacity.question.scenario import Scenario
from capacity.queues.batch.closed import BulkClosed
from capacity.server.batch.batching import Batching
from capacity.server.batch.plan import BatchPlan
from capacity.server.batch.refusal import refuse_load, users_devices_min
from capacity.traffic.workload import ClosedPopulation

laws_hold = settings(derandomize=True, deadline=None, max_examples=60)
TIMES_S = (1.0, 1.25, 1.5, 1.75)
PROFILE = ServiceProfile(
    name="users",
    timings=tuple(
        BatchTiming(batch_size=size, mean_s=mean_s) for size, mean_s in enumerate(TIMES_S, start=1)
    ),
)


def scenario_of(users: int, think_time_s: float, batch: int, replicas: int = 1, **limits: object) -> Scenario:
    return Scenario(
        profile=PROFILE,
        workload=ClosedPopulation(users=users, think_time_s=think_time_s),
        plan=BatchPlan(profile="users", replicas=replicas, batch_size_max=batch),
        objective=Objective.of(**limits),
    )


@laws_hold
@given(
    st.integers(1, 300),
    st.floats(0.5, 200.0),
    st.integers(1, 4),
    st.sampled_from([0.5, 0.9, 0.99]),
    st.booleans(),
)
def test_what_the_exact_law_allows_is_never_refused(users, think_time_s, batch, quantile, is_wait) -> None:
    """A limit at the law's own quantile, and at its mean, is met."""
    law = BulkClosed(users=users, think_time_s=think_time_s, batch_times_s=TIMES_S[:batch])
    found = law.performance((quantile,))
    quantiles = found.wait_quantiles_s if is_wait else found.response_quantiles_s
    limit_s = max(1e-9, quantiles[quantile].value)
    name = "wait" if is_wait else "response"
    assert refuse_load(scenario_of(users, think_time_s, batch, **{name: {quantile: limit_s}})) is None
    mean_s = law.response_mean_s * (1.0 + 1e-9)
    assert refuse_load(scenario_of(users, think_time_s, batch, response_mean=mean_s)) is None


def test_the_mean_is_the_response_time_law_of_a_busy_fleet() -> None:
    """100 users who think for 10 s, and 2 replicas that serve 1.6 a second each where batches of 2 are full: N/X - Z."""
    refused = refuse_load(scenario_of(100, 10.0, 2, 2, response_mean=21.0))
    assert refused.needed == pytest.approx(100 / 3.2 - 10.0)
    assert refuse_load(scenario_of(100, 10.0, 2, 2, response_mean=21.3)) is None


def test_a_quantile_needs_a_share_of_late_ones_that_their_longest_wait_cannot_make_up_for() -> None:
    """By hand: 100 users, no think time, one at a time of 1 s: 100 s on average, 102 s at the longest.

    (100 - 0.1 * 102)/0.9 = 99.78 s at P90.
    """
    refused = refuse_load(scenario_of(100, 0.0, 1, response={0.9: 99.0}))
    assert refused.needed == pytest.approx((100.0 - 0.1 * 102.0) / 0.9)
    assert refuse_load(scenario_of(100, 0.0, 1, response={0.9: 99.8})) is None


def test_batches_that_may_close_with_one_request_allow_longer_waits() -> None:
    usual = scenario_of(100, 0.0, 4, response={0.9: 30.0})
    eager = replace(usual, plan=replace(usual.plan, batching=Batching.RAY_SERVE, batch_wait_max_s=0.1))
    assert refuse_load(usual) is not None
    assert refuse_load(eager) is None


def test_rejected_users_do_not_wait() -> None:
    """Of 96 who are outside and think for 50 s, 1 a second is served: 48 % are rejected at least."""
    usual = scenario_of(100, 50.0, 1, response_mean=5.0)
    limited = replace(usual, plan=replace(usual.plan, queue_limit=3))
    assert refuse_load(usual) is not None
    assert refuse_load(limited) is None
    assert refuse_load(replace(limited, objective=Objective.of(loss=0.48))) is None
    assert refuse_load(replace(limited, objective=Objective.of(loss=0.47))).needed == pytest.approx(46 / 96)


@laws_hold
@given(
    st.integers(1, 10_000_000),
    st.floats(0.0, 100.0),
    st.integers(1, 4),
    st.sampled_from([{"response": {0.99: 2.0}}, {"wait": {0.9: 5.0}}, {"response_mean": 3.0}]),
)
def test_the_fewest_devices_are_the_first_that_are_not_refused(users, think_time_s, batch, limits) -> None:
    asked = scenario_of(users, think_time_s, batch, **limits)
    fewest = users_devices_min(PROFILE, asked.workload, asked.plan, asked.objective)
    if fewest > 1_000_000:
        return
    assert refuse_load(scenario_of(users, think_time_s, batch, fewest, **limits)) is None
    if fewest > 1:
        assert refuse_load(scenario_of(users, think_time_s, batch, fewest - 1, **limits)) is not None


def test_a_plan_for_too_many_users_is_refused_and_not_in_doubt() -> None:
    """A million users on ten replicas take more than a minute each, where 100 ms are allowed."""
    answer = cap.plan(
        "resnet50-t4-fp16", users=1_000_000, think_time="100ms", slo_p99="100ms", replicas_max=10
    )
    assert (answer.verdict, answer.exit_code) == (Verdict.MISSED, 3)
    assert "P99 of at least 70.8 s is above 100 ms" in " ".join(str(answer).split())


@pytest.mark.long
def test_no_simulated_users_wait_for_less() -> None:
    """Of 500 users who think for 10 ms, with service that varies."""
    asked = {"users": 500, "think_time": "10ms", "batch_size_max": 1}
    found = cap.simulate("resnet50-t4-fp16", replicas=1, **asked).performance
    plan = cap.plan("resnet50-t4-fp16", slo_p99="100ms", replicas_max=1, **asked)
    (refused,) = (one.rejection for one in plan.considered if one.rejection is not None)
    assert 0.1 < refused.needed <= found.response_quantiles_s[0.99].high
