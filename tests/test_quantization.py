"""Eight-bit weights against the operators of ONNX and PyTorch, fractions, statistics, and the bound itself."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.errors import DomainError
from capacity.quantization import (
    ROUNDING_SLACK,
    Quantized,
    error_bound,
    error_bound_per_channel,
    error_expected,
    error_expected_per_channel,
    quantize,
)

CLAIM = 1e-12
laws = settings(derandomize=True, deadline=None, max_examples=80)
numbers = st.floats(-1e6, 1e6, allow_subnormal=False)
weights = st.lists(numbers, min_size=1, max_size=40)


def exact_error(values: list[float], found: Quantized) -> float:
    """||W - Q(W)|| in fractions."""
    scale, zero = Fraction(float(found.scales[0])), int(found.zero_points[0])
    squares = sum(
        (Fraction(w) - (int(code) - zero) * scale) ** 2 for w, code in zip(values, found.codes, strict=True)
    )
    return math.sqrt(squares)


def test_onnx_quantize_linear() -> None:
    """ONNX's example of QuantizeLinear: uint8 with zero point 128 is int8 with zero point 0."""
    found = quantize([0.0, 2, 3, 1000, -254, -1000], symmetric=False, scale=2.0, zero_point=0)
    assert (found.codes.astype(int) + 128).tolist() == [128, 129, 130, 255, 1, 0]
    assert found.codes.dtype == np.int8
    assert found.saturated == 2
    assert found.saturation_error == pytest.approx(math.hypot(1000 - 254, 1000 - 256), rel=CLAIM)
    assert not found.rounding_bound_holds
    assert found.error <= found.error_bound


def test_onnx_per_axis_int4_rows() -> None:
    """ONNX's int4 example, the elements that do not saturate: zero point 1, scales 2, 3 and 4 by row."""
    rows = [[0.0, 2.5, 4.8, 8.6], [-20.0, 6.0, 9.0, 0.0], [12.0, 15.0, 16.0, 0.0]]
    found = quantize(rows, symmetric=False, axis=0, scale=[2.0, 3.0, 4.0], zero_point=1)
    assert found.codes.tolist() == [[1, 2, 3, 5], [-6, 3, 4, 1], [4, 5, 5, 1]]
    assert found.saturated == 0


def test_torch_quantize_per_tensor() -> None:
    """PyTorch's example: quint8 with zero point 10 is qint8 with -118."""
    found = quantize([-1.0, 0.0, 1.0, 2.0], symmetric=False, scale=0.1, zero_point=-118)
    assert (found.codes.astype(int) + 128).tolist() == [0, 10, 20, 30]
    assert found.weights() == pytest.approx([-1.0, 0.0, 1.0, 2.0], abs=1e-15)


def test_the_bound_by_hand_and_where_it_is_reached() -> None:
    assert error_bound(scale=2.0, elements=9) == 3.0
    assert error_expected(scale=2.0, elements=27) == 3.0
    assert error_bound_per_channel([1.0, 2.0, 2.0], elements=4) == 3.0
    assert error_expected_per_channel([1.0, 2.0, 2.0], elements=12) == pytest.approx(3.0, rel=CLAIM)
    middles = [(k + 0.5) * 0.25 for k in range(-100, 100)]
    found = quantize(middles, scale=0.25)
    assert found.error == found.rounding_bound == error_bound(0.25, 200)
    assert found.codes[:3].tolist() == [-100, -98, -98]  # halves to even
    assert found.saturated == 0
    assert found.rounding_bound_holds


@laws
@given(weights, st.booleans())
def test_no_error_beyond_the_bound(values: list[float], symmetric: bool) -> None:
    found = quantize(values, symmetric=symmetric)
    assert found.saturated == 0
    assert found.saturation_error == 0.0
    assert found.rounding_bound_holds
    assert found.error == pytest.approx(
        exact_error(values, found), rel=1e-9, abs=1e-14 * max(map(abs, values))
    )
    assert found.error_bound == found.rounding_bound == error_bound(float(found.scales[0]), len(values))
    assert found.error_expected == pytest.approx(found.rounding_bound / math.sqrt(3.0), rel=CLAIM)
    low, high = (-127, 127) if symmetric else (-128, 127)
    assert low <= found.codes.min() <= found.codes.max() <= high
    if symmetric:
        assert found.zero_points.tolist() == [0]
        assert max(map(abs, found.codes.astype(int))) in (0, 127)
    elif max(values) > 0.0 > min(values):
        assert int(found.codes.max()) - int(found.codes.min()) in (254, 255)  # all codes, but for a half


@laws
@given(weights, st.floats(-12, 3), st.booleans())
def test_saturation_is_counted_and_bounded(values: list[float], power: float, symmetric: bool) -> None:
    scale = 10.0**power
    found = quantize(values, symmetric=symmetric, scale=scale)
    high, low = 127.0 * scale, (-127.0 if symmetric else -128.0) * scale
    slack = 0.5 * scale * (1.0 + ROUNDING_SLACK)
    over = [max(w - high, low - w) for w in values if max(w - high, low - w) > slack]
    assert found.saturated == len(over)
    assert found.saturation_error == pytest.approx(math.sqrt(sum(x * x for x in over)), rel=1e-9)
    assert found.error <= found.error_bound * (1.0 + 1e-9)
    assert found.rounding_bound == pytest.approx(error_bound(scale, len(values)), rel=CLAIM)
    assert found.error == pytest.approx(exact_error(values, found), rel=1e-9, abs=1e-8)


def test_a_scale_by_128_violates_the_bound() -> None:
    """max |W| / 128 with codes up to 127: the largest weight is off by a whole step, not by half."""
    found = quantize([1.0, 0.25], scale=1.0 / 128.0)
    assert found.codes.tolist() == [127, 32]
    assert found.error == 1.0 / 128.0
    assert found.saturated == 1
    assert not found.rounding_bound_holds
    assert quantize([1.0, 0.25], symmetric=False, scale=1.0 / 128.0).saturated == 1
    assert quantize([-1.0, 0.25], symmetric=False, scale=1.0 / 128.0).saturated == 0


def test_a_half_step_beyond_the_outermost_code_is_rounding() -> None:
    for values in ([127.5, -127.5], [127.4]):
        found = quantize(values, scale=1.0)
        assert found.saturated == 0
        assert found.rounding_bound_holds
    assert quantize([127.51], scale=1.0).saturated == 1
    assert quantize([-128.5, 127.5], symmetric=False, scale=1.0).saturated == 0


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_normal_weights_make_the_expected_error(symmetric: bool, seed: int) -> None:
    """||e||^2 has relative deviation sqrt(0.8 / d) where errors are even: within four of them."""
    values = np.random.default_rng(seed).normal(size=(200, 500))
    found = quantize(values, symmetric=symmetric)
    assert found.error / found.error_expected == pytest.approx(1.0, abs=2.0 * math.sqrt(0.8 / values.size))
    assert found.error_expected == pytest.approx(error_expected(float(found.scales[0]), 100_000), rel=CLAIM)
    assert found.error == pytest.approx(float(np.linalg.norm(values - found.weights())), rel=CLAIM)


def test_a_coarse_scale_is_not_even() -> None:
    """Steps of ten deviations: nearly all weights round to 0, and the error is the weights."""
    values = np.random.default_rng(0).normal(size=10_000)
    found = quantize(values, scale=10.0)
    assert found.error == pytest.approx(float(np.linalg.norm(values)), rel=1e-3)
    assert found.error < 0.5 * found.error_expected


@pytest.mark.parametrize("shape", [(3, 5), (4, 3, 2), (2, 3, 4, 5)])
@pytest.mark.parametrize("symmetric", [True, False])
def test_channels_one_by_one(shape: tuple[int, ...], symmetric: bool) -> None:
    values = np.random.default_rng(1).normal(size=shape) * 3.0 + 1.0
    for axis in range(len(shape)):
        found = quantize(values, symmetric=symmetric, axis=axis)
        assert found.codes.shape == shape
        squares, bounds = 0.0, 0.0
        for k in range(shape[axis]):
            alone = quantize(np.take(values, k, axis), symmetric=symmetric)
            assert (np.take(found.codes, k, axis) == alone.codes).all()
            assert found.scales[k] == alone.scales[0]
            assert found.zero_points[k] == alone.zero_points[0]
            squares += alone.error**2
            bounds += alone.rounding_bound**2
        assert found.error == pytest.approx(math.sqrt(squares), rel=CLAIM)
        assert found.rounding_bound == pytest.approx(math.sqrt(bounds), rel=CLAIM)
        assert found.rounding_bound == pytest.approx(
            error_bound_per_channel(found.scales, values.size // shape[axis]), rel=CLAIM
        )
        assert np.linalg.norm(values - found.weights()) == pytest.approx(found.error, rel=CLAIM)
        whole = quantize(values, symmetric=symmetric)
        assert found.rounding_bound <= whole.rounding_bound * (1.0 + CLAIM)


@laws
@given(weights, st.integers(-300, 300), st.booleans())
def test_units_do_not_matter(values: list[float], power: int, symmetric: bool) -> None:
    k = 2.0**power
    plain = quantize(values, symmetric=symmetric)
    if min((abs(w) for w in values if w), default=1.0) * k < 1e-200:
        return
    other = quantize([w * k for w in values], symmetric=symmetric)
    assert other.codes.tolist() == plain.codes.tolist()
    if any(values):
        assert other.error == pytest.approx(plain.error * k, rel=CLAIM)
        assert other.rounding_bound == pytest.approx(plain.rounding_bound * k, rel=CLAIM)


def test_single_precision_stays_within_the_slack() -> None:
    """The same arithmetic in float32, at middles: beyond half a step, but not beyond the slack."""
    scale = np.float32(0.1)
    middles = ((np.arange(-126, 126) + 0.5) * float(scale)).astype(np.float32)
    codes = np.rint(middles / scale).astype(np.int8)
    back = codes.astype(np.float32) * scale
    errors = np.abs(middles.astype(float) - back.astype(float))
    assert errors.max() > 0.5 * float(scale)
    assert errors.max() <= 0.5 * float(scale) * (1.0 + ROUNDING_SLACK)
    assert np.linalg.norm(errors) <= error_bound(float(scale), len(middles)) * (1.0 + ROUNDING_SLACK)
    assert quantize(middles, scale=float(scale)).saturated == 0


def test_zeros_and_lone_numbers() -> None:
    zeros = quantize(np.zeros((2, 3)), axis=0)
    assert zeros.scales.tolist() == [1.0, 1.0]
    assert zeros.error == 0.0
    assert quantize([0.0], symmetric=False).weights().tolist() == [0.0]
    positive = quantize([5.0, 10.0], symmetric=False)
    assert positive.zero_points.tolist() == [-128]  # 0 is in the range
    assert positive.codes.tolist() == [0, 127]
    negative = quantize([-5.0, -10.0], symmetric=False)
    assert negative.zero_points.tolist() == [127]
    assert negative.codes.tolist() == [-1, -128]
    assert quantize(3.0).codes.shape == ()
    assert quantize(np.array([1, 2], dtype=np.int32)).codes.tolist() == [64, 127]
    tiny = quantize([5e-324, 0.0])
    assert tiny.error <= tiny.rounding_bound
    huge = quantize([1e300, -1e300], symmetric=False)
    assert huge.rounding_bound_holds
    over = quantize([1e300], scale=1e-300)
    assert (over.codes.tolist(), over.error) == ([127], 1e300)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"weights": []}, "weights must be finite numbers within .* at least one"),
        ({"weights": [1.0, math.nan]}, "look for NaN and infinity"),
        ({"weights": [math.inf]}, "look for NaN"),
        ({"weights": [1e301]}, "within 1e"),
        ({"weights": ["a"]}, "weights must be real numbers"),
        ({"weights": [1j]}, "weights must be real numbers, got complex128"),
        ({"weights": [True]}, "weights must be real numbers, got bool"),
        ({"weights": [[1.0], [1.0, 2.0]]}, "weights must be numbers in a regular shape"),
        ({"weights": [1.0], "axis": 1}, "axis must be one of the 1 axes of the weights from 0, got 1"),
        ({"weights": [1.0], "axis": -1}, "axis must be"),
        ({"weights": [1.0], "axis": True}, "axis must be"),
        ({"weights": [1.0], "axis": 0.0}, "axis must be"),
        ({"weights": [1.0], "scale": 0.0}, "scale must be > 0"),
        ({"weights": [1.0], "scale": -1.0}, "scale must be > 0"),
        ({"weights": [1.0], "scale": math.nan}, "scale must be finite"),
        ({"weights": [1.0], "scale": [[1.0]]}, "one for each channel in a row"),
        ({"weights": [1.0, 2.0], "scale": [1.0, 2.0]}, "scale must be one number or 1, one a channel, got 2"),
        ({"weights": [1.0, 2.0], "axis": 0, "scale": [1.0] * 3}, "one number or 2, one a channel, got 3"),
        ({"weights": [1.0], "zero_point": 1}, "zero_point needs a scale"),
        (
            {"weights": [1.0], "scale": 1.0, "zero_point": 0},
            "left out of symmetric codes; set symmetric=False",
        ),
    ],
)
def test_what_cannot_be_quantized_is_refused(given: dict, message: str) -> None:
    with pytest.raises(DomainError, match=message):
        quantize(**given)


@pytest.mark.parametrize("bad", [0.5, 128, -129, [[1]], math.nan])
def test_zero_points_that_break_the_bound_are_refused(bad: float) -> None:
    with pytest.raises(DomainError, match="zero_point must be"):
        quantize([1.0], symmetric=False, scale=1.0, zero_point=bad)


def test_outermost_zero_points() -> None:
    for zero in (-128, 127):
        found = quantize([0.0], symmetric=False, scale=1.0, zero_point=zero)
        assert found.codes.tolist() == [zero]
    with pytest.raises(DomainError, match="zero_point must be one number or 1"):
        quantize([0.0], symmetric=False, scale=1.0, zero_point=[1, 2])


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.0, -1.0, True])
def test_bad_scales_and_counts_are_refused(bad: float) -> None:
    for ask in (error_bound, error_expected):
        with pytest.raises(DomainError, match="scale must be > 0"):
            ask(bad, 3)
    for ask in (error_bound, error_expected):
        with pytest.raises(DomainError, match="elements must be an integer >= 1"):
            ask(1.0, bad)
    for ask in (error_bound_per_channel, error_expected_per_channel):
        with pytest.raises(DomainError, match="scale must be"):
            ask([1.0, bad], 3) if bad is not True else ask([bad], 3)
        with pytest.raises(DomainError, match="elements must be an integer >= 1"):
            ask([1.0], bad)


# ---- Memory ---------------------------------------------------------------------------------


def test_memory_counts_codes_scales_and_zero_points_by_hand() -> None:
    """Six weights take 24 bytes, their codes 6, each scale 4, and a zero point 1 where not all are 0."""
    matrix = np.arange(1.0, 7.0).reshape(2, 3)
    assert quantize(matrix).memory_ratio == 24 / 10
    assert quantize(matrix, axis=0).memory_ratio == 24 / 14
    assert quantize(matrix, axis=1).memory_ratio == 24 / 18
    assert quantize(matrix, symmetric=False).memory_ratio == 24 / 11
    assert quantize(matrix, axis=0, symmetric=False).memory_ratio == 24 / 16


@laws
@given(st.integers(1, 40), st.integers(1, 40))
def test_memory_is_never_four_times_less_and_nearly_so_of_many_inputs(inputs: int, outputs: int) -> None:
    """4/(1 + 4/n) of n weights to a scale, whatever the number of outputs."""
    found = quantize(np.ones((inputs, outputs)), axis=1).memory_ratio
    assert found == pytest.approx(4.0 / (1.0 + 4.0 / inputs))
    assert found < 4.0
