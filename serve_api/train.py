"""Train: `python -m serve_api.train` fits the served models and writes each into its store."""

import warnings
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from capacity.commands.guard import Guarded
from capacity.commands.options import option
from capacity.errors import DomainError
from capacity.question.parse import read_choice
from serve_api.models.metadata import (
    MODEL_FILE,
    SCALER_FILE,
    Metadata,
    Precision,
    digest,
    library_versions,
    version_order,
)
from serve_api.models.store import Artifact, ArtifactStore

if TYPE_CHECKING:
    from serve_api.models.dataset import Dataset

ALL = "all"
_EPOCHS, _BATCH_ROWS = 10, 64
# Adam's steps must shrink as layers widen: Yang et al. (2022), Tensor Programs V, arXiv 2203.03466.
_LEARNING_RATE_TIMES_WIDTH = 0.2
HIDDEN = 4096  # units of a hidden layer by default
_HIDDEN_MAX, _SEED_MAX = 8192, 2**32 - 1

app = typer.Typer(cls=Guarded, add_completion=False, pretty_exceptions_enable=False)


class ModelKind(StrEnum):
    """Models to train: one that is fast to serve, and one that is slow."""

    LOGISTIC = "logistic"
    MLP = "mlp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Parameters of a training besides its data; `hidden` is the width of an mlp's two layers."""

    kind: ModelKind
    seed: int = 0
    hidden: int = HIDDEN

    def __post_init__(self) -> None:
        if not 0 <= self.seed <= _SEED_MAX:
            raise DomainError(f"seed must be 0 to {_SEED_MAX}, got {self.seed}")
        if not 1 <= self.hidden <= _HIDDEN_MAX:
            raise DomainError(f"hidden must be 1 to {_HIDDEN_MAX} units, got {self.hidden}")

    def parameters(self, features: int) -> int:
        """Number of weights and intercepts of the model, with two classes.

        >>> Recipe(kind=ModelKind.MLP, hidden=2).parameters(features=3)  # 3 to 2, 2 to 2, 2 to 1
        17
        """
        if self.kind is ModelKind.LOGISTIC:
            return features + 1
        return (features + 1) * self.hidden + (self.hidden + 1) * self.hidden + self.hidden + 1


def fit(recipe: Recipe, dataset: "Dataset") -> Any:
    """A fitted pipeline of a scaler and a classifier.

    It uses one thread, since sums in another order would give other bytes on a machine with other cores.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    pipeline = make_pipeline(StandardScaler(), _classifier(recipe))
    with threadpool_limits(limits=1), warnings.catch_warnings():
        # A fixed number of epochs, so that it takes as long everywhere.
        warnings.filterwarnings("ignore", message="Stochastic Optimizer", category=ConvergenceWarning)
        # An interrupt counts as one: it would continue with half a model. `Guarded` sees what is behind the error.
        warnings.filterwarnings("error", message="Training interrupted by user", category=UserWarning)
        pipeline.fit(dataset.train_rows, dataset.train_labels)
    return pipeline


def _classifier(recipe: Recipe) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier

    if recipe.kind is ModelKind.LOGISTIC:
        return LogisticRegression(random_state=recipe.seed)
    return MLPClassifier(
        hidden_layer_sizes=(recipe.hidden, recipe.hidden),
        learning_rate_init=_LEARNING_RATE_TIMES_WIDTH / recipe.hidden,
        batch_size=_BATCH_ROWS,
        max_iter=_EPOCHS,
        n_iter_no_change=_EPOCHS,
        random_state=recipe.seed,
    )


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
) -> None:
    """Train models on the breast-cancer data and write them as ONNX, with digests and metadata."""
    kinds = list(ModelKind) if model == ALL else [read_choice(ModelKind, model, "--model")]
    recipes = [Recipe(kind=kind, seed=seed, hidden=hidden) for kind in kinds]
    stores = {recipe: ArtifactStore(artifacts / recipe.kind) for recipe in recipes}
    version_order(version)
    for store in stores.values():  # all of them before any work
        store.check_free(version)
    for recipe, store in stores.items():
        known = train_into(store, recipe, version).metadata
        if promote or store.current() is None:
            store.set_current(version)
        accuracy = known.metrics["test_accuracy"]
        typer.echo(f"{known.model} {version}: {known.parameters:,} parameters, test accuracy {accuracy:.4f}")


def train_into(store: ArtifactStore, recipe: Recipe, version: str) -> Artifact:
    """A model of a recipe, tested and written as a version."""
    from serve_api.models.dataset import breast_cancer
    from serve_api.models.graph import difference_max, export_onnx, export_scaler, score

    store.check_free(version)  # before any work
    dataset = breast_cancer()
    pipeline = fit(recipe, dataset)
    files = {MODEL_FILE: export_onnx(pipeline), SCALER_FILE: export_scaler(pipeline)}
    metadata = Metadata(
        model=recipe.kind.value,
        version=version,
        precision=Precision.FP32,
        parameters=recipe.parameters(len(dataset.names)),
        seed=recipe.seed,
        features=dataset.features(),
        metrics={
            "train_rows": len(dataset.train_rows),
            **score(files[MODEL_FILE], dataset.test_rows, dataset.test_labels),
            "sklearn_difference_max": difference_max(files[MODEL_FILE], pipeline, dataset.test_rows),
        },
        libraries=library_versions("numpy", "onnx", "onnxruntime", "scikit-learn", "skl2onnx"),
        files={name: digest(data) for name, data in files.items()},
    )
    return store.publish(metadata, files)


if __name__ == "__main__":
    app(prog_name="python -m serve_api.train")
