"""What samples tell: interval of the mean, drift, stalls, overhead."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from measurements.drift import family_confidence, is_of_note
from measurements.mean_interval import variance
from measurements.overhead import overhead_caveats
from measurements.sampled import sampled_findings, sampling_caveats
from scipy.stats import ttest_ind

from capacity.caveats import CaveatCode
from capacity.errors import DependencyError
from capacity.measurement.intervals import drift, mean_interval, ratio_interval, stalls
from capacity.measurement.overhead import overhead
from capacity.measurement.rounds import Rounds, Sampling, TimedBatch
from capacity.performance import Interval
from capacity.share_interval import student_t

laws_hold = settings(derandomize=True, deadline=None, max_examples=200)
durations = st.floats(1e-5, 1.0)


def noisy(dice: random.Random, count: int, scale_s: float = 0.01, spread: float = 0.05) -> list[float]:
    return [scale_s * math.exp(dice.gauss(0.0, spread)) for _ in range(count)]


def test_student_t_is_the_table_s():
    # Student's t, 95 % two-sided, as printed in any table of it.
    assert student_t(0.95, 1) == pytest.approx(12.706, abs=5e-4)
    assert student_t(0.95, 19) == pytest.approx(2.093, abs=5e-4)
    assert student_t(0.99, 4) == pytest.approx(4.604, abs=5e-4)


def test_mean_interval_by_hand():
    # 1, 2, 3: mean 2, deviation 1, t(2) = 4.303; the low end would be below the least sample.
    found = mean_interval([1.0, 2.0, 3.0], 0.95)
    assert found is not None
    assert found.value == 2.0
    assert found.high == pytest.approx(2.0 + 4.303 / math.sqrt(3.0), abs=1e-3)
    assert found.low == 1.0
    assert mean_interval([1.0], 0.95) is None


def test_mean_interval_is_of_twenty_sections():
    """The sections' means are 1.5, 5.5, ..., 77.5, high after low: deviation 4 times that of 1 ... 20, 5.916."""
    turns = [k // 2 if k % 2 == 0 else 19 - k // 2 for k in range(20)]
    found = mean_interval([4.0 * turn + k for turn in turns for k in range(4)], 0.95)
    assert found is not None
    assert found.value == 39.5
    assert found.high - found.value == pytest.approx(2.0930 * 4 * 5.9161 / math.sqrt(20), rel=1e-4)


def test_sections_like_their_neighbours_widen_a_mean_interval():
    """A trend: neighbours are as alike as may be, 0.9, which is worth 1/19 of the sections."""
    found = mean_interval([float(k) for k in range(80)], 0.95)
    assert found is not None
    assert found.high - found.value == pytest.approx(2.0930 * 4 * 5.9161 / math.sqrt(20 / 19), rel=1e-4)


def test_ratio_interval_by_hand():
    # Ten sections of one batch, of 1 and 3 by turns: deviations of 1, of which 2.262 = t(9) times sqrt(10/9/10).
    found = ratio_interval([1.0, 3.0] * 5, [1.0] * 10, 0.95)
    assert found is not None
    assert (found.value, found.high - found.value) == (2.0, pytest.approx(2.2622 / 3.0, rel=1e-4))
    # A section counts by its batches: as many more at the mean of all change nothing but the number.
    more = ratio_interval([9.0, 11.0] * 5, [5.0] * 10, 0.95)
    assert more is not None
    assert more.half_width == pytest.approx(found.half_width / 5.0)
    # Batches that are all alike leave nothing in doubt, however many a section has.
    alike = ratio_interval([2.0 * k for k in range(1, 21)], [float(k) for k in range(1, 21)], 0.95)
    assert alike == Interval.exact(2.0)
    assert ratio_interval([1.0, 3.0] * 5, [1.0] * 9 + [0.0], 0.95) is None
    assert ratio_interval([], [], 0.95) is None


def test_ratio_interval_knows_batches_that_are_like_those_before():
    """Neighbours have 0.65 in common; taken for independent, the interval would be 2.2 times too narrow."""
    dice, covered, narrow = random.Random(4), 0, 0
    for _ in range(200):
        sums_s, counts, times_s, level = [], [], [], dice.gauss(0.0, 1.0)
        for _ in range(20):
            section = []
            for _ in range(dice.randrange(20, 80)):
                level = 0.65 * level + math.sqrt(1.0 - 0.65**2) * dice.gauss(0.0, 1.0)
                section.append(1.0 + 0.1 * level)
            sums_s.append(math.fsum(section))
            counts.append(len(section))
            times_s += section
        interval = ratio_interval(sums_s, counts, 0.95)
        assert interval is not None
        covered += interval.low <= 1.0 <= interval.high
        mean = math.fsum(times_s) / len(times_s)
        narrow += abs(mean - 1.0) <= 1.96 * math.sqrt(variance(times_s) / len(times_s))
    assert covered >= 178  # 190, and four standard deviations
    assert narrow < 150


def test_mean_interval_covers_as_often_as_it_says():
    dice = random.Random(1)
    covered = sum(
        interval.low <= 1.0 <= interval.high
        for _ in range(1000)
        if (interval := mean_interval([dice.gauss(1.0, 0.1) for _ in range(100)], 0.95))
    )
    assert abs(covered - 950) <= 28  # four standard deviations of a binomial


def test_mean_interval_knows_slow_spells():
    """Spells of 50 samples, each at a level of its own: by single samples the interval would be 5 times too narrow."""
    dice = random.Random(2)
    covered = 0
    for _ in range(300):
        levels = [dice.gauss(1.0, 0.1) for _ in range(20)]
        interval = mean_interval([level + dice.gauss(0.0, 0.02) for level in levels for _ in range(50)], 0.95)
        covered += interval is not None and interval.low <= 1.0 <= interval.high
    assert covered >= 270


@laws_hold
@given(samples=st.lists(durations, min_size=2, max_size=200), scale=st.floats(0.1, 10.0))
def test_mean_interval_scales_and_holds_the_mean(samples, scale):
    one, other = mean_interval(samples, 0.9), mean_interval([scale * x for x in samples], 0.9)
    assert one is not None
    assert other is not None
    assert one.value == pytest.approx(math.fsum(samples) / len(samples))
    assert other.high == pytest.approx(scale * one.high)
    assert other.low == pytest.approx(scale * one.low)


def test_drift_is_not_seen_in_noise_more_often_than_its_level():
    dice = random.Random(3)
    seen = sum(
        not found.low <= 0.0 <= found.high for found in (drift(noisy(dice, 200), 0.95) for _ in range(2000))
    )
    # At most 100, and four standard deviations; fewer, since likeness that ten sections feign widens, too.
    assert 20 <= seen <= 139


@pytest.mark.parametrize("lasting", [50, 100, 170])
def test_spells_that_come_and_go_are_no_drift(lasting):
    """Spells of so many samples, some 30 % slower: of sections of 50, taken for independent, or of more."""
    dice, seen = random.Random(6), 0
    for _ in range(400):
        spells = [dice.choice([0.010, 0.013]) for _ in range(1000 // lasting + 2)]
        shifted = dice.randrange(lasting)
        samples = [x for scale_s in spells for x in noisy(dice, lasting, scale_s=scale_s)]
        shift = drift(samples[shifted : shifted + 1000], 0.95)
        seen += not shift.low <= 0.0 <= shift.high
    assert seen <= 38  # 20, and four standard deviations


@pytest.mark.parametrize("stalled", [False, True])
def test_drift_of_5_percent_is_found_through_noise_and_stalls(stalled):
    dice, found = random.Random(4), 0
    for _ in range(100):
        samples = noisy(dice, 250) + noisy(dice, 250, scale_s=0.0105)
        if stalled:
            samples = [20.0 * x if dice.random() < 0.005 else x for x in samples]
        shift = drift(samples, family_confidence(0.95, 7))
        found += is_of_note(shift)
        assert shift is not None
    assert found >= 95


def test_drift_by_hand():
    shift = drift([0.010] * 10 + [0.011] * 10, 0.95)
    assert shift is not None
    assert shift.value == pytest.approx(0.1)
    assert shift.low == shift.high == shift.value
    assert drift([0.010] * 19, 0.95) is None
    assert drift([0.010] * 20, 0.95) == Interval.exact(0.0)


def test_drift_is_welch_s_interval():
    """As scipy has it, of logarithms; 30 samples are too few for sections."""
    dice = random.Random(8)
    first, second = noisy(dice, 15, spread=0.02), noisy(dice, 15, spread=0.3)
    shift = drift(first + second, 0.9)
    logs = [[math.log(x) for x in half] for half in (second, first)]
    reference = ttest_ind(*logs, equal_var=False).confidence_interval(0.9)
    assert shift is not None
    assert (math.log1p(shift.low), math.log1p(shift.high)) == pytest.approx((reference.low, reference.high))


@laws_hold
@given(samples=st.lists(durations, min_size=20, max_size=100), scale=st.floats(0.1, 10.0))
def test_drift_knows_no_unit_and_backwards_is_the_reciprocal(samples, scale):
    shift, scaled = drift(samples, 0.95), drift([scale * x for x in samples], 0.95)
    assert scaled.value == pytest.approx(shift.value, rel=1e-6, abs=1e-9)
    if len(samples) % 20 == 0:  # sections are the same from either end
        back = drift(samples[::-1], 0.95)
        assert (1.0 + back.value) * (1.0 + shift.value) == pytest.approx(1.0)


def test_drift_of_note_is_certain_and_large_enough():
    assert is_of_note(Interval(value=0.05, low=0.01, high=0.09))
    assert is_of_note(Interval(value=-0.05, low=-0.09, high=-0.01))
    assert not is_of_note(Interval(value=0.05, low=-0.01, high=0.11))
    assert not is_of_note(Interval(value=0.01, low=0.009, high=0.011))
    assert not is_of_note(None)
    assert family_confidence(0.95, 5) == pytest.approx(0.99)


@pytest.mark.parametrize(
    ("usual_s", "limit_s"),
    [(0.001, 0.003), (0.005, 0.015), (0.008, 0.018), (0.020, 0.030), (0.100, 0.150)],
)
def test_stalls_are_beyond_thrice_the_median_or_10_ms_more(usual_s, limit_s):
    found = stalls([usual_s] * 7 + [0.999 * limit_s, 1.001 * limit_s, 2.0 * limit_s])
    assert found.limit_s == pytest.approx(limit_s)
    assert (found.count, found.samples, found.share) == (2, 10, 0.2)
    assert found.largest_s == 2.0 * limit_s
    assert stalls([usual_s] * 3).largest_s is None


def test_overhead_is_of_one_row_and_grows_by_row():
    batches = {
        size: [
            TimedBatch(service_s=1.0, beside_s=0.001 + 0.00001 * size + noise) for noise in (-1e-5, 0.0, 9.0)
        ]
        for size in (1, 2, 8, 64)
    }
    found = overhead(batches)
    assert found is not None
    assert found.request_s == pytest.approx(0.00101)
    assert found.batch_size == 1
    assert found.growth_s == pytest.approx(0.00001)
    single = overhead({4: batches[8]})
    assert single is not None
    assert (single.batch_size, single.growth_s) == (4, None)
    assert overhead({1: [TimedBatch(service_s=1.0)]}) is None
    rounding = overhead({1: [TimedBatch(service_s=1.0, beside_s=-1e-6)]})
    assert rounding is not None
    assert rounding.request_s == 0.0


def beside(times_s: list[float]) -> list[TimedBatch]:
    return [TimedBatch(service_s=0.01, beside_s=x) for x in times_s]


def test_the_overhead_of_one_row_is_told_from_larger_requests_by_their_growth():
    found = overhead({size: beside([0.001 + 1e-5 * size] * 60) for size in (8, 16)})
    assert found is not None
    assert found.request_s == pytest.approx(0.00101)
    assert (found.batch_size, found.interval) == (8, None)
    (caveat,) = overhead_caveats(found)
    assert caveat.code is CaveatCode.MEASURED_ROWS
    assert "requests of 8 rows and more, less 10 µs for each above the first; have 1 among" in caveat.message
    (alone,) = overhead_caveats(overhead({8: beside([0.001] * 60)}))
    assert "is of 8 rows, and may be less of one" in alone.message
    assert list(overhead_caveats(overhead({1: beside([0.001] * 60), 8: beside([0.002] * 60)}))) == []
    assert list(overhead_caveats(None)) == []
    # Noise that makes larger requests look quicker does not make one of one row slower.
    falling = overhead({8: beside([0.002] * 60), 16: beside([0.001] * 60)})
    assert falling is not None
    assert falling.request_s == 0.002


def test_the_overhead_has_an_interval_that_stalls_do_not_widen():
    dice, covered = random.Random(9), 0
    for _ in range(200):
        times_s = [dice.gauss(6e-4, 5e-5) + (0.05 if dice.random() < 0.03 else 0.0) for _ in range(300)]
        found = overhead({1: beside(times_s)}, confidence=0.95)
        assert found is not None
        assert found.interval is not None
        assert found.interval.value == found.request_s
        assert found.interval.half_width < 3e-5
        covered += found.interval.low <= 6e-4 + 2e-6 <= found.interval.high
    assert covered >= 178  # 190, and four standard deviations
    few = overhead({1: beside([6e-4] * 49)})
    assert few is not None
    assert few.interval is None


def sampling(samples: dict[int, list[float]], stop: BaseException | None = None) -> Sampling:
    batches = {size: tuple(TimedBatch(service_s=x) for x in xs) for size, xs in samples.items()}
    return Sampling(batches=batches, stop=stop)


def caveats(taken: Sampling, samples: int) -> dict[CaveatCode, str]:
    rounds = Rounds(batch_sizes=tuple(taken.batches), samples=samples)
    findings = sampled_findings(taken, 0.95)
    return {caveat.code: caveat.message for caveat in sampling_caveats(findings, taken, rounds)}


def test_findings_keep_every_sample_to_the_nanosecond():
    samples = [0.00012345678912, 0.1, 0.0002]
    one, two = sampled_findings(sampling({1: samples, 2: samples[::-1]}), 0.95)
    assert one.timing.samples_s == (0.000123457, 0.1, 0.0002)
    assert two.timing.samples_s == (0.0002, 0.1, 0.000123457)
    assert (one.batch_size, one.count) == (1, 3)
    assert one.stalls is not None
    assert one.stalls.count == 1
    assert one.mean is not None
    assert one.mean.value == pytest.approx(sum(samples) / 3, abs=1e-9)


def test_caveats_say_what_was_seen_and_nothing_else():
    dice = random.Random(5)
    calm = noisy(dice, 200)
    assert caveats(sampling({1: calm}), 200) == {}
    rough = caveats(sampling({1: calm, 4: noisy(dice, 200, spread=1.0)}), 200)
    assert "means of batches of 4 are not known well, that of 4 to " in rough[CaveatCode.MEASURED_NOISE]
    shifted = caveats(sampling({1: calm, 8: noisy(dice, 100) + noisy(dice, 100, scale_s=0.012)}), 200)
    # Of a machine that changed there is no one mean to be known.
    assert set(shifted) == {CaveatCode.MEASURED_DRIFT, CaveatCode.MEASURED_NOISE}
    assert "batches of 8 drifted" in shifted[CaveatCode.MEASURED_DRIFT]
    stalled = caveats(sampling({1: calm, 2: [*calm[:-3], 0.05, 0.06, 0.07]}), 200)
    assert set(stalled) == {CaveatCode.MEASURED_STALLS, CaveatCode.MEASURED_NOISE}
    assert "batches of 2 stalled" in stalled[CaveatCode.MEASURED_STALLS]
    assert "1.5% took more than 2" in stalled[CaveatCode.MEASURED_STALLS]
    assert "up to 70 ms" in stalled[CaveatCode.MEASURED_STALLS]
    early = caveats(sampling({1: calm}), 500)[CaveatCode.MEASURED_EARLY_END]
    assert "200 of 500 rounds were finished, as --duration-max 600 s was up" in early
    assert "raise --duration-max" in early
    interrupted = caveats(sampling({1: calm}, KeyboardInterrupt()), 500)[CaveatCode.MEASURED_EARLY_END]
    assert "as an interrupt came" in interrupted
    failed = caveats(sampling({1: calm}, DependencyError("gone")), 500)[CaveatCode.MEASURED_EARLY_END]
    assert "as the next one failed" in failed
