"""Training: a recipe, and the scikit-learn pipeline that it gives, the same bytes at every run."""

import warnings
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from capacity.errors import DomainError
from serve_api.dataset import Dataset

_EPOCHS, _BATCH_ROWS = 10, 64
# Adam's steps are to shrink as layers widen: Yang et al. (2022), Tensor Programs V, arXiv 2203.03466.
_LEARNING_RATE_TIMES_WIDTH = 0.2
HIDDEN = 4096  # units of a hidden layer, unless others are asked for
_HIDDEN_MAX, _SEED_MAX = 8192, 2**32 - 1


class ModelKind(StrEnum):
    """What is trained: one that takes no time to serve, and one that does."""

    LOGISTIC = "logistic"
    MLP = "mlp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a training depends on besides its data.

    Attributes:
        kind: of model.
        seed: of the first weights and of the order of the rows.
        hidden: width of the two hidden layers; of no meaning to logistic regression.
    """

    kind: ModelKind
    seed: int = 0
    hidden: int = HIDDEN

    def __post_init__(self) -> None:
        if not 0 <= self.seed <= _SEED_MAX:
            raise DomainError(f"seed must be 0 to {_SEED_MAX}, got {self.seed}")
        if not 1 <= self.hidden <= _HIDDEN_MAX:
            raise DomainError(f"hidden must be 1 to {_HIDDEN_MAX} units, got {self.hidden}")

    def parameters(self, features: int) -> int:
        """Weights and intercepts of a model of it, of two classes.

        >>> Recipe(kind=ModelKind.MLP, hidden=2).parameters(features=3)  # 3 to 2, 2 to 2, 2 to 1
        17
        """
        if self.kind is ModelKind.LOGISTIC:
            return features + 1
        return (features + 1) * self.hidden + (self.hidden + 1) * self.hidden + self.hidden + 1


def fit(recipe: Recipe, dataset: Dataset) -> Any:
    """A pipeline of a scaler and a classifier, fitted.

    By one thread, since sums in another order would be other bytes on a machine with other cores.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    pipeline = make_pipeline(StandardScaler(), _classifier(recipe))
    with threadpool_limits(limits=1), warnings.catch_warnings():
        # It is stopped by its number of epochs on purpose, so that it takes as long everywhere.
        warnings.filterwarnings("ignore", message="Stochastic Optimizer", category=ConvergenceWarning)
        # An interrupt is one: it would go on with half a model. `Guarded` sees what is behind the error.
        warnings.filterwarnings("error", message="Training interrupted by user", category=UserWarning)
        pipeline.fit(dataset.train_rows, dataset.train_labels)
    return pipeline


def parameter_count(pipeline: Any) -> int:
    """Weights and intercepts of the classifier; the scaler is no part of what was learnt."""
    classifier = pipeline[-1]
    if hasattr(classifier, "coefs_"):
        return sum(array.size for array in (*classifier.coefs_, *classifier.intercepts_))
    return int(classifier.coef_.size + classifier.intercept_.size)


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
