"""Linear classifier: logistic regression as one ONNX operator, spelled out as a matrix product.

Quantizers know matrix products and pass the operator by, so that without this nothing would be quantized.
"""

from typing import Any

import numpy as np

from capacity.errors import InputError
from serve_api.onnx_session import LABEL, PROBABILITIES

_OPERATOR = "LinearClassifier"
WEIGHTS = "linear_weights"


def spelled_out(model: bytes) -> bytes:
    """The same function with a MatMul where a binary LinearClassifier was; other graphs as they are.

    Raises:
        InputError: it has more than two classes, or makes probabilities in another way.
    """
    import onnx

    graph_model = onnx.load_model_from_string(model)
    graph = graph_model.graph
    found = [node for node in graph.node if node.op_type == _OPERATOR]
    if not found:
        return model
    (node,) = found
    coefficients, intercepts = _binary(node)
    graph.initializer.extend(
        onnx.numpy_helper.from_array(array, name)
        for name, array in (
            (WEIGHTS, coefficients[:, None]),
            ("linear_intercept", intercepts),
            ("one", np.ones(1, np.float32)),
        )
    )
    graph.node.remove(node)
    graph.node.extend(_nodes(node.input[0]))
    return bytes(graph_model.SerializeToString(deterministic=True))


def _binary(node: Any) -> tuple[Any, Any]:
    """Coefficients and intercept of class 1; those of class 0, their negatives, are there too."""
    known = {attribute.name: attribute for attribute in node.attribute}
    if len(known["intercepts"].floats) != 2 or known["post_transform"].s != b"LOGISTIC":
        raise InputError("the model's classifier is not a binary logistic regression; quantize another model")
    coefficients = np.asarray(known["coefficients"].floats, np.float32).reshape(2, -1)
    return coefficients[1], np.asarray(known["intercepts"].floats[1:], np.float32)


def _nodes(rows: str) -> list[Any]:
    from onnx.helper import make_node

    return [
        make_node("MatMul", [rows, WEIGHTS], ["linear_product"]),
        make_node("Add", ["linear_product", "linear_intercept"], ["log_odds"]),
        make_node("Sigmoid", ["log_odds"], ["of_class_1"]),
        make_node("Sub", ["one", "of_class_1"], ["of_class_0"]),
        make_node("Concat", ["of_class_0", "of_class_1"], [PROBABILITIES], axis=1),
        make_node("ArgMax", [PROBABILITIES], [LABEL], axis=1, keepdims=0),
    ]
