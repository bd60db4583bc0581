"""Quantize: `python -m serve_api.quantize` writes a model in eight bits, and reports the effect on its answers.

ONNX Runtime then multiplies whole numbers; the ranges of a layer's inputs were found beforehand on training rows, so
that a row's answer does not depend on the rows that it is batched with.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from capacity.commands.guard import Guarded
from capacity.commands.options import option
from capacity.errors import InputError
from serve_api.models.metadata import (
    MODEL_FILE,
    SCALER_FILE,
    Metadata,
    Precision,
    Source,
    digest,
    library_versions,
)
from serve_api.models.store import Artifact, ArtifactStore

if TYPE_CHECKING:
    from serve_api.models.dataset import Dataset, Rows

app = typer.Typer(cls=Guarded, add_completion=False, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True, subcommand_metavar="")
def quantize(
    artifacts: Annotated[Path, option("--artifacts", help="Store of the model: artifacts/mlp.")],
    target: Annotated[Path, option("--output", help="Store to write to: artifacts/mlp-int8.")],
    version: Annotated[str, option("--version", help="What to call it; never overwritten.")] = "v1.0.0",
) -> None:
    """Quantize the current version of a model to eight bits and compare the answers on the test rows."""
    from serve_api.models.dataset import breast_cancer

    store = ArtifactStore(target)
    written = quantize_into(store, ArtifactStore(artifacts).load(), breast_cancer(), version)
    if store.current() is None:
        store.set_current(version)
    typer.echo(json.dumps({"model": written.metadata.model, "version": version, **written.metadata.metrics}))


def quantize_into(store: ArtifactStore, source: Artifact, dataset: "Dataset", version: str) -> Artifact:
    """An eight-bit form of a model as a version in a store, with its source."""
    known = source.metadata
    store.check_free(version)
    if known.precision is not Precision.FP32:
        raise InputError(
            f"{known.model} {known.version} is quantized already; name the model it was made from"
        )
    model = quantized(source.model, dataset.train_rows)
    files = {MODEL_FILE: model, SCALER_FILE: source.scaler}
    metadata = Metadata(
        model=f"{known.model}-{Precision.INT8}",
        version=version,
        precision=Precision.INT8,
        parameters=known.parameters,
        seed=known.seed,
        source=Source(model=known.model, version=known.version, sha256=known.files[MODEL_FILE].sha256),
        files={name: digest(data) for name, data in files.items()},
        metrics=_effect(source.model, model, dataset),
        libraries=library_versions("numpy", "onnx", "onnxruntime"),
        features=known.features,
    )
    return store.publish(metadata, files)


def quantized(model: bytes, calibration: "Rows") -> bytes:
    """The model with eight-bit weights, a scale for each output; ranges come from training rows."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Once(CalibrationDataReader):  # type: ignore[misc]
        """Provides all rows in one batch."""

        def __init__(self) -> None:
            self._batches: Iterator[dict[str, Rows]] = iter([{"features": calibration}])

        def get_next(self) -> Any:
            return next(self._batches, None)

    if all(node.op_type != "MatMul" for node in onnx.load_model_from_string(model).graph.node):
        raise InputError("the model has no matrix product to quantize; quantize the mlp")
    with TemporaryDirectory() as folder:
        given, ready, written = (Path(folder) / f"{name}.onnx" for name in ("given", "ready", "written"))
        given.write_bytes(model)  # by its path: some versions lose a model that is passed itself
        # Shapes only: the session optimizes anyway.
        quant_pre_process(given, ready, skip_optimization=True, skip_symbolic_shape=True)
        quantize_static(ready, written, Once(), per_channel=True, weight_type=QuantType.QInt8)
        return written.read_bytes()


def _effect(before: bytes, after: bytes, dataset: "Dataset") -> dict[str, float]:
    """Changes in answers and file size."""
    import numpy as np

    from serve_api.models.graph import OnnxSession, score

    (old, old_p), (new, new_p) = (OnnxSession(model).predict(dataset.test_rows) for model in (before, after))
    return {
        **score(after, dataset.test_rows, dataset.test_labels),
        "test_accuracy_before": score(before, dataset.test_rows, dataset.test_labels)["test_accuracy"],
        "test_labels_changed": int(np.count_nonzero(old != new)),
        "probability_difference_max": float(np.abs(new_p - old_p).max()),
        "file_ratio": len(before) / len(after),
    }


if __name__ == "__main__":
    app(prog_name="python -m serve_api.quantize")
