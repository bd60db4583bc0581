"""Eight-bit weights against the operator of ONNX, fractions, statistics, and the bound itself."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.errors import DomainError
from capacity.profile.quantization import ROUNDING_SLACK, error_bound, quantize

CLAIM = 1e-12
laws = settings(derandomize=True, deadline=None, max_examples=80)
numbers = st.floats(-1e6, 1e6, allow_subnormal=False)
weights = st.lists(numbers, min_size=1, max_size=40)


def test_onnx_quantize_linear():
    """ONNX's example of QuantizeLinear, whose uint8 with zero point 128 is int8 with 0, but for its code -128."""
    found = quantize([0.0, 2, 3, 1000, -254, -1000], scale=2.0)
    assert found.codes.tolist() == [0, 1, 2, 127, -127, -127]
    assert found.codes.dtype == np.int8
    assert found.saturated == 2
    assert found.saturation_error == pytest.approx(math.hypot(1000 - 254, 1000 - 254), rel=CLAIM)
    assert not found.rounding_bound_holds
    assert found.error <= found.error_bound


def test_the_bound_by_hand_and_where_it_is_reached():
    """All weights in the middle between two steps: each is off by half a step."""
    found = quantize([0.5, 1.5, 2.5, -3.5], scale=1.0)
    assert found.error == error_bound(1.0, 4) == found.rounding_bound == 1.0
    assert found.rounding_bound_holds


@laws
@given(weights)
def test_no_error_beyond_the_bound(values):
    found = quantize(values)
    scale = Fraction(float(found.scales[0]))
    squares = sum((Fraction(w) - int(code) * scale) ** 2 for w, code in zip(values, found.codes, strict=True))
    exact = math.sqrt(squares)
    assert found.error == pytest.approx(exact, rel=1e-6, abs=1e-9 * float(scale))
    assert found.rounding_bound_holds
    assert found.saturated == 0
    assert found.rounding_bound == pytest.approx(error_bound(float(scale), len(values)), rel=CLAIM)
    assert np.abs(found.codes.astype(int)).max() <= 127


@laws
@given(weights, st.floats(-3.0, 0.0))
def test_saturation_is_counted_and_bounded(values, power):
    scale = float(quantize(values).scales[0]) * 10.0**power
    found = quantize(values, scale=scale)
    slack = 0.5 * scale * (1.0 + ROUNDING_SLACK)
    assert found.saturated == sum(abs(w) > 127 * scale + slack for w in values)
    assert found.error <= found.error_bound * (1.0 + ROUNDING_SLACK)


def test_a_scale_that_is_too_small_violates_the_bound_and_is_told():
    values = np.linspace(-1.0, 1.0, 101)
    found = quantize(values, scale=1.0 / 512)
    assert not found.rounding_bound_holds
    assert found.saturated > 0
    assert found.error > found.rounding_bound


@pytest.mark.parametrize("seed", range(3))
def test_normal_weights_make_the_expected_error(seed):
    """The root of the mean square of an error that is even within a step is step/sqrt(12)."""
    found = quantize(np.random.default_rng(seed).normal(size=100_000))
    assert found.error == pytest.approx(found.error_expected, rel=0.01)
    assert found.error_expected == pytest.approx(found.rounding_bound / math.sqrt(3.0), rel=CLAIM)


@pytest.mark.parametrize("shape", [(4,), (3, 5), (2, 3, 4)])
def test_channels_are_those_one_by_one(shape):
    values = np.random.default_rng(1).normal(size=shape)
    for axis in range(len(shape)):
        found = quantize(values, axis=axis)
        alone = [quantize(values.take(i, axis=axis).reshape(-1)) for i in range(shape[axis])]
        assert found.scales.tolist() == [one.scales[0] for one in alone]
        for i, one in enumerate(alone):
            assert np.array_equal(found.codes.take(i, axis=axis).reshape(-1), one.codes)
        squares = math.fsum(one.error**2 for one in alone)
        assert found.error == pytest.approx(math.sqrt(squares), rel=CLAIM)
        assert found.rounding_bound == pytest.approx(
            math.hypot(*(one.rounding_bound for one in alone)), rel=CLAIM
        )
        assert np.linalg.norm(values - found.weights()) == pytest.approx(found.error, rel=1e-9)


@laws
@given(weights, st.integers(-20, 20))
def test_units_do_not_matter(values, power):
    found, scaled = quantize(values), quantize([w * 2.0**power for w in values])
    if any(values):
        assert np.array_equal(found.codes, scaled.codes)
        assert scaled.error == pytest.approx(found.error * 2.0**power, rel=CLAIM)


def test_zeros_and_lone_numbers():
    assert (quantize([0.0, 0.0]).error, quantize([0.0, 0.0]).scales.tolist()) == (0.0, [1.0])
    assert quantize([3.0]).codes.tolist() == [127]
    assert quantize([[0.0, 0.0], [1.0, 2.0]], axis=0).scales.tolist() == [1.0, 2.0 / 127]


def test_memory_counts_codes_and_scales():
    values = np.ones((30, 4096))
    assert quantize(values).memory_ratio == pytest.approx(4 * 30 * 4096 / (30 * 4096 + 4), rel=CLAIM)
    assert quantize(values, axis=1).memory_ratio == pytest.approx(4 / (1 + 4 / 30), rel=CLAIM)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"weights": []}, "at least one"),
        ({"weights": 1.0}, "at least one"),
        ({"weights": [math.nan]}, "NaN"),
        ({"weights": [math.inf]}, "NaN"),
        ({"weights": ["1"]}, "real"),
        ({"weights": [1.0], "axis": 1}, "axis"),
        ({"weights": [1.0], "scale": 0.0}, "scale"),
        ({"weights": [1.0], "scale": math.nan}, "scale"),
    ],
)
def test_what_cannot_be_quantized_is_refused(given, message):
    with pytest.raises(DomainError, match=message):
        quantize(**given)


@pytest.mark.parametrize(("scale", "elements"), [(0.0, 4), (-1.0, 4), (math.inf, 4), (1.0, 0), (1.0, 2.5)])
def test_bad_scales_and_counts_are_refused(scale, elements):
    with pytest.raises(DomainError):
        error_bound(scale, elements)


def test_rounding_bounds_allow_for_single_precision():
    """Single precision may miss half a step by 127 x 2^-22 = 3.03e-5 of a step."""
    for off, saturated in ((2.9e-5, 0), (3.1e-5, 1)):
        assert quantize([127.5 * (1.0 + off / 255.0)], scale=1.0).saturated == saturated
    assert not quantize([127.5 + 1e-4], scale=1.0).rounding_bound_holds
    assert quantize([127.5 + 1e-5], scale=1.0).rounding_bound_holds
    assert quantize([1e300]).codes.tolist() == [127]
    with pytest.raises(DomainError, match="within 1e\\+300"):
        quantize([1.1e300])
