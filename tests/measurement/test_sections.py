"""Intervals from one path hold the truth about as often as they say, although its requests are alike."""

import numpy as np
import pytest
from measurements.sections import rise_interval
from scipy.signal import lfilter
from scipy.stats import norm

from capacity.measurement.intervals import (
    mean_interval,
    quantile_interval,
    rate_interval,
    ratio_interval,
    requests_min,
    share_interval,
)
from capacity.queues.mdc import MDc

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
    assert mean_interval(values[:99], 0.95) is None
    assert (requests_min(0.99), requests_min(0.95), requests_min(0.5)) == (5000, 1000, 100)


def test_constant_values_have_no_width():
    for interval in (
        mean_interval(np.full(1000, 0.5), 0.95),
        quantile_interval(np.full(1000, 0.5), 0.5, 0.95),
    ):
        assert (interval.low, interval.value, interval.high) == (0.5, 0.5, 0.5)


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
    interval = rate_interval(instants_s, 5.0, 25.0, 0.95)
    assert interval.value == pytest.approx(200.0)
    assert 0.0 < interval.half_width < 20.0
    assert rate_interval(instants_s[:199], 5.0, 25.0, 0.95) is None
    assert rate_interval(instants_s, 5.0, 5.0, 0.95) is None


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
    found = [rise_interval(paths(i), 0.999) for i in range(PATHS)]
    assert sum(interval.low > 0.0 or interval.high < 0.0 for interval in found) <= most


def test_a_rise_is_found():
    path = md1(0)
    path[len(path) // 2 :] *= 1.3
    interval = rise_interval(path, 0.999)
    assert 0.0 < interval.low < 0.3 * path[: len(path) // 2].mean() < interval.high
    assert rise_interval(path[:199], 0.999) is None
