"""Train: `python -m serve_api.train` fits the models that are served and writes each into its store."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from capacity.command_line import Format, FormatOption, JsonOption, emit, option, progress
from capacity.errors import InputError
from capacity.guarded import Guarded
from serve_api.artifact import Artifact
from serve_api.library_versions import library_versions
from serve_api.metadata import MODEL_FILE, SCALER_FILE, Metadata, Precision, digest
from serve_api.model_version import parse_version
from serve_api.store import ArtifactStore
from serve_api.training import HIDDEN, ModelKind, Recipe, fit, parameter_count

if TYPE_CHECKING:
    from rich.console import RenderableType

    from serve_api.dataset import Dataset

ALL = "all"
_LIBRARIES = ("numpy", "onnx", "onnxruntime", "scikit-learn", "skl2onnx")

app = typer.Typer(cls=Guarded, add_completion=False, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True, subcommand_metavar="")
def train(
    artifacts: Annotated[Path, option("--artifacts", help="Folder of the stores.")] = Path("artifacts"),
    model: Annotated[str, option("--model", help="logistic, mlp or all.")] = ALL,
    version: Annotated[str, option("--version", help="What to call it; never overwritten.")] = "v1.0.0",
    seed: Annotated[int, option("--seed", help="Same seed, same weights to the byte.")] = 0,
    hidden: Annotated[int, option("--hidden", help="Width of the mlp's two hidden layers.")] = HIDDEN,
    promote: Annotated[
        bool, option("--promote", help="Make it current; the first version of a store is anyway.")
    ] = False,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Train models on the breast-cancer data and write them as ONNX, with digests and metadata."""
    recipes = [Recipe(kind=kind, seed=seed, hidden=hidden) for kind in _kinds(model)]
    stores = {recipe: ArtifactStore(artifacts / recipe.kind) for recipe in recipes}
    parse_version(version)
    for store in stores.values():  # all of them before any work
        store.check_free(version)
    with progress() as report:
        trained = []
        for recipe, store in stores.items():
            report(f"training {recipe.kind}")
            trained.append(train_into(store, recipe, version))
            if promote or store.current() is None:
                store.set_current(version)
    emit(output, as_json=as_json, document=lambda: _document(trained), tables=lambda: _tables(trained))


def train_into(store: ArtifactStore, recipe: Recipe, version: str) -> Artifact:
    """A model of a recipe, tested and written as a version.

    Raises:
        InputError: the version is there already, or the store cannot be written.
        InconclusiveError: what was exported does not answer as what was trained.
    """
    from serve_api.dataset import breast_cancer
    from serve_api.onnx_export import export_onnx, export_scaler

    store.check_free(version)  # before any work
    dataset = breast_cancer()
    pipeline = fit(recipe, dataset)
    files = {MODEL_FILE: export_onnx(pipeline), SCALER_FILE: export_scaler(pipeline)}
    metadata = Metadata(
        model=recipe.kind.value,
        version=version,
        precision=Precision.FP32,
        parameters=parameter_count(pipeline),
        seed=recipe.seed,
        features=dataset.features(),
        metrics=_metrics(files[MODEL_FILE], pipeline, dataset),
        libraries=library_versions(_LIBRARIES),
        files={name: digest(data) for name, data in files.items()},
    )
    return store.publish(metadata, files)


def _kinds(model: str) -> list[ModelKind]:
    if model == ALL:
        return list(ModelKind)
    try:
        return [ModelKind(model)]
    except ValueError:
        known = ", ".join((*ModelKind, ALL))
        raise InputError(f"--model {model[:40]!r} is unknown; use one of {known}") from None


def _metrics(model: bytes, pipeline: Any, dataset: "Dataset") -> dict[str, float]:
    from serve_api.onnx_export import difference_max
    from serve_api.scoring import score

    tested = score(model, dataset.test_rows, dataset.test_labels)
    return {
        "train_rows": len(dataset.train_rows),
        "test_rows": tested.rows,
        "test_accuracy": tested.accuracy,
        "test_log_loss": tested.log_loss,
        "sklearn_difference_max": difference_max(model, pipeline, dataset.test_rows),
    }


def _document(trained: Iterable[Artifact]) -> dict[str, Any]:
    return {
        "trained": [
            {
                "model": artifact.metadata.model,
                "version": artifact.version,
                "path": str(artifact.path),
                "parameters": artifact.metadata.parameters,
                "model_bytes": len(artifact.model),
                "model_sha256": artifact.metadata.files[MODEL_FILE].sha256,
                "metrics": dict(artifact.metadata.metrics),
            }
            for artifact in trained
        ]
    }


def _tables(trained: Iterable[Artifact]) -> Iterable["RenderableType"]:
    from capacity.tables import table

    columns = ("<model", "<version", "parameters", "MiB", "test accuracy", "log loss", "ONNX - sklearn, max")
    yield table(columns, (_row(artifact) for artifact in trained), "Trained")


def _row(artifact: Artifact) -> tuple[str, ...]:
    known = artifact.metadata
    return (
        known.model,
        known.version,
        f"{known.parameters:,}",
        f"{len(artifact.model) / 2**20:.3f}",
        f"{known.metrics['test_accuracy']:.4f}",
        f"{known.metrics['test_log_loss']:.4f}",
        f"{known.metrics['sklearn_difference_max']:.1e}",
    )


if __name__ == "__main__":
    app(prog_name="python -m serve_api.train")
