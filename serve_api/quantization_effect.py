"""Quantization effect: what became of a model's answers and of its file, beside the model that it was."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capacity.performance import Interval
from serve_api.dataset import Labels, Rows
from serve_api.onnx_session import OnnxSession
from serve_api.paired_loss import accuracy_loss


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One quantized model on the test rows.

    Attributes:
        file_ratio: bytes of the file that it was over bytes of its own.
        accuracy, accuracy_before: share of right labels, its own and of the model that it was.
        rows: that accuracy is a share of.
        newly_wrong, newly_right: rows that were right before and are wrong now, and the other way round.
        labels_changed: rows that it gives another label to.
        probability_difference_max: over rows and classes.
        company_difference_max: largest difference of a probability between a row asked alone and in one batch
            with all others; what a batching server makes of an answer by the company that it came in.
    """

    name: str
    model_bytes: int
    file_ratio: float
    accuracy: float
    accuracy_before: float
    rows: int
    newly_wrong: int
    newly_right: int
    labels_changed: int
    probability_difference_max: float
    company_difference_max: float

    @property
    def accuracy_loss_points(self) -> Interval:
        """Percentage points of accuracy that were lost, with a 95 % interval; negative if some were won."""
        found = accuracy_loss(rows=self.rows, newly_wrong=self.newly_wrong, newly_right=self.newly_right)
        return found.scaled(100.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Yardstick:
    """The model as it was before, with its answers on the test rows."""

    model: bytes
    rows: Rows
    labels: Labels
    answers: Labels
    probabilities: NDArray[np.float32]

    def effect(self, name: str, model: bytes, file_bytes: int | None = None) -> Effect:
        """What another form of the model does to its answers.

        Args:
            file_bytes: of its file, where that is not the model.
        """
        size_bytes = len(model) if file_bytes is None else file_bytes
        session = OnnxSession(model)
        answers, probabilities = session.predict(self.rows)
        before, now = self.answers == self.labels, answers == self.labels
        alone = np.concatenate([session.predict(row[None, :])[1] for row in self.rows])
        return Effect(
            name=name,
            model_bytes=size_bytes,
            file_ratio=len(self.model) / size_bytes,
            accuracy=float(np.mean(now)),
            accuracy_before=float(np.mean(before)),
            rows=len(self.labels),
            newly_wrong=int(np.count_nonzero(before & ~now)),
            newly_right=int(np.count_nonzero(now & ~before)),
            labels_changed=int(np.count_nonzero(answers != self.answers)),
            probability_difference_max=float(np.abs(probabilities - self.probabilities).max()),
            company_difference_max=float(np.abs(probabilities - alone).max()),
        )


def yardstick(model: bytes, rows: Rows, labels: Labels) -> Yardstick:
    """A model with its answers."""
    answers, probabilities = OnnxSession(model).predict(rows)
    return Yardstick(model=model, rows=rows, labels=labels, answers=answers, probabilities=probabilities)
