"""Rounds and sampling: order, warm-up, limits of time, interrupts; by a clock that a test turns."""

import itertools
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.errors import DependencyError, InconclusiveError, InputError
from capacity.measurement.rounds import Rounds, TimedBatch, parse_batch_sizes, take

laws_hold = settings(derandomize=True, deadline=None, max_examples=100)


class Bench:
    """A subject and its clock: a batch takes 1 ms, and 0.1 ms more for each row."""

    def __init__(self, stop_at: int | None = None, slow_s: float = 0.0) -> None:
        self.now_s, self.slow_s, self.stop_at = 0.0, slow_s, stop_at
        self.served: list[int] = []

    def clock(self) -> float:
        return self.now_s

    def serve(self, batch_size: int) -> TimedBatch:
        if len(self.served) == self.stop_at:
            raise KeyboardInterrupt
        self.served.append(batch_size)
        service_s = 0.001 + 0.0001 * batch_size + self.slow_s
        self.now_s += service_s
        return TimedBatch(service_s=service_s)


def sampled(bench: Bench, rounds: Rounds, told: list[str] | None = None):
    return take(bench, rounds, bench.clock, (told if told is not None else []).append)


@laws_hold
@given(
    sizes=st.sets(st.integers(1, 100), min_size=1, max_size=8),
    samples=st.integers(1, 20),
    warm_up=st.integers(0, 5),
    seed=st.integers(0, 2**32),
)
def test_each_round_has_each_size_once_and_warm_up_does_not_count(sizes, samples, warm_up, seed):
    rounds = Rounds(batch_sizes=tuple(sorted(sizes)), samples=samples, warm_up=warm_up, seed=seed)
    bench = Bench()
    found = sampled(bench, rounds)
    assert {size: len(batches) for size, batches in found.batches.items()} == dict.fromkeys(sizes, samples)
    assert found.rounds == samples
    assert found.stop is None
    assert len(bench.served) == (samples + warm_up) * len(sizes)
    for start in range(0, len(bench.served), len(sizes)):
        assert set(bench.served[start : start + len(sizes)]) == sizes
    assert all(b.service_s == 0.001 + 0.0001 * size for size in sizes for b in found.batches[size])


def test_order_is_balanced_and_the_seed_s():
    sizes = (1, 2, 4, 8)
    orders = list(itertools.islice(Rounds(batch_sizes=sizes, seed=5).orders(), 4800))
    # Each of 24 orders comes 200 times, give or take: 5 standard deviations of a binomial are 69.
    assert all(abs(count - 200) < 69 for count in Counter(orders).values())
    assert len(set(orders)) == 24
    again = itertools.islice(Rounds(batch_sizes=sizes, seed=5).orders(), 4800)
    other = itertools.islice(Rounds(batch_sizes=sizes, seed=6).orders(), 4800)
    assert orders == list(again)
    assert orders != list(other)


def test_drift_meets_all_sizes_alike():
    """The machine gets slower all the time; the difference of two sizes stays what it is."""

    class Slowing(Bench):
        def serve(self, batch_size: int) -> TimedBatch:
            self.slow_s += 1e-6
            return super().serve(batch_size)

    found = sampled(Slowing(), Rounds(batch_sizes=(1, 2, 4, 64), samples=1000))
    means = {size: sum(b.service_s for b in found.batches[size]) / 1000 for size in (1, 2, 4, 64)}
    assert means[1] > 0.0025  # as against 0.0011 at first
    for low, high in itertools.combinations(means, 2):
        assert means[high] - means[low] == pytest.approx(0.0001 * (high - low), abs=5e-6)


def test_time_that_is_up_keeps_finished_rounds_only():
    # A round takes 2.3 ms; 23 ms are ten of them, of which two warm up.
    rounds = Rounds(batch_sizes=(1, 2), samples=100, warm_up=2, duration_max_s=0.0242)
    bench = Bench()
    found = sampled(bench, rounds)
    assert found.rounds == 8
    assert {len(batches) for batches in found.batches.values()} == {8}
    assert found.stop is None
    assert bench.now_s == pytest.approx(0.0242, abs=0.0012)


def test_a_slow_subject_warms_up_for_a_fifth_of_the_time_at_most():
    bench = Bench(slow_s=1.0)
    found = sampled(bench, Rounds(batch_sizes=(1,), samples=1000, warm_up=1000, duration_max_s=50.0))
    assert len(bench.served) == pytest.approx(50, abs=1)
    assert found.rounds == pytest.approx(40, abs=1)


def test_no_round_in_time_is_inconclusive():
    bench = Bench(slow_s=1.0)
    with pytest.raises(InconclusiveError, match="1.5 s was not enough for one round of 3 batch sizes"):
        sampled(bench, Rounds(batch_sizes=(1, 2, 4), samples=5, warm_up=1, duration_max_s=1.5))
    assert len(bench.served) < 5


def test_an_interrupt_keeps_what_was_finished():
    bench = Bench(stop_at=2 + 2 * 7 + 1)
    found = sampled(bench, Rounds(batch_sizes=(1, 2), samples=100, warm_up=1))
    assert isinstance(found.stop, KeyboardInterrupt)
    assert {len(batches) for batches in found.batches.values()} == {7}
    with pytest.raises(KeyboardInterrupt):  # nothing is finished yet, so nothing is kept
        sampled(Bench(stop_at=3), Rounds(batch_sizes=(1, 2), samples=100, warm_up=1))


def test_a_failure_keeps_what_was_finished():
    class Failing(Bench):
        def serve(self, batch_size: int) -> TimedBatch:
            if len(self.served) == self.stop_at:
                raise DependencyError("gone")
            return super().serve(batch_size)

    found = sampled(Failing(stop_at=2 * 7 + 1), Rounds(batch_sizes=(1, 2), samples=100, warm_up=0))
    assert isinstance(found.stop, DependencyError)
    assert {len(batches) for batches in found.batches.values()} == {7}
    with pytest.raises(DependencyError, match="gone"):
        sampled(Failing(stop_at=1), Rounds(batch_sizes=(1, 2), samples=100, warm_up=0))


@pytest.mark.parametrize("service_s", [0.0, -1.0, 1e-9, 601.0, float("nan"), float("inf")])
def test_what_is_no_service_time_is_refused(service_s):
    class Odd(Bench):
        def serve(self, batch_size: int) -> TimedBatch:
            return TimedBatch(service_s=service_s)

    with pytest.raises(DependencyError, match="a batch of 4 took"):
        sampled(Odd(), Rounds(batch_sizes=(4,), samples=2))


class Halves(Bench):
    """Each batch takes half a second, which adds up without rounding."""

    def serve(self, batch_size: int) -> TimedBatch:
        self.served.append(batch_size)
        self.now_s += 0.5
        return TimedBatch(service_s=0.5)


def test_progress_is_reported_every_five_seconds():
    told: list[str] = []
    sampled(Halves(), Rounds(batch_sizes=(1,), samples=25, warm_up=12), told)
    assert told == ["warm-up round 11 of 12", "round 9 of 25", "round 19 of 25"]


def test_rounds_end_at_the_instant_of_duration_max():
    bench = Halves()
    assert sampled(bench, Rounds(batch_sizes=(1,), warm_up=0, duration_max_s=2.0)).rounds == 4
    assert bench.now_s == 2.0
    stamps_s = [one.ended_s for one in sampled(Halves(), Rounds(batch_sizes=(1,), samples=3)).batches[1]]
    assert stamps_s == [10.5, 11.0, 11.5]  # after a warm-up of 20 rounds


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": 0}, "--samples must be from 1"),
        ({"samples": 2_000_001}, "--samples must be from 1 to 2000000, got 2000001"),
        ({"samples": 100_000, "batch_sizes": tuple(range(1, 30))}, "--samples must be from 1 to 68965"),
        ({"warm_up": -1}, "--warm-up must be from 0"),
        ({"warm_up": 100_001}, "--warm-up must be from 0"),
        ({"duration_max_s": 0.0}, "--duration-max must be above 0"),
        ({"duration_max_s": 604_801.0}, "--duration-max must be above 0 s and at most 604800 s"),
        ({"duration_max_s": float("nan")}, "--duration-max must be above 0"),
        ({"batch_sizes": ()}, "needs from 1 to 200 sizes"),
        ({"batch_sizes": tuple(range(1, 202))}, "needs from 1 to 200 sizes"),
        ({"batch_sizes": (1_000_001,)}, "must be from 1 to 1000000, got"),
        ({"batch_sizes": (0, 1)}, "must be from 1 to 1000000, got"),
        ({"batch_sizes": (2, 1)}, "has a size twice"),
        ({"batch_sizes": (1, 1)}, "has a size twice"),
    ],
)
def test_rounds_are_valid_or_not_born(changes, message):
    with pytest.raises(InputError, match=message):
        Rounds(**{"batch_sizes": (1,), **changes})


def test_rounds_are_accepted_at_their_limits():
    week_s = 7 * 24 * 3600.0
    Rounds(batch_sizes=(1_000_000,), samples=2_000_000, warm_up=100_000, duration_max_s=week_s)
    Rounds(batch_sizes=tuple(range(1, 201)), samples=10_000, warm_up=0)


@pytest.mark.parametrize(
    "text", ["", "1,", "1;2", "1,1", "-1", "1.5", "x", "1e3", "9" * 5000, "²", ",".join(["1"] * 5000)]
)
def test_batch_sizes_that_are_none(text):
    with pytest.raises(InputError, match="--batch-sizes") as caught:
        Rounds(batch_sizes=parse_batch_sizes(text))
    assert len(str(caught.value)) < 200


def test_a_batch_size_has_at_most_nine_digits():
    assert parse_batch_sizes("123456789,1") == (1, 123456789)
    with pytest.raises(InputError, match="which is not a batch size"):
        parse_batch_sizes("1234567890")


@pytest.mark.parametrize(
    ("samples", "naps"), [(1, 1), (9, 1), (10, 1), (11, 2), (100, 10), (300, 30), (1000, 30), (100_000, 30)]
)
def test_naps_are_all_over_the_rounds(samples, naps):
    after = [
        number
        for number, is_nap in enumerate(Rounds(batch_sizes=(1,), samples=samples, has_rests=True).naps())
        if is_nap
    ]
    assert len(after) == naps
    assert after[-1] == samples - 1
    gaps = [b - a for a, b in itertools.pairwise([-1, *after])]
    assert max(gaps) - min(gaps) <= 1


class Sleepy:
    """A subject that takes longer where it was not asked for a while, on a clock of its own."""

    def __init__(self, beside_s: float | None = 0.0005):
        self.beside_s = beside_s
        self.now_s = 0.0
        self.free_s = -1.0
        self.asked: list[int] = []
        self.slept_s: list[float] = []

    def clock(self):
        return self.now_s

    def sleep(self, pause_s):
        self.slept_s.append(pause_s)
        self.now_s += pause_s

    def serve(self, batch_size):
        took_s = 0.003 + (0.001 if self.now_s > self.free_s else 0.0)
        self.asked.append(batch_size)
        self.now_s += took_s
        self.free_s = self.now_s
        return TimedBatch(service_s=took_s, beside_s=self.beside_s)


def test_between_rounds_there_are_batches_of_the_smallest_size_after_rests():
    subject = Sleepy()
    rounds = Rounds(batch_sizes=(1, 4), samples=60, warm_up=1, has_rests=True)
    sampling = take(subject, rounds, subject.clock, lambda _: None, subject.sleep)
    assert sampling.rounds == 60
    assert [len(nap.awake) for nap in sampling.naps] == [10] * 6
    assert [len(nap.rested) for nap in sampling.naps] == [10] * 6
    assert len(subject.asked) == 2 + 6 * (20 + 11)
    assert subject.asked[22:33] == [1] * 11
    assert [nap.longer_s for nap in sampling.naps] == pytest.approx([0.001] * 6)
    # What rests is no sample of its size.
    assert {len(batches) for batches in sampling.batches.values()} == {60}


def test_a_nap_that_is_cut_short_counts_for_nothing():
    whole, subject = Sleepy(), Sleepy()
    rounds = Rounds(batch_sizes=(1,), samples=10, warm_up=0, has_rests=True)
    (nap,) = take(whole, rounds, whole.clock, lambda _: None, whole.sleep).naps
    began_last_s = whole.now_s - nap.rested[-1].service_s - whole.slept_s[-1]
    sampling = take(
        subject, replace(rounds, duration_max_s=began_last_s), subject.clock, lambda _: None, subject.sleep
    )
    assert sampling.rounds == 10
    assert sampling.naps == ()
    assert len(subject.asked) == 10 + 10


def test_a_rest_lasts_at_most_a_second():
    subject = Sleepy(beside_s=100.0)
    rounds = Rounds(batch_sizes=(1,), samples=10, warm_up=0, has_rests=True)
    take(subject, rounds, subject.clock, lambda _: None, subject.sleep)
    assert max(subject.slept_s) == 1.0


def test_without_rests_there_are_none():
    subject = Sleepy()
    sampling = take(subject, Rounds(batch_sizes=(1,), samples=25, warm_up=0), subject.clock, lambda _: None)
    assert sampling.naps == ()
    assert len(subject.asked) == 25


@pytest.mark.parametrize("beside_s", [0.0005, None])
def test_rests_are_three_times_as_long_as_what_was_before_on_average(beside_s):
    subject = Sleepy(beside_s)
    rounds = Rounds(batch_sizes=(1,), samples=300, warm_up=0, has_rests=True)
    take(subject, rounds, subject.clock, lambda _: None, subject.sleep)
    last_s = 0.003 + 0.001 + (beside_s or 0.0)  # but for the first of each nap
    assert sum(subject.slept_s) / len(subject.slept_s) == pytest.approx(3.0 * last_s, rel=0.2)
    assert sorted(subject.slept_s)[165] == pytest.approx(3.0 * last_s * 0.693, rel=0.25)  # exponential


def test_a_rest_is_in_proportion_to_the_batch_just_before_it():
    """Batch k takes k ms or 1 ms; with the same random numbers, the rest after it is k times as long."""

    class Rising(Sleepy):
        def serve(self, batch_size):
            self.asked.append(batch_size)
            return TimedBatch(service_s=0.001 * (len(self.asked) if self.beside_s is None else 1))

    rising, level = Rising(None), Rising(0.0)
    for subject in (rising, level):
        rounds = Rounds(batch_sizes=(1,), samples=10, warm_up=0, has_rests=True)
        take(subject, rounds, subject.clock, lambda _: None, subject.sleep)
    ratios = [a / b for a, b in zip(rising.slept_s, level.slept_s, strict=True)]
    assert ratios == pytest.approx(range(10, 21))
