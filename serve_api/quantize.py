"""Quantize: `python -m serve_api.quantize` writes a model in eight bits, and says what that did to it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capacity.command_line import Format, FormatOption, JsonOption, emit, option, progress, read_choice
from capacity.guarded import Guarded
from serve_api.artifact import Artifact
from serve_api.library_versions import library_versions
from serve_api.metadata import MODEL_FILE, SCALER_FILE, Metadata, Precision, Source, digest
from serve_api.onnx_quantization import Method
from serve_api.store import ArtifactStore

if TYPE_CHECKING:
    from serve_api.quantization_study import QuantizationStudy

_LIBRARIES = ("numpy", "onnx", "onnxruntime")

app = typer.Typer(cls=Guarded, add_completion=False, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True, subcommand_metavar="")
def quantize(
    artifacts: Annotated[Path, option("--artifacts", help="Store of the model: artifacts/mlp.")],
    target: Annotated[Path, option("--output", help="Store to write to: artifacts/mlp-int8.")],
    version: Annotated[str, option("--version", help="What to call it; never overwritten.")] = "v1.0.0",
    source_version: Annotated[
        str | None, option("--source-version", help="Which version to quantize; the current one by default.")
    ] = None,
    method: Annotated[
        str, option("--method", help="Which to write: static or dynamic; both are measured.")
    ] = Method.STATIC,
    rounds: Annotated[int, option("--rounds", help="Batches timed of each model and size.")] = 30,
    promote: Annotated[
        bool, option("--promote", help="Make it current; the first version of a store is anyway.")
    ] = False,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Quantize a model to eight bits and hold what is commonly claimed of that against what is measured."""
    from serve_api.dataset import breast_cancer
    from serve_api.quantization_report import study_document, study_tables
    from serve_api.quantization_study import study

    chosen = read_choice(Method, method, "--method")
    store = ArtifactStore(target)
    store.check_free(version)
    source = ArtifactStore(artifacts).load(source_version)
    with progress() as report:
        found = study(source, breast_cancer(), rounds, report)
        written = publish_quantized(store, found, chosen, version)
        if promote or store.current() is None:
            store.set_current(version)
    emit(
        output,
        as_json=as_json,
        document=lambda: study_document(found, written),
        tables=lambda: study_tables(found, written),
    )


def publish_quantized(
    store: ArtifactStore, found: "QuantizationStudy", method: Method, version: str
) -> Artifact:
    """One of the models of a study as a version of a store, which says what it was made from."""
    known = found.source.metadata
    files = {MODEL_FILE: found.models[method], SCALER_FILE: found.source.scaler}
    effect = found.effects[method]
    metadata = Metadata(
        model=f"{known.model}-{Precision.INT8}",
        version=version,
        precision=Precision.INT8,
        parameters=known.parameters,
        seed=known.seed,
        features=known.features,
        metrics={
            "test_rows": found.test_rows,
            "test_accuracy": effect.accuracy,
            "test_accuracy_before": effect.accuracy_before,
            "test_labels_changed": effect.labels_changed,
            "probability_difference_max": effect.probability_difference_max,
            "company_difference_max": effect.company_difference_max,
            "file_ratio": effect.file_ratio,
        },
        libraries=library_versions(_LIBRARIES),
        files={name: digest(data) for name, data in files.items()},
        source=Source(model=known.model, version=known.version, sha256=known.files[MODEL_FILE].sha256),
    )
    return store.publish(metadata, files)


if __name__ == "__main__":
    app(prog_name="python -m serve_api.quantize")
