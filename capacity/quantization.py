"""Quantization: weights as eight-bit codes, with the error that makes beside the bound on it."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from capacity.errors import DomainError
from capacity.rounding_error import (
    Floats,
    error_bound,
    error_bound_per_channel,
    error_expected,
    error_expected_per_channel,
    finite_numbers,
    positive_scales,
    root_of_squares,
)

__all__ = [
    "Quantized",
    "error_bound",
    "error_bound_per_channel",
    "error_expected",
    "error_expected_per_channel",
    "quantize",
]

CODE_MIN, CODE_MAX = -128, 127
# Codes up to 127 in single precision, each operation within 2^-24 of itself: a step may be missed by this.
ROUNDING_SLACK = 127.0 * 2.0**-22


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Quantized:
    """Codes, what they mean, and the error they make, all norms Frobenius.

    Attributes:
        codes: int8, of the shape of the weights.
        scales: one, or one for each channel, shape `(channels,)`.
        zero_points: code of 0, likewise; all 0 if symmetric.
        axis: of the channels; None where there is one scale.
        error: ||W - Q(W)|| as it is.
        error_expected: by even errors within a step.
        rounding_bound: largest that rounding alone can make.
        saturated: elements more than half a step beyond the outermost code, which no rounding bounds.
        saturation_error: norm of the distances of those from the outermost code.
    """

    codes: NDArray[np.int8]
    scales: Floats
    zero_points: NDArray[np.int64]
    axis: int | None
    error: float
    error_expected: float
    rounding_bound: float
    saturated: int
    saturation_error: float

    @property
    def error_bound(self) -> float:
        """Bound that holds with saturation too: squares of rounding and of saturation add."""
        return math.hypot(self.rounding_bound, self.saturation_error)

    @property
    def rounding_bound_holds(self) -> bool:
        """Whether the error is within what rounding alone can make, but for floating-point slack.

        False only where elements are saturated: a scale too small for the weights.
        """
        return self.error <= self.rounding_bound * (1.0 + ROUNDING_SLACK)

    @property
    def memory_ratio(self) -> float:
        """Bytes of the weights in single precision over those of codes, scales and zero points, as stored.

        Scales are in single precision too; zero points, a byte each, count where they are not all 0.
        """
        zero_bytes = self.zero_points.size if self.zero_points.any() else 0
        return 4.0 * self.codes.size / (self.codes.size + 4.0 * self.scales.size + zero_bytes)

    def weights(self) -> Floats:
        """The weights that the codes stand for, scale x (code - zero point)."""
        scales, zeros = (_spread(x, self.codes.ndim, self.axis) for x in (self.scales, self.zero_points))
        return np.asarray((self.codes.astype(float) - zeros) * scales)


def quantize(
    weights: ArrayLike,
    *,
    symmetric: bool = True,
    axis: int | None = None,
    scale: ArrayLike | None = None,
    zero_point: ArrayLike | None = None,
) -> Quantized:
    """Weights as eight-bit codes, code = clip(round(w / scale) + zero point), with the error made.

    Rounding is to the nearest, halves to even. Without a scale the weights just fit: symmetric codes
    -127 ... 127 by the largest magnitude, asymmetric ones -128 ... 127 by the range with 0 in it, its
    zero point rounded. A channel of zeros has scale 1.

    Args:
        weights: finite numbers of any shape with an axis.
        symmetric: whether 0 has code 0 and no code is -128.
        axis: of the channels that have a scale each; None for one scale.
        scale: given instead: one number, or one for each channel.
        zero_point: whole codes likewise; needs `scale`, and not `symmetric`.

    Raises:
        DomainError: weights empty or not finite, no such axis, scales not positive or not as many as
            channels, zero points not whole or beyond the codes (the bound would not hold).

    Source:
        Jacob et al. (2018), arXiv 1712.05877, sec. 2; ONNX QuantizeLinear.

    >>> found = quantize([-1.0, 0.3, 0.5, 1.0], scale=0.25)
    >>> found.codes.tolist(), round(found.error, 3), found.rounding_bound
    ([-4, 1, 2, 4], 0.05, 0.25)
    """
    values = finite_numbers("weights", weights)
    channels = _channels(values, axis)
    lowest = -CODE_MAX if symmetric else CODE_MIN
    if scale is None:
        if zero_point is not None:
            raise DomainError("zero_point needs a scale; give both, or neither")
        scales, zeros = _symmetric(channels) if symmetric else _asymmetric(channels)
    else:
        scales = _one_for_each(positive_scales(scale), channels, "scale")
        zeros = _zero_points(zero_point, channels, lowest)
    with np.errstate(over="ignore"):  # infinitely many steps are clipped like any
        steps = np.rint(channels / scales[:, None]) + zeros[:, None]
    codes = np.clip(steps, lowest, CODE_MAX)
    errors = np.abs(channels - (codes - zeros[:, None]) * scales[:, None])
    beyond = errors > scales[:, None] * (0.5 * (1.0 + ROUNDING_SLACK))
    return Quantized(
        codes=_restored(codes.astype(np.int8), values, axis),
        scales=scales,
        zero_points=zeros.astype(np.int64),
        axis=axis,
        error=root_of_squares(errors),
        error_expected=error_expected_per_channel(scales, channels.shape[1]),
        rounding_bound=error_bound_per_channel(scales, channels.shape[1]),
        saturated=int(np.count_nonzero(beyond)),
        saturation_error=root_of_squares(errors[beyond]),
    )


def _channels(values: Floats, axis: int | None) -> Floats:
    """One row for each channel, a single one without an axis."""
    if axis is None:
        return values.reshape(1, -1)
    if isinstance(axis, bool) or not isinstance(axis, int) or not 0 <= axis < values.ndim:
        raise DomainError(f"axis must be one of the {values.ndim} axes of the weights from 0, got {axis!r}")
    return np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)


def _restored(codes: NDArray[np.int8], values: Floats, axis: int | None) -> NDArray[np.int8]:
    """Codes in the shape of the weights."""
    if axis is None:
        return codes.reshape(values.shape)
    return np.moveaxis(codes.reshape(np.moveaxis(values, axis, 0).shape), 0, axis)


def _one_for_each(given: Floats, channels: Floats, name: str) -> Floats:
    if len(given) not in (1, len(channels)):
        raise DomainError(f"{name} must be one number or {len(channels)}, one a channel, got {len(given)}")
    return np.broadcast_to(given, len(channels)).copy()


def _zero_points(given: ArrayLike | None, channels: Floats, lowest: int) -> Floats:
    if given is None:
        return np.zeros(len(channels))
    zeros = np.atleast_1d(finite_numbers("zero_point", given))
    if lowest != CODE_MIN:
        raise DomainError("zero_point must be left out of symmetric codes; set symmetric=False")
    if (
        zeros.ndim != 1
        or (zeros != np.rint(zeros)).any()
        or (np.abs(zeros - 0.5 * (CODE_MIN + CODE_MAX)) > 127.5).any()
    ):
        raise DomainError(f"zero_point must be whole and from {CODE_MIN} to {CODE_MAX}, else no bound holds")
    return _one_for_each(zeros, channels, "zero_point")


def _symmetric(channels: Floats) -> tuple[Floats, Floats]:
    scales = np.abs(channels).max(axis=1) / CODE_MAX
    return np.where(scales > 0.0, scales, 1.0), np.zeros(len(channels))


def _asymmetric(channels: Floats) -> tuple[Floats, Floats]:
    """The range with 0 in it, divided before the difference, which could overflow."""
    steps = CODE_MAX - CODE_MIN
    low, high = np.minimum(channels.min(axis=1), 0.0), np.maximum(channels.max(axis=1), 0.0)
    scales = high / steps - low / steps
    scales = np.where(scales > 0.0, scales, 1.0)
    return scales, np.rint(CODE_MIN - low / scales)


def _spread(values: NDArray[Any], dimensions: int, axis: int | None) -> NDArray[Any]:
    """One for each channel in a shape that multiplies the weights'."""
    shape = [1] * dimensions
    if axis is not None:
        shape[axis] = len(values)
    return values.reshape(shape)
