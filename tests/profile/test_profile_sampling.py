"""Profile sampling: a service floor whose samples cannot tell it from its limit, and what would."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from questions import batch_question

from capacity.confidence import order_statistics
from capacity.performance import Interval, Kind, Performance, Width
from capacity.profile.profile import BatchTiming, ServiceProfile, Spells
from capacity.profile.sampling import (
    FloorDoubt,
    doubt_of_floor,
    floor_interval,
    independent_samples,
    resampled,
    service_interval,
)
from capacity.question.candidate import Candidate, Doubt, Reason, Rejection, Verdict
from capacity.question.caveat import CaveatCode
from capacity.question.objective import Objective
from capacity.question.question import Question
from capacity.question.scenario import Scenario
from capacity.search.plan_decision import recommend
from capacity.server.batch.caveats import batches_missing, interval_caveats
from capacity.traffic.workload import GammaArrivals, Workload


def sampled(count: int, sizes: Sequence[int] = (1, 2, 4)) -> ServiceProfile:
    """Lognormal batch times, cv 0.15, whose mean grows with the batch."""
    generator = np.random.default_rng(1)
    timings = tuple(
        BatchTiming(
            batch_size=size,
            samples_s=tuple((0.005 + 0.0015 * size) * np.exp(0.15 * generator.standard_normal(count))),
        )
        for size in sizes
    )
    return ServiceProfile(name="mine", timings=timings)


def floor_doubts(
    profile: ServiceProfile, quantile: float, sizes: Sequence[int], limit_s: float, confidence: float
) -> dict[int, FloorDoubt]:
    """By size, those that are in doubt."""
    found = {size: doubt_of_floor(profile, quantile, size, limit_s, confidence) for size in sizes}
    return {size: doubt for size, doubt in found.items() if doubt is not None}


def test_a_limit_within_the_interval_of_the_floor_is_in_doubt() -> None:
    profile = sampled(300)
    floor_s = profile.service_floor_s(0.99, 4)
    doubt = floor_doubts(profile, 0.99, (1, 4), 1.02 * floor_s, 0.95)[4]
    assert (doubt.batch_size, doubt.samples) == (1, 300)
    assert doubt.floor_s.low < floor_s < 1.02 * floor_s < doubt.floor_s.high
    for clear_s in (0.6 * floor_s, 0.8 * floor_s, 1.3 * floor_s, 3.0 * floor_s):
        assert floor_doubts(profile, 0.99, (1, 4), clear_s, 0.95) == {}


def test_the_error_of_a_floor_is_that_of_a_sample_median() -> None:
    """The median of n normal logarithms has a standard error of sqrt(π/2) σ/√n: 0.94 % of 400."""
    profile = sampled(400)
    floor_s = profile.service_floor_s(0.5, 1)
    (doubt,) = floor_doubts(profile, 0.5, (1,), 1.001 * floor_s, 0.95).values()
    width = math.log(doubt.floor_s.high / floor_s)
    assert width == pytest.approx(1.96 * math.sqrt(math.pi / 2.0) * 0.15 / 20.0, rel=0.3)


def test_the_ends_of_a_floor_are_samples_of_the_ranks_that_order_leaves() -> None:
    profile = sampled(60)
    samples_s = sorted(profile.timings[0].samples_s)
    low, high = order_statistics(0.9, 60, 0.9)
    found = floor_interval(profile, 0.9, 1, 0.9)
    assert (found.low, found.value, found.high) == (samples_s[low - 1], samples_s[53], samples_s[high - 1])
    assert found == service_interval(profile, 0.9, 1, 0.9)
    later = replace(profile, request_overhead_s=0.002)
    assert floor_interval(later, 0.9, 1, 0.9).high == samples_s[high - 1] + 0.002


def test_between_two_measured_sizes_ends_are_mixed_like_the_law() -> None:
    profile = sampled(60, sizes=(1, 5))
    one, five, three = (service_interval(profile, 0.9, size, 0.9) for size in (1, 5, 3))
    assert three.high == pytest.approx((one.high + five.high) / 2.0)
    assert three.low == pytest.approx((one.low + five.low) / 2.0)
    few = [service_interval(sampled(10, sizes=(1, 5)), 0.9, size, 0.9) for size in (1, 5, 3)]
    assert few[2].known_to == pytest.approx((few[0].known_to + few[1].known_to) / 2.0)


@pytest.mark.parametrize(("count", "has_end"), [(299, True), (298, False)])
def test_too_few_samples_leave_a_service_time_without_upper_end(count: int, has_end: bool) -> None:
    """None of 298 lies beyond the P99 with a probability of 5.003 %, of 299 with 4.95 %."""
    profile = sampled(count)
    found = floor_interval(profile, 0.99, 1, 0.95)
    longest_s = max(profile.timings[0].samples_s)
    assert found.high == (longest_s if has_end else math.inf)
    assert found.known_to == (None if has_end else longest_s)
    limit_s = 1.1 * longest_s
    doubts = floor_doubts(profile, 0.99, (1,), limit_s, 0.95)
    assert (doubts == {}) is has_end


def test_the_service_of_a_pausing_server_is_never_known_beyond_its_longest_sample() -> None:
    """Before: "the service alone may take 97.5 ms", of which the longest of 800 samples was 65."""
    generator = np.random.default_rng(2)
    for share in (0.005, 0.010, 0.015):
        samples_s = 0.010 * np.exp(0.1 * generator.standard_normal(800)) + 0.035 * (
            generator.random(800) < share
        )
        timing = BatchTiming(batch_size=1, samples_s=tuple(samples_s.tolist()))
        found = floor_interval(ServiceProfile(name="p", timings=(timing,)), 0.99, 1, 0.95)
        assert 0.012 < found.high <= np.sort(samples_s)[-2]


def test_samples_in_spells_count_for_fewer() -> None:
    """Blocks of ten alike are one sample each, so the ends lie farther apart than of 600 independent ones."""
    generator = np.random.default_rng(0)
    alike_s = np.repeat(0.4 + 0.1 * generator.random(60), 10)
    assert independent_samples(BatchTiming(batch_size=1, samples_s=tuple(alike_s)), 10, 0.5) == pytest.approx(
        60, rel=0.2
    )
    assert independent_samples(BatchTiming(batch_size=1, samples_s=tuple(alike_s)), 1, 0.5) == 600


def test_so_many_more_batches_settle_it() -> None:
    """With as many more as it says, the same limit is clear of the floor, on most draws."""
    few = sampled(300)
    limit_s = 1.05 * few.service_floor_s(0.99, 1)
    (doubt,) = floor_doubts(few, 0.99, (1,), limit_s, 0.95).values()
    enough = sampled(300 + round(doubt.batches_missing), sizes=(1,))
    truth_s = 0.0065 * math.exp(0.15 * 2.3263)
    if abs(limit_s / truth_s - 1.0) > 0.02:
        assert floor_doubts(enough, 0.99, (1,), limit_s, 0.95) == {}
    assert 50 < doubt.batches_missing < 20_000


def test_a_floor_that_is_the_limit_asks_for_another_limit() -> None:
    profile = sampled(300)
    limit_s = profile.service_floor_s(0.99, 1)
    (doubt,) = floor_doubts(profile, 0.99, (1,), limit_s, 0.95).values()
    assert doubt.batches_missing == math.inf


def test_without_raw_samples_nothing_is_said() -> None:
    profile = ServiceProfile(name="mine", timings=(BatchTiming(batch_size=1, mean_s=0.01, p99_s=0.02),))
    assert floor_doubts(profile, 0.99, (1,), 0.0201, 0.95) == {}


@pytest.mark.parametrize(
    ("lasting_s", "count", "block"), [(1.9, 100, 8), (2.1, 100, 9), (9.0, 100, 10), (9.0, 59, 5)]
)
def test_samples_of_spells_are_drawn_in_blocks_of_neighbours(lasting_s, count, block) -> None:
    """Four spells long, at one second a round for both sizes; at least ten blocks."""
    samples_s = tuple(0.4 + 0.001 * (at - (count - 1) / 2) for at in range(count))
    profile = ServiceProfile(
        name="mine",
        timings=(BatchTiming(batch_size=1, samples_s=samples_s), BatchTiming(batch_size=2, mean_s=0.6)),
        spells=Spells(share=0.5, lasting_s=lasting_s),
    )
    drawn_s = resampled(profile, np.random.default_rng(4)).timings[0].samples_s
    places = [samples_s.index(one_s) for one_s in drawn_s]
    assert len(places) == count
    for begin in range(0, count, block):
        first, *others = places[begin : begin + block]
        assert others == [(first + at) % count for at in range(1, len(others) + 1)]
    follow = sum((one + 1) % count == other for one, other in pairwise(places[block - 1 :: block]))
    assert follow < count / block / 2  # blocks begin anywhere


class Forbidden:
    """Nothing is to be simulated."""

    def search(self, *_: object, **__: object) -> Candidate:
        raise AssertionError("simulated")

    certify = accepts = search


def question_of(limit_s: float, profile: ServiceProfile) -> Question:
    return batch_question(
        profiles=(profile,),
        workload=Workload(arrival_rate_rps=300.0, arrivals=GammaArrivals(cv=2.0)),
        objective=Objective.of(response={0.99: limit_s}),
    )


def test_no_fleet_is_simulated_that_cannot_be_proved() -> None:
    """Before: 20 certifications, 44 million requests, and no word of what would settle it."""
    profile = sampled(300)
    answer = recommend(question_of(1.01 * profile.service_floor_s(0.99, 4), profile), Forbidden())
    assert (answer.verdict, answer.plan) == (Verdict.INCONCLUSIVE, None)
    assert {one.doubt for one in answer.considered} == {Doubt.PROFILE}
    for one in answer.considered:
        assert one.rejection.reason is Reason.SERVICE_FLOOR
        assert one.rejection.needed > one.rejection.allowed
    (caveat,) = [one for one in answer.caveats if one.code is CaveatCode.FLOOR_IN_DOUBT]
    assert "more batches of size 1" in caveat.message


class DoubtfulProfile:
    """Certifies nothing: the profile's own error keeps the upper end above the limit, by less each time."""

    def __init__(self, gain: float) -> None:
        self.certified: list[int] = []
        self._gain = gain

    def search(self, scenario: Scenario, attempt: int, *, is_aside: bool = False) -> Candidate:
        performance = Performance(
            kind=Kind.SIMULATION, response_quantiles_s={0.99: Interval(value=0.9, low=0.89, high=0.91)}
        )
        return Candidate(plan=scenario.plan, verdict=Verdict.MET, rejection=None, performance=performance)

    accepts = search

    def certify(self, scenario: Scenario, attempt: int, requests_first: int) -> Candidate:
        fleets = len({*self.certified, scenario.plan.replicas})
        self.certified.append(scenario.plan.replicas)
        (promise,) = scenario.objective.limits
        high = 1.5 * promise.allowed * (1.0 - self._gain) ** fleets
        performance = Performance(
            kind=Kind.SIMULATION, response_quantiles_s={0.99: Interval(value=0.9, low=0.8, high=high)}
        )
        return Candidate(
            plan=scenario.plan,
            verdict=Verdict.INCONCLUSIVE,
            rejection=Rejection.of(promise, high),
            performance=performance,
            doubt=Doubt.PROFILE,
        )


@pytest.mark.parametrize("gain", [0.0, 0.011])
def test_the_search_goes_on_above_fleets_that_the_profile_leaves_in_doubt(gain: float) -> None:
    judge = DoubtfulProfile(gain)
    answer = recommend(question_of(10.0, sampled(300)), judge)
    assert answer.verdict is Verdict.INCONCLUSIVE
    assert len(set(judge.certified)) > 2


def test_the_batches_to_measure_are_so_many_times_those_that_there_are() -> None:
    assert batches_missing(sampled(300), 16.0) == pytest.approx(15.0 * 300)
    assert batches_missing(sampled(300), None) is None
    assert batches_missing(sampled(300), math.inf) is None
    means = ServiceProfile(name="mine", timings=(BatchTiming(batch_size=1, mean_s=0.01),))
    assert batches_missing(means, 16.0) is None


@pytest.mark.parametrize(("width", "says"), [
    (Width(found=0.04, simulated=0.01, samples_times=4.0), "about 900 more batches"),
    (Width(found=0.04, simulated=0.01, samples_times=math.inf), "measure more batches"),
    (Width(found=math.inf, simulated=0.01, samples_times=2.0), "no upper end"),
    (Width(found=0.04, simulated=0.03, samples_times=4.0), "raise --requests-max"),
    (Width(found=0.02, simulated=0.02), None),
])  # fmt: skip
def test_a_wide_interval_names_what_narrows_it(width: Width, says: str | None) -> None:
    told = [one.message for one in interval_caveats(sampled(300), width, 0.02)]
    assert (says is None) == (told == [])
    assert says is None or says in told[0]
