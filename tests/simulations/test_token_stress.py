"""Engines of language models in trouble: an engine of one slot is a queue with one server, and its laws are known.

A pass takes 0.1 ms, a prompt is one token, and a response has 100 tokens in the mean, with a geometric law: services
of 10 ms whose law is nearly exponential. So the same stress can be asked of a batching replica with exponential
services, which has the same clients and serves by other code, and of the fluid law.
"""

from dataclasses import replace

import pytest

from capacity.profile.llm import Coefficients, Engine, KvCache, LimitsMeasured, LlmProfile
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.plan import Routing
from capacity.recovery.findings import Runs
from capacity.recovery.fluid import fluid
from capacity.recovery.parse import read_budget, read_trigger
from capacity.recovery.protection import Abandoned, Protection
from capacity.recovery.stress import Stress
from capacity.server.batch.plan import BatchPlan
from capacity.server.batch.server import BatchServer
from capacity.server.engine.plan import TokenPlan
from capacity.server.engine.server import TokenEngine
from capacity.traffic.clients import Clients
from capacity.traffic.lengths import parse_lengths
from capacity.traffic.workload import PoissonArrivals, Workload
from simulations.draws.service import ExponentialTimes
from simulations.saturation import saturation
from simulations.stress import StressSimulation

RUNS = 12
ONE_TRY = Clients(timeout_s=0.5)
THREE_TRIES = Clients(timeout_s=0.5, attempts=3)
SERVED, STOPPED = Protection(abandoned=Abandoned.SERVED), Protection(abandoned=Abandoned.STOPPED)
SLOT = LlmProfile(
    name="one-slot",
    kv=KvCache(tokens=100_000),
    limits_measured=LimitsMeasured(sequences_max=1, batched_tokens_max=64, context_tokens_max=20_000),
    coefficients=Coefficients(base_s=1e-4, per_prefill_token_s=0.0, per_decode_request_s=0.0),
    engine=Engine(async_scheduling=False),
)
LENGTHS = parse_lengths("input=constant:1;output=geometric:mean=100").within(20_000)
SERVER = ServiceProfile(name="exponential", timings=(BatchTiming(batch_size=1, mean_s=0.01),))


def engines(trigger: str, clients: Clients, protection: Protection, replicas: int = 1) -> Stress:
    plan = TokenPlan(
        profile=SLOT.name,
        replicas=replicas,
        sequences_max=1,
        batched_tokens_max=64,
        routing=Routing.LEAST_OUTSTANDING,
    )
    return Stress(
        server=TokenEngine(profile=SLOT, lengths=LENGTHS, saturation=saturation(SLOT, plan, LENGTHS)),
        workload=Workload(arrival_rate_rps=70.0 * replicas, arrivals=PoissonArrivals()),
        plan=plan,
        clients=clients,
        trigger=read_trigger(trigger),
        protection=protection,
        horizon_s=120.0,
    )


def servers(asked: Stress) -> Stress:
    """The same of replicas with exponential services of 10 ms."""
    return Stress(
        server=BatchServer(profile=SERVER),
        workload=asked.workload,
        plan=BatchPlan(
            profile=SERVER.name,
            replicas=asked.plan.replicas,
            batch_size_max=1,
            routing=asked.plan.routing,
            queue_limit=asked.limit,
        ),
        clients=asked.clients,
        trigger=asked.trigger,
        protection=asked.protection,
        horizon_s=asked.horizon_s,
    )


def both(asked: Stress) -> tuple[Runs, Runs]:
    judge = StressSimulation(seed=3, runs=RUNS, confidence=0.99)
    return judge(asked), replace(judge, service_times=ExponentialTimes(0.01))(servers(asked))


def assert_alike(found: Runs, expected: Runs) -> None:
    """Means whose intervals at 99 % meet."""
    for name in ("goodput_during", "recovery_s"):
        one, other = getattr(found, name), getattr(expected, name)
        assert one.low <= other.high, name
        assert other.low <= one.high, name


def test_an_engine_of_one_slot_serves_what_its_passes_allow() -> None:
    asked = engines("spike:2x,10s", ONE_TRY, SERVED)
    # 100 passes of 0.1 ms each; lengths are spread evenly over their law, the longest of 12,000 left out.
    assert asked.capacity_rps == pytest.approx(100.0, rel=0.01)
    assert asked.served_s == pytest.approx(0.01, rel=0.02)
    assert asked.load == pytest.approx(0.7, rel=0.01)


def test_a_spike_drains_as_the_fluid_law_and_an_exponential_server_say() -> None:
    asked = engines("spike:2x,10s", ONE_TRY, SERVED)
    found, expected = both(asked)
    law = fluid(asked)
    assert found.exit_code == expected.exit_code == 0
    # (140 - 100) * 10 requests wait at its end, and those of half a second are answered in time.
    assert law.backlog == pytest.approx(400.0, rel=0.05)
    assert law.recovery_s == pytest.approx((400.0 - 49.0) / 30.0, rel=0.1)
    assert found.recovery_s.value == pytest.approx(law.recovery_s, abs=4.0)  # windows of 5 s, and chance
    assert_alike(found, expected)


def test_three_attempts_hold_engines_down_that_serve_whom_nobody_waits_for() -> None:
    asked = engines("spike:2x,10s", THREE_TRIES, SERVED)
    found, expected = both(asked)
    assert fluid(asked).stuck
    assert found.count_recovered == expected.count_recovered == 0


def test_engines_that_stop_whom_nobody_waits_for_come_back() -> None:
    asked = engines("spike:2x,10s", THREE_TRIES, STOPPED)
    found, _ = both(asked)
    assert fluid(asked).stuck is None
    assert found.exit_code == 0
    assert found.recovery_s.value < 10.0


def test_a_retry_budget_saves_engines_as_it_saves_servers() -> None:
    budgeted = Clients(timeout_s=0.5, attempts=3, budget=read_budget("0.1", None))
    found, expected = both(engines("spike:2x,10s", budgeted, SERVED))
    assert found.exit_code == expected.exit_code == 0
    assert_alike(found, expected)


@pytest.mark.long
def test_a_lost_engine_and_a_limit_do_what_they_do_to_servers() -> None:
    asked = engines("lose:1,20s", THREE_TRIES, SERVED, replicas=3).with_limit(20)
    # A server's limit counts who waits beside the one that is served; an engine's counts who waits for a pass.
    found, expected = both(asked)
    assert found.exit_code == expected.exit_code == 0
    assert found.goodput_during.value == pytest.approx(expected.goodput_during.value, abs=0.03)


def test_every_setting_meets_the_same_users() -> None:
    calm = engines("spike:1.01x,1s", ONE_TRY, SERVED)
    judge = StressSimulation(seed=5, runs=2)
    few, many = judge(calm), judge(replace(calm, clients=THREE_TRIES))
    assert [run.course.came for run in few.runs] == [run.course.came for run in many.runs]
