"""Measured quantization: what eight bits did to the weights and answers of the network that is served.

The file behind it holds what was measured of weights and answers, and where that was. How fast each form is
served, the profiles say.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from capacity.errors import InputError
from capacity.json_reading import Fields, parse_object, text, whole
from capacity.performance import Interval

_FILE = "serve-mlp-cpu.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundedLayer:
    """One weight matrix of the network as eight-bit codes; norms Frobenius.

    Attributes:
        granularity: whose weights share a scale: `per tensor`, or `per channel`, which is an output.
        shape: `(inputs, outputs)`.
        error, error_bound: as it is, and the largest that rounding can make.
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
    """The network in eight bits by one method of its runtime, beside what it was.

    Attributes:
        name: of the method: `static` or `dynamic`.
        file_ratio: bytes of its file before over those after.
        test_rows: how many rows accuracy is a share of.
        newly_wrong, newly_right: of these, right before and wrong after, and the other way round.
        accuracy_loss_points: percentage points of accuracy lost, below 0 where some were won, with the 95 %
            interval of the rows on which both parted.
    """

    name: str
    file_ratio: float
    test_rows: int
    newly_wrong: int
    newly_right: int
    accuracy_loss_points: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredQuantization:
    """All of one network.

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
            InputError: nothing was rounded so.
        """
        layers = [layer for layer in self.layers if layer.granularity == granularity]
        if not layers:
            known = sorted({layer.granularity for layer in self.layers})
            raise InputError(f"no layer has scales {granularity!r}; use one of {', '.join(known)}")
        before = [4.0 * math.prod(layer.shape) for layer in layers]
        after = (x / layer.memory_ratio for x, layer in zip(before, layers, strict=True))
        return math.fsum(before) / math.fsum(after)


def load_measured_quantization() -> MeasuredQuantization:
    """The one that comes with the package."""
    content = files("capacity").joinpath("quantizations", _FILE).read_text(encoding="utf-8")
    return read_measured_quantization(parse_object(content, _FILE, "must hold source and study"), _FILE)


def read_measured_quantization(document: Mapping[str, Any], shown: str) -> MeasuredQuantization:
    """A study and its source; of the study only what is told here is read.

    Raises:
        InputError: something is missing or of another type; `shown` says where.
    """
    fields = Fields(document, shown, ("source", "study"))
    study = _any_keys(fields.raw("study"), f"{shown}.study")
    return MeasuredQuantization(
        source={key: text(value, f"{shown}.source.{key}") for key, value in fields.mapping("source").items()},
        layers=tuple(_layer(_any_keys(x, study.at("layers"))) for x in study.items("layers")),
        forms=tuple(_form(_any_keys(x, study.at("models"))) for x in study.items("models")),
    )


def _any_keys(value: Any, where: str) -> Fields:
    """An object of which others know more."""
    return Fields(value, where, value if isinstance(value, dict) else ())


def _layer(fields: Fields) -> RoundedLayer:
    shape = fields.items("shape")
    if len(shape) != 2:
        raise InputError(f"{fields.at('shape')} must be inputs and outputs, got {len(shape)} numbers")
    inputs, outputs = (whole(x, fields.at("shape")) for x in shape)
    return RoundedLayer(
        granularity=fields.text("granularity"),
        shape=(inputs, outputs),
        norm=fields.number("norm"),
        error=fields.number("error"),
        error_bound=fields.number("error_bound"),
        memory_ratio=fields.number("memory_ratio"),
    )


def _form(fields: Fields) -> QuantizedForm:
    lost = fields.object("accuracy_loss_points", ("value", "low", "high"))
    return QuantizedForm(
        name=fields.text("name"),
        file_ratio=fields.number("file_ratio"),
        test_rows=fields.whole("rows"),
        newly_wrong=fields.whole("newly_wrong"),
        newly_right=fields.whole("newly_right"),
        accuracy_loss_points=Interval(
            value=lost.number("value"), low=lost.number("low"), high=lost.number("high")
        ),
    )
