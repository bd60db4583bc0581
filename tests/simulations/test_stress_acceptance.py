"""What fleets do in trouble: two tables of figures, beside the fluid law and a simulator of its own.

Exponential services of 10 ms at one shared queue, batches of one, a timeout of 0.5 s, three attempts at once. The
figures of the tables are those of three runs each, so that they have an error of their own, which is taken from the
scatter of the runs here. Shares are compared at 95 %, and the many means at 99 %. The quick tests make few runs; the
long ones make many, of all rows.
"""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
from independent_retries import Overload
from scipy.stats import fisher_exact

import simulations.stress
from capacity.performance import Interval
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.plan import Routing
from capacity.recovery.findings import Run, Runs, mean_of
from capacity.recovery.fluid import fluid
from capacity.recovery.parse import CLIENTS, read_budget, read_trigger
from capacity.recovery.protection import Protection, Shedding
from capacity.recovery.stress import Stress
from capacity.server.batch.plan import BatchPlan
from capacity.server.batch.server import BatchServer
from capacity.traffic.clients import Backoff, Clients
from capacity.traffic.workload import PoissonArrivals, Workload
from simulations.draws.service import ExponentialTimes
from simulations.stress import StressSimulation

TIMEOUT_S, ATTEMPTS = 0.5, 3
FEW, MANY = 3, 30
TABLE_RUNS = 3
CONFIDENCE, ERRORS = 0.99, 2.58
PROFILE = ServiceProfile(name="exponential", timings=(BatchTiming(batch_size=1, mean_s=0.01),))
SPIKE, LOSS = "spike:2x,30s", "lose:1,60s"
AS_IT_IS = Protection()
ONE_TRY = Clients(timeout_s=TIMEOUT_S)
ALL_TRIES = Clients(timeout_s=TIMEOUT_S, attempts=ATTEMPTS)


def budgeted(text: str) -> Clients:
    return Clients(timeout_s=TIMEOUT_S, attempts=ATTEMPTS, budget=read_budget(text, None))


def stress(
    trigger: str,
    clients: Clients = ALL_TRIES,
    protection: Protection = AS_IT_IS,
    *,
    replicas: int = 4,
    limit: int | None = None,
    horizon_s: float = 160.0,
) -> Stress:
    """280 rps and a spike, or 320 rps and a loss."""
    plan = BatchPlan(
        profile=PROFILE.name,
        replicas=replicas,
        batch_size_max=1,
        routing=Routing.SHARED_QUEUE,
        queue_limit=limit,
    )
    return Stress(
        server=BatchServer(profile=PROFILE),
        workload=Workload(
            arrival_rate_rps=280.0 if trigger.startswith("spike") else 320.0, arrivals=PoissonArrivals()
        ),
        plan=plan,
        clients=clients,
        trigger=read_trigger(trigger),
        protection=protection,
        horizon_s=horizon_s,
    )


def found(asked: Stress, runs: int) -> Runs:
    with ThreadPoolExecutor(2) as executor:
        return StressSimulation(
            seed=7,
            runs=runs,
            confidence=CONFIDENCE,
            service_times=ExponentialTimes(0.01),
            mapper=executor.map,
        )(asked)


def goodput(run: Run, from_s: float, until_s: float) -> float:
    """Share of the first tries arriving in a stretch of whole seconds that succeed."""
    seconds = slice(math.ceil(from_s), math.floor(until_s))
    return sum(run.course.succeeded[seconds]) / sum(run.course.came[seconds])


def goodput_late(seen: Runs) -> Interval:
    """Of those that arrive in the second half of the trigger, when the queue has long been full."""
    middle_s = seen.stress.begins_s + seen.stress.lasts_s / 2.0
    return mean_of([goodput(run, middle_s, seen.stress.ends_s) for run in seen.runs], seen.confidence)


def filled_shares(asked: Stress) -> tuple[float, float]:
    """Of the trigger, until the queue holds a timeout's worth of work; all that come before that succeed.

    By the fluid law, second. By chance the first ones come too late when it holds two standard deviations of the
    services in a timeout less, and their retries are the beginning of the end.
    """
    left_rps = asked.capacity_rps * asked.trigger.left(asked.plan.replicas)
    excess_rps = asked.rate_rps * asked.spike_factor - left_rps
    useful = TIMEOUT_S * left_rps
    return (
        (useful - 2.0 * math.sqrt(useful)) / excess_rps / asked.lasts_s,
        useful / excess_rps / asked.lasts_s,
    )


def meets(interval: Interval, ends: tuple[float, float]) -> bool:
    return interval.low <= ends[1] and ends[0] <= interval.high


def holds(interval: Interval, value: float) -> bool:
    return interval.low <= value <= interval.high


def is_about(figure: float, values: Sequence[float], digits: int = 2) -> bool:
    """Whether a figure of the table, of three runs and rounded, and the mean of these values may be the same."""
    error = float(np.std(values, ddof=1)) * math.sqrt(1.0 / len(values) + 1.0 / TABLE_RUNS)
    return abs(float(np.mean(values)) - figure) <= ERRORS * error + 0.5 * 10.0**-digits


class Returns(NamedTuple):
    """Settings that recover: within this range by the table, and after this time by the fluid law."""

    name: str
    asked: Stress
    low_s: float
    high_s: float
    theory_s: float


AWS = Clients(
    timeout_s=TIMEOUT_S, attempts=ATTEMPTS, budget=CLIENTS["aws"].budget, backoff=CLIENTS["aws"].backoff
)
RETURNS = (
    Returns("no retries", stress(SPIKE, ONE_TRY), 38.0, 39.0, 38.3),
    Returns("first tries pay 0.1", stress(SPIKE, budgeted("0.1")), 65.0, 72.0, 68.0),
    Returns("first tries pay 0.2", stress(SPIKE, budgeted("0.2"), horizon_s=250.0), 118.0, 133.0, 124.0),
    Returns("successes pay 0.5", stress(SPIKE, budgeted("successes:0.5")), 38.0, 40.0, 38.3),
    Returns("a loss, first tries pay 0.1", stress(LOSS, budgeted("0.1")), 54.0, 57.0, 55.8),
    Returns("a loss, AWS", stress(LOSS, AWS), 12.0, 14.0, 12.5),
)


@cache
def many(number: int) -> Runs:
    return found(RETURNS[number].asked, MANY)


def with_burst_s(row: Returns) -> float:
    """The fluid law, and the full budget that is spent at first: this many more attempts to be served."""
    law, budget = fluid(row.asked), row.asked.clients.budget
    assert law.recovery_s is not None
    spare_rps = row.asked.capacity_rps - law.amplification * row.asked.rate_rps
    return law.recovery_s + budget.tokens / budget.cost / spare_rps


@pytest.mark.parametrize("row", RETURNS, ids=lambda row: row.name)
def test_the_fluid_law_says_when_it_recovers(row: Returns) -> None:
    law = fluid(row.asked)
    assert law.stuck is False
    assert law.recovery_s == pytest.approx(row.theory_s, rel=0.02)


@pytest.mark.parametrize("row", [RETURNS[0], RETURNS[1], RETURNS[4], RETURNS[5]], ids=lambda row: row.name)
def test_it_recovers_about_when_the_fluid_law_says(row: Returns) -> None:
    seen = found(row.asked, FEW)
    assert seen.exit_code == 0
    assert seen.relapsed == 0
    assert seen.recovery_s.value == pytest.approx(row.theory_s, abs=8.0)


@pytest.mark.long
@pytest.mark.parametrize("number", range(len(RETURNS)), ids=[row.name for row in RETURNS])
def test_it_recovers_when_the_table_says(number: int) -> None:
    """The loss with a budget of 0.1 takes the time of its burst longer than the table's range."""
    row, seen = RETURNS[number], many(number)
    assert seen.exit_code == 0
    recovery = seen.recovery_s
    assert recovery is not None
    if row.name == "a loss, first tries pay 0.1":
        assert holds(recovery, with_burst_s(row))
        assert recovery.low <= row.high_s
    else:
        assert row.low_s <= recovery.value <= row.high_s


@pytest.mark.long
@pytest.mark.parametrize("number", [1, 2, 4], ids=[RETURNS[number].name for number in (1, 2, 4)])
def test_a_full_budget_is_spent_first(number: int) -> None:
    recovery = many(number).recovery_s
    assert recovery is not None
    assert holds(recovery, with_burst_s(RETURNS[number]))


STUCK = {
    "three attempts": stress(SPIKE),
    "three attempts, full jitter": stress(
        SPIKE, Clients(timeout_s=TIMEOUT_S, attempts=ATTEMPTS, backoff=Backoff(initial_s=60.0, max_s=60.0))
    ),
    "first tries pay 0.5": stress(SPIKE, budgeted("0.5")),
    "5 replicas": stress(SPIKE, replicas=5),
    "a loss": stress(LOSS),
}


def test_the_fluid_law_says_that_it_is_stuck() -> None:
    for name, asked in STUCK.items():
        assert fluid(asked).stuck is True, name
        assert fluid(asked).recovery_s is None, name


def test_it_is_stuck() -> None:
    seen = found(STUCK["three attempts"], FEW)
    assert seen.exit_code == 3
    assert seen.recovery_s is None
    assert seen.goodput_during.value == pytest.approx(filled_shares(seen.stress)[1], abs=0.02)


@pytest.mark.long
@pytest.mark.parametrize("name", STUCK)
def test_it_is_stuck_in_many_runs(name: str) -> None:
    """All that come succeed until the queue holds a timeout's worth of work, and then nobody does."""
    seen = found(STUCK[name], MANY)
    assert seen.count_recovered == 0
    assert goodput_late(seen).value == 0.0
    assert meets(seen.goodput_during, filled_shares(seen.stress))


@pytest.mark.long
@pytest.mark.parametrize("name", ["three attempts", "three attempts, full jitter"])
def test_nobody_has_a_reply_four_minutes_later(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulated to the end: what is given up as hopeless is."""
    monkeypatch.setattr(simulations.stress, "_hopeless", lambda stress: None)
    (run,) = found(stress(SPIKE, STUCK[name].clients, horizon_s=250.0), 1).runs
    ends_s = STUCK[name].ends_s
    assert len(run.course.came) == math.floor(ends_s + 250.0)
    assert goodput(run, ends_s, ends_s + 245.0) == 0.0


UNHARMED = {"6 replicas": stress(SPIKE, replicas=6), "a loss, 5 replicas": stress(LOSS, replicas=5)}


@pytest.mark.parametrize("name", UNHARMED)
def test_nothing_happens_to_enough_replicas(name: str) -> None:
    law, seen = fluid(UNHARMED[name]), found(UNHARMED[name], FEW)
    assert (law.stuck, law.recovery_s) == (False, 0.0)
    assert (seen.exit_code, seen.goodput_during.value, seen.lost.value) == (0, 1.0, 0.0)


class Shares(NamedTuple):
    """How many of this many runs recover, by the table."""

    asked: Stress
    happened: int
    count: int


LIMITS = {
    limit: Shares(stress("spike:2x,10s", limit=limit, horizon_s=120.0), happened, 6)
    for limit, happened in ((200, 6), (230, 1), (260, 0))
}
SPIKES = {
    lasting_s: Shares(stress(f"spike:2x,{lasting_s}s", horizon_s=90.0), happened, 12)
    for lasting_s, happened in ((0.8, 12), (1.0, 10), (1.25, 6), (1.5, 3), (1.75, 1), (2.0, 0))
}


def may_be_alike(row: Shares, seen: Runs) -> bool:
    """Fisher's exact test at 5 %."""
    table = [
        [row.happened, row.count - row.happened],
        [seen.count_recovered, len(seen.runs) - seen.count_recovered],
    ]
    return float(fisher_exact(table).pvalue) > 0.05


def test_the_fluid_law_has_the_longest_spike() -> None:
    backlogs = [fluid(row.asked).backlog for row in SPIKES.values()]
    assert backlogs[0] == pytest.approx((2 * 280 - 400) * 0.8)
    assert backlogs[2] == pytest.approx(TIMEOUT_S * 400)  # at 1.25 s
    assert [fluid(row.asked).stuck for row in SPIKES.values()] == [False] * 3 + [True] * 3


@pytest.mark.parametrize("lasting_s", [0.8, 2.0])
def test_short_spikes_are_survived_and_long_ones_are_not(lasting_s: float) -> None:
    seen = found(SPIKES[lasting_s].asked, 6)
    assert may_be_alike(SPIKES[lasting_s], seen)
    assert seen.count_recovered == (6 if lasting_s < 1.25 else 0)


@pytest.mark.long
@pytest.mark.parametrize("lasting_s", SPIKES)
def test_how_many_spikes_are_survived(lasting_s: float) -> None:
    seen = found(SPIKES[lasting_s].asked, 2 * MANY)
    assert may_be_alike(SPIKES[lasting_s], seen)
    if lasting_s == 1.25:  # by the fluid law the boundary
        assert 0.1 < seen.recovered.low < seen.recovered.high < 0.9


@pytest.mark.long
@pytest.mark.parametrize("limit", LIMITS)
def test_a_queue_may_hold_what_is_served_within_the_timeout(limit: int) -> None:
    assert may_be_alike(LIMITS[limit], found(LIMITS[limit].asked, MANY))


CAPACITY_SHARE = 300.0 / 320.0
PROTECTED = {
    "a margin of 5 services": (
        stress(LOSS, protection=Protection(shedding=Shedding.LATE, late_margin_s=0.05), horizon_s=60.0),
        0.93,
    ),
    "a queue of 100": (stress(LOSS, limit=100, horizon_s=60.0), 0.92),
    "newest first": (stress(LOSS, protection=Protection(shedding=Shedding.LIFO), horizon_s=60.0), 0.92),
}


@pytest.mark.parametrize("name", PROTECTED)
def test_nearly_all_of_the_capacity_that_is_left_is_used(name: str) -> None:
    asked, _ = PROTECTED[name]
    seen = found(asked, FEW)
    assert seen.exit_code == 0
    assert seen.recovery_s.value == 0.0
    assert goodput_late(seen).value == pytest.approx(CAPACITY_SHARE, abs=0.03)


@pytest.mark.long
@pytest.mark.parametrize("name", PROTECTED)
def test_all_of_the_capacity_that_is_left_is_used(name: str) -> None:
    asked, figure = PROTECTED[name]
    seen = found(asked, MANY)
    assert seen.exit_code == 0
    late = [goodput(run, asked.begins_s + 30.0, asked.ends_s) for run in seen.runs]
    assert is_about(figure, late)
    assert holds(mean_of(late, CONFIDENCE), CAPACITY_SHARE)


EXPIRED = stress(LOSS, protection=Protection(shedding=Shedding.LATE), horizon_s=160.0)


def test_dropping_what_has_expired_is_not_enough() -> None:
    """The oldest that are still waited for have no time left to be served."""
    seen = found(EXPIRED, FEW)
    assert seen.exit_code == 3
    assert goodput_late(seen).value == pytest.approx(0.13, abs=0.03)


@pytest.mark.long
def test_how_many_are_served_if_what_has_expired_is_dropped() -> None:
    """13 % once the queue is full; over the whole of the trigger those that came before it was as well."""
    seen = found(EXPIRED, MANY)
    assert seen.count_recovered == 0
    assert is_about(0.13, [goodput(run, EXPIRED.begins_s + 30.0, EXPIRED.ends_s) for run in seen.runs])
    full, (least, most) = goodput_late(seen).value, filled_shares(EXPIRED)
    assert meets(seen.goodput_during, (least + (1.0 - least) * full, most + (1.0 - most) * full))


@pytest.mark.long
@pytest.mark.parametrize("limit", [100, 150])
def test_a_limited_queue_serves_as_many_as_in_another_simulator(limit: int) -> None:
    """At 150 the wait in a full queue is the timeout, and it is up to chance who is in time."""
    seen = found(stress(LOSS, limit=limit, horizon_s=60.0), MANY)
    assert seen.exit_code == 0
    here = goodput_late(seen)
    there = mean_of([_independent(limit, seed) for seed in range(MANY)], CONFIDENCE)
    apart = math.hypot(here.high - here.value, there.high - there.value)
    assert abs(here.value - there.value) <= apart


def _independent(limit: int, seed: int) -> float:
    """Goodput of three servers from half a minute on."""
    overload = Overload(
        rate_rps=320.0,
        servers=3,
        service_rate_rps=100.0,
        timeout_s=TIMEOUT_S,
        attempts=ATTEMPTS,
        limit=limit,
        seed=seed,
    )
    return overload.goodput(30.0, 60.0)
