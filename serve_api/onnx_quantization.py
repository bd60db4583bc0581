"""ONNX quantization: ONNX Runtime's own eight-bit models, which multiply in whole numbers.

Dynamic finds the range of a layer's inputs anew in every batch, so that a row's answer depends on the rows
that it is batched with; static found it once, by rows that trained, and answers a row alike in any company.
"""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from serve_api.dataset import Rows
from serve_api.linear_classifier import spelled_out
from serve_api.onnx_session import INPUT


class Method(StrEnum):
    """When the range of a layer's inputs is found."""

    DYNAMIC = "dynamic"
    STATIC = "static"


def quantized(model: bytes, method: Method, calibration: Rows) -> bytes:
    """The model with eight-bit weights and products.

    Args:
        calibration: rows that static ranges are found by; never those of the test.
    """
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with TemporaryDirectory() as folder:
        given, prepared, written = (
            Path(folder) / f"{name}.onnx" for name in ("given", "prepared", "quantized")
        )
        given.write_bytes(spelled_out(model))  # by its path: some versions lose a model that is passed itself
        # Shapes only: the session optimizes anyway.
        quant_pre_process(given, prepared, skip_optimization=True, skip_symbolic_shape=True)
        if method is Method.DYNAMIC:
            _dynamic(prepared, written)
        else:
            _static(prepared, written, calibration)
        return written.read_bytes()


def _dynamic(prepared: Path, written: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(prepared, written, weight_type=QuantType.QInt8)


def _static(prepared: Path, written: Path, calibration: Rows) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Once(CalibrationDataReader):  # type: ignore[misc]
        """All rows in one batch."""

        def __init__(self) -> None:
            self._batches: Iterator[dict[str, Rows]] = iter([{INPUT: calibration}])

        def get_next(self) -> Any:
            return next(self._batches, None)

    quantize_static(
        prepared,
        written,
        Once(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        weight_type=QuantType.QInt8,
        activation_type=QuantType.QUInt8,
    )
