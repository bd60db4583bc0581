"""Intervals of what was measured one after another hold the truth about as often as they say."""

import math
import random
from statistics import fmean, variance

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter
from scipy.stats import norm, ttest_ind

from capacity.confidence import student_t
from capacity.measurement.sections import (
    drift,
    half_width,
    mean_interval,
    quantile_interval,
    rate_interval,
    ratio_interval,
    requests_min,
    sections,
    share_interval,
    stalls,
)
from capacity.performance import Interval
from capacity.queues.general.mdc import MDc

laws_hold = settings(derandomize=True, deadline=None, max_examples=200)
durations = st.floats(1e-5, 1.0)


def noisy(dice: random.Random, count: int, scale_s: float = 0.01, spread: float = 0.05) -> list[float]:
    return [scale_s * math.exp(dice.gauss(0.0, spread)) for _ in range(count)]


def test_student_t_is_the_table_s():
    # Student's t, 95 % two-sided, as printed in any table of it.
    assert student_t(0.95, 1) == pytest.approx(12.706, abs=5e-4)
    assert student_t(0.95, 19) == pytest.approx(2.093, abs=5e-4)
    assert student_t(0.99, 4) == pytest.approx(4.604, abs=5e-4)


def test_sections_are_equally_long_or_single_samples_where_there_are_few():
    assert sections([0, 1, 2, 3, 4, 5, 6], 3) == [[0, 1], [2, 3, 4], [5, 6]]
    assert sections([0, 1, 2, 3, 4, 5], 3) == [[0, 1], [2, 3], [4, 5]]
    assert sections([0, 1, 2, 3, 4], 3) == [[0], [1], [2], [3], [4]]
    assert sections([], 3) == []


def test_half_width_by_hand():
    """From ten sections on, the correlation of neighbours widens the interval.

    Twelve: 11 pairs, six of them alike, give 1/12, or 2/9 without its bias of (1 + 3r)/n. The error of the mean
    is sqrt(3/11/12), t(11) = 2.2010, and 2/9 widens by sqrt(11/7). Nine: the error is sqrt(2/8/9), t(8) = 2.3060.
    """
    assert half_width([0.0, 0.0, 1.0, 1.0] * 3, 0.95) == pytest.approx(
        2.2010 * math.sqrt(3.0 / 11.0 / 12.0) * math.sqrt(11.0 / 7.0), rel=1e-4
    )
    assert half_width([0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.5], 0.95) == pytest.approx(
        2.3060 * math.sqrt(2.0 / 8.0 / 9.0), rel=1e-4
    )
    assert half_width([7.0, 7.0], 0.95) == 0.0


def test_mean_interval_by_hand():
    # 1, 2, 3: mean 2, deviation 1, t(2) = 4.303; the low end would be below the least sample.
    found = mean_interval([1.0, 2.0, 3.0], 0.95)
    assert found.value == 2.0
    assert found.high == pytest.approx(2.0 + 4.303 / math.sqrt(3.0), abs=1e-3)
    assert found.low == 1.0
    assert mean_interval([1.0], 0.95) is None


def test_mean_interval_is_of_twenty_sections():
    """The sections' means are 1.5, 5.5, ..., 77.5, high after low: deviation 4 times that of 1 ... 20, 5.916."""
    turns = [k // 2 if k % 2 == 0 else 19 - k // 2 for k in range(20)]
    found = mean_interval([4.0 * turn + k for turn in turns for k in range(4)], 0.95)
    assert found.value == 39.5
    assert found.high - found.value == pytest.approx(2.0930 * 4 * 5.9161 / math.sqrt(20), rel=1e-4)


def test_sections_like_their_neighbours_widen_a_mean_interval():
    """A trend: neighbours are as alike as may be, 0.9, which is worth 1/19 of the sections."""
    found = mean_interval([float(k) for k in range(80)], 0.95)
    assert found.high - found.value == pytest.approx(2.0930 * 4 * 5.9161 / math.sqrt(20 / 19), rel=1e-4)


def test_ratio_interval_by_hand():
    # Ten sections of one batch, of 1 and 3 by turns: deviations of 1, of which 2.262 = t(9) times sqrt(10/9/10).
    found = ratio_interval([1.0, 3.0] * 5, [1.0] * 10, 0.95)
    assert (found.value, found.high - found.value) == (2.0, pytest.approx(2.2622 / 3.0, rel=1e-4))
    # A section counts by its batches: as many more at the mean of all change nothing but the number.
    more = ratio_interval([9.0, 11.0] * 5, [5.0] * 10, 0.95)
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
    """Spells of this many samples, some 30 % slower: of sections of 50, taken for independent, or of more."""
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
        shift = drift(samples, 0.993)
        found += shift.low > 0.0
        assert shift is not None
    assert found >= 95


def test_drift_by_hand():
    shift = drift([0.010] * 10 + [0.011] * 10, 0.95)
    assert shift.value == pytest.approx(0.1)
    assert (shift.low, shift.high) == pytest.approx((0.1, 0.1))
    assert drift([0.010] * 19, 0.95) is None
    assert drift([1.0] * 20, 0.95) == Interval.exact(0.0)
    same = drift([0.010] * 20, 0.95)
    assert (same.low, same.high) == pytest.approx((0.0, 0.0), abs=1e-12)


def test_drift_is_welch_s_interval():
    """As scipy has it, of logarithms; 30 samples are too few for sections."""
    dice = random.Random(8)
    first, second = noisy(dice, 15, spread=0.02), noisy(dice, 15, spread=0.3)
    shift = drift(first + second, 0.9)
    logs = [[math.log(x) for x in half] for half in (second, first)]
    reference = ttest_ind(*logs, equal_var=False).confidence_interval(0.9)
    assert (math.log1p(shift.low), math.log1p(shift.high)) == pytest.approx((reference.low, reference.high))


def test_drift_between_correlated_sections_is_wider():
    """Welch's interval of scipy for ten sections of each half, widened by the correlation of neighbours."""
    halves = [[1.0, 1.0, 2.0, 2.0] * 2 + [1.0, 2.0], [1.0, 2.0, 2.0, 2.0, 1.0] * 2]
    shift = drift([level for half in halves for level in half for _ in range(2)], 0.95)
    logs = [np.log(half) for half in halves]
    reference = ttest_ind(logs[1], logs[0], equal_var=False).confidence_interval(0.95)
    apart = [half - half.mean() for half in logs]
    alike = sum((x[1:] * x[:-1]).sum() for x in apart) / sum((x**2).sum() for x in apart)
    alike = (alike + 0.1) / 0.7  # low by (1 + 3r)/n (Marriott & Pope 1954)
    assert 0.0 < alike < 0.9
    reach = 0.5 * (reference.high - reference.low) * math.sqrt((1.0 + alike) / (1.0 - alike))
    middle = logs[1].mean() - logs[0].mean()
    assert (math.log1p(shift.low), math.log1p(shift.high)) == pytest.approx((middle - reach, middle + reach))


@laws_hold
@given(samples=st.lists(durations, min_size=20, max_size=100), scale=st.floats(0.1, 10.0))
def test_drift_knows_no_unit_and_backwards_is_the_reciprocal(samples, scale):
    shift, scaled = drift(samples, 0.95), drift([scale * x for x in samples], 0.95)
    assert scaled.value == pytest.approx(shift.value, rel=1e-6, abs=1e-9)
    if len(samples) % 20 == 0:  # sections are the same from either end
        back = drift(samples[::-1], 0.95)
        assert (1.0 + back.value) * (1.0 + shift.value) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("usual_s", "limit_s"), [(0.001, 0.003), (0.005, 0.015), (0.008, 0.018), (0.020, 0.030), (0.100, 0.150)]
)
def test_stalls_are_beyond_thrice_the_median_or_10_ms_more(usual_s, limit_s):
    found = stalls([usual_s] * 7 + [0.999 * limit_s, 1.001 * limit_s, 2.0 * limit_s])
    assert found.limit_s == pytest.approx(limit_s)
    assert (found.count, found.share) == (2, 0.2)
    assert found.largest_s == 2.0 * limit_s
    assert stalls([usual_s] * 3).largest_s is None
    assert stalls([usual_s] * 3 + [found.limit_s]).count == 0


PATHS = 200
# Of 200 intervals of 95 %, 178 or more hold the truth in 999 of 1000 cases.
HELD_MIN = 178


def autoregressive(path, count=40_000, forgets=0.95):
    """Normal values of mean 10 and deviation 1, each like the one before."""
    generator = np.random.default_rng([11, path])
    shocks = generator.standard_normal(count) * np.sqrt(1.0 - forgets**2)
    start = [forgets * generator.standard_normal()]
    return 10.0 + lfilter([1.0], [1.0, -forgets], shocks, zi=start)[0]


def md1(path, count=30_000, load=0.6):
    """Responses of M/D/1 with service 1, by Lindley's recursion, from its steady state on."""
    gaps = np.random.default_rng([12, path]).exponential(1.0 / load, count + 2000)
    walk = np.cumsum(1.0 - gaps)
    waits = walk - np.minimum.accumulate(np.minimum(walk, 0.0))
    return 1.0 + waits[2000:]


def held(truth, intervals):
    return sum(interval.low <= truth <= interval.high for interval in intervals)


@pytest.mark.parametrize("quantile", [0.5, 0.95, 0.99])
def test_quantiles_of_an_autoregressive_path(quantile):
    truth = 10.0 + norm.ppf(quantile)
    assert (
        held(truth, (quantile_interval(autoregressive(i), quantile, 0.95) for i in range(PATHS))) >= HELD_MIN
    )


def test_the_mean_of_an_autoregressive_path():
    intervals = [mean_interval(autoregressive(i), 0.95) for i in range(PATHS)]
    assert held(10.0, intervals) >= HELD_MIN
    # Independent values would have half-widths of 2/sqrt(n); these are worth (1 - r)/(1 + r) as many.
    width = np.median([x.half_width for x in intervals])
    assert width == pytest.approx(1.96 * np.sqrt(39.0 / 40_000), rel=0.3)


def test_md1_responses():
    law = MDc(arrival_rate_rps=0.6, service_time_s=1.0, servers=1)
    paths = [md1(i) for i in range(PATHS)]
    assert held(law.response_mean_s, (mean_interval(path, 0.95) for path in paths)) >= HELD_MIN
    for quantile in (0.95, 0.99):
        truth = law.response_quantile_s(quantile)
        assert held(truth, (quantile_interval(path, quantile, 0.95) for path in paths)) >= HELD_MIN


def test_an_interval_lies_around_its_value_and_grows_with_confidence():
    path = autoregressive(0)
    narrow, wide = (quantile_interval(path, 0.95, confidence) for confidence in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.value == wide.value < narrow.high < wide.high
    assert narrow.value == np.quantile(path, 0.95, method="inverted_cdf")


@pytest.mark.parametrize(
    ("means", "widened"),
    [
        (np.sin(np.linspace(0.0, 2.0 * np.pi, 20)), 3.0),  # a slow wave, seen once
        ((-1.0) ** np.arange(20), 1.0),
    ],
)
def test_sections_that_are_like_their_neighbours_are_worth_fewer(means, widened):
    naive = 2.0930 * means.std(ddof=1) / np.sqrt(20)  # Student's t of 19 degrees
    interval = mean_interval(10.0 + np.repeat(means, 50), 0.95)
    assert interval.half_width / naive == pytest.approx(widened, rel=0.5 if widened > 1.0 else 1e-3)


@pytest.mark.parametrize("quantile", [0.01, 0.5, 0.95, 0.99])
def test_too_few_for_an_interval_is_said(quantile):
    needed = requests_min(quantile)
    values = np.random.default_rng(0).random(needed)
    assert quantile_interval(values, quantile, 0.95) is not None
    assert quantile_interval(values[:-1], quantile, 0.95) is None
    assert share_interval(np.ones(99), 0.95) is None
    assert share_interval(np.ones(100), 0.95) is not None
    assert (requests_min(0.99), requests_min(0.95), requests_min(0.5)) == (5000, 1000, 100)


def test_constant_values_have_no_width():
    for interval in (
        mean_interval(np.full(1000, 0.5), 0.95),
        quantile_interval(np.full(1000, 0.5), 0.5, 0.95),
    ):
        assert (interval.low, interval.value, interval.high) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(("quantile", "count"), [(0.1, 16), (0.5, 20), (0.85, 20)])
def test_the_ends_of_a_quantile_are_quantiles_at_shifted_shares(quantile, count):
    """Digits have ties: the shares at or above the quantile shift the lower end, those above it the upper end.

    A section has at least five values beyond the quantile, and there are at most 20 sections.
    """
    values = np.random.default_rng(8).integers(0, 10, 800).astype(float)
    found = quantile_interval(values, quantile, 0.9)
    parts = np.split(values, [round(k * 800 / count) for k in range(1, count)])
    lower = half_width([float((part >= found.value).mean()) for part in parts], 0.9)
    higher = half_width([float((part > found.value).mean()) for part in parts], 0.9)
    ordered = sorted(values)
    at = [math.ceil(share * 800 - 1e-9) - 1 for share in (quantile - lower, quantile, quantile + higher)]
    assert (found.low, found.value, found.high) == tuple(ordered[k] for k in at)


def test_none_of_n_is_not_never():
    none = share_interval(np.zeros(1000), 0.95)
    assert (none.value, none.low) == (0.0, 0.0)
    assert none.high == pytest.approx(0.002996, rel=1e-3)
    some = share_interval((np.arange(1000) % 10 == 0).astype(float), 0.95)
    assert some.value == pytest.approx(0.1)
    assert share_interval(np.ones(1000), 0.95).high == 1.0
    one = share_interval((np.arange(1000) == 500).astype(float), 0.95)
    assert (one.value, one.low) == (0.001, 0.0)
    assert one.high == pytest.approx(0.005559, rel=1e-3)  # Clopper and Pearson's


def test_a_rare_share_is_rarely_above_its_interval():
    """Three expected: sections know little of events that most of them have none of."""
    generator, share = np.random.default_rng(7), 5e-4
    above = sum(
        share_interval((generator.random(6200) < share).astype(float), 0.95).high < share for _ in range(1000)
    )
    assert above <= 78  # exp(-3.1) have none, 45, where all of the error is above; and five deviations


def test_a_rate_is_counted_within_its_window():
    instants_s = np.sort(np.random.default_rng(3).uniform(5.0, 25.0, 4000))
    interval = rate_interval(instants_s - 5.0, 20.0, 0.95)
    assert interval.value == pytest.approx(200.0)
    assert 0.0 < interval.half_width < 20.0
    assert rate_interval(instants_s[:199] - 5.0, 20.0, 0.95) is None
    assert rate_interval(instants_s, 0.0, 0.95) is None
    even = rate_interval(np.arange(200) * 0.1 + 0.05, 20.0, 0.95)  # ten in each second
    assert (even.low, even.value, even.high) == (10.0, 10.0, 10.0)
    # Five and fifteen in turn: a deviation of 5 times sqrt(20/19), of which t(19) = 2.0930 over sqrt(20).
    turns = np.concatenate([k + (np.arange(n) + 0.5) / n for k, n in enumerate([5, 15] * 10)])
    found = rate_interval(turns * 0.5, 10.0, 0.95)
    assert found.value == pytest.approx(20.0)
    assert (found.high - 20.0, 20.0 - found.low) == pytest.approx(
        (2.0930 * 10.0 / math.sqrt(19.0),) * 2, rel=1e-4
    )


def test_a_ratio_of_sums_is_as_sure_as_its_sections():
    """Requests over batches of a mean batch of 3; each section by its weight, and not a mean of ratios."""
    generator = np.random.default_rng(5)
    held_in = 0
    for _ in range(PATHS):
        batches = generator.poisson(50.0, 20).astype(float)
        requests = 3.0 * batches + generator.normal(0.0, np.sqrt(batches))
        interval = ratio_interval(requests, batches, 0.95)
        assert interval.value == pytest.approx(requests.sum() / batches.sum())
        held_in += interval.low <= 3.0 <= interval.high
    assert HELD_MIN <= held_in < PATHS
    assert ratio_interval(np.ones(20), np.ones(20), 0.95).half_width == 0.0
    assert ratio_interval(np.ones(9), np.ones(9), 0.95) is None
    assert ratio_interval(np.zeros(20), np.zeros(20), 0.95) is None


def test_an_interval_is_open_above_where_it_reaches_what_nobody_waited_for():
    values = np.concatenate([np.arange(9900.0), np.full(100, 9900.0)])
    values = np.random.default_rng(6).permutation(values)
    at_most = np.where(values == 9900.0, np.inf, values)
    for quantile, is_open in ((0.5, False), (0.95, False), (0.99, True), (0.995, True)):
        closed = quantile_interval(values, quantile, 0.95)
        found = quantile_interval(values, quantile, 0.95, at_most)
        assert (found.value, found.low) == (closed.value, closed.low)
        assert (found.high == np.inf) == is_open


@pytest.mark.parametrize(
    ("paths", "most"), [(md1, 4), (autoregressive, 4), (lambda i: md1(i, count=3000, load=0.85), 10)]
)
def test_a_steady_state_seldom_rises_beyond_chance(paths, most):
    """At a level of one in a thousand; short busy paths are longer alike than their sections are long."""
    found = [drift(paths(i), 0.999, fmean) for i in range(PATHS)]
    assert sum(interval.low > 0.0 or interval.high < 0.0 for interval in found) <= most


def test_a_rise_is_found():
    path = md1(0)
    path[len(path) // 2 :] *= 1.3
    interval = drift(path, 0.999, fmean)
    assert 0.0 < interval.low < 0.3 < interval.high
