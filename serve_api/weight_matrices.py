"""Weight matrices: those of a model's matrix products, taken from its ONNX graph and put back as codes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capacity.errors import InputError
from capacity.quantization import Quantized

OUTPUTS = 1  # the axis of a weight matrix that has a channel for each output


def weight_matrices(model: bytes) -> dict[str, NDArray[np.float32]]:
    """Matrices by name, shape `(inputs, outputs)`, in the order in which a row meets them.

    Raises:
        InputError: there is none.
    """
    import onnx

    graph = onnx.load_model_from_string(model).graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    named = [n.input[1] for n in graph.node if n.op_type == "MatMul" and n.input[1] in constants]
    if not named:
        raise InputError(
            "the model has no matrix product with constant weights; there is nothing to quantize"
        )
    return {name: onnx.numpy_helper.to_array(constants[name]) for name in named}


def with_weights(model: bytes, weights: Mapping[str, NDArray[np.float64]]) -> bytes:
    """The model with other numbers in some of its matrices, in single precision."""
    import onnx

    graph_model = onnx.load_model_from_string(model)
    for tensor in graph_model.graph.initializer:
        if tensor.name in weights:
            single = weights[tensor.name].astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(single, tensor.name))
    return bytes(graph_model.SerializeToString(deterministic=True))


def with_codes(model: bytes, codes: Mapping[str, Quantized]) -> bytes:
    """The model with eight-bit codes in place of weights, which it turns back before it multiplies.

    It shows what the codes do to the file. Its answers are not those of the weights alone: ONNX Runtime makes
    another operator of it, which rounds what it multiplies the weights by as well.
    """
    import onnx

    graph_model = onnx.load_model_from_string(model)
    graph = graph_model.graph
    for tensor in [tensor for tensor in graph.initializer if tensor.name in codes]:
        graph.initializer.remove(tensor)
    for place, (name, found) in enumerate(codes.items()):
        graph.initializer.extend(_tensors(name, found))
        graph.node.insert(place, _dequantize(name, found.axis))
    return bytes(graph_model.SerializeToString(deterministic=True))


def _tensors(name: str, found: Quantized) -> list[Any]:
    from onnx.numpy_helper import from_array

    scales = found.scales.astype(np.float32)
    one = found.axis is None
    return [
        from_array(found.codes, f"{name}_codes"),
        from_array(scales.reshape(()) if one else scales, f"{name}_scale"),
    ]


def _dequantize(name: str, axis: int | None) -> Any:
    from onnx.helper import make_node

    # Symmetric: the zero point is 0, as it is where none is named.
    inputs = [f"{name}_codes", f"{name}_scale"]
    if axis is None:
        return make_node("DequantizeLinear", inputs, [name])
    return make_node("DequantizeLinear", inputs, [name], axis=axis)
