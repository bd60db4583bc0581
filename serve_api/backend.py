"""Backend: a version of the model that can be asked; the ONNX one, and what any must do."""

from typing import NamedTuple, Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from capacity.errors import InputError

FloatRows = NDArray[np.float32]
WARM_UP_RUNS = 5
_LOG_SEVERITY_FATAL = (
    4  # the runtime's own lines hold paths and have no shape; its errors arrive as exceptions
)


class Predictions(NamedTuple):
    """Answers to the rows of a batch, in their order."""

    labels: list[int]
    probabilities: list[list[float]]


class ModelError(Exception):
    """The model answered something that no answer can be."""


class Backend(Protocol):
    """A version of a model."""

    @property
    def version(self) -> str:
        """Name of the version."""

    @property
    def features(self) -> int:
        """Numbers of a row."""

    def predict(self, rows: FloatRows) -> Predictions:
        """Answer rows; may raise whatever it likes."""


class OnnxBackend:
    """A model in ONNX: `features` [n, k] float32 in; `label` [n] int64, `probabilities` [n, c] float32."""

    def __init__(self, model: bytes, *, version: str, threads: int) -> None:
        """From the bytes that were verified, never from the file again.

        Raises:
            InputError: no ONNX model, or one with other inputs or outputs.
        """
        self.version = version
        try:
            self._session = ort.InferenceSession(model, _options(threads), providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime's own family has no public root
            raise InputError(
                f"version {version}: the runtime refuses the model ({type(error).__name__}); export it anew"
            ) from None
        self.features = _feature_count(self._session, version)

    def predict(self, rows: FloatRows) -> Predictions:
        """Answer rows.

        Raises:
            ModelError: not one finite answer for each row.
        """
        labels, probabilities = self._session.run(["label", "probabilities"], {"features": rows})
        if labels.shape != rows.shape[:1] or probabilities.shape[:-1] != rows.shape[:1]:
            raise ModelError("the model gave answers of another shape than its rows")
        if not np.isfinite(probabilities).all():
            raise ModelError("the model gave a probability that is not finite")
        return Predictions(labels.tolist(), probabilities.tolist())


def warm_up(backend: Backend, batch_size_max: int) -> None:
    """Run the smallest and the largest batch, so that no user waits for the first allocations.

    Raises:
        InputError: it cannot answer them.
    """
    for size in {1, batch_size_max}:
        rows = np.zeros((size, backend.features), dtype=np.float32)
        for _ in range(WARM_UP_RUNS):
            _checked_answer(backend, rows)


def _checked_answer(backend: Backend, rows: FloatRows) -> None:
    try:
        answer = backend.predict(rows)
    except Exception as error:
        raise InputError(
            f"version {backend.version}: fails at a batch of {len(rows)} rows of zeros "
            f"({type(error).__name__}); train it anew"
        ) from None
    if len(answer.labels) != len(rows) or len(answer.probabilities) != len(rows):
        raise InputError(
            f"version {backend.version}: gives {len(answer.labels)} answers to {len(rows)} rows; "
            "train it anew"
        )


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = _LOG_SEVERITY_FATAL
    return options


def _feature_count(session: ort.InferenceSession, version: str) -> int:
    inputs = {i.name: (i.type, i.shape) for i in session.get_inputs()}
    outputs = {o.name: o.type for o in session.get_outputs()}
    kind, shape = inputs.get("features", ("", []))
    as_agreed = (
        len(inputs) == 1
        and kind == "tensor(float)"
        and len(shape) == 2
        and isinstance(shape[1], int)
        and outputs.get("label") == "tensor(int64)"
        and outputs.get("probabilities") == "tensor(float)"
    )
    if not as_agreed:
        raise InputError(
            f"version {version}: the model must take `features` float32 [n, k] and give `label` int64 [n] "
            f"and `probabilities` float32 [n, c], but has {sorted(inputs)} and {sorted(outputs)}; "
            "export it anew"
        )
    return int(shape[1])
