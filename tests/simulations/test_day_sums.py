"""Sums over days and runs by hand: a course in steps, intervals by scatter, cells that count down, and hopeless queues."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scaled import scaled_fleet
from stresses import THREE_TRIES, fleet_in_trouble

from capacity.autoscaling.scaled_fleet import ScaledFleet
from capacity.errors import InconclusiveError, InputError, UnstableError
from capacity.performance import Kind, Performance
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.autoscaler import Autoscaler, Metric, Target
from capacity.question.grid import Outcome
from capacity.question.objective import Measure
from capacity.question.scenario import Scenario
from capacity.recovery.protection import Protection, Shedding
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.clients import Clients
from capacity.traffic.daily import DailyCurve
from capacity.traffic.workload import Workload
from simulations import simulate
from simulations.autoscaled import DaySimulation, _Day, _found
from simulations.day import at, by_step
from simulations.draws.arrivals import Seed, Stage
from simulations.simulate import Countdown, Simulation, _rough, answer, answers
from simulations.statistics.scatter import mean_of_runs, pooled_quantiles
from simulations.statistics.tally import Tally
from simulations.statistics.verdict import share_of_error
from simulations.stress import StressSimulation, _hopeless

PROFILE = ServiceProfile(name="p", timings=(BatchTiming(batch_size=1, mean_s=0.01),), request_overhead_s=0.25)


def fleet_of(rate_rps: float = 25.0, ends_s: float = 3600.0) -> ScaledFleet:
    day = DailyCurve(times_s=(0.0,), rates_rps=(rate_rps,), ends_s=ends_s)
    return scaled_fleet(PROFILE, BatchPlan(profile="p", replicas=2, batch_size_max=1), day, None)


def test_a_number_that_changes_is_averaged_over_each_minute() -> None:
    """Two until 75 s, five until 100 s, one from then on, from 30 s to 180 s."""
    counts = [(0.0, 2), (75.0, 5), (100.0, 1)]
    assert by_step(counts, 30.0, 3, 180.0).tolist() == pytest.approx(
        [(45 * 2 + 15 * 5) / 60.0, (10 * 5 + 50 * 1) / 60.0, 1.0]
    )
    assert by_step(counts, 90.0, 2, 165.0).tolist() == pytest.approx([(10 * 5 + 50) / 60.0, 1.0])
    assert [at(counts, now_s) for now_s in (0.0, 74.9, 75.0, 200.0)] == [2, 2, 5, 1]


def day_of(responses_s: Sequence[float] = (0.1, 0.2, 0.3), **fields: Any) -> _Day:
    """A day of one limit."""
    given: dict[str, Any] = {
        "durations": {Measure.RESPONSE: Tally.of(np.array(responses_s), np.zeros(0))},
        "lost": 1,
        "arrived": np.array([3.0, 1.0]),
        "late": np.array([0.0, 1.0]),
        "wanted": np.array([1.0, 2.0]),
        "ready": np.array([1.0, 1.0]),
        "replica_hours": 3.0,
        "replicas_most": 2,
        "scalings": 1,
    }
    found = given | fields
    return _Day(**found | {"late": found["late"][None, :]})


def test_what_days_have_in_common() -> None:
    """Two days of an hour, of 4 and 8 requests."""
    quiet = day_of()
    busy = day_of(
        responses_s=[0.4] * 8,
        lost=0,
        arrived=np.array([5.0, 3.0]),
        late=np.array([2.0, 0.0]),
        wanted=np.array([3.0, 2.0]),
        replica_hours=5.0,
        replicas_most=4,
        scalings=3,
    )
    found = _found(fleet_of(), [quiet, busy], 0.95)
    assert found.binding.found_s.value == math.inf
    assert (found.binding.late_share.value, found.lost_share) == (0.25, 0.125)
    assert (found.replica_hours.value, found.replicas_mean, found.replicas_most) == (4.0, 4.0, 4)
    assert (found.scalings.value, found.requests) == (2.0, 12)
    assert found.replica_hours == mean_of_runs([3.0, 5.0], 0.95)
    assert (found.course.arrived, found.course.late) == ((4.0, 2.0), (1.0, 0.5))
    assert (found.course.wanted, found.course.ready) == ((2.0, 2.0), (1.0, 1.0))
    served = _found(fleet_of(), [busy, busy], 0.95)
    assert served.binding.found_s.value == pytest.approx(0.4 + 0.25)


@pytest.mark.parametrize(("runs", "is_enough"), [(4, True), (3, False)])
def test_a_p99_needs_a_hundred_requests_beyond_it(runs: int, is_enough: bool) -> None:
    """2,500 requests a run: 10,000 in four have a hundred beyond."""
    seen: list[int] = []

    class StopError(Exception):
        pass

    def mapper(_: object, seeds: Sequence[Seed]) -> Any:
        seen.extend(seed.replication for seed in seeds)
        raise StopError

    days, fleet = DaySimulation(runs=runs, mapper=mapper), fleet_of(rate_rps=25.0, ends_s=100.0)
    if is_enough:
        with pytest.raises(StopError):
            days(fleet)
        assert seen == list(range(runs))
    else:
        with pytest.raises(
            InconclusiveError, match="^3 runs have 7500 requests, too few for a P99; look at a lon"
        ):
            days(fleet)


IN_TIME, LATE = [0.2] * 1000, [0.3] * 1000
# P99 of both together is 260 ms, and the overhead 250; beyond it lie none of one and 2 % of the other.
NEARLY, HARDLY = [0.2] * 990 + [0.26] * 10, [0.2] * 970 + [0.26] * 10 + [0.4] * 20


@pytest.mark.parametrize(
    ("even_s", "odd_s", "runs"),
    [(NEARLY, HARDLY, 8), (IN_TIME, IN_TIME, 2), (LATE, LATE, 2)],
    ids=["open", "held", "missed"],
)
def test_a_confirmation_has_its_own_users_and_twice_as_many_days_while_it_is_open(even_s, odd_s, runs):
    """The limit is 500 ms; the third attempt has a share of the error at each look."""
    seen: list[Seed] = []

    def mapper(_: object, seeds: Sequence[Seed]) -> list[_Day]:
        seen.extend(seeds)
        return [day_of(odd_s if seed.replication % 2 else even_s, lost=0) for seed in seeds]

    found = DaySimulation(runs=2, mapper=mapper).certify(fleet_of(), 3)
    assert (found.runs, len({seed.replication for seed in seen})) == (runs, runs)
    assert {seed.stage for seed in seen} == {Stage.AUTOSCALE_CERTIFY}
    look = {2: 1, 8: 4}[runs]
    assert found.confidence == pytest.approx(1.0 - 0.05 * share_of_error(3) * share_of_error(look))
    before = {seed.replication for seed in seen}
    seen.clear()
    DaySimulation(runs=2, mapper=mapper).certify(fleet_of(), 4)
    assert not before & {seed.replication for seed in seen}


@pytest.mark.parametrize(("few", "looks"), [(2, [2, 3, 5]), (5, [5, 10, 20]), (None, [5, 10, 20])])
def test_a_confirmation_may_begin_with_few_days(few: int | None, looks: list[int]) -> None:
    """Two of a long day decide what is clear, at the error of a first look; then three, whose interval is much narrower.

    They grow up to the usual number, and to four times it where they began with it.
    """
    numbers: list[int] = []
    seen: list[int] = []

    def mapper(_: object, seeds: Sequence[Seed]) -> list[_Day]:
        numbers.extend(seed.replication for seed in seeds)
        seen.append(len(numbers))
        return [day_of(HARDLY if seed.replication % 2 else NEARLY, lost=0) for seed in seeds]

    found = DaySimulation(runs=5, mapper=mapper).certify(fleet_of(), 1, few=few)
    assert (seen, numbers) == (looks, list(range(looks[-1])))
    assert found.confidence == pytest.approx(1.0 - 0.05 * share_of_error(1) * share_of_error(len(looks)))
    clear = DaySimulation(runs=5, mapper=lambda _, seeds: [day_of(IN_TIME, lost=0) for _ in seeds])
    assert clear.certify(fleet_of(), 1, few=few).runs == looks[0]


@pytest.mark.parametrize(("runs", "first"), [(5, 3), (3, 3), (2, 2)])
def test_an_autoscaled_fleet_is_confirmed_by_three_days_at_least(runs: int, first: int) -> None:
    """The replica-hours of two have an interval of one degree of freedom."""
    scaler = Autoscaler(target=Target(metric=Metric.UTILIZATION, level=0.6), replicas_max=2)
    clear = DaySimulation(runs=runs, mapper=lambda _, seeds: [day_of(IN_TIME, lost=0) for _ in seeds])
    assert clear.certify(fleet_of().scaled(scaler), 1, few=2).runs == first
    assert clear.certify(fleet_of(), 1, few=2).runs == 2


def test_a_mean_of_runs_is_held_by_students_t() -> None:
    """Values 1, 2 and 6: a deviation of sqrt(7), and t of two degrees at 90 % is 2.92."""
    found = mean_of_runs([1.0, 2.0, 6.0], 0.9)
    half = 2.9199856 * math.sqrt(7.0) / math.sqrt(3.0)
    assert (found.value, found.low, found.high) == (3.0, 0.0, pytest.approx(3.0 + half))
    higher = mean_of_runs([101.0, 102.0, 106.0], 0.9)
    assert (higher.low, higher.high) == (pytest.approx(103.0 - half), pytest.approx(103.0 + half))


def test_a_pooled_quantile_has_its_ends_at_the_shares_that_scatter_allows() -> None:
    """Beyond 100 lie none of one run and all of the other: any share is possible."""
    low, high = np.arange(1.0, 101.0), np.arange(101.0, 201.0)
    found = pooled_quantiles([low, high], (0.5,), 0.95, 0.5)[0.5]
    assert (found.value, found.low, found.high) == (100.5, 1.5, 200.5)
    alike = pooled_quantiles([low[::-1], low], (0.5, 0.99), 0.95)
    assert (alike[0.5].low, alike[0.5].value, alike[0.5].high) == (50.0, 50.0, 50.0)
    assert alike[0.99].value == 99.0
    # Shares 0.4 and 0.6 beyond 100: t of one degree at 50 % is 1, so the half-width is 0.1.
    mixed = np.concatenate([low[:60], high[:40]]), np.concatenate([low[60:], high[40:]])
    between = pooled_quantiles(mixed, (0.5,), 0.5)[0.5]
    assert (between.low, between.value, between.high) == (80.0, 100.0, 120.0)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (89.9, "90 s"), (90.0, "2 min"), (5399.0, "90 min"), (5400.0, "1.5 h")],
)
def test_what_is_left_is_told_roughly(seconds: float, said: str) -> None:
    assert _rough(seconds) == said


def test_cells_count_down_at_their_own_pace() -> None:
    """Two of six were there before; the next takes 0.5 s, the third 10 s."""
    told: list[str] = []
    now_s = iter([100.0, 100.5, 110.0, 110.5, 111.0])
    countdown = Countdown(6, 2, told.append, lambda: next(now_s))
    assert told == ["going on after 2 of 6 cells, which an earlier run has done"]
    for _ in range(4):
        countdown.tick()
    assert told[1:] == ["cell 4 of 6, about 10 s left", "cell 6 of 6"]
    none: list[str] = []
    Countdown(6, 0, none.append, lambda: 0.0)
    assert none == []


def cell_of(rate_rps: float, batch_size_max: int = 1) -> Scenario:
    plan = BatchPlan(profile="p", replicas=1, batch_size_max=batch_size_max)
    return Scenario(profile=PROFILE, workload=Workload(arrival_rate_rps=rate_rps), plan=plan)


def test_cells_without_numbers_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    performance = Performance(kind=Kind.SIMULATION)
    monkeypatch.setattr(Simulation, "__call__", lambda *_: performance)
    cells = [cell_of(50.0), cell_of(100.0), cell_of(50.0, 2), cell_of(60.0)]
    assert [one.outcome for one in answers(cells, Simulation())] == [
        Outcome.ANSWERED, Outcome.UNSTABLE, Outcome.PROFILE_RANGE, Outcome.ANSWERED
    ]  # fmt: skip
    for error in (InconclusiveError("why"), InputError("why")):

        def refuse(*_: object, error: Exception = error) -> Performance:
            raise error

        monkeypatch.setattr(Simulation, "__call__", refuse)
        found = answer(Simulation(), cells[0])
        assert (found.outcome, found.reason, found.performance) == (Outcome.INCONCLUSIVE, "why", None)


@pytest.mark.parametrize(("count", "spread"), [(63, 0), (64, 64)])
def test_many_cells_are_spread_and_not_their_runs(monkeypatch, count, spread) -> None:
    mapped: list[Any] = []
    mappers: list[Any] = []

    def mapper(ask: Any, cells: Any) -> Any:
        mapped.extend(cells)
        return map(ask, cells)

    def called(simulation: Simulation, *_: object) -> Performance:
        mappers.append(simulation.mapper)
        return Performance(kind=Kind.SIMULATION)

    monkeypatch.setattr(Simulation, "__call__", called)
    cells = [cell_of(50.0 + number / 100.0) for number in range(count)]
    assert len(list(answers(cells, Simulation(mapper=mapper)))) == count
    assert (len(mapped), set(mappers)) == (spread, {map if spread else mapper})
    assert simulate.CELLS_TO_SPREAD == 64


def test_what_is_not_said_is_two_per_cent_at_95() -> None:
    usual, stressed, days = Simulation(), StressSimulation(), DaySimulation()
    assert (usual.seed, usual.confidence, usual.precision, usual.requests_max) == (0, 0.95, 0.02, 100_000_000)
    assert (stressed.seed, stressed.runs, stressed.confidence) == (0, 20, 0.95)
    assert (days.seed, days.runs, days.confidence) == (0, 5, 0.95)
    assert stressed.with_runs(3).runs == 3


def test_a_queue_that_cannot_be_worked_off_within_the_horizon_is_hopeless() -> None:
    """400 rps, with luck 440, less 320 that come: 120 rps over what is left of 600 s but 35 s, and 0.5 s of patience."""
    stress = fleet_in_trouble()  # until 120 s, and what came then is decided 1.5 s later
    is_hopeless = _hopeless(stress)
    assert is_hopeless is not None
    assert not is_hopeless(121.49, 10**9)
    last_s = 120.0 + 600.0 - 35.0
    for now_s in (121.5, 400.0, last_s, last_s + 10.0):
        most = 120.0 * max(0.0, last_s - now_s) + 0.5 * 440.0
        assert not is_hopeless(now_s, math.floor(most))
        assert is_hopeless(now_s, math.floor(most) + 2)
    assert _hopeless(replace(stress, clients=Clients())) is None  # who waits for ever is served in the end
    newest = replace(stress, protection=Protection(shedding=Shedding.LIFO))
    assert _hopeless(newest) is None
    assert THREE_TRIES.timeout_s == 0.5


def test_refusals_of_cells_are_errors_of_the_plan() -> None:
    found = simulate.refusal(cell_of(100.0))
    assert "load 1.000 >= 1" in found.reason
    assert simulate.refusal(cell_of(99.0)) is None
    with pytest.raises(UnstableError):
        Simulation()(
            Scenario(profile=PROFILE, workload=Workload(arrival_rate_rps=100.0), plan=cell_of(1.0).plan)
        )
