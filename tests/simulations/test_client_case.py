"""Clients in steady state: figures as clients see them, beside exact laws and a simulation that shares no code."""

import heapq
import random
from collections import deque
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from capacity.errors import DomainError, UnstableError
from capacity.performance import Performance
from capacity.profile.distribution import from_samples
from capacity.profile.profile import BatchTiming, ServiceProfile, Spells
from capacity.question.candidate import Reason, Verdict
from capacity.question.objective import Limit, Measure, Objective
from capacity.question.plan import Routing
from capacity.question.scenario import Scenario
from capacity.queues import Hedged, MDc, MMPPMc
from capacity.queues.general.mg1_wait import Empirical
from capacity.server.batch.batching import Batching
from capacity.server.batch.plan import BatchPlan
from capacity.server.batch.refusal import refuse_load
from capacity.traffic.clients import Backoff, BudgetKind, Clients, RetryBudget
from capacity.traffic.workload import MmppArrivals, TraceArrivals, Workload
from simulations.draws.arrivals import Seed
from simulations.draws.service import ExponentialTimes
from simulations.judge import SimulationJudge
from simulations.replication import Engine
from simulations.servers import case_of
from simulations.simulate import Simulation
from simulations.statistics.pool import Pool
from simulations.statistics.sample import Length

TIMES_S = (0.01, 0.014, 0.018, 0.022)  # of batches of one to four
PROFILE = ServiceProfile(
    name="made-up",
    timings=tuple(
        BatchTiming(batch_size=size, mean_s=time_s) for size, time_s in enumerate(TIMES_S, start=1)
    ),
)


def scenario(
    clients: Clients,
    rate_rps: float = 120.0,
    *,
    profile: ServiceProfile = PROFILE,
    replicas: int = 2,
    batch: int = 4,
    routing: Routing = Routing.ROUND_ROBIN,
    limit: int | None = None,
) -> Scenario:
    plan = BatchPlan(
        profile=profile.name, replicas=replicas, batch_size_max=batch, routing=routing, queue_limit=limit
    )
    return Scenario(profile=profile, workload=Workload(arrival_rate_rps=rate_rps, clients=clients), plan=plan)


def simulated(asked: Scenario, precision: float = 0.05) -> Performance:
    found: Performance = Simulation(quantiles=(0.5, 0.99), precision=precision)(asked)
    return found


def sample(asked: Scenario, engine: Engine = Engine.KERNEL, requests: int = 2_000) -> Any:
    case = case_of(asked, engine)
    (task,) = case.tasks(Length(warm_up=200, measured=requests, cool_down=20), Seed(value=5), range(1))
    return case.replicate(task).as_one


# ---- A simulation that shares no code -----------------------------------------------------------


class Independent:
    """Replicas that take what waits in batches, in turn; clients who retry at once."""

    def __init__(self, rate_rps: float, replicas: int, clients: Clients, seed: int) -> None:
        self._random, self._rate_rps = random.Random(seed), rate_rps
        self._clients, self._lines = clients, [deque[tuple[int, int]]() for _ in range(replicas)]
        self._busy, self._events = [False] * replicas, list[tuple[float, int, str, Any]]()
        self._made = self._turn = 0
        self.arrived_s, self.response_s = list[float](), dict[int, float]()
        self.sent, self._waited_for = dict[int, int](), set[tuple[int, int]]()

    def run(self, requests: int) -> None:
        self._plan(0.0, "come", None)
        while self._events:
            now_s, _, kind, what = heapq.heappop(self._events)
            if kind == "come":
                self.arrived_s.append(now_s)
                self._send(now_s, len(self.arrived_s) - 1)
                if len(self.arrived_s) < requests:
                    self._plan(now_s + self._random.expovariate(self._rate_rps), "come", None)
            elif kind == "late" and what in self._waited_for:
                self._waited_for.remove(what)
                if self.sent[what[0]] < self._clients.attempts:
                    self._send(now_s, what[0])
            elif kind == "done":
                self._done(now_s, *what)

    def _plan(self, instant_s: float, kind: str, what: Any) -> None:
        self._made += 1
        heapq.heappush(self._events, (instant_s, self._made, kind, what))

    def _send(self, now_s: float, request: int) -> None:
        number = self.sent[request] = self.sent.get(request, 0) + 1
        self._waited_for.add((request, number))
        if self._clients.timeout_s is not None:
            self._plan(now_s + self._clients.timeout_s, "late", (request, number))
        replica = self._turn % len(self._lines)
        self._turn += 1
        self._lines[replica].append((request, number))
        if not self._busy[replica]:
            self._begin(now_s, replica)

    def _begin(self, now_s: float, replica: int) -> None:
        line = self._lines[replica]
        batch = [line.popleft() for _ in range(min(len(line), len(TIMES_S)))]
        self._busy[replica] = bool(batch)
        if batch:
            self._plan(now_s + TIMES_S[len(batch) - 1], "done", (replica, batch))

    def _done(self, now_s: float, replica: int, batch: list[tuple[int, int]]) -> None:
        for request, number in batch:
            if (request, number) in self._waited_for and request not in self.response_s:
                self.response_s[request] = now_s - self.arrived_s[request]
                self._waited_for -= {(request, other) for other in range(1, self.sent[request] + 1)}
        self._begin(now_s, replica)


@pytest.mark.parametrize(
    ("clients", "rate_rps"),
    [
        (Clients(timeout_s=0.03, attempts=2), 150.0),
        pytest.param(Clients(timeout_s=0.025, attempts=3), 120.0, marks=pytest.mark.long),
        pytest.param(Clients(timeout_s=0.04), 250.0, marks=pytest.mark.long),
    ],
)
def test_a_simulation_that_shares_no_code_sees_the_same_clients(clients: Clients, rate_rps: float) -> None:
    figures = []
    for seed in range(6):
        run = Independent(rate_rps, 2, clients, seed)
        run.run(6_000)
        counted = range(500, 5_900)
        late = np.array([run.response_s.get(request, np.inf) for request in counted])
        tries = np.array([run.sent[request] for request in counted])
        figures.append((tries.mean(), (tries > 1).mean(), np.isinf(late).mean(), np.median(late)))
    found = simulated(scenario(clients, rate_rps), precision=0.1)
    assert found.loss_probability is not None
    assert found.loss_probability > 0.0  # clients do give up
    median_s = found.response_quantiles_with_losses_s[0.5].value
    ours = (found.attempts_mean, found.retried_share, found.loss_probability, median_s)
    for theirs, mine in zip(np.array(figures).T, ours, strict=True):
        error = 4.5 * theirs.std(ddof=1) / np.sqrt(len(theirs))
        assert mine == pytest.approx(theirs.mean(), abs=error, rel=0.01)


# ---- Exact laws -----------------------------------------------------------------------------------


def test_who_gives_up_after_one_attempt_that_is_served_is_lost_as_often_as_the_response_is_late() -> None:
    """M/D/2: attempts that no client waits for are served, so that the queue is as if every client waited."""
    law = MDc(arrival_rate_rps=140.0, service_time_s=0.01, servers=2)
    asked = scenario(Clients(timeout_s=0.02), 140.0, batch=1, routing=Routing.SHARED_QUEUE)
    found = simulated(asked)
    loss = found.intervals["loss_probability"]
    low, high = 0.5, 0.9999
    while high - low > 1e-6:
        middle = (low + high) / 2.0
        low, high = (middle, high) if law.response_quantile_s(middle) <= 0.02 else (low, middle)
    assert loss.low < 1.0 - low < loss.high
    assert found.attempts_mean == 1.0
    assert found.utilization == pytest.approx(0.7, rel=0.01)  # lost work too
    median = found.response_quantiles_with_losses_s[0.5]
    assert median.low <= law.response_quantile_s(0.5) <= median.high


def test_a_hedged_request_takes_the_smaller_of_two_times_where_the_load_is_low() -> None:
    times_s = [0.01] * 90 + [0.05] * 8 + [0.2] * 2
    sampled = ServiceProfile(
        name="made-up",
        timings=(BatchTiming(batch_size=1, samples_s=tuple(times_s)),),
    )
    asked = scenario(Clients(attempts=2, hedge_s=0.03), 0.05, profile=sampled, replicas=4, batch=1)
    law = Hedged(response=Empirical(law=from_samples(times_s)), delay_s=0.03)
    case = case_of(asked)
    tasks = case.tasks(Length(warm_up=0, measured=8_000, cool_down=0), Seed(value=1), range(2))
    pool = Pool.of(map(case.replicate, tasks))
    retried = pool.retried.interval(0.999)
    assert retried.low < law.extra_load < retried.high
    for limit_s in (0.02, 0.035, 0.045, 0.06):
        share = law.response_tail(limit_s)
        error = 4.0 * np.sqrt(share * (1.0 - share) / pool.counted)
        assert pool.whole.responses.share_above(limit_s) == pytest.approx(share, abs=error)


# ---- One model, however it is run -------------------------------------------------------------------


def test_clients_whom_no_response_tries_see_what_patient_ones_do() -> None:
    """The loop with clients and the plain loop, with the same users: the same responses, waits and busy time."""
    routings = (Routing.ROUND_ROBIN, Routing.RANDOM, Routing.LEAST_OUTSTANDING, Routing.SHARED_QUEUE)
    usual = scenario(Clients(timeout_s=1e4))
    rules: list[dict[str, Any]] = [
        {"batching": Batching.TORCHSERVE},
        {"batching": Batching.RAY_SERVE},
        {"preferred_sizes": (2,)},
    ]
    for patient in (
        *(scenario(Clients(timeout_s=1e4), routing=routing) for routing in routings),
        *(replace(usual, plan=replace(usual.plan, batch_wait_max_s=0.004, **rule)) for rule in rules),
        replace(usual, profile=replace(PROFILE, instances_per_device=2)),
    ):
        plain = replace(patient, workload=replace(patient.workload, clients=Clients()))
        (task,) = case_of(plain, is_whole=True).tasks(
            Length(warm_up=200, measured=2_000, cool_down=20), Seed(value=5), range(1)
        )
        theirs, ours = case_of(plain, is_whole=True).replicate(task).as_one, sample(patient)
        assert np.array_equal(ours.responses.values_s, theirs.responses.values_s)
        assert np.array_equal(ours.waits.counts, theirs.waits.counts)
        assert (ours.lost, ours.window_s, ours.attempts) == (0, pytest.approx(theirs.window_s), 2_000)
        assert (ours.busy_s, ours.batches) == (pytest.approx(theirs.busy_s), pytest.approx(theirs.batches))


@pytest.mark.parametrize(
    "clients",
    [
        Clients(timeout_s=0.03, attempts=3, backoff=Backoff(initial_s=0.01, max_s=0.05)),
        Clients(attempts=2, hedge_s=0.015),
        Clients(timeout_s=0.03, attempts=3, budget=RetryBudget(kind=BudgetKind.FIRST_TRIES, ratio=0.1)),
    ],
)
def test_both_engines_give_the_same_bytes(clients: Clients) -> None:
    asked = scenario(clients, 260.0, routing=Routing.POWER_OF_TWO, limit=8)
    kernel, simpy = (sample(asked, engine, 400) for engine in (Engine.KERNEL, Engine.SIMPY))
    for name in ("busy_s", "batches", "attempts", "retried", "lost", "window_s", "rises_s"):
        assert getattr(kernel, name) == getattr(simpy, name), name
    assert kernel.attempts > 400
    assert np.array_equal(kernel.responses.values_s, simpy.responses.values_s)
    assert np.array_equal(kernel.waits.values_s, simpy.waits.values_s)


def test_a_run_in_a_storm_is_given_up_by_both_engines() -> None:
    asked = scenario(Clients(timeout_s=0.03, attempts=4), 340.0)
    for engine in Engine:
        found = sample(asked, engine, 6_000)
        assert (found.fallen, found.lost > 1_000) == (1, True)


# ---- Stability with retries in it -------------------------------------------------------------------

STORM = Clients(timeout_s=0.03, attempts=4)


def test_a_fleet_that_retries_keep_down_has_no_figures() -> None:
    """Without retries its load is 0.935."""
    with pytest.raises(UnstableError, match="340 rps with up to 4 attempts at each request are 1360 rps"):
        simulated(scenario(STORM, 340.0))
    budget = replace(STORM, budget=RetryBudget(kind=BudgetKind.FIRST_TRIES, ratio=0.05))
    found = simulated(scenario(budget, 240.0))
    assert found.attempts_mean is not None
    assert 1.0 < found.attempts_mean < 1.06


def test_a_fleet_that_retries_keep_down_is_refused_for_its_load() -> None:
    objective = Objective(limits=(Limit(measure=Measure.RESPONSE, quantile=0.5, allowed=1.0),))
    found = SimulationJudge().search(replace(scenario(STORM, 340.0), objective=objective), 1)
    assert found.verdict is Verdict.MISSED
    assert found.rejection.reason is Reason.STABILITY
    assert found.rejection.needed == pytest.approx(4.0 * 340.0 / (2 * 4 / 0.022))


def test_lost_requests_are_late() -> None:
    """P(lost) is above 1 %, so that no P99 is met, however soon all others are answered."""
    objective = Objective(limits=(Limit(measure=Measure.RESPONSE, quantile=0.99, allowed=1.0),))
    found = SimulationJudge().search(
        replace(scenario(Clients(timeout_s=0.03), 250.0), objective=objective), 1
    )
    assert found.verdict is Verdict.MISSED
    assert found.rejection.reason is Reason.LOSS
    assert found.performance.response_quantiles_s[0.99].value <= 0.03


def test_a_trace_is_sent_by_clients_too() -> None:
    instants_s = tuple(np.cumsum(np.random.default_rng(1).exponential(1 / 180.0, 12_000)).tolist())
    trace = Workload(
        arrival_rate_rps=180.0,
        arrivals=TraceArrivals(instants_s=instants_s),
        clients=Clients(timeout_s=0.03, attempts=2),
    )
    asked = replace(scenario(Clients()), workload=trace)
    found, like_it = simulated(asked), Simulation(quantiles=(0.5, 0.9)).like_it(asked)
    assert found.retried_share is not None
    assert 0.01 < found.retried_share < 0.2
    assert like_it is not None


# ---- Bursts -----------------------------------------------------------------------------------------

BURSTS = MmppArrivals(ratio=3.0, burst_mean_s=4.0, calm_mean_s=8.0)


def in_bursts(clients: Clients, rate_rps: float, arrivals: MmppArrivals = BURSTS, **how: Any) -> Scenario:
    asked = scenario(clients, rate_rps, **how)
    return replace(asked, workload=replace(asked.workload, arrivals=arrivals))


def strata_of(case: Any, requests: int = 20_000) -> Any:
    (task,) = case.tasks(Length(warm_up=200, measured=requests, cool_down=20), Seed(value=5), range(1))
    return case.replicate(task)


def test_clients_whom_no_response_tries_see_the_strata_of_patient_ones() -> None:
    """The same arrivals in the same bursts, served by the loop that knows clients and by the plain one."""
    tried = case_of(in_bursts(Clients(timeout_s=1e4), 150.0))
    whole = tried.whole
    patient = replace(
        whole, scenario=replace(whole.scenario, workload=replace(whole.scenario.workload, clients=Clients()))
    )
    found, plain = strata_of(tried, 2_000), strata_of(patient, 2_000)
    assert found.weights == plain.weights
    assert len(found.samples) == 5
    for one, other in zip(found.samples, plain.samples, strict=True):
        for name in ("waits", "responses"):
            assert np.array_equal(getattr(one, name).values_s, getattr(other, name).values_s)
            assert np.array_equal(getattr(one, name).counts, getattr(other, name).counts)
        assert (one.window_s, one.lost, one.attempts) == (other.window_s, 0, other.counted)
        assert one.rises_s == pytest.approx(other.rises_s, rel=1e-9)
        assert one.busy_s == pytest.approx(other.busy_s)


def test_who_gives_up_once_is_lost_as_often_as_the_law_of_bursts_is_late() -> None:
    """Work that no client waits for is served, so MMPP/M/1 is as with patient clients, and P(T > timeout) are lost."""
    law = MMPPMc(
        arrival_rates_rps=(90.0, 30.0), switch_rates_per_s=(0.25, 0.125), service_rate_rps=80.0, servers=1
    )
    profile = ServiceProfile(name="law", timings=(BatchTiming(batch_size=1, mean_s=1.0 / 80.0),))
    timeout_s = law.response_quantile_s(0.9)
    asked = in_bursts(Clients(timeout_s=timeout_s), 50.0, profile=profile, replicas=1, batch=1)
    case = case_of(asked)
    tasks = case.tasks(Length(warm_up=20_000, measured=60_000, cool_down=20), Seed(value=2), range(40))
    drawn = [replace(task, service_times=ExponentialTimes(1.0 / 80.0)) for task in tasks]
    pool = Pool.of([case.replicate(task) for task in drawn])
    lost = pool.loss_interval(0.999)
    assert lost.low <= 0.1 <= lost.high
    assert lost.relative_half_width < 0.15
    within = pool.response_quantile(0.5).interval(0.999)
    assert within.low <= law.response_quantile_s(0.45) <= within.high


def test_long_bursts_are_the_mixture_of_two_steady_fleets() -> None:
    """What clients see is that of Poisson arrivals at either rate, by the shares of the requests."""
    clients, slow = Clients(timeout_s=0.024, attempts=2), replace(BURSTS, burst_mean_s=20.0, calm_mean_s=40.0)

    def pool_of(asked: Scenario, measured: int, runs: int) -> Pool:
        case, length = case_of(asked), Length(warm_up=10_000, measured=measured, cool_down=20)
        return Pool.of([case.replicate(task) for task in case.tasks(length, Seed(value=1), range(runs))])

    found = pool_of(in_bursts(clients, 80.0, slow), 200_000, 10)
    burst_rps, calm_rps = slow.rates_rps(80.0)
    burst, calm = (pool_of(scenario(clients, rate_rps), 100_000, 8) for rate_rps in (burst_rps, calm_rps))
    share = slow.burst_share * burst_rps / 80.0
    for figure in (lambda pool: pool.loss_interval(0.999), lambda pool: pool.attempts.interval(0.999)):
        one, high, low = (figure(pool) for pool in (found, burst, calm))
        mixed = [share * getattr(high, end) + (1.0 - share) * getattr(low, end) for end in ("low", "high")]
        assert one.low <= mixed[1]
        assert mixed[0] <= one.high
        assert one.high - one.low < 0.4 * (one.value if one.value < 0.5 else one.value - 1.0)


@pytest.mark.parametrize("limit", [None, 3])
def test_both_engines_give_the_same_strata(limit: int | None) -> None:
    asked = in_bursts(Clients(timeout_s=0.05, attempts=2), 150.0, limit=limit)
    kernel, simpy = (strata_of(case_of(asked, engine), 2_000) for engine in Engine)
    for one, other in zip(kernel.samples, simpy.samples, strict=True):
        assert np.array_equal(one.responses.values_s, other.responses.values_s)
        assert (one.attempts, one.retried, one.lost, one.busy_s, one.batches) == (
            other.attempts,
            other.retried,
            other.lost,
            other.busy_s,
            other.batches,
        )


def test_a_burst_after_which_retries_keep_the_fleet_down_is_a_storm() -> None:
    """On average 400 attempts a second come if all fail, and 364 are served: a calm stretch does not help for good."""
    with pytest.raises(UnstableError, match="unstable with retries: 200 rps with up to 2 attempts"):
        simulated(in_bursts(Clients(timeout_s=0.05, attempts=2), 200.0))


def test_what_bursts_make_late_for_patient_clients_refuses_no_others() -> None:
    """Bursts far above the capacity: who waits is late by the fluid law; who gives up at once leaves room."""
    rare = MmppArrivals(ratio=30.0, burst_mean_s=20.0, calm_mean_s=200.0)
    patient = in_bursts(Clients(), 100.0, rare)
    asked = replace(patient, objective=Objective.of(response={0.5: 0.05}))
    assert refuse_load(replace(asked, objective=Objective.of(response={0.99: 0.05}))) is not None
    tried = in_bursts(Clients(timeout_s=0.05), 100.0, rare)
    assert refuse_load(replace(tried, objective=Objective.of(response={0.99: 0.05}))) is None


SAMPLES_S = tuple(np.linspace(0.006, 0.014, 41).tolist())
IN_SPELLS = ServiceProfile(
    name="spells",
    timings=(BatchTiming(batch_size=1, samples_s=SAMPLES_S),),
    spells=Spells(share=0.8, lasting_s=0.5),
)


@pytest.mark.parametrize("engine", Engine)
def test_who_gives_up_once_loses_in_spells_what_patient_clients_see_late(engine: Engine) -> None:
    """The same work in the same spells: a request is lost exactly if it would have taken longer than the timeout."""
    requests, timeout_s = 60_000 if engine is Engine.KERNEL else 3_000, 0.04
    how: dict[str, Any] = {"profile": IN_SPELLS, "replicas": 2, "batch": 1}
    hasty = sample(scenario(Clients(timeout_s=timeout_s), 150.0, **how), engine, requests)
    limited = Objective.of(response={0.5: timeout_s})  # a limit is counted exactly
    asked = replace(scenario(Clients(timeout_s=1e4), 150.0, **how), objective=limited)
    patient = sample(asked, engine, requests)
    steady = sample(scenario(Clients(), 150.0, **how), engine, requests)
    lost = hasty.lost / requests
    assert lost == pytest.approx(patient.responses.share_above(timeout_s), rel=1e-12)
    calm = scenario(Clients(), 150.0, **how | {"profile": replace(IN_SPELLS, spells=None)})
    assert lost > 2.0 * sample(calm, engine, requests).responses.share_above(timeout_s)
    assert patient.responses.count == steady.responses.count == requests


def test_who_tries_again_is_refused_in_spells_with_the_reason() -> None:
    asked = scenario(Clients(timeout_s=0.04, attempts=2), 150.0, profile=IN_SPELLS, batch=1)
    with pytest.raises(DomainError, match="in a spell that has moved on.*give --attempts 1"):
        simulated(asked)


def test_clients_who_wait_for_less_than_a_service_are_told_so() -> None:
    with pytest.raises(DomainError, match="only 0 % of the requests are answered in time"):
        simulated(scenario(Clients(timeout_s=0.005)))
