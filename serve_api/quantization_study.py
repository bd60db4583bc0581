"""Quantization study: all that is measured of one model in eight bits."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from capacity.errors import InputError
from serve_api.artifact import Artifact
from serve_api.dataset import Dataset
from serve_api.interleaved_times import BatchTime, batch_times
from serve_api.linear_classifier import spelled_out
from serve_api.metadata import Precision
from serve_api.onnx_quantization import Method, quantized
from serve_api.onnx_session import OnnxSession
from serve_api.quantization_claims import Claim, claims
from serve_api.quantization_effect import Effect, yardstick
from serve_api.weight_rounding import Granularity, RoundedModel, round_weights

BATCH_SIZES = (1, 8, 32, 64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QuantizationStudy:
    """What was found.

    Attributes:
        source: the model as it was.
        test_rows: how many rows accuracy is a share of.
        rounded: weights alone rounded, by granularity.
        rounded_effects: what that does to answers and file.
        models: ONNX Runtime's eight-bit models, by method.
        effects: what those do.
        times: of all, the source first.
    """

    source: Artifact
    test_rows: int
    rounded: tuple[RoundedModel, ...]
    rounded_effects: tuple[Effect, ...]
    models: Mapping[Method, bytes]
    effects: Mapping[Method, Effect]
    times: tuple[BatchTime, ...]

    @property
    def claims(self) -> list[Claim]:
        """What is commonly said, of each of ONNX Runtime's models."""
        own = [one for one in self.times if one.name in list(Method)]
        return claims(self.effects.values(), own)


def study(
    source: Artifact, dataset: Dataset, rounds: int, report: Callable[[str], None]
) -> QuantizationStudy:
    """Quantize a model in every way, and measure each.

    Args:
        rounds: that each batch time is the median of.
        report: is told what is being done.

    Raises:
        InputError: the model is quantized already, takes other columns, or has no weight matrix.
    """
    check_source(source, dataset)
    before = yardstick(source.model, dataset.test_rows, dataset.test_labels)
    report("rounding weights")
    product = spelled_out(source.model)
    rounded = tuple(round_weights(product, granularity) for granularity in Granularity)
    report("quantizing")
    models = {method: quantized(source.model, method, dataset.train_rows) for method in Method}
    report(f"timing batches of {', '.join(map(str, BATCH_SIZES))}")
    sessions = {"fp32": OnnxSession(source.model)}
    sessions |= {method.value: OnnxSession(model) for method, model in models.items()}
    return QuantizationStudy(
        source=source,
        test_rows=len(dataset.test_rows),
        rounded=rounded,
        rounded_effects=tuple(
            before.effect(f"weights {r.granularity}", r.model, r.file_bytes) for r in rounded
        ),
        models=models,
        effects={method: before.effect(method, model) for method, model in models.items()},
        times=tuple(batch_times(sessions, dataset.test_rows, BATCH_SIZES, rounds)),
    )


def check_source(source: Artifact, dataset: Dataset) -> None:
    """Refuse a model of which no such study can be made.

    Raises:
        InputError: as `study`.
    """
    known = source.metadata
    if known.precision is not Precision.FP32:
        raise InputError(
            f"{known.model} {known.version} is quantized already; name the model it was made from"
        )
    if tuple(feature.name for feature in known.features) != dataset.names:
        raise InputError(
            f"{known.model} {known.version} takes other columns than the data that it would be tested by; "
            "name a model that serve_api.train wrote"
        )
