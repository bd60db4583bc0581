"""Quantization report: a study as tables for people and as a JSON document."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from capacity.tables import table
from capacity.units import format_duration
from serve_api.artifact import Artifact
from serve_api.paired_loss import rows_to_tell
from serve_api.quantization_claims import ACCURACY_LOSS_POINTS_MAX
from serve_api.quantization_effect import Effect
from serve_api.quantization_study import QuantizationStudy
from serve_api.weight_rounding import LayerRounding

_LAYER_COLUMNS = ("<layer", "<scales", "shape", "norm", "error", "bound", "of bound", "expected", "memory")
_EFFECT_COLUMNS = (
    "<model",
    "bytes",
    "file ratio",
    "accuracy",
    "points lost",
    "newly wrong",
    "newly right",
    "difference",
    "by company",
)
_TIME_COLUMNS = ("<model", "batch", "median", "speed-up", "low", "high")
_CLAIM_COLUMNS = ("<claim", "<model", "found", "low", "high", "<says")
_COMPANY_DIFFERENCE_SHOWN = 1e-3  # more than rounding in single precision makes


def study_document(found: QuantizationStudy, written: Artifact) -> dict[str, Any]:
    """All numbers of a study, and where its model was written to."""
    return {
        "source": {"model": found.source.metadata.model, "version": found.source.version},
        "written": {
            "model": written.metadata.model,
            "version": written.version,
            "path": str(written.path),
            "model_bytes": len(written.model),
        },
        "test_rows": found.test_rows,
        "layers": [_layer_document(layer) for r in found.rounded for layer in r.layers],
        "weights_only": [
            {"granularity": r.granularity.value, "memory_ratio": r.memory_ratio, **_effect_document(effect)}
            for r, effect in zip(found.rounded, found.rounded_effects, strict=True)
        ],
        "models": [_effect_document(effect) for effect in found.effects.values()],
        "batch_times": [asdict(one) for one in found.times],
        "claims": [{**asdict(claim), "verdict": claim.verdict.value} for claim in found.claims],
    }


def study_tables(found: QuantizationStudy, written: Artifact) -> Iterator[RenderableType]:
    """Weights, answers, times, and what they say of the claims."""
    layers = [layer for rounded in found.rounded for layer in rounded.layers]
    yield table(
        _LAYER_COLUMNS, map(_layer_row, layers), "Weights as symmetric eight-bit codes, Frobenius norms"
    )
    effects = [*found.rounded_effects, *found.effects.values()]
    yield table(_EFFECT_COLUMNS, map(_effect_row, effects), f"Answers on {found.test_rows} test rows")
    yield table(_TIME_COLUMNS, _time_rows(found), "Time of a batch, one thread; 95 % intervals")
    yield table(_CLAIM_COLUMNS, _claim_rows(found), "What is commonly claimed; 95 % intervals")
    yield Text(_rows_note(found.test_rows))
    for effect in found.effects.values():
        if effect.company_difference_max > _COMPANY_DIFFERENCE_SHOWN:
            yield Text(
                f"Note: a probability of the {effect.name} model depends on the rows in its batch, by up to "
                f"{effect.company_difference_max:.3f}."
            )
    yield Text(f"Written: {written.metadata.model} {written.version}, {len(written.model)} bytes.")


def _rows_note(rows: int) -> str:
    most, needed = ACCURACY_LOSS_POINTS_MAX, rows_to_tell(ACCURACY_LOSS_POINTS_MAX / 100.0)
    return (
        f"Note: one of {rows} test rows is {100.0 / rows:.2f} points of accuracy; "
        f"to tell that less than {most:g} are lost takes {needed} rows at least."
    )


def _layer_document(layer: LayerRounding) -> dict[str, Any]:
    return {**asdict(layer), "share_of_bound": layer.share_of_bound, "memory_ratio": layer.memory_ratio}


def _effect_document(effect: Effect) -> dict[str, Any]:
    return {**asdict(effect), "accuracy_loss_points": asdict(effect.accuracy_loss_points)}


def _layer_row(layer: LayerRounding) -> tuple[str, ...]:
    return (
        layer.layer,
        layer.granularity,
        "x".join(map(str, layer.shape)),
        f"{layer.norm:.4g}",
        f"{layer.error:.4g}",
        f"{layer.error_bound:.4g}",
        f"{layer.share_of_bound:.3f}",
        f"{layer.error_expected:.4g}",
        f"{layer.memory_ratio:.3f}x",
    )


def _effect_row(effect: Effect) -> tuple[str, ...]:
    return (
        effect.name,
        str(effect.model_bytes),
        f"{effect.file_ratio:.3f}x",
        f"{effect.accuracy:.4f}",
        f"{effect.accuracy_loss_points.value:.2f}",
        str(effect.newly_wrong),
        str(effect.newly_right),
        f"{effect.probability_difference_max:.4f}",
        f"{effect.company_difference_max:.1e}",
    )


def _time_rows(found: QuantizationStudy) -> Iterable[tuple[str, ...]]:
    for one in found.times:
        ratios = (f"{x:.2f}x" for x in (one.speedup.value, one.speedup.low, one.speedup.high))
        yield (one.name, str(one.batch_size), format_duration(one.median_s), *ratios)


def _claim_rows(found: QuantizationStudy) -> Iterable[tuple[str, ...]]:
    for claim in found.claims:
        of = claim.found
        ends = ("", "") if of.low == of.high else (f"{of.low:.2f}", f"{of.high:.2f}")
        yield (claim.what, claim.model, f"{of.value:.2f}", *ends, claim.verdict)
