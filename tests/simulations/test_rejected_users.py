"""Users in a closed loop in front of limited queues: the exact chain, what is refused at once, and every verb."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gammaincc

import capacity as cap
from capacity.errors import DomainError, InputError
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.candidate import Reason, Verdict
from capacity.question.objective import Objective
from capacity.question.plan import Routing
from capacity.question.scenario import Scenario
from capacity.server.batch.plan import BatchPlan
from capacity.server.batch.refusal import refuse_load, users_devices_min
from capacity.traffic.workload import ClosedPopulation
from simulations.draws.arrivals import Seed
from simulations.draws.service import ExponentialTimes
from simulations.replication import Task, replicate
from simulations.simulate import Simulation
from simulations.statistics.performances import batch_performance
from simulations.statistics.pool import Pool
from simulations.statistics.sample import Length

TIMES_S = (0.010, 0.012, 0.014, 0.016)
PROFILE = ServiceProfile(
    name="made-up",
    timings=tuple(
        BatchTiming(batch_size=size, mean_s=time_s) for size, time_s in enumerate(TIMES_S, start=1)
    ),
)


class RejectedUsers:
    """M/M/c/K//N: users whom a full queue rejects think again, which changes nothing, as thoughts have no memory.

    Source:
        Gross & Harris (1998), Fundamentals of Queueing Theory, sec. 2.6 (finite source) with the room of sec. 2.5; a
        request meets n with probability (N - n) p(n) over its sum.
    """

    def __init__(self, users: int, think_s: float, servers: int, limit: int) -> None:
        self.servers, places = servers, min(users, servers + limit)
        n = np.arange(places + 1)
        rates = (users - n) / think_s
        law = np.concatenate([[1.0], np.cumprod(rates[:-1] / np.minimum(n, servers)[1:])])
        self.states, asked = law / law.sum(), law * rates
        self.met = asked / asked.sum()
        self.asked_rps = float(self.states @ rates)
        self.lost = float(self.met[-1]) if places == servers + limit else 0.0
        self.served = self.met[: servers + limit] / (1.0 - self.lost)

    def wait_beyond(self, time_s: float) -> float:
        """Share of the served who wait for longer, where a service takes 1 s."""
        waits = [
            gammaincc(found + 1 - self.servers, self.servers * time_s) if found >= self.servers else 0.0
            for found in range(len(self.served))
        ]
        return float(self.served @ waits)


def simulated(users: int, think_s: float, servers: int, limit: int) -> Any:
    """Twenty runs of exponential services of 1 s in one queue."""
    plan = BatchPlan(
        profile="law", replicas=servers, batch_size_max=1, routing=Routing.SHARED_QUEUE, queue_limit=limit
    )
    one = Task(
        plan=plan,
        workload=ClosedPopulation(users=users, think_time_s=think_s),
        service_times=ExponentialTimes(1.0),
        request_overhead_s=0.0,
        length=Length(warm_up=100 * users, measured=20_000, cool_down=20 * users),
        seed=Seed(value=1),
    )
    pool = Pool.of([replicate(replace(one, seed=Seed(value=1, replication=n))) for n in range(20)])
    return batch_performance(pool, load=None, replicas=servers, quantiles=(0.5, 0.9, 0.99), confidence=0.999)


@pytest.mark.parametrize(
    ("users", "think_s", "servers", "limit"),
    [(10, 3.0, 1, 2), (12, 1.0, 3, 0), (20, 8.0, 2, 4), (4, 2.0, 1, 1)],
)
def test_rejected_users_are_those_of_the_exact_chain(
    users: int, think_s: float, servers: int, limit: int
) -> None:
    law, found = RejectedUsers(users, think_s, servers, limit), simulated(users, think_s, servers, limit)
    loss = found.intervals["loss_probability"]
    assert law.lost > 0.01
    assert loss.low <= law.lost <= loss.high
    assert found.throughput_rps == pytest.approx(law.asked_rps * (1.0 - law.lost), rel=0.01)
    for quantile, wait in found.wait_quantiles_s.items():
        if wait.low > 0.0:
            assert law.wait_beyond(wait.high) <= 1.0 - quantile <= law.wait_beyond(wait.low)
    held = float(np.arange(len(law.states)) @ law.states)
    assert found.in_system_mean == pytest.approx(held, rel=0.01)
    late = found.wait_quantiles_with_losses_s[0.99].high
    assert (late == math.inf) == (law.lost > 0.01)


def test_the_chain_itself() -> None:
    """One server without a queue is Engset's loss; room for all is the machine repairman of Kleinrock (1975), sec. 3.8."""
    engset = RejectedUsers(3, 2.0, 1, 0)  # a = 1/2: met by two others, 1 and 2·a
    assert engset.lost == pytest.approx(0.5)
    roomy = RejectedUsers(6, 20.0, 1, 10)
    closed = cap.queues.Closed(users=6, think_time_s=20.0, service_time_s=1.0, servers=1)
    assert roomy.lost == 0.0
    assert roomy.asked_rps == pytest.approx(closed.throughput_rps)
    assert roomy.wait_beyond(1.5) == pytest.approx(
        next(
            1.0 - share
            for share in np.linspace(0.5, 0.999, 2_000)
            if closed.wait_quantile_s(float(share)) >= 1.5
        ),
        abs=5e-4,
    )


# ---- What is refused at once ------------------------------------------------------------------------


def asked(users: int, think_s: float, batch: int, limit: int, replicas: int = 1, **limits: Any) -> Scenario:
    return Scenario(
        profile=PROFILE,
        workload=ClosedPopulation(users=users, think_time_s=think_s),
        plan=BatchPlan(profile="made-up", replicas=replicas, batch_size_max=batch, queue_limit=limit),
        objective=Objective.of(**limits),
    )


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.integers(1, 200), st.floats(0.01, 50.0), st.integers(1, 6), st.integers(0, 9))
def test_no_exact_chain_loses_fewer_than_the_bound(
    users: int, think_s: float, servers: int, limit: int
) -> None:
    law = RejectedUsers(users, think_s, servers, limit)
    bound = ClosedPopulation(users=users, think_time_s=think_s).lost_min(servers, servers + limit)
    assert bound <= law.lost * (1.0 + 1e-9) + 1e-12


def test_the_bound_is_reached_by_a_queue_that_is_always_full() -> None:
    assert ClosedPopulation(users=1_000, think_time_s=1.0).lost_min(4.0, 6) == pytest.approx(
        RejectedUsers(1_000, 1.0, 4, 2).lost, rel=1e-4
    )


@settings(derandomize=True, deadline=None, max_examples=100)
@given(
    st.integers(1, 1_000_000),
    st.floats(0.01, 100.0),
    st.integers(1, 4),
    st.integers(0, 20),
    st.sampled_from([{"response": {0.99: 2.0}}, {"loss": 0.05}, {"response": {0.5: 2.0}, "loss": 0.2}]),
)
def test_the_fewest_devices_are_the_first_that_need_not_lose_too_many(
    users, think_s, batch, limit, limits
) -> None:
    one = asked(users, think_s, batch, limit, **limits)
    fewest = users_devices_min(PROFILE, one.workload, one.plan, one.objective)
    if fewest > 1_000_000:
        return
    assert refuse_load(asked(users, think_s, batch, limit, fewest, **limits)) is None
    if fewest > 1:
        refused = refuse_load(asked(users, think_s, batch, limit, fewest - 1, **limits))
        assert refused is not None
        assert refused.reason is Reason.LOSS


def test_simulated_users_are_rejected_no_less_than_the_bound_says() -> None:
    one = asked(60, 0.05, 4, 4)
    found = Simulation(precision=0.02)(one)
    bound = one.workload.lost_min(4 / 0.016, 8)
    assert 0.7 < bound < found.loss_probability < 1.03 * bound


# ---- Every verb -------------------------------------------------------------------------------------

CROWD: dict[str, Any] = {"users": 40, "think_time": "100ms", "queue_limit": 3}


def test_a_plan_for_users_counts_the_rejected_as_late() -> None:
    answer = cap.plan(PROFILE, **CROWD, slo_p95="40ms", replicas_max=9, batch_wait="0s")
    assert answer.verdict is Verdict.MET
    few = cap.plan(PROFILE, **CROWD, slo_p95="40ms", replicas_max=answer.plan.replicas - 1, batch_wait="0s")
    assert few.verdict is Verdict.MISSED
    assert 0.0 < answer.performance.loss_probability < 0.05
    assert answer.performance.response_quantiles_with_losses_s[0.95].high <= 0.040


def test_users_who_do_not_think_are_refused_beside_a_queue_limit() -> None:
    """They would send again at the very instant of a rejection."""
    for verb in (
        lambda **how: cap.plan(PROFILE, **how, slo_p99="20ms"),
        lambda **how: cap.simulate(PROFILE, 1, **how),
        lambda **how: cap.max_rate(PROFILE, 1, **how, slo_p99="20ms"),
        lambda **how: cap.sweep(PROFILE, replicas="1:2", **how),
        lambda **how: cap.compare(profile=PROFILE, fleet=["replicas=1", "replicas=2"], **how),
        lambda **how: cap.curve(profile=PROFILE, replicas=1, **how),
    ):
        with pytest.raises((DomainError, InputError), match="give think_time, or leave out queue_limit"):
            verb(users=8, queue_limit=1)


def test_every_verb_knows_users_in_front_of_a_limited_queue() -> None:
    alone = cap.simulate(PROFILE, 2, **CROWD, precision=0.2, quantile=[0.5]).performance
    assert alone.loss_probability > 0.04
    rows = cap.sweep(
        PROFILE, users="40", think_time="100ms", queue_limit=3, replicas="1:2", precision=0.2
    ).to_frame()
    assert rows["loss_probability"].iloc[0] > rows["loss_probability"].iloc[1] > 0.04
    compared = cap.compare(profile=PROFILE, fleet=["replicas=1", "replicas=2"], **CROWD, precision=0.2)
    assert "P(loss)" in str(compared)
    held = cap.max_rate(PROFILE, 2, **CROWD, slo_p90="40ms", precision=0.2)
    assert 40 < held.users_max < 80


def test_a_curve_says_where_so_many_are_rejected_that_its_quantile_is_infinite() -> None:
    """The table had infinite, and the sentence said that P99 stays low."""
    found = cap.curve(profile=PROFILE, replicas=1, **CROWD, precision=0.3)
    text = " ".join(str(found).split())
    assert "it stays below" not in text
    assert "It reaches 10 times that between" in text
    assert max(one.value for _, _, one in found.points()) == math.inf
