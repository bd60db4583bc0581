"""ServiceLaw: exact values, a second road to each, and laws that hold for any figures."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from capacity.errors import InputError
from capacity.profile.distribution import (
    TAIL_MEAN_RATIO_MAX,
    ServiceLaw,
    _body,
    between,
    constant,
    from_samples,
    from_summary,
)

laws_hold = settings(derandomize=True, deadline=None, max_examples=120)

durations = st.floats(1e-4, 10.0)
uniforms = st.floats(0.0, 1.0, exclude_max=True)
samples = st.lists(durations, min_size=1, max_size=30)


@dataclass(frozen=True)
class Summary:
    mean_s: float
    percentiles_s: dict[float, float]

    def law(self) -> ServiceLaw:
        return from_summary(self.mean_s, self.percentiles_s)

    def scaled(self, factor: float) -> "Summary":
        return Summary(self.mean_s * factor, {u: x * factor for u, x in self.percentiles_s.items()})


def tail_excess_s(percentiles_s: dict[float, float]) -> float:
    """The stated rule, by itself: an exponential tail through the last two percentiles."""
    if len(percentiles_s) == 1:
        return 0.0
    (u0, x0), (u1, x1) = sorted(percentiles_s.items())[-2:]
    rate_per_s = (math.log(1.0 - u0) - math.log(1.0 - u1)) / (x1 - x0) if x1 > x0 else math.inf
    return min(1.0 / rate_per_s, x1)


@st.composite
def summaries(draw: st.DrawFn) -> Summary:
    """Percentiles in rising order, and a mean that they allow, often with a stretched tail."""
    probabilities = sorted(draw(st.sets(st.sampled_from([0.5, 0.9, 0.95, 0.99]), min_size=1)))
    rising = sorted(draw(st.lists(durations, min_size=len(probabilities), max_size=len(probabilities))))
    middle = np.trapezoid(rising, probabilities)
    tail_mean_s = rising[-1] + tail_excess_s(dict(zip(probabilities, rising, strict=True)))
    body_mean_s = rising[0] * draw(st.sampled_from([0.05, 0.3, 0.6, 2 / 3, 0.7, 0.95, 1.0]))
    if draw(st.booleans()):
        body_mean_s, tail_mean_s = rising[0], max(tail_mean_s, rising[-1] * draw(st.floats(1.0, 1.99)))
    mean_s = probabilities[0] * body_mean_s + middle + (1.0 - probabilities[-1]) * tail_mean_s
    return Summary(float(mean_s), dict(zip(probabilities, rising, strict=True)))


any_law = st.one_of(
    summaries().map(Summary.law), samples.map(from_samples), durations.map(constant), st.just(constant(0.1))
)


def area_s(law: ServiceLaw) -> float:
    """Mean by another road: numpy's trapezoidal rule on the knots."""
    return float(np.trapezoid(law.durations_s, law.probabilities))


def test_a_constant_is_one_duration_at_every_quantile() -> None:
    law = constant(0.25)
    assert [law.quantile_s(u) for u in (0.0, 0.3, 1.0)] == [0.25] * 3
    assert law.mean_s == 0.25
    assert law.is_deterministic
    assert law.tail_ratio is None


def test_a_mean_alone_is_a_constant() -> None:
    assert from_summary(0.003, {}) == constant(0.003)


def test_equal_mean_and_percentiles_are_deterministic_to_the_last_digit() -> None:
    for mean_s in np.random.default_rng(1).uniform(1e-4, 0.1, 500).tolist():
        law = from_summary(mean_s, {0.95: mean_s, 0.99: mean_s})
        assert law.is_deterministic, mean_s
        assert law.tail_ratio is None


T4_BATCH_16 = Summary(0.015113, {0.9: 0.015319, 0.95: 0.015337, 0.99: 0.015389})  # NVIDIA's table


def test_published_row_comes_back() -> None:
    law = T4_BATCH_16.law()
    assert [law.quantile_s(u) for u in (0.9, 0.95, 0.99)] == [0.015319, 0.015337, 0.015389]
    assert law.mean_s == pytest.approx(0.015113, rel=1e-12)
    # By hand: middle .05 x 15.328 + .04 x 15.363 = 1.38092; tail excess .052/ln 5 = .0323095.
    assert 1e3 * law.quantile_s(1.0) == pytest.approx(15.389 + 2 * 0.0323095, abs=1e-6)
    body_mean_ms = (15.113 - 1.38092 - 0.01 * (15.389 + 0.0323095)) / 0.9
    assert 1e3 * law.quantile_s(0.0) == pytest.approx(2 * body_mean_ms - 15.319, abs=1e-6)
    assert 1e3 * law.quantile_s(0.45) == pytest.approx(body_mean_ms, abs=1e-6)


def test_the_tail_of_an_exponential_keeps_its_mean_excess() -> None:
    """Memoryless: beyond any percentile of Exp(1) the mean excess is 1, so the line ends 2 above it."""
    for pair in ((0.5, 0.9), (0.5, 0.95), (0.9, 0.95), (0.9, 0.99), (0.95, 0.99)):
        percentiles_s = {u: -math.log1p(-u) for u in pair}
        law = from_summary(1.1, percentiles_s)
        assert law.tail_ratio is None
        assert law.quantile_s(1.0) == pytest.approx(percentiles_s[pair[1]] + 2.0, rel=1e-12)
        beyond_s = (law.quantile_s(1.0) + law.quantile_s(pair[1])) / 2.0
        assert beyond_s == pytest.approx(percentiles_s[pair[1]] + 1.0, rel=1e-12)


def test_only_the_last_two_percentiles_shape_the_tail() -> None:
    two = from_summary(1.2, {0.95: 2.0, 0.99: 2.6})
    four = from_summary(1.2, {0.5: 1.0, 0.9: 1.7, 0.95: 2.0, 0.99: 2.6})
    assert two.quantile_s(0.995) == four.quantile_s(0.995)


def test_one_percentile_leaves_a_flat_tail() -> None:
    law = from_summary(0.9, {0.95: 1.0})
    assert law.quantile_s(0.95) == law.quantile_s(0.999) == law.quantile_s(1.0) == 1.0


def test_the_tail_excess_is_capped_at_the_last_percentile() -> None:
    law = from_summary(1.5, {0.9: 1.0, 0.95: 10.0})  # uncapped: 9/ln 2 = 12.98
    assert law.quantile_s(1.0) == 10.0 + 2 * 10.0
    assert law.mean_s == pytest.approx(1.5, rel=1e-12)


def test_a_body_too_long_for_a_line_has_a_flat_part() -> None:
    law = from_summary(0.5, {0.9: 1.0})  # body mean (.5 - .1)/.9 = .4444 < 2/3
    body_mean_s = 0.4 / 0.9
    assert law.quantile_s(0.0) == pytest.approx(body_mean_s / 2, rel=1e-12)
    assert law.probabilities[1] == pytest.approx(0.9 * (1 - body_mean_s / (1 - body_mean_s / 2)), rel=1e-12)
    assert law.quantile_s(law.probabilities[1]) == law.quantile_s(0.0)
    assert law.mean_s == pytest.approx(0.5, rel=1e-12)


def test_a_flat_part_without_length_is_left_out() -> None:
    """One rounding below the border to the plain line; two knots at 0 would divide a draw of 0 by 0."""
    assert 3.0 * 0.062105391769724946 < 2.0 * 0.09315808765458743
    assert _body(0.95, 0.09315808765458743, 0.062105391769724946) == [(0.0, 0.031052695884862473)]


def test_a_mean_above_its_body_stretches_the_tail_and_says_by_how_much() -> None:
    law = from_summary(0.01105, {0.95: 0.011, 0.99: 0.0111})
    beyond_s = (0.01105 - 0.95 * 0.011 - 0.04 * (0.0111 - 0.01 * 0.0001)) / 0.01  # the middle at its highest
    assert law.tail_ratio == pytest.approx(beyond_s / 0.0111, rel=1e-9)
    assert law.quantile_s(1.0) == pytest.approx(2 * beyond_s - 0.0111, rel=1e-9)
    assert law.quantile_s(0.0) == law.quantile_s(0.95) == 0.011
    assert law.quantile_s(0.99) == 0.0111
    assert law.mean_s == pytest.approx(0.01105, rel=1e-12)


def test_the_stretched_tail_ends_at_the_stated_ratio() -> None:
    def mean_at(ratio: float) -> float:
        return 0.95 * 1.0 + 0.04 * (1.1 - 0.01 * 0.1) + 0.01 * ratio * 1.1

    assert from_summary(mean_at(1.999), {0.95: 1.0, 0.99: 1.1}).tail_ratio == pytest.approx(1.999)
    with pytest.raises(InputError, match=r"average 2\.01 x P99, more than 2 x"):
        from_summary(mean_at(2.01), {0.95: 1.0, 0.99: 1.1})
    assert TAIL_MEAN_RATIO_MAX == 2.0


def test_just_below_a_knot_no_quantile_exceeds_it() -> None:
    """Here the plain formula gives one unit in the last place more than the knot."""
    law = ServiceLaw(probabilities=(0.0, 0.2, 0.9, 1.0), durations_s=(0.00911, 0.00911, 0.1115, 0.2))
    below = math.nextafter(0.9, 0.0)
    assert 0.00911 + (0.1115 - 0.00911) * ((below - 0.2) / (0.9 - 0.2)) > 0.1115
    assert law.quantile_s(below) <= law.quantile_s(0.9) == 0.1115


def test_samples_are_steps() -> None:
    law = from_samples([5.0, 1.0, 2.0, 2.0])
    expected = {0.0: 1.0, 0.25: 1.0, 0.26: 2.0, 0.5: 2.0, 0.75: 2.0, 0.76: 5.0, 1.0: 5.0}
    assert {u: law.quantile_s(u) for u in expected} == expected
    assert law.mean_s == 2.5


def test_interpolation_is_the_weighted_mean_quantile_by_quantile() -> None:
    low, high = from_samples([1.0, 3.0]), from_samples([2.0, 4.0, 9.0])
    law = between(low, high, 0.25)
    expected = {0.2: 1.25, 1 / 3: 1.25, 0.4: 1.75, 0.5: 1.75, 0.6: 3.25, 0.7: 4.5}
    assert {u: law.quantile_s(u) for u in expected} == pytest.approx(expected, rel=1e-15)
    assert law.mean_s == pytest.approx(0.75 * 2.0 + 0.25 * 5.0, rel=1e-15)


def test_percentiles_that_fall_are_refused_with_all_of_them() -> None:
    with pytest.raises(InputError) as caught:
        from_summary(1.0, {0.5: 1.0, 0.99: 1.1, 0.95: 1.2})
    assert str(caught.value) == (
        "percentiles must not fall: P50 = 1 s, P95 = 1.2 s, P99 = 1.1 s; check the columns"
    )


def test_a_mean_that_its_percentiles_cannot_hold_is_refused_with_the_ratio_and_the_mend() -> None:
    ratio = (0.0112 - 0.95 * 0.011 - 0.04 * (0.0111 - 0.01 * 0.0001)) / 0.01 / 0.0111
    with pytest.raises(InputError) as caught:
        from_summary(0.0112, {0.95: 0.011, 0.99: 0.0111})
    assert str(caught.value) == (
        "mean 0.0112 s contradicts P95 = 0.011 s, P99 = 0.0111 s: the slowest 1 % would have to average "
        f"{ratio:.3g} x P99, more than 2 x; measure again, or give raw samples"
    )


def test_a_mean_too_small_for_its_percentiles_is_refused_with_the_mend() -> None:
    with pytest.raises(InputError, match=r"mean 0\.1 s is too small .* P50 = 1 s, P99 = 2 s; .*raw samples"):
        from_summary(0.1, {0.5: 1.0, 0.99: 2.0})


@laws_hold
@given(summaries())
def test_a_summary_keeps_its_mean_and_every_percentile(summary: Summary) -> None:
    law = summary.law()
    assert law.mean_s == pytest.approx(summary.mean_s, rel=1e-12)
    assert area_s(law) == pytest.approx(summary.mean_s, rel=1e-12)
    assert {u: law.quantile_s(u) for u in summary.percentiles_s} == summary.percentiles_s


@laws_hold
@given(summaries())
def test_the_tail_follows_the_rule_or_says_that_it_was_stretched(summary: Summary) -> None:
    law = summary.law()
    last_s = max(summary.percentiles_s.values())
    tail_mean_s = (last_s + law.durations_s[-1]) / 2.0
    if law.tail_ratio is None:
        assert tail_mean_s == pytest.approx(last_s + tail_excess_s(summary.percentiles_s), rel=1e-12)
    else:
        assert tail_mean_s == pytest.approx(law.tail_ratio * last_s, rel=1e-12)
        assert 1.0 < law.tail_ratio <= TAIL_MEAN_RATIO_MAX
        assert law.durations_s[0] == min(summary.percentiles_s.values())


@laws_hold
@given(any_law)
def test_the_knots_rise_from_0_to_1_and_stay_positive(law: ServiceLaw) -> None:
    assert (law.probabilities[0], law.probabilities[-1]) == (0.0, 1.0)
    assert list(law.probabilities) == sorted(law.probabilities)
    assert list(law.durations_s) == sorted(law.durations_s)
    assert law.durations_s[0] > 0.0


@laws_hold
@given(any_law, uniforms, uniforms)
def test_quantiles_rise(law: ServiceLaw, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert law.quantile_s(low) <= law.quantile_s(high)


@laws_hold
@given(any_law, uniforms)
def test_every_draw_is_positive_and_within_the_law(law: ServiceLaw, uniform: float) -> None:
    assert 0.0 < law.durations_s[0] <= law.quantile_s(uniform) <= law.durations_s[-1]


@laws_hold
@given(summaries(), st.floats(1e-3, 1e3), uniforms)
def test_durations_times_k_make_everything_times_k(summary: Summary, factor: float, uniform: float) -> None:
    law, scaled = summary.law(), summary.scaled(factor).law()
    assert scaled.mean_s == pytest.approx(factor * law.mean_s, rel=1e-9)
    assert scaled.quantile_s(uniform) == pytest.approx(factor * law.quantile_s(uniform), rel=1e-6)


@laws_hold
@given(summaries(), st.integers(-10, 10))
def test_scaling_by_a_power_of_two_is_exact(summary: Summary, exponent: int) -> None:
    law, scaled = summary.law(), summary.scaled(2.0**exponent).law()
    assert scaled.probabilities == law.probabilities
    assert scaled.durations_s == tuple(2.0**exponent * x for x in law.durations_s)
    assert scaled.tail_ratio == law.tail_ratio


@laws_hold
@given(samples, st.floats(0.001, 0.999))
def test_samples_have_the_quantiles_of_numpy(sample: list[float], probability: float) -> None:
    rank = probability * len(sample)
    assume(abs(rank - round(rank)) > 1e-9)
    expected = np.quantile(sample, probability, method="inverted_cdf")
    assert from_samples(sample).quantile_s(probability) == expected


@laws_hold
@given(samples)
def test_the_quantile_at_k_of_n_is_the_kth_sample(sample: list[float]) -> None:
    law, count = from_samples(sample), len(sample)
    assert [law.quantile_s(k / count) for k in range(1, count + 1)] == sorted(sample)
    assert law.mean_s == pytest.approx(math.fsum(sample) / count, rel=1e-12)


@laws_hold
@given(samples, st.randoms(use_true_random=False))
def test_the_order_of_samples_does_not_matter(sample: list[float], random: object) -> None:
    shuffled = sample[:]
    random.shuffle(shuffled)
    assert from_samples(shuffled) == from_samples(sample)


@laws_hold
@given(any_law, any_law, st.floats(0.0, 1.0), uniforms)
def test_interpolation_is_linear_in_every_quantile_and_in_the_mean(low, high, weight, uniform) -> None:
    law = between(low, high, weight)
    for u in (uniform, *low.probabilities, *high.probabilities):
        expected_s = (1.0 - weight) * low.quantile_s(u) + weight * high.quantile_s(u)
        assert law.quantile_s(u) == pytest.approx(expected_s, rel=1e-9)
    assert law.mean_s == pytest.approx((1.0 - weight) * low.mean_s + weight * high.mean_s, rel=1e-12)


@laws_hold
@given(any_law, any_law, st.floats(0.0, 1.0))
def test_an_interpolated_law_rises_like_any_other(low: ServiceLaw, high: ServiceLaw, weight: float) -> None:
    law = between(low, high, weight)
    assert (law.probabilities[0], law.probabilities[-1]) == (0.0, 1.0)
    assert list(law.probabilities) == sorted(law.probabilities)
    assert list(law.durations_s) == sorted(law.durations_s)


@laws_hold
@given(any_law, st.floats(0.0, 1.0), uniforms)
def test_between_equal_laws_lies_the_same_law(law: ServiceLaw, weight: float, uniform: float) -> None:
    middle = between(law, law, weight)
    assert middle.quantile_s(uniform) == pytest.approx(law.quantile_s(uniform), rel=1e-9)
    assert middle.mean_s == pytest.approx(law.mean_s, rel=1e-12)
    assert middle.is_deterministic == law.is_deterministic


@laws_hold
@given(any_law, any_law)
def test_the_ends_of_an_interpolation_are_the_two_laws(low: ServiceLaw, high: ServiceLaw) -> None:
    assert between(low, high, 0.0) == low
    assert between(low, high, 1.0).mean_s == pytest.approx(high.mean_s, rel=1e-12)


def test_draws_have_the_mean_of_the_law() -> None:
    law = T4_BATCH_16.law()
    uniform = (np.arange(20_000) + 0.5) / 20_000  # midpoints: error of the mean is far below the tolerance
    drawn = [law.quantile_s(u) for u in uniform.tolist()]
    assert np.mean(drawn) == pytest.approx(law.mean_s, rel=1e-6)
    assert np.allclose(drawn, np.interp(uniform, law.probabilities, law.durations_s), rtol=1e-12, atol=0.0)


def test_a_heavy_tail_keeps_its_percentiles_and_its_mean():
    """P50 5 ms, P99 50 ms, mean 6 ms: straight lines would average 14 ms; the middle must rise late."""
    law = from_summary(0.006, {0.5: 0.005, 0.99: 0.05})
    assert law.mean_s == pytest.approx(0.006, rel=1e-12)
    assert law.quantile_s(0.5) == 0.005
    assert law.quantile_s(0.99) == 0.05
    assert law.quantile_s(0.9) == 0.005  # still low: the rise begins at P91.5
    assert law.durations_s[0] == pytest.approx(0.00125)  # half of the body's mean, which is half of P50


def test_a_mean_near_its_upper_percentiles_makes_the_middle_rise_early():
    """P50 11 ms, P99 14 ms, mean 12 ms: 49 % at 12.7 ms would do, so nothing need lie beyond the ordinary tail."""
    law = from_summary(0.012, {0.5: 0.011, 0.99: 0.014})
    assert law.mean_s == pytest.approx(0.012, rel=1e-12)
    assert law.tail_ratio is None
    assert law.quantile_s(0.5) == 0.011
    assert law.quantile_s(0.99) == 0.014
    assert law.quantile_s(0.1) == 0.011  # the body is flat
    assert law.quantile_s(0.98) == pytest.approx(0.014)  # and the middle high
