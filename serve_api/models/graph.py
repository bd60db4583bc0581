"""Graph: exports a fitted pipeline to ONNX, as the server runs it, and compares the two."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capacity.errors import InconclusiveError
from serve_api.models.dataset import Labels, Rows

INPUT, LABEL, PROBABILITIES = "features", "label", "probabilities"
# Versions of the operators; older than the newest, so that older runtimes serve them too.
OPSET: Mapping[str, int] = MappingProxyType({"": 17, "ai.onnx.ml": 3})
# Largest error of a probability in single precision after sums of thousands of terms; agreement is about 1e-7.
_DIFFERENCE_MAX = 1e-5
# A probability in single precision may be 0; the loss of a wrong answer is kept finite.
_PROBABILITY_MIN = 1e-7


class OnnxSession:
    """One model in ONNX Runtime, on one thread: the same digits on any number of cores."""

    def __init__(self, model: bytes) -> None:
        from onnxruntime import InferenceSession, SessionOptions

        options = SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session: Any = InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def predict(self, rows: Rows) -> tuple[Labels, NDArray[np.float32]]:
        """The label of each row, and the probability of each class, shape `(rows, 2)`."""
        label, probabilities = self._session.run([LABEL, PROBABILITIES], {INPUT: rows})
        return label, probabilities


def export_onnx(pipeline: Any) -> bytes:
    """A graph, scaler included, from `features` (n, f) to `label` (n,) and `probabilities` (n, 2)."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    graph = to_onnx(
        pipeline,
        initial_types=[(INPUT, FloatTensorType([None, pipeline.n_features_in_]))],
        options={"zipmap": False},
        target_opset=dict(OPSET),
    )
    # The converter lists them in the order of a set, which differs in about one process of eight.
    operators = sorted(graph.opset_import, key=lambda one: one.domain)
    del graph.opset_import[:]
    graph.opset_import.extend(operators)
    return bytes(graph.SerializeToString(deterministic=True))


def export_scaler(pipeline: Any) -> bytes:
    """The scaler that the graph applies to a row first, (row - mean) / scale, in readable form."""
    scaler = pipeline[0]
    document = {"schema_version": 1, "mean": scaler.mean_.tolist(), "scale": scaler.scale_.tolist()}
    return (json.dumps(document, indent=2, allow_nan=False) + "\n").encode()


def score(model: bytes, rows: Rows, labels: Labels) -> dict[str, float]:
    """Accuracy and mean -log probability of the right label, on rows that the model was not trained on."""
    predicted, probabilities = OnnxSession(model).predict(rows)
    right = probabilities[np.arange(len(labels)), labels].astype(float)
    return {
        "test_rows": len(labels),
        "test_accuracy": float(np.mean(predicted == labels)),
        "test_log_loss": float(-np.log(np.clip(right, _PROBABILITY_MIN, 1.0)).mean()),
    }


def difference_max(model: bytes, pipeline: Any, rows: Rows) -> float:
    """Largest difference of a probability between graph and pipeline; more than rounding is refused."""
    labels, probabilities = OnnxSession(model).predict(rows)
    largest = float(np.abs(probabilities - pipeline.predict_proba(rows)).max())
    changed = int(np.count_nonzero(labels != pipeline.predict(rows)))
    if changed or not largest <= _DIFFERENCE_MAX:
        raise InconclusiveError(
            f"the ONNX graph and scikit-learn disagree: {changed} labels differ, and probabilities by "
            f"{largest:.2g}, {_DIFFERENCE_MAX:g} at most expected; try another skl2onnx or onnxruntime"
        )
    return largest
