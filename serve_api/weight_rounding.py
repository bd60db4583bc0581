"""Weight rounding: what eight bits do to each weight matrix, measured beside bound and expectation."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from capacity.quantization import Quantized, quantize
from serve_api.weight_matrices import OUTPUTS, weight_matrices, with_codes, with_weights

_FLOAT_BYTES = 4


class Granularity(StrEnum):
    """How many weights share a scale: all of a matrix, or those of one output."""

    PER_TENSOR = "per tensor"
    PER_CHANNEL = "per channel"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRounding:
    """One weight matrix, rounded; all norms Frobenius, in units of the weights.

    Attributes:
        layer: name of the matrix in the graph.
        shape: `(inputs, outputs)`.
        norm: of the weights.
        error: of the difference, as it is.
        error_bound: largest that rounding can make: (scale / 2) sqrt(n), of channels the root of the squares.
        error_expected: where errors are even within a step: scale sqrt(n / 12).
        bytes_before, bytes_after: of the weights alone; afterwards codes and scales.
    """

    layer: str
    granularity: Granularity
    shape: tuple[int, int]
    norm: float
    error: float
    error_bound: float
    error_expected: float
    bytes_before: int
    bytes_after: int

    @property
    def share_of_bound(self) -> float:
        """1 / sqrt(3) = 0.577 where errors are even within a step, 1 at most."""
        return self.error / self.error_bound

    @property
    def memory_ratio(self) -> float:
        """How many times as much memory the weights took."""
        return self.bytes_before / self.bytes_after


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RoundedModel:
    """A model whose weights were rounded, and nothing else.

    Attributes:
        model: with the rounded weights in single precision, as exact as before in all but them.
        file_bytes: of the same model with codes in their place.
    """

    granularity: Granularity
    layers: tuple[LayerRounding, ...]
    model: bytes
    file_bytes: int

    @property
    def memory_ratio(self) -> float:
        """How many times as much memory all weights took."""
        return sum(x.bytes_before for x in self.layers) / sum(x.bytes_after for x in self.layers)


def round_weights(model: bytes, granularity: Granularity) -> RoundedModel:
    """All weight matrices of a model by symmetric eight-bit codes.

    Raises:
        InputError: it has none.
    """
    matrices = weight_matrices(model)
    axis = OUTPUTS if granularity is Granularity.PER_CHANNEL else None
    codes = {name: quantize(weights, axis=axis) for name, weights in matrices.items()}
    return RoundedModel(
        granularity=granularity,
        layers=tuple(_layer(name, matrices, found) for name, found in codes.items()),
        model=with_weights(model, {name: found.weights() for name, found in codes.items()}),
        file_bytes=len(with_codes(model, codes)),
    )


def _layer(name: str, matrices: Mapping[str, NDArray[np.float32]], found: Quantized) -> LayerRounding:
    weights = matrices[name]
    inputs, outputs = weights.shape
    return LayerRounding(
        layer=name,
        granularity=Granularity.PER_TENSOR if found.axis is None else Granularity.PER_CHANNEL,
        shape=(inputs, outputs),
        norm=math.sqrt(float(np.square(weights, dtype=float).sum())),
        error=found.error,
        error_bound=found.rounding_bound,
        error_expected=found.error_expected,
        bytes_before=weights.size * _FLOAT_BYTES,
        bytes_after=found.codes.size + found.scales.size * _FLOAT_BYTES,
    )
