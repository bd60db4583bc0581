"""ONNX session: a model as it is served, and what it says of rows."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve_api.dataset import Labels, Rows

INPUT, LABEL, PROBABILITIES = "features", "label", "probabilities"
# Versions of the operators; older than the newest, so that older runtimes serve them too.
OPSET: Mapping[str, int] = MappingProxyType({"": 17, "ai.onnx.ml": 3})


class OnnxSession:
    """One model in ONNX Runtime, run by one thread: the same digits on any number of cores."""

    def __init__(self, model: bytes) -> None:
        from onnxruntime import InferenceSession, SessionOptions

        options = SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session: Any = InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def predict(self, rows: Rows) -> tuple[Labels, NDArray[np.float32]]:
        """The label of each row, and the probability of each class, shape `(rows, 2)`."""
        label, probabilities = self._session.run([LABEL, PROBABILITIES], {INPUT: rows})
        return label, probabilities
