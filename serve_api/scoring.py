"""Scoring: how good the answers of a model are on rows that it was not trained by."""

from dataclasses import dataclass

import numpy as np

from serve_api.dataset import Labels, Rows
from serve_api.onnx_session import OnnxSession

# A probability in single precision may be 0; the loss of a wrong one is finite all the same.
_PROBABILITY_MIN = 1e-7


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Share of labels that are right, and mean -log of the probability of the right one."""

    rows: int
    accuracy: float
    log_loss: float


def score(model: bytes, rows: Rows, labels: Labels) -> Score:
    """The score of an ONNX model."""
    predicted, probabilities = OnnxSession(model).predict(rows)
    of_the_right = probabilities[np.arange(len(labels)), labels].astype(float)
    return Score(
        rows=len(labels),
        accuracy=float(np.mean(predicted == labels)),
        log_loss=float(-np.log(np.clip(of_the_right, _PROBABILITY_MIN, 1.0)).mean()),
    )
