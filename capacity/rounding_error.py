"""Rounding error: the largest and the likely distance of weights from multiples of a scale."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from capacity.errors import DomainError
from capacity.queues.domain import require_count, require_positive

Floats = NDArray[np.float64]
_LARGEST = 1e300


def error_bound(scale: float, elements: int) -> float:
    """Largest ||W - Q(W)|| (Frobenius) by rounding to the nearest multiple of `scale`.

    Each element is off by at most half a step, so the norm by (scale / 2) sqrt(d), which is reached
    where all lie in the middle between two steps.

    Args:
        scale: distance between two codes, in units of the weights.
        elements: how many weights, d.

    Raises:
        DomainError: scale not positive and finite, or elements not an integer from 1.

    Source:
        Widrow & Kollar (2008), Quantization Noise, ch. 1; Jacob et al. (2018), arXiv 1712.05877, eq. 1.

    Assumes:
        No element beyond the outermost code by more than half a step; a whole zero point.

    >>> error_bound(scale=0.5, elements=16)
    1.0
    """
    _check(scale, elements)
    return scale * (math.sqrt(elements) / 2.0)


def error_expected(scale: float, elements: int) -> float:
    """||W - Q(W)|| where errors are even within a step: scale sqrt(d / 12), 1/sqrt(3) of the bound.

    The root of the mean square; the mean of the norm is about 1 / (10 d) of it lower. True where the
    weights spread over many steps; where most round to 0 the error is that of the weights.

    Args, Raises: as `error_bound`.

    Source:
        Bennett (1948), Bell System Technical Journal 27(3), "Spectra of quantized signals".

    >>> round(error_expected(scale=0.5, elements=12), 12)
    0.5
    """
    _check(scale, elements)
    return scale * math.sqrt(elements / 12.0)


def error_bound_per_channel(scales: ArrayLike, elements: int) -> float:
    """Largest ||W - Q(W)|| with a scale for each channel of `elements` weights.

    Squares add: (1/2) sqrt(sum of scale^2 x elements).

    Raises:
        DomainError: no scale, one not positive and finite, or elements not an integer from 1.

    >>> error_bound_per_channel([3.0, 4.0], elements=4)
    5.0
    """
    return _norm(positive_scales(scales), elements) / 2.0


def error_expected_per_channel(scales: ArrayLike, elements: int) -> float:
    """||W - Q(W)|| with a scale for each channel where errors are even within a step.

    Raises:
        DomainError: as `error_bound_per_channel`.

    >>> error_expected_per_channel([3.0, 4.0], elements=12)
    5.0
    """
    return _norm(positive_scales(scales), elements) / math.sqrt(12.0)


def finite_numbers(name: str, given: ArrayLike) -> Floats:
    """An array of real, finite numbers, at least one."""
    try:
        array = np.asarray(given)
    except ValueError:
        raise DomainError(f"{name} must be numbers in a regular shape") from None
    if array.dtype.kind not in "iuf":
        raise DomainError(f"{name} must be real numbers, got {array.dtype}")
    values = array.astype(float)
    if values.size == 0 or not (np.abs(values) <= _LARGEST).all():  # NaN is not
        raise DomainError(
            f"{name} must be finite numbers within {_LARGEST:g}, at least one; look for NaN and infinity"
        )
    return values


def positive_scales(given: ArrayLike) -> Floats:
    """Scales in a row, one for each channel."""
    scales = np.atleast_1d(finite_numbers("scale", given))
    if scales.ndim != 1 or (scales <= 0.0).any():
        raise DomainError("scale must be > 0: one number, or one for each channel in a row")
    return scales


def root_of_squares(values: Floats) -> float:
    """Scaled by the largest, so that no square overflows or vanishes."""
    largest = float(np.max(values, initial=0.0))
    return largest * float(np.linalg.norm(np.ravel(values) / largest)) if largest > 0.0 else 0.0


def _check(scale: float, elements: int) -> None:
    require_positive("scale", scale)
    require_count("elements", elements)


def _norm(scales: Floats, elements: int) -> float:
    """sqrt(sum of scale^2 x elements)."""
    require_count("elements", elements)
    return root_of_squares(scales) * math.sqrt(elements)
