"""The fluid law by its formulas, and three fleets of other kinds beside their simulation."""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from capacity.profile.load import load_profile
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.plan import Routing
from capacity.recovery.findings import Runs
from capacity.recovery.fluid import amplification, fluid, is_described, patience_s, spike_survived_s
from capacity.recovery.parse import read_trigger
from capacity.recovery.protection import Abandoned, Ejecting, Protection, Shedding
from capacity.recovery.stress import Stress
from capacity.recovery.trigger import Trigger, TriggerKind
from capacity.server.batch.plan import BatchPlan
from capacity.server.batch.server import BatchServer
from capacity.traffic.clients import BudgetKind, Clients, Failure, RetryBudget
from capacity.traffic.workload import PoissonArrivals, Workload
from simulations.draws.service import ExponentialTimes, ServiceTimes
from simulations.stress import StressSimulation

LAWS = settings(derandomize=True, deadline=None, max_examples=200)


def profile_of(mean_s: float) -> ServiceProfile:
    return ServiceProfile(name="made-up", timings=(BatchTiming(batch_size=1, mean_s=mean_s),))


def stress(
    trigger: Trigger,
    clients: Clients,
    *,
    rate_rps: float = 280.0,
    replicas: int = 4,
    profile: ServiceProfile | None = None,
    batch: int = 1,
    protection: Protection = Protection(),  # noqa: B008  (has no state)
    limit: int | None = None,
    horizon_s: float = 120.0,
    routing: Routing = Routing.SHARED_QUEUE,
) -> Stress:
    profile = profile or profile_of(0.01)
    return Stress(
        server=BatchServer(profile=profile),
        workload=Workload(arrival_rate_rps=rate_rps, arrivals=PoissonArrivals()),
        plan=BatchPlan(
            profile=profile.name, replicas=replicas, batch_size_max=batch, routing=routing, queue_limit=limit
        ),
        clients=clients,
        trigger=trigger,
        protection=protection,
        horizon_s=horizon_s,
    )


LOADS = st.floats(0.2, 0.98)
TIMEOUTS = st.floats(0.05, 2.0)
LENGTHS = st.floats(0.5, 300.0)


@LAWS
@given(LOADS, TIMEOUTS, st.integers(1, 5), st.floats(1.05, 5.0), LENGTHS)
def test_a_spike(load: float, timeout_s: float, attempts: int, factor: float, lasting_s: float) -> None:
    """Attempts pile up as first tries do until a timeout's worth of work waits, and then with their retries."""
    m, a = 400.0, attempts
    rate = load * m
    assume(factor * load > 1.01 and abs(attempts * load - 1.0) > 1e-9)
    trigger = Trigger(kind=TriggerKind.SPIKE, factor=factor, lasting_s=lasting_s)
    asked = stress(trigger, Clients(timeout_s=timeout_s, attempts=attempts), rate_rps=rate)
    law, longest_s = fluid(asked), timeout_s / (factor * load - 1.0)
    assert law.critical_budget == pytest.approx(1.0 / load - 1.0)
    assert spike_survived_s(asked, factor) == pytest.approx(longest_s)
    if lasting_s < longest_s:
        assert law.backlog == pytest.approx((factor * rate - m) * lasting_s)
        assert (law.stuck, law.recovery_s) == (False, 0.0)
        return
    backlog = timeout_s * m + (factor * a * rate - m) * (lasting_s - longest_s)
    assert law.backlog == pytest.approx(backlog)
    assert law.stuck is (a * load >= 1.0)
    if not law.stuck:
        assert law.recovery_s == pytest.approx((backlog - timeout_s * m) / (m - a * rate))
        # a bound that forgets that nobody tries again at first
        assert backlog <= (factor * a * rate - m) * lasting_s * (1.0 + 1e-9)


@LAWS
@given(LOADS, TIMEOUTS, st.integers(1, 5), st.integers(1, 3), LENGTHS)
def test_a_loss(load: float, timeout_s: float, attempts: int, lost: int, lasting_s: float) -> None:
    assume(abs(attempts * load - 1.0) > 1e-9)
    m, a = 400.0, attempts
    rate, left = load * m, 100.0 * (4 - lost)
    trigger = Trigger(kind=TriggerKind.LOSE, replicas=lost, lasting_s=lasting_s)
    law = fluid(stress(trigger, Clients(timeout_s=timeout_s, attempts=attempts), rate_rps=rate))
    if rate <= left:
        assert (law.backlog, law.stuck, law.recovery_s) == (0.0, False, 0.0)
        return
    filled_s = timeout_s * left / (rate - left)
    if filled_s >= lasting_s:
        backlog = (rate - left) * lasting_s
    else:
        backlog = timeout_s * left + (a * rate - left) * (lasting_s - filled_s)
    assert law.backlog == pytest.approx(backlog)
    is_stuck = a * load >= 1.0 and backlog > timeout_s * m
    assert law.stuck is is_stuck
    if a * load < 1.0:
        assert law.recovery_s == pytest.approx(max(0.0, backlog - timeout_s * m) / (m - a * rate))


@LAWS
@given(LOADS, st.floats(0.0, 3.0), st.integers(2, 6))
def test_the_critical_budget(load: float, ratio: float, attempts: int) -> None:
    """A fleet can be held down by more retries a first try than 1/load - 1, and by no fewer."""
    assume(abs(ratio - (1.0 / load - 1.0)) > 1e-9)
    budget = RetryBudget(kind=BudgetKind.FIRST_TRIES, ratio=ratio)
    trigger = Trigger(kind=TriggerKind.SPIKE, factor=100.0, lasting_s=60.0)
    law = fluid(
        stress(trigger, Clients(timeout_s=0.5, attempts=attempts, budget=budget), rate_rps=load * 400.0)
    )
    assert law.stuck is (min(ratio, attempts - 1.0) >= law.critical_budget)


@pytest.mark.parametrize(
    ("budget", "tries"),
    [
        (RetryBudget(), 4.0),
        (RetryBudget(kind=BudgetKind.FIRST_TRIES, ratio=0.5), 1.5),
        (RetryBudget(kind=BudgetKind.FIRST_TRIES, ratio=0.5, cost=2.0), 1.25),
        (RetryBudget(kind=BudgetKind.FIRST_TRIES, ratio=9.0), 4.0),
        (RetryBudget(kind=BudgetKind.SUCCESSES, ratio=9.0), 1.0),
        (RetryBudget(kind=BudgetKind.THROTTLE, ratio=0.1, tokens=10.0), 1.0),
        (RetryBudget(kind=BudgetKind.CONCURRENT, ratio=0.2), 1.25),
        (RetryBudget(kind=BudgetKind.CONCURRENT, ratio=1.0), 4.0),
    ],
)
def test_attempts_a_request_when_all_fail(budget: RetryBudget, tries: float) -> None:
    assert amplification(Clients(timeout_s=0.5, attempts=4, budget=budget), 280.0) == pytest.approx(tries)


def test_who_does_not_try_again_after_a_timeout_makes_one_attempt() -> None:
    clients = Clients(timeout_s=0.5, attempts=3, retried=frozenset({Failure.REJECTED}))
    assert amplification(clients, 280.0) == 1.0
    assert amplification(Clients(attempts=3), 280.0) == 1.0


def test_patience_is_the_shorter_limit() -> None:
    assert patience_s(Clients(timeout_s=0.5, deadline_s=0.2)) == 0.2
    assert patience_s(Clients(deadline_s=2.0)) == 2.0
    assert patience_s(Clients()) is None


TRIGGER = read_trigger("spike:2x,30s")
TRIES = Clients(timeout_s=0.5, attempts=3)


@pytest.mark.parametrize(
    "asked",
    [
        stress(TRIGGER, TRIES, limit=100),
        stress(TRIGGER, TRIES, protection=Protection(shedding=Shedding.LIFO)),
        stress(TRIGGER, TRIES, protection=Protection(abandoned=Abandoned.DROPPED)),
        stress(TRIGGER, TRIES, protection=Protection(ejection=Ejecting.ENVOY), routing=Routing.ROUND_ROBIN),
        stress(TRIGGER, Clients(timeout_s=0.5, attempts=2, hedge_s=0.1)),
    ],
    ids=["limit", "lifo", "dropped", "ejection", "hedges"],
)
def test_it_says_nothing_of_what_it_does_not_describe(asked: Stress) -> None:
    law = fluid(asked)
    assert not is_described(asked)
    assert (law.stuck, law.recovery_s, law.backlog) == (None, None, None)
    assert law.critical_budget == pytest.approx(400.0 / 280.0 - 1.0)


def test_who_waits_for_ever_has_no_law() -> None:
    asked = stress(TRIGGER, Clients(attempts=3))
    assert fluid(asked).stuck is None
    assert spike_survived_s(asked, 2.0) == math.inf


def test_a_spike_within_the_capacity_may_last() -> None:
    assert spike_survived_s(stress(TRIGGER, TRIES), 1.4) == math.inf


def simulated(asked: Stress, service_times: ServiceTimes | None, runs: int) -> Runs:
    with ThreadPoolExecutor(2) as executor:
        return StressSimulation(seed=3, runs=runs, service_times=service_times, mapper=executor.map)(asked)


def budgeted(timeout_s: float, attempts: int, ratio: float) -> Clients:
    budget = RetryBudget(kind=BudgetKind.FIRST_TRIES, ratio=ratio)
    return Clients(timeout_s=timeout_s, attempts=attempts, budget=budget)


SLOW = ExponentialTimes(0.03)
FLEETS = {
    "12 slow servers, half of them lost": (
        stress(
            read_trigger("lose:6,40s"),
            budgeted(0.8, 4, 0.15),
            rate_rps=250.0,
            replicas=12,
            profile=profile_of(0.03),
        ),
        SLOW,
    ),
    "3 batching replicas of a measured model": (
        stress(
            read_trigger("spike:1.5x,6s"),
            budgeted(0.2, 2, 0.1),
            rate_rps=2500.0,
            replicas=3,
            profile=load_profile("resnet50-t4-fp16"),
            batch=16,
        ),
        None,
    ),
    "a straggler among 5": (
        stress(read_trigger("straggler:6x,80s"), budgeted(0.3, 3, 0.05), rate_rps=430.0, replicas=5),
        ExponentialTimes(0.01),
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("name", FLEETS)
def test_fleets_recover_when_the_law_says(name: str) -> None:
    """A full budget is spent at first, which the law leaves out: 100 attempts more to be served."""
    asked, service_times = FLEETS[name]
    law, seen = fluid(asked), simulated(asked, service_times, 6)
    assert law.stuck is False
    assert law.recovery_s is not None
    assert law.recovery_s > 5.0
    recovery = seen.recovery_s
    assert seen.exit_code == 0
    assert recovery is not None
    burst_s = 100.0 / (asked.capacity_rps - law.amplification * asked.rate_rps)
    aim_s = law.recovery_s + burst_s
    assert recovery.low - 0.03 * aim_s - 0.5 <= aim_s <= recovery.high + 0.03 * aim_s + 0.5


@pytest.mark.parametrize("name", FLEETS)
def test_without_a_budget_they_are_stuck(name: str) -> None:
    asked, service_times = FLEETS[name]
    clients = Clients(timeout_s=asked.clients.timeout_s, attempts=3)
    bare = stress(
        asked.trigger,
        clients,
        rate_rps=asked.rate_rps,
        replicas=asked.plan.replicas,
        profile=asked.profile,
        batch=asked.plan.batch_size_max,
    )
    assert fluid(bare).stuck is True
    assert simulated(bare, service_times, 2).exit_code == 3


def test_a_spot_replica_is_gone_from_its_notice_on() -> None:
    clients = Clients(timeout_s=0.5, attempts=3)
    notice = Trigger(kind=TriggerKind.SPOT, replicas=1, notice_s=5.0, lasting_s=60.0)
    loss = Trigger(kind=TriggerKind.LOSE, replicas=1, lasting_s=60.0)
    assert fluid(stress(notice, clients, rate_rps=320.0)) == fluid(stress(loss, clients, rate_rps=320.0))


def test_the_law_is_silent_where_nothing_is_left_or_one_queue_is_hit() -> None:
    clients = Clients(timeout_s=0.5, attempts=3)
    all_gone = Trigger(kind=TriggerKind.LOSE, replicas=4, lasting_s=60.0)
    assert fluid(stress(all_gone, clients, rate_rps=320.0)).stuck is None
    slow = stress(Trigger(kind=TriggerKind.STRAGGLER, factor=3.0, lasting_s=60.0), clients, rate_rps=320.0)
    assert fluid(slow).stuck is not None  # all share a queue
    own = replace(slow, plan=replace(slow.plan, routing=Routing.ROUND_ROBIN))
    assert fluid(own).stuck is None


def test_a_deadline_and_tokens_of_time_limit_what_comes() -> None:
    assert amplification(Clients(timeout_s=1.0, deadline_s=0.5, attempts=3), 120.0) == 1.0
    assert amplification(Clients(timeout_s=0.2, deadline_s=0.5, attempts=5), 120.0) == 3.0
    assert amplification(Clients(timeout_s=0.5, attempts=3, hedge_s=0.1), 120.0) == 3.0
    budget = RetryBudget(kind=BudgetKind.FIRST_TRIES, ratio=0.2, tokens_per_s=10.0)
    assert amplification(Clients(timeout_s=0.5, attempts=3, budget=budget), 80.0) == pytest.approx(1.325)


@pytest.mark.parametrize(
    ("budget", "tries"),
    [
        (RetryBudget(kind=BudgetKind.FIRST_TRIES, ratio=0.2, cost=0.5), 1.4),
        (RetryBudget(kind=BudgetKind.FIRST_TRIES, ratio=0.2, tokens_per_s=10.0), 1.0 + 0.2 + 0.1),
        (RetryBudget(kind=BudgetKind.FIRST_TRIES, ratio=0.2, cost=0.0), 3.0),
        (RetryBudget(kind=BudgetKind.FIRST_TRIES, ratio=5.0), 3.0),
        (RetryBudget(kind=BudgetKind.CONCURRENT, ratio=0.2), 1.25),
        (RetryBudget(kind=BudgetKind.CONCURRENT, ratio=1.0), 3.0),
        (RetryBudget(kind=BudgetKind.CONCURRENT, ratio=0.9), 3.0),
        (RetryBudget(kind=BudgetKind.SUCCESSES, ratio=0.9), 1.0),
        (RetryBudget(kind=BudgetKind.THROTTLE, ratio=0.9), 1.0),
        (RetryBudget(), 3.0),
    ],
)
def test_tokens_pay_for_as_many_attempts_as_they_last(budget: RetryBudget, tries: float) -> None:
    """At 100 first tries a second, of three attempts at most."""
    clients = Clients(timeout_s=0.5, attempts=3, budget=budget)
    assert amplification(clients, 100.0) == pytest.approx(tries)
