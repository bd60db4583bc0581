"""Linear classifier: logistic regression as one ONNX operator, spelled out as a matrix product.

Quantizers know matrix products and pass the operator by, so that without this nothing would be quantized.
"""

from typing import Any

import numpy as np

from capacity.errors import InputError
from serve_api.onnx_session import LABEL, OPSET, PROBABILITIES

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
    # skl2onnx names a domain twice here, which quantizers refuse.
    del graph_model.opset_import[:]
    graph_model.opset_import.extend(onnx.helper.make_opsetid(*opset) for opset in OPSET.items())
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
    import onnx
    from onnx.helper import make_node

    return [
        # It changes nothing; quantizers do not know what type the scaler gives.
        make_node("Cast", [rows], ["scaled"], to=onnx.TensorProto.FLOAT),
        make_node("MatMul", ["scaled", WEIGHTS], ["linear_product"]),
        make_node("Add", ["linear_product", "linear_intercept"], ["log_odds"]),
        make_node("Sigmoid", ["log_odds"], ["of_class_1"]),
        make_node("Sub", ["one", "of_class_1"], ["of_class_0"]),
        make_node("Concat", ["of_class_0", "of_class_1"], [PROBABILITIES], axis=1),
        make_node("ArgMax", [PROBABILITIES], [LABEL], axis=1, keepdims=0),
    ]
