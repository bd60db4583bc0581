"""Paired comparison: its intervals hold the exact difference, and are narrower than those of other users."""

import math
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.errors import InconclusiveError, UnstableError
from capacity.performance import Interval
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.comparison import Comparison, Contender
from capacity.question.plan import Routing
from capacity.question.scenario import Scenario
from capacity.queues.batch.fleet import predict
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.lengths import LengthLaw, LengthLaws
from capacity.traffic.workload import ClosedPopulation, Demand, TraceArrivals, Workload
from simulations.compare import PairedSimulation, correlation, longest, scatter, together
from simulations.replication import Engine
from simulations.statistics.sample import Length
from simulations.validation.token_systems import law_scenario, one_each

QUANTILES = (0.8, 0.95)
SEEDS = 40


def profile(name: str, *means_s: tuple[int, float]) -> ServiceProfile:
    timings = tuple(BatchTiming(batch_size=size, mean_s=mean_s) for size, mean_s in means_s)
    return ServiceProfile(name=name, timings=timings)


def contender(profile: ServiceProfile, replicas: int = 1, batch: int = 1, **more: Any) -> Contender:
    plan = BatchPlan(profile=profile.name, replicas=replicas, batch_size_max=batch, **more)
    return Contender(name="x", profile=profile, plan=plan)


def scenarios(fleets: list[Contender], workload: Demand) -> list[Scenario]:
    return [Scenario(profile=one.profile, workload=workload, plan=one.plan) for one in fleets]


FAST, SLOW = profile("fast", (1, 0.1)), profile("slow", (1, 0.12))
BATCHES = profile("batches", (1, 0.1), (2, 0.13), (4, 0.19))
CALM = Workload(arrival_rate_rps=3.0)
PAIRS = {
    "M/D/1 at two speeds": (CALM, [contender(FAST), contender(SLOW)]),
    "two sizes of fleet": (Workload(arrival_rate_rps=8.0), [contender(FAST, 2), contender(FAST, 3)]),
    "two sizes of batch": (Workload(arrival_rate_rps=7.0), [contender(BATCHES, batch=2), contender(BATCHES, batch=4)]),
}  # fmt: skip
FIRST, *REST = PAIRS
each_pair = pytest.mark.parametrize(
    "name", [FIRST, *(pytest.param(name, marks=pytest.mark.long) for name in REST)]
)


@cache
def compared(name: str) -> list[Comparison]:
    """The same comparison under many seeds, as roughly as may be."""
    workload, contenders = PAIRS[name]
    return [
        PairedSimulation(seed=seed, quantiles=QUANTILES, precision=0.5)(scenarios(contenders, workload))
        for seed in range(SEEDS)
    ]


def exact_difference_s(name: str, quantile: float) -> float:
    """By the law of batches: of the second fleet less of the first."""
    workload, contenders = PAIRS[name]
    first, second = (
        predict(one.profile, workload, one.plan, QUANTILES).response_quantiles_s[quantile].value
        for one in contenders
    )
    return second - first


@pytest.mark.long
@each_pair
def test_the_interval_holds_the_exact_difference_as_often_as_it_says(name: str) -> None:
    """Of 40 intervals at 95 %, fewer than 34 hold the truth by chance once in 300 cases."""
    for quantile in QUANTILES:
        exact_s = exact_difference_s(name, quantile)
        intervals = [one.differences[0].response_quantiles_s[quantile] for one in compared(name)]
        assert sum(interval.low <= exact_s <= interval.high for interval in intervals) >= 34, quantile


@each_pair
def test_the_mean_difference_is_held_as_often_as_it_says(name: str) -> None:
    workload, contenders = PAIRS[name]
    means_s = [predict(one.profile, workload, one.plan, QUANTILES).response_mean_s for one in contenders]
    exact_s = means_s[1] - means_s[0]
    intervals = [one.differences[0].response_mean_s for one in compared(name)]
    assert sum(interval.low <= exact_s <= interval.high for interval in intervals) >= 34


def test_pairing_shrinks_what_is_claimed_and_what_is_true() -> None:
    """Beside users of their own for each fleet: the interval, and the scatter over seeds, less than 2/3."""
    for quantile in QUANTILES:
        answers = compared("M/D/1 at two speeds")
        claimed = np.mean([one.differences[0].response_quantiles_s[quantile].half_width for one in answers])
        alone = [[p.response_quantiles_s[quantile] for p in one.performances] for one in answers]
        independent = np.mean([math.hypot(*(p.half_width for p in pair)) for pair in alone])
        assert claimed < 0.67 * independent
        values = np.array([[p.value for p in pair] for pair in alone])
        scatter = (values[:, 1] - values[:, 0]).std()
        assert scatter < 0.67 * (values[:, 1] - np.roll(values[:, 0], 1)).std()


def test_every_fleet_sees_the_same_requests() -> None:
    """A fleet beside its like differs by nothing, to the last digit."""
    for plan in (
        contender(BATCHES, 2, 4),
        contender(BATCHES, 2, 4, routing=Routing.POWER_OF_TWO, batch_wait_max_s=0.05),
    ):
        answer = PairedSimulation(quantiles=QUANTILES, precision=0.5)(
            scenarios([plan, plan], Workload(arrival_rate_rps=9.0))
        )
        assert answer.performances[0] == answer.performances[1]
        difference = answer.differences[0]
        assert difference.response_mean_s == Interval.exact(0.0)
        assert set(difference.response_quantiles_s.values()) == {Interval.exact(0.0)}


@pytest.mark.long
def test_fleets_of_two_sizes_run_equally_long() -> None:
    """None is reduced to one replica, so that all count as many requests; the smaller waits longer."""
    answer = compared("two sizes of fleet")[0]
    few, many = answer.performances
    assert few.throughput_rps == pytest.approx(8.0, rel=0.02)
    assert many.throughput_rps == few.throughput_rps
    assert answer.differences[0].response_mean_s.high < 0.0


@pytest.mark.long
def test_the_answer_does_not_depend_on_the_engine() -> None:
    contenders = [contender(profile("tiny", (1, 0.01))), contender(profile("small", (1, 0.02)))]
    workload = ClosedPopulation(users=1, think_time_s=0.1)
    kernel, simpy = (
        PairedSimulation(quantiles=(0.5,), precision=0.9, engine=engine)(scenarios(contenders, workload))
        for engine in (Engine.KERNEL, Engine.SIMPY)
    )
    assert kernel == simpy


def test_a_trace_is_compared_as_it_was_recorded() -> None:
    """Service takes one time each, so that all of it is known, to the width of a cell."""
    generator = np.random.default_rng(1)
    instants_s = tuple(np.cumsum(generator.standard_exponential(40_000)).tolist())
    workload = Workload(arrival_rate_rps=3.0, arrivals=TraceArrivals(instants_s=instants_s))
    answer = PairedSimulation(quantiles=(0.8, 0.95))(scenarios([contender(FAST), contender(SLOW)], workload))
    difference = answer.differences[0].response_quantiles_s[0.95]
    assert difference.half_width < 0.0005
    assert difference.value == pytest.approx(exact_difference_s("M/D/1 at two speeds", 0.95), rel=0.1)
    short = replace(workload, arrivals=TraceArrivals(instants_s=instants_s[:500]))
    with pytest.raises(InconclusiveError, match="needs at least 1000: record for longer"):
        PairedSimulation(quantiles=(0.8, 0.95))(scenarios([contender(FAST), contender(SLOW)], short))


def test_samples_of_one_profile_are_resampled_alike() -> None:
    """The error of few samples is in both fleets at once: it widens each by far more than their difference."""
    samples_s = tuple(0.05 + 0.1 * np.random.default_rng(3).random(12))
    measured = ServiceProfile(name="m", timings=(BatchTiming(batch_size=1, samples_s=samples_s),))
    fleets = [contender(measured, 2), contender(measured, 2, routing=Routing.SHARED_QUEUE)]
    answer = PairedSimulation(quantiles=(0.5,), precision=0.5)(
        scenarios(fleets, Workload(arrival_rate_rps=8.0))
    )
    alone = [one.response_quantiles_s[0.5].half_width for one in answer.performances]
    assert answer.differences[0].response_quantiles_s[0.5].half_width < 0.7 * math.hypot(*alone)


def test_what_cannot_be_compared_says_why() -> None:
    with pytest.raises(UnstableError, match="use at least 2 replicas"):
        PairedSimulation()(scenarios([contender(FAST), contender(SLOW)], Workload(arrival_rate_rps=9.0)))
    with pytest.raises(InconclusiveError, match="raise --requests-max"):
        PairedSimulation(requests_max=1000)(scenarios([contender(FAST), contender(SLOW)], CALM))
    lengths = LengthLaws(LengthLaw(kind="constant", mean=1), LengthLaw(kind="constant", mean=20))
    calm, busy = (law_scenario(rate_rps, lengths, one_each(0.01, 0.001), slots=4) for rate_rps in (1.0, 99.0))
    with pytest.raises(UnstableError, match="99 rps on 14.3 rps of 1 replica"):
        PairedSimulation(requests_max=1000)([calm, busy])


ENDS = st.tuples(*(st.floats(0.0, 10.0) for _ in range(3)))


@settings(derandomize=True, max_examples=100)
@given(ENDS, ENDS, st.floats(-1.0, 1.0))
def test_ends_come_together_as_errors_do(one, other, alike) -> None:
    """Symmetric ones as by the law of variances; never narrower than full correlation, nor wider than none."""
    first, second = (Interval(value=v, low=v - d, high=v + u) for v, d, u in (one, other))
    found = together(first, second, alike)
    assert found.value == first.value - second.value
    up, down = first.high - first.value, second.value - second.low
    assert found.high - found.value == pytest.approx(
        math.sqrt(max(0.0, up**2 + down**2 - 2 * alike * up * down)), abs=1e-6
    )
    assert abs(up - down) - 1e-6 <= found.high - found.value <= up + down + 1e-6
    swapped = together(second, first, alike)
    assert (swapped.low, swapped.high) == (pytest.approx(-found.high), pytest.approx(-found.low))


def test_correlation_of_what_does_not_scatter_is_none() -> None:
    up = np.array([1.0, -1.0, 0.5])
    assert correlation(up, up) == pytest.approx(1.0)
    assert correlation(up, -2.0 * up) == pytest.approx(-1.0)
    assert correlation(up, np.zeros(3)) == 0.0


def test_the_longest_of_each_part_counts() -> None:
    lengths = [Length(warm_up=1, measured=9, cool_down=3), Length(warm_up=5, measured=7, cool_down=2)]
    assert longest(lengths) == Length(warm_up=5, measured=9, cool_down=3)


def looked(name: str, *, settled: bool = True, width: float = 0.0) -> Any:
    """A look whose interval of a quantile is so wide; `name` tells its pool."""
    interval = Interval(value=1.0, low=1.0 - width, high=1.0 + width)
    asked: list[float] = []

    def quantile(q: float) -> Any:
        asked.append(q)
        return SimpleNamespace(simulated=lambda confidence: interval)

    pool = SimpleNamespace(name=name, response_quantile=quantile, asked=asked)
    return SimpleNamespace(pool=pool, settled=settled)


def test_the_first_pools_that_are_all_settled_and_precise_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def taken(*looks: list[Any]) -> list[Any]:
        monkeypatch.setattr(PairedSimulation, "_looks", lambda *_: iter(looks))
        return list(PairedSimulation(precision=0.125, quantiles=(0.9, 0.5))._pools(cases))

    cases: list[Any] = [SimpleNamespace(is_costly=False)] * 2

    early = [looked("a"), looked("b", settled=False)]
    wide = [looked("c"), looked("d", width=0.25)]
    narrow, later = [looked("e", width=0.125), looked("f")], [looked("g"), looked("h")]
    found = taken(early, wide, narrow, later)
    assert [pool.name for pool in found] == ["e", "f"]
    assert found[0].asked == [0.9]  # the highest
    assert [pool.name for pool in taken(early, wide)] == ["c", "d"]


def test_fleets_that_have_not_settled_name_the_first_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, Any, int]] = []

    def why(case: Any, look: Any, requests_max: int) -> str:
        asked.append((case, look, requests_max))
        return "why"

    monkeypatch.setattr("simulations.compare.why_unsettled", why)
    wide, early = [looked("a"), looked("b", width=0.25)], [looked("c"), looked("d", settled=False)]
    cases: list[Any] = [SimpleNamespace(is_costly=False, name=name) for name in ("one", "other")]
    for looks, expected in (((wide, early), (cases[1], early[1])), ((), (cases[0], None))):
        monkeypatch.setattr(PairedSimulation, "_looks", lambda *_, looks=looks: iter(looks))
        with pytest.raises(InconclusiveError, match="^why$"):
            PairedSimulation(requests_max=7)._pools(cases)
        assert asked[-1] == (*expected, 7)


def test_what_is_not_said_of_a_comparison_is_two_per_cent_at_95() -> None:
    usual = PairedSimulation()
    found = (usual.seed, usual.confidence, usual.precision, usual.requests_max)
    assert found == (0, 0.95, 0.02, 100_000_000)


def test_resamples_scatter_by_students_t() -> None:
    """Deviations of 1 and -1 about 3: a standard deviation of sqrt(2), and t of one degree at 50 % is 1."""
    assert scatter(np.array([2.0, 4.0]), 0.5) == pytest.approx(math.sqrt(2.0))
