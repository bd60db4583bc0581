"""Dataset: the breast-cancer data of scikit-learn, with one fixed split into training and test rows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serve_api.models.metadata import Feature

_TEST_SHARE = 0.3
# Not the training seed: models with other seeds must be tested on the same rows to be comparable.
_SPLIT_SEED = 0

Rows = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """Rows with their labels, 1 for benign; models never see the test rows.

    Attributes:
        names: names of the columns.
        train_rows, test_rows: shape `(rows, features)`.
        train_labels, test_labels: shape `(rows,)`.
    """

    names: tuple[str, ...]
    train_rows: Rows
    train_labels: Labels
    test_rows: Rows
    test_labels: Labels

    def features(self) -> tuple[Feature, ...]:
        """Each column's name and its values in training."""
        rows = self.train_rows.astype(float)
        columns = zip(self.names, rows.mean(axis=0), rows.min(axis=0), rows.max(axis=0), strict=True)
        return tuple(
            Feature(name=name, mean=float(mean), low=float(low), high=float(high))
            for name, mean, low, high in columns
        )


def breast_cancer() -> Dataset:
    """569 tumours with 30 numbers each, bundled with scikit-learn; the split is always the same.

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
