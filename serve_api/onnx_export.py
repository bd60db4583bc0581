"""ONNX export: a fitted pipeline as one graph, scaler included, held against the pipeline itself."""

import json
from typing import Any

import numpy as np

from capacity.errors import InconclusiveError
from serve_api.dataset import Rows
from serve_api.onnx_session import INPUT, OPSET, OnnxSession

# A probability in single precision after sums of thousands of terms; agreement is about 1e-7.
_DIFFERENCE_MAX = 1e-5


def export_onnx(pipeline: Any) -> bytes:
    """A graph from `features` float32 (n, f) to `label` int64 (n,) and `probabilities` float32 (n, 2)."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    columns = pipeline.n_features_in_
    graph = to_onnx(
        pipeline,
        initial_types=[(INPUT, FloatTensorType([None, columns]))],
        options={"zipmap": False},
        target_opset=dict(OPSET),
    )
    # The converter lists them in the order of a set, which is another in one process of eight or so.
    operators = sorted(graph.opset_import, key=lambda one: one.domain)
    del graph.opset_import[:]
    graph.opset_import.extend(operators)
    return bytes(graph.SerializeToString(deterministic=True))


def export_scaler(pipeline: Any) -> bytes:
    """What the graph does to a row first, (row - mean) / scale, for those who want to read it."""
    scaler = pipeline[0]
    document = {"schema_version": 1, "mean": scaler.mean_.tolist(), "scale": scaler.scale_.tolist()}
    return (json.dumps(document, indent=2, allow_nan=False) + "\n").encode()


def difference_max(model: bytes, pipeline: Any, rows: Rows) -> float:
    """Largest difference of a probability between the graph and the pipeline.

    Raises:
        InconclusiveError: they disagree, so that what was tested is not what would be served.
    """
    labels, probabilities = OnnxSession(model).predict(rows)
    largest = float(np.abs(probabilities - pipeline.predict_proba(rows)).max())
    changed = int(np.count_nonzero(labels != pipeline.predict(rows)))
    if changed or not largest <= _DIFFERENCE_MAX:
        raise InconclusiveError(
            f"the ONNX graph and scikit-learn disagree: {changed} labels differ, and probabilities by "
            f"{largest:.2g}, {_DIFFERENCE_MAX:g} at most expected; try another skl2onnx or onnxruntime"
        )
    return largest
