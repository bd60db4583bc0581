"""What a batch takes longer after a rest."""

import itertools
import math
import random
from dataclasses import replace

import pytest
from measurements.facts import ProfileFacts
from measurements.rests import naps_after, rests, wake_s

from capacity.measurement.callable import measure_callable
from capacity.measurement.overhead import NAPS_MIN, overhead, wake
from capacity.measurement.rounds import Nap, Rounds, TimedBatch, take
from capacity.performance import Interval


def naps(count, longer_s, *, stalled=0.0, seed=1):
    """Batches of 3 ms and a little, of which the rested take so much longer; some of either kind stall."""
    dice = random.Random(seed)

    def batch(more_s):
        stall_s = 0.05 if dice.random() < stalled else 0.0
        return TimedBatch(service_s=0.003 + more_s + dice.uniform(0.0, 2e-4) + stall_s)

    return [
        Nap(awake=tuple(batch(0.0) for _ in range(15)), rested=tuple(batch(longer_s) for _ in range(10)))
        for _ in range(count)
    ]


def test_rests_are_three_times_as_long_as_what_was_before_on_average():
    slept: list[float] = []
    rest = rests(3, slept.append)
    for _ in range(4000):
        rest(0.01)
    assert sum(slept) / 4000 == pytest.approx(0.03, rel=0.08)
    assert sorted(slept)[2000] == pytest.approx(0.03 * math.log(2.0), rel=0.1)  # exponential
    rest(1e6)
    assert slept[-1] <= 1.0


def test_what_rested_batches_take_longer_is_found_within_its_interval():
    found = [wake(naps(30, 2e-4, seed=seed), 0.95) for seed in range(60)]
    assert all(one is not None for one in found)
    inside = sum(one.low <= 2e-4 <= one.high for one in found)
    assert 52 <= inside <= 60  # of 95 %: P(fewer than 52) is 0.3 %
    assert max(one.high - one.low for one in found) < 6e-5


def test_stalls_tell_nothing_of_rests():
    found = wake(naps(30, 2e-4, stalled=0.03), 0.95)
    assert found is not None
    assert found.value == pytest.approx(2e-4, rel=0.15)


def test_few_naps_tell_nothing():
    assert wake(naps(NAPS_MIN - 1, 2e-4), 0.95) is None
    assert wake(naps(NAPS_MIN, 2e-4), 0.95) is not None
    assert wake([], 0.95) is None


@pytest.mark.parametrize(
    ("samples", "naps"), [(1, 1), (9, 1), (10, 1), (11, 2), (100, 10), (300, 30), (1000, 30), (100_000, 30)]
)
def test_naps_are_all_over_the_rounds(samples, naps):
    after = [number for number, is_nap in enumerate(naps_after(samples)) if is_nap]
    assert len(after) == naps
    assert after[-1] == samples - 1
    gaps = [b - a for a, b in itertools.pairwise([-1, *after])]
    assert max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize(
    ("found", "taken_s"),
    [
        (None, 0.0),
        (Interval(value=2e-4, low=1e-4, high=3e-4), 2e-4),
        (Interval(value=2e-4, low=-1e-5, high=4e-4), 0.0),
        (Interval(value=-2e-4, low=-3e-4, high=-1e-4), 0.0),
    ],
)
def test_a_profile_takes_what_chance_does_not_explain(found, taken_s):
    assert wake_s(found) == taken_s


class Sleepy:
    """A subject that takes longer where it was not asked for a while, on a clock of its own."""

    def __init__(self):
        self.now_s = 0.0
        self.free_s = -1.0
        self.asked: list[int] = []

    def clock(self):
        return self.now_s

    def sleep(self, pause_s):
        self.now_s += pause_s

    def serve(self, batch_size):
        took_s = 0.003 + (0.001 if self.now_s > self.free_s else 0.0)
        self.asked.append(batch_size)
        self.now_s += took_s
        self.free_s = self.now_s
        return TimedBatch(service_s=took_s, beside_s=0.0005)


def test_between_rounds_there_are_batches_of_the_smallest_size_after_rests(monkeypatch):
    subject = Sleepy()
    monkeypatch.setattr("measurements.sampling.rests", lambda seed: rests(seed, subject.sleep))
    rounds = Rounds(batch_sizes=(1, 4), samples=60, warm_up=1, has_rests=True)
    sampling = take(subject, rounds, subject.clock, lambda _: None)
    assert sampling.rounds == 60
    assert [len(nap.awake) for nap in sampling.naps] == [10] * 6
    assert [len(nap.rested) for nap in sampling.naps] == [10] * 6
    assert len(subject.asked) == 2 + 6 * (20 + 11)
    assert subject.asked[22:33] == [1] * 11
    found = wake(sampling.naps, 0.95)
    assert found is not None
    assert found.value == pytest.approx(0.001)
    # What rests is no sample of its size.
    assert {len(batches) for batches in sampling.batches.values()} == {60}


def test_a_nap_that_is_cut_short_counts_for_nothing(monkeypatch):
    subject = Sleepy()
    monkeypatch.setattr("measurements.sampling.rests", lambda seed: rests(seed, subject.sleep))
    rounds = Rounds(batch_sizes=(1,), samples=10, warm_up=0, has_rests=True, duration_max_s=0.06)
    sampling = take(subject, rounds, subject.clock, lambda _: None)
    assert sampling.rounds == 10
    assert sampling.naps == ()


def test_without_rests_there_are_none():
    subject = Sleepy()
    sampling = take(subject, Rounds(batch_sizes=(1,), samples=25, warm_up=0), subject.clock, lambda _: None)
    assert sampling.naps == ()
    assert len(subject.asked) == 25


def test_the_overhead_is_that_of_rested_requests():
    batches = {1: [TimedBatch(service_s=0.003, beside_s=0.0005)] * 5}
    rested = [TimedBatch(service_s=0.004, beside_s=0.0009)] * 5
    told, told_without = overhead(batches, rested), overhead(batches)
    assert told is not None
    assert told_without is not None
    assert told.request_s == 0.0009
    assert told_without.request_s == 0.0005


def test_the_profile_has_it():
    rounds = Rounds(batch_sizes=(1, 2), samples=50, warm_up=1, has_rests=True)
    measured = measure_callable(lambda size: sum(range(500 * size)), "here:sum", rounds, 0.95, lambda _: None)
    assert measured.wake is not None
    for wake_found, taken_s in (
        (Interval(value=2e-4, low=1e-4, high=3e-4), 2e-4),
        (Interval(value=2e-4, low=-1e-4, high=5e-4), 0.0),
    ):
        assert ProfileFacts(name="sum").profile(replace(measured, wake=wake_found)).wake_s == taken_s
