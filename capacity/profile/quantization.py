"""Measured quantization: what eight bits did to the weights and answers of the served network.

Its file holds what was measured of weights and answers, and where. The profiles say how fast each form is served.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from capacity.errors import DomainError, InputError
from capacity.json_text import Line, parse_object, read_as
from capacity.performance import Interval
from capacity.units import require_count, require_positive

Floats = NDArray[np.float64]

CODE_MAX = 127  # codes are -127 ... 127
# Codes up to 127 in single precision, each operation within 2^-24 of itself: relative error of a step.
ROUNDING_SLACK = 127.0 * 2.0**-22
_LARGEST = 1e300


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Quantized:
    """Codes, their meaning and their error; all norms are Frobenius.

    Attributes:
        codes: int8, of the shape of the weights.
        scales: one scale, or one for each channel, shape `(channels,)`.
        axis: axis of the channels; None with one scale.
        error: the actual ||W - Q(W)||.
        error_expected: the error if errors are uniform within a step: scale sqrt(d / 12), 1/sqrt(3) of the bound.
        rounding_bound: largest error by rounding alone.
        saturated: number of elements more than half a step beyond the outermost code, which rounding does not bound.
        saturation_error: norm of their distances from the outermost code.
    """

    codes: NDArray[np.int8]
    scales: Floats
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
        """Whether the error is within what rounding alone can cause, up to floating-point slack.

        False only if elements are saturated: the scale is too small for the weights.
        """
        return self.error <= self.rounding_bound * (1.0 + ROUNDING_SLACK)

    @property
    def memory_ratio(self) -> float:
        """Bytes of the weights in single precision over those of codes and scales."""
        return 4.0 * self.codes.size / (self.codes.size + 4.0 * self.scales.size)

    def weights(self) -> Floats:
        """The weights that the codes stand for, scale x code."""
        shape = [1] * self.codes.ndim
        if self.axis is not None:
            shape[self.axis] = len(self.scales)
        return np.asarray(self.codes.astype(float) * self.scales.reshape(shape))


def error_bound(scale: float, elements: int) -> float:
    """Largest ||W - Q(W)|| (Frobenius) by rounding to the nearest multiple of `scale`.

    Each element is off by at most half a step, so the norm by (scale / 2) sqrt(d), which is reached if all lie in the
    middle between two steps.

    Args:
        scale: distance between two codes, in units of the weights.
        elements: number of weights, d.

    Raises:
        DomainError: scale not positive and finite, or elements not an integer from 1.

    Source:
        Widrow & Kollar (2008), Quantization Noise, ch. 1; Jacob et al. (2018), arXiv 1712.05877, eq. 1.

    Assumes:
        No element lies beyond the outermost code by more than half a step.

    >>> error_bound(scale=0.5, elements=16)
    1.0
    """
    require_positive("scale", scale)
    require_count("elements", elements)
    return scale * (math.sqrt(elements) / 2.0)


def quantize(weights: ArrayLike, *, axis: int | None = None, scale: float | None = None) -> Quantized:
    """Weights as eight-bit codes, code = clip(round(w / scale)), with the resulting error.

    Rounding is to the nearest, halves to even. Without a scale the weights just fit: 127 is the largest magnitude. A
    channel of zeros has scale 1.

    Args:
        weights: finite numbers of any shape with at least one axis.
        axis: axis of the channels that have a scale each; None for one scale.
        scale: scale for all, instead of a fitted one.

    Raises:
        DomainError: weights empty or not finite, no such axis, or a scale that is not positive.

    Source:
        Jacob et al. (2018), arXiv 1712.05877, sec. 2; ONNX QuantizeLinear. The expected error: Bennett
        (1948), Bell System Technical Journal 27(3), "Spectra of quantized signals".

    >>> found = quantize([-1.0, 0.3, 0.5, 1.0], scale=0.25)
    >>> found.codes.tolist(), round(found.error, 3), found.rounding_bound
    ([-4, 1, 2, 4], 0.05, 0.25)
    """
    values = _finite(weights)
    channels = _channels(values, axis)
    if scale is None:
        scales = np.abs(channels).max(axis=1) / CODE_MAX
        scales = np.where(scales > 0.0, scales, 1.0)
    else:
        require_positive("scale", scale)
        scales = np.full(len(channels), float(scale))
    with np.errstate(over="ignore"):  # infinitely many steps are clipped like any
        codes = np.clip(np.rint(channels / scales[:, None]), -CODE_MAX, CODE_MAX)
    errors = np.abs(channels - codes * scales[:, None])
    beyond = errors > scales[:, None] * (0.5 * (1.0 + ROUNDING_SLACK))
    norm = _norm(scales) * math.sqrt(channels.shape[1])
    return Quantized(
        codes=_restored(codes.astype(np.int8), values, axis),
        scales=scales,
        axis=axis,
        error=_norm(errors),
        error_expected=norm / math.sqrt(12.0),
        rounding_bound=norm / 2.0,
        saturated=int(np.count_nonzero(beyond)),
        saturation_error=_norm(errors[beyond]),
    )


def _finite(given: ArrayLike) -> Floats:
    array = np.asarray(given)
    values = array.astype(float) if array.dtype.kind in "iuf" else np.empty(0)
    if values.size == 0 or values.ndim == 0 or not (np.abs(values) <= _LARGEST).all():  # also refuses NaN
        raise DomainError(
            f"weights must be real, finite numbers within {_LARGEST:g}, at least one; look for NaN"
        )
    return values


def _channels(values: Floats, axis: int | None) -> Floats:
    """One row for each channel; a single one without an axis."""
    if axis is None:
        return values.reshape(1, -1)
    if not 0 <= axis < values.ndim:
        raise DomainError(f"axis must be one of the {values.ndim} axes of the weights from 0, got {axis!r}")
    return np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)


def _restored(codes: NDArray[np.int8], values: Floats, axis: int | None) -> NDArray[np.int8]:
    """Codes in the shape of the weights."""
    if axis is None:
        return codes.reshape(values.shape)
    return np.moveaxis(codes.reshape(np.moveaxis(values, axis, 0).shape), 0, axis)


def _norm(values: Floats) -> float:
    """Norm of the values, scaled by the largest so that no square overflows or vanishes."""
    largest = float(np.max(values, initial=0.0))
    return largest * float(np.linalg.norm(np.ravel(values) / largest)) if largest > 0.0 else 0.0


_FILE = "serve-mlp-cpu.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundedLayer:
    """One weight matrix of the network as eight-bit codes; norms are Frobenius.

    Attributes:
        granularity: which weights share a scale: `per tensor`, or `per channel`, which is an output.
        shape: `(inputs, outputs)`.
        error, error_bound: the actual error, and the largest that rounding can cause.
        memory_ratio: bytes of the weights before over those of codes and scales.
    """

    granularity: str
    shape: tuple[int, int]
    norm: float
    error: float
    error_bound: float
    memory_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizedForm:
    """The network in eight bits, by one method of its runtime, compared with the original.

    Attributes:
        name: name of the method: `static` or `dynamic`.
        file_ratio: bytes of its file before over those after.
        test_rows: number of rows that accuracy is a share of.
        newly_wrong, newly_right: rows that were right before and wrong after, and the reverse.
        accuracy_loss_points: percentage points of accuracy lost, below 0 if some were gained, with the 95 % interval
            from the rows on which the two disagree.
    """

    name: str
    file_ratio: float
    test_rows: int
    newly_wrong: int
    newly_right: int
    accuracy_loss_points: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredQuantization:
    """All measurements of one network.

    Attributes:
        source: where and when it was measured, by aspect.
        layers: each weight matrix in the order in which a row meets them, once for each granularity.
    """

    source: Mapping[str, str]
    layers: tuple[RoundedLayer, ...]
    forms: tuple[QuantizedForm, ...]

    def memory_ratio(self, granularity: str) -> float:
        """Bytes of all weights before over those of codes and scales.

        Raises:
            InputError: no layer has that granularity.
        """
        layers = [layer for layer in self.layers if layer.granularity == granularity]
        if not layers:
            known = sorted({layer.granularity for layer in self.layers})
            raise InputError(f"no layer has scales {granularity!r}; use one of {', '.join(known)}")
        before = [4.0 * math.prod(layer.shape) for layer in layers]
        after = (x / layer.memory_ratio for x, layer in zip(before, layers, strict=True))
        return math.fsum(before) / math.fsum(after)


@dataclass(frozen=True, kw_only=True)
class _Study:
    """The parts of a study that are read; its file has more."""

    layers: tuple[RoundedLayer, ...]
    models: tuple[dict[str, Any], ...]


@dataclass(frozen=True, kw_only=True)
class _Document:
    source: dict[str, Line]
    study: dict[str, Any]


def load_measured_quantization() -> MeasuredQuantization:
    """The bundled measurement."""
    content = files("capacity").joinpath("profile", "quantizations", _FILE).read_text(encoding="utf-8")
    return read_measured_quantization(parse_object(content, _FILE, "must hold source and study"), _FILE)


def read_measured_quantization(document: Mapping[str, Any], shown: str) -> MeasuredQuantization:
    """A study and its source; only the parts used here are read.

    Raises:
        InputError: something is missing or of another type; `shown` names the place.
    """
    found = read_as(_Document, document, shown)
    study = read_as(_Study, found.study, f"{shown}.study", ignore_extra=True)
    forms = [{"test_rows" if key == "rows" else key: x for key, x in one.items()} for one in study.models]
    return MeasuredQuantization(
        source=found.source,
        layers=study.layers,
        forms=read_as(tuple[QuantizedForm, ...], forms, f"{shown}.study.models", ignore_extra=True),
    )
