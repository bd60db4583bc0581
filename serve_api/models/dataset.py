"""Dataset: the breast-cancer data of scikit-learn, split once and for all into what trains and what tests."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serve_api.models.metadata import Feature

_TEST_SHARE = 0.3
# Not the seed of the training: another seed must be tested by the same rows, or no two models compare.
_SPLIT_SEED = 0

Rows = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """Rows with their labels, 1 for benign; of the test rows no model is told.

    Attributes:
        names: of the columns.
        train_rows, test_rows: shape `(rows, features)`.
        train_labels, test_labels: shape `(rows,)`.
    """

    names: tuple[str, ...]
    train_rows: Rows
    train_labels: Labels
    test_rows: Rows
    test_labels: Labels

    def features(self) -> tuple[Feature, ...]:
        """What each column was like in training."""
        rows = self.train_rows.astype(float)
        columns = zip(self.names, rows.mean(axis=0), rows.min(axis=0), rows.max(axis=0), strict=True)
        return tuple(
            Feature(name=name, mean=float(mean), low=float(low), high=float(high))
            for name, mean, low, high in columns
        )


def breast_cancer() -> Dataset:
    """569 tumours by 30 numbers each, bundled with scikit-learn; the same split at every call.

    Source:
        Street, Wolberg & Mangasarian (1993), "Nuclear feature extraction for breast tumor diagnosis".
    """
    from sklearn.datasets import load_breast_cancer
    from sklearn.model_selection import train_test_split

    bunch = load_breast_cancer()
    train_rows, test_rows, train_labels, test_labels = train_test_split(
        bunch.data.astype(np.float32),  # as the server gets them
        bunch.target.astype(np.int64),
        test_size=_TEST_SHARE,
        stratify=bunch.target,
        random_state=_SPLIT_SEED,
    )
    return Dataset(
        names=tuple(str(name) for name in bunch.feature_names),
        train_rows=train_rows,
        train_labels=train_labels,
        test_rows=test_rows,
        test_labels=test_labels,
    )
