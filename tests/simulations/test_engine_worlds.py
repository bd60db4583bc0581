"""Engines whose clients give up, whose queues are limited, or whose users wait: laws, and a simulation with no code in common."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from independent_engines import Engines
from scipy.linalg import expm

from capacity.errors import DomainError
from capacity.performance import Performance
from capacity.profile.llm import Coefficients, Scheduler
from capacity.question.candidate import Reason, Verdict
from capacity.question.objective import Objective
from capacity.question.plan import Routing
from capacity.queues.batch.closed import BulkClosed
from capacity.server.engine.plan import TokenScenario
from capacity.traffic.clients import Backoff, Clients
from capacity.traffic.lengths import LengthLaw, LengthLaws
from capacity.traffic.workload import ClosedPopulation, MmppArrivals, Workload
from simulations.draws.arrivals import Seed
from simulations.judge import SimulationJudge
from simulations.replication import Engine
from simulations.servers import case_of
from simulations.simulate import Simulation
from simulations.statistics.sample import Length
from simulations.validation.token_systems import law_scenario, outputs

BASE_S, EACH_S, TOKENS = 0.01, 0.001, 10
LINE = Coefficients(base_s=BASE_S, per_prefill_token_s=0.0, per_decode_request_s=EACH_S)
STEP = Coefficients(base_s=BASE_S, per_prefill_token_s=0.0, per_decode_request_s=0.0)


def scenario(
    demand: Any,
    *,
    kind: str = "geometric",
    line: Coefficients = LINE,
    slots: int = 4,
    replicas: int = 2,
    limit: int | None = None,
    routing: Routing = Routing.ROUND_ROBIN,
) -> TokenScenario:
    found = law_scenario(1.0, outputs(kind, TOKENS).within(10_000), line, slots=slots)
    plan = replace(found.plan, replicas=replicas, queue_limit=limit, routing=routing)
    return replace(found, workload=demand, plan=plan)


def clients(rate_rps: float, **settings: Any) -> Workload:
    return Workload(arrival_rate_rps=rate_rps, clients=Clients(**settings))


def simulated(
    asked: TokenScenario, precision: float = 0.05, quantiles: tuple[float, ...] = (0.5, 0.9, 0.99)
) -> Performance:
    found: Performance = Simulation(quantiles=quantiles, precision=precision)(asked)
    return found


def sample(asked: TokenScenario, engine: Engine = Engine.KERNEL, requests: int = 2_000) -> Any:
    case = case_of(asked, engine)
    (task,) = case.tasks(Length(warm_up=200, measured=requests, cool_down=200), Seed(value=5), range(1))
    return case.replicate(task).as_one


# ---- A simulation that shares no code -----------------------------------------------------------

WORLDS = {
    "clients": (
        clients(30.0, timeout_s=0.25, attempts=2),
        {"rate_rps": 30.0, "timeout_s": 0.25, "attempts": 2},
        None,
    ),
    "queue limit": (Workload(arrival_rate_rps=56.0), {"rate_rps": 56.0, "line_max": 3}, 3),
    "both": (clients(70.0, attempts=3), {"rate_rps": 70.0, "attempts": 3, "line_max": 2}, 2),
    "users": (ClosedPopulation(users=12, think_time_s=0.1), {"users": 12, "think_s": 0.1}, None),
    "rejected users": (
        ClosedPopulation(users=16, think_time_s=0.1),
        {"users": 16, "think_s": 0.1, "line_max": 2},
        2,
    ),
}


def independent(requests: int, **settings: Any) -> tuple[float, ...]:
    """Mean tries, share lost, median TTFT, mean response and rate of one run, of the requests in its midst."""
    run = Engines(engines=2, slots=4, base_s=BASE_S, per_request_s=EACH_S, tokens_mean=TOKENS, **settings)
    run.run(requests)
    counted = range(requests // 10, requests - 200)
    first_s = [run.first_s.get(one, math.inf) - run.came_s[one] for one in counted]
    taken_s = [run.done_s[one] - run.came_s[one] for one in counted if one in run.done_s]
    lasted_s = run.came_s[counted[-1]] - run.came_s[counted[0]]
    return (
        float(np.mean([run.tries[one] for one in counted])),
        1.0 - len(taken_s) / len(counted),
        float(np.median(first_s)),
        float(np.mean(taken_s)),
        len(counted) / lasted_s,
    )


@pytest.mark.parametrize("world", WORLDS)
def test_a_simulation_that_shares_no_code_sees_the_same_world(world: str) -> None:
    demand, settings, limit = WORLDS[world]
    theirs = np.array([independent(4_000, seed=seed, **settings) for seed in range(6)])
    found = simulated(scenario(demand, limit=limit), precision=0.1, quantiles=(0.5,))
    lost, served = found.loss_probability or 0.0, found.throughput_rps or 0.0
    first_s = (found.ttft_quantiles_with_losses_s or found.ttft_quantiles_s)[0.5].value
    ours = (found.attempts_mean or 1.0, lost, first_s, found.response_mean_s, served / (1.0 - lost))
    assert world == "users" or max(lost, (found.attempts_mean or 1.0) - 1.0) > 0.01
    for values, mine in zip(theirs.T, ours, strict=True):
        error = 4.5 * values.std(ddof=1) / np.sqrt(len(values))
        assert mine == pytest.approx(values.mean(), abs=error, rel=0.012)


# ---- Exact laws -----------------------------------------------------------------------------------


def test_who_comes_in_the_wrong_half_of_a_step_tries_twice() -> None:
    """With room for all, passes of a and m tokens a response takes ma and what is left of the pass in which it comes.

    That is evenly spread over a. A client who waits for (m + 1/2)a gives up half of the time, and comes again in the
    right half: then the first token comes another (m + 1/2)a later.
    """
    patience_s = (TOKENS + 0.5) * BASE_S
    asked = scenario(
        clients(300.0, timeout_s=patience_s, attempts=2), kind="constant", line=STEP, slots=400, replicas=1
    )
    found = simulated(asked)
    assert found.intervals["attempts_mean"].low < 1.5 < found.intervals["attempts_mean"].high
    assert found.intervals["retried_share"].low < 0.5 < found.intervals["retried_share"].high
    assert found.loss_probability == 0.0
    # An even half within a/2 to 3a/2 of the first try, the other half that of the second.
    for q, exact_s in ((0.9, patience_s + 1.4 * BASE_S), (0.99, patience_s + 1.49 * BASE_S)):
        assert found.ttft_quantiles_s[q].value == pytest.approx(exact_s, rel=0.005)
    assert found.response_mean_s == pytest.approx((TOKENS + 0.25) * BASE_S + patience_s / 2.0, rel=0.005)
    assert found.itl_quantiles_s[0.5].value == pytest.approx(BASE_S, rel=0.005)


def lost_share(load: float, places: int) -> float:
    """Share that M/D/1 with so many places loses, by its chain at departures, from the rate of departures."""
    arrive = [math.exp(-load) * load**k / math.factorial(k) for k in range(places + 1)]
    chain = np.zeros((places, places))
    for left in range(places):
        start = max(left, 1) - 1
        for come in range(places - start):
            to = min(start + come, places - 1)
            chain[left, to] += arrive[come] if to < places - 1 else 1.0 - sum(arrive[: places - 1 - start])
            if to == places - 1:
                break
    states = np.linalg.lstsq(
        np.vstack([chain.T - np.eye(places), np.ones(places)]), np.append(np.zeros(places), 1.0), rcond=None
    )[0]
    return float(1.0 - 1.0 / (states[0] + load))


@pytest.mark.parametrize(("load", "limit"), [(0.8, 2), (1.3, 4)])
def test_one_slot_and_a_limited_line_are_a_queue_with_so_many_places(load: float, limit: int) -> None:
    """M/D/1/K: Gross & Harris (1998), Fundamentals of Queueing Theory, sec. 5.1.8; a load above 1 has figures too."""
    asked = scenario(
        Workload(arrival_rate_rps=load / (TOKENS * BASE_S)),
        kind="constant",
        line=STEP,
        slots=1,
        replicas=1,
        limit=limit,
    )
    found = simulated(asked, precision=0.02)
    law = lost_share(load, limit + 1)
    loss = found.intervals["loss_probability"]
    assert loss.low - 0.001 < law < loss.high + 0.001
    assert found.ttft_quantiles_s[0.99].value <= (limit + 1) * TOKENS * BASE_S
    if law > 0.01:
        assert found.ttft_quantiles_with_losses_s[0.99].value == math.inf


def test_the_loss_law_itself() -> None:
    """One place is Erlang's loss, ρ/(1 + ρ), whatever the law of service."""
    assert lost_share(0.5, 1) == pytest.approx(1.0 / 3.0)


@pytest.mark.parametrize(("users", "think_s"), [(3, 0.2), (8, 0.5)])
def test_users_of_one_slot_are_the_exact_closed_law(users: int, think_s: float) -> None:
    law = BulkClosed(users=users, think_time_s=think_s, batch_times_s=(TOKENS * BASE_S,))
    demand = ClosedPopulation(users=users, think_time_s=think_s)
    found = simulated(scenario(demand, kind="constant", line=STEP, slots=1, replicas=1), precision=0.02)
    exact = law.performance((0.5, 0.9, 0.99))
    assert found.load is None
    assert found.throughput_rps == pytest.approx(law.throughput_rps, rel=0.01)
    assert found.utilization == pytest.approx(law.utilization, rel=0.01)
    for q in (0.9, 0.99):
        mine, theirs = found.response_quantiles_s[q], exact.response_quantiles_s[q].value
        assert mine.low * 0.995 < theirs < mine.high * 1.005


def lost_of_users(users: int, think: float, places: int) -> float:
    """Share that M/D/1/K//N loses, by its chain at departures: between two of them users only come, and too many leave.

    Args:
        think: Z over the service time; thoughts are exponential.
    """
    n = np.arange(places + 1)
    rates = (users - n) / think
    births = np.diag(rates[:-1], 1) - np.diag(np.append(rates[:-1], 0.0))
    after = expm(births)
    spent = np.array(
        [quad(lambda t, m=m: expm(births * t)[1:, m], 0.0, 1.0) for m in n]
    )  # time with m in the system
    chain = np.array([after[max(left, 1), 1:] for left in range(places)])
    states = np.linalg.lstsq(
        np.vstack([chain.T - np.eye(places), np.ones(places)]), np.append(np.zeros(places), 1.0), rcond=None
    )[0]
    idle = states[0] / rates[0]
    asked = states[0] + sum(
        states[left] * float(rates @ spent[:, max(left, 1) - 1]) for left in range(places)
    )
    assert 1.0 + idle == pytest.approx(
        idle + sum(states[left] * spent[:, max(left, 1) - 1].sum() for left in range(places))
    )
    return float(1.0 - 1.0 / asked)


def quad(function: Any, low: float, high: float) -> Any:
    """Integral by Gauss and Legendre."""
    nodes, weights = np.polynomial.legendre.leggauss(24)
    half = (high - low) / 2.0
    return half * sum(w * function(low + half * (x + 1.0)) for x, w in zip(nodes, weights, strict=True))


@pytest.mark.parametrize(("users", "think_s", "limit"), [(6, 0.2, 2), (12, 0.4, 3)])
def test_users_whom_one_slot_rejects_are_a_queue_with_so_many_places(
    users: int, think_s: float, limit: int
) -> None:
    """A finite source before M/D/1/K: a rejected user thinks as if answered."""
    demand = ClosedPopulation(users=users, think_time_s=think_s)
    asked = scenario(demand, kind="constant", line=STEP, slots=1, replicas=1, limit=limit)
    found, law = (
        simulated(asked, precision=0.02),
        lost_of_users(users, think_s / (TOKENS * BASE_S), limit + 1),
    )
    loss = found.intervals["loss_probability"]
    assert law > 0.02
    assert loss.low - 0.001 < law < loss.high + 0.001
    assert found.ttft_quantiles_with_losses_s[0.99].value == math.inf


def test_the_loss_law_of_users_itself() -> None:
    """Two users and one place, by hand: a service of 1 meets one thinker, who comes 1/Z times meanwhile."""
    assert lost_of_users(2, 4.0, 1) == pytest.approx(0.25 / 1.25)


def test_users_think_wait_and_are_served_by_littles_law() -> None:
    """N = X(R + Z), and so are the users who wait, run and think."""
    users, think_s = 20, 0.25
    found = simulated(scenario(ClosedPopulation(users=users, think_time_s=think_s)), precision=0.02)
    assert found.throughput_rps is not None
    assert found.response_mean_s is not None
    assert found.throughput_rps * (found.response_mean_s + think_s) == pytest.approx(users, rel=0.005)
    held = (found.queue_length_mean or 0.0) + (found.running_mean or 0.0)
    assert held == pytest.approx(users - found.throughput_rps * think_s, rel=0.01)


# ---- One model, however it is run -------------------------------------------------------------------

FIGURES = (
    "output_tokens",
    "preemptions",
    "engine_s",
    "running_s",
    "block_s",
    "busy_s",
    "batches",
    "lost",
    "missed",
)


def assert_same(one: Any, other: Any) -> None:
    for name in (*FIGURES, "attempts", "retried", "window_s", "rises_s", "lost_longer", "lost_gaps"):
        assert getattr(one, name) == getattr(other, name), name
    for name in ("waits", "responses", "tpot", "itl"):
        assert np.array_equal(getattr(one, name).values_s, getattr(other, name).values_s), name
        assert np.array_equal(getattr(one, name).counts, getattr(other, name).counts), name


@pytest.mark.parametrize(
    ("demand", "limit"),
    [
        (clients(60.0, timeout_s=0.3, attempts=3, backoff=Backoff(initial_s=0.01, max_s=0.05)), 3),
        (clients(40.0, attempts=2, hedge_s=0.1), None),
        (Workload(arrival_rate_rps=60.0), 2),
        (ClosedPopulation(users=15, think_time_s=0.05), None),
        (ClosedPopulation(users=30, think_time_s=0.05), 2),
    ],
)
def test_both_engines_give_the_same_bytes(demand: Any, limit: int | None) -> None:
    asked = scenario(demand, limit=limit, routing=Routing.POWER_OF_TWO)
    assert_same(*(sample(asked, engine, 300) for engine in (Engine.KERNEL, Engine.SIMPY)))


@pytest.mark.parametrize("demand", [clients(60.0, timeout_s=0.3, attempts=3), ClosedPopulation(users=15)])
def test_slots_are_alike_too(demand: Any) -> None:
    asked = scenario(demand)
    asked = replace(asked, lengths=asked.lengths.within(200))
    engine = replace(asked.profile.engine, scheduler=Scheduler.LLAMA_CPP)
    few = replace(asked.profile.kv, tokens=4 * 4_096)  # of which each token is a block in SimPy
    asked = replace(asked, profile=replace(asked.profile, engine=engine, kv=few))
    assert_same(*(sample(asked, engine, 300) for engine in (Engine.KERNEL, Engine.SIMPY)))


@pytest.mark.parametrize("routing", [Routing.ROUND_ROBIN, Routing.RANDOM, Routing.LEAST_OUTSTANDING])
def test_clients_whom_no_response_tries_see_what_patient_ones_do(routing: Routing) -> None:
    """The loop with clients and the plain loop, with the same users: the same tokens, gaps and time."""
    asked = scenario(clients(40.0, timeout_s=1e4), routing=routing)
    plain = replace(asked, workload=Workload(arrival_rate_rps=40.0))
    whole = case_of(plain, is_whole=True)
    (task,) = whole.tasks(Length(warm_up=200, measured=2_000, cool_down=200), Seed(value=5), range(1))
    theirs, ours = whole.replicate(task).as_one, sample(asked)
    assert ours.attempts == 2_000
    assert_same(replace(ours, attempts=0.0), theirs)


# ---- What is decided, and what is refused ---------------------------------------------------------------


def test_requests_that_find_a_full_line_are_late() -> None:
    """More than 1 % are lost, so that no P99 of the first token is met, and no goodput of 99 %."""
    asked = scenario(Workload(arrival_rate_rps=60.0), limit=2)
    late = SimulationJudge().search(replace(asked, objective=Objective.of(ttft={0.99: 10.0})), 1)
    assert (late.verdict, late.rejection.reason) == (Verdict.MISSED, Reason.LOSS)
    good = SimulationJudge().search(replace(asked, objective=Objective.of(ttft={0.5: 10.0}, goodput=0.99)), 1)
    assert good.verdict is Verdict.MISSED
    assert good.performance.goodput == pytest.approx(1.0 - good.performance.loss_probability)
    met = SimulationJudge().search(replace(asked, objective=Objective.of(ttft={0.5: 10.0}, loss=0.4)), 1)
    assert met.verdict is Verdict.MET


def test_users_whom_no_capacity_serves_in_time_are_refused_at_once() -> None:
    asked = scenario(ClosedPopulation(users=500, think_time_s=0.1))
    asked = replace(asked, objective=Objective.of(response_mean=0.2))
    found = SimulationJudge().search(asked, 1)
    assert (found.verdict, found.performance) == (Verdict.MISSED, None)


def test_users_who_keep_the_turns_of_their_start_are_refused() -> None:
    for think_s in (0.0, 1e-4):
        asked = scenario(ClosedPopulation(users=6, think_time_s=think_s), kind="constant")
        with pytest.raises(DomainError, match="give lengths of outputs that differ"):
            simulated(asked)


def test_clients_are_simulated_in_bursts_by_both_engines_alike() -> None:
    """Each stratum has its attempts; clients whom no response tries see what patient ones do."""
    bursts = MmppArrivals(ratio=4.0, burst_mean_s=1.0, calm_mean_s=2.0)

    def strata(clients: Workload, engine: Engine = Engine.KERNEL) -> Any:
        case = case_of(scenario(replace(clients, arrivals=bursts)), engine, is_whole=True)
        (task,) = case.tasks(Length(warm_up=100, measured=600, cool_down=50), Seed(value=5), range(1))
        return case.replicate(task)

    hurried = clients(30.0, timeout_s=0.2, attempts=2)
    for one, other in zip(strata(hurried).samples, strata(hurried, Engine.SIMPY).samples, strict=True):
        assert_same(one, other)
        assert one.attempts >= one.counted + one.lost
    assert sum(one.retried for one in strata(hurried).samples) > 10
    patient, whole = strata(clients(30.0, timeout_s=1e4)), strata(Workload(arrival_rate_rps=30.0))
    for one, other in zip(patient.samples, whole.samples, strict=True):
        assert np.array_equal(one.responses.values_s, other.responses.values_s)
        assert np.array_equal(one.tpot.counts, other.tpot.counts)
        assert one.output_tokens == other.output_tokens


def test_lengths_are_drawn_for_users_as_for_any_arrivals() -> None:
    rows = LengthLaws(LengthLaw(kind="constant", mean=3), LengthLaw(kind="geometric", mean=5)).within(500)
    users = replace(scenario(ClosedPopulation(users=5, think_time_s=0.1)), lengths=rows)
    open_ones = replace(users, workload=Workload(arrival_rate_rps=5.0))
    assert sample(users).output_tokens == sample(open_ones).output_tokens
