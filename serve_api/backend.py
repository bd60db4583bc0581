"""Backend: a version of the model that can be asked; the ONNX one, and what any must do."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from capacity.errors import InputError
from serve_api.metadata import Feature

FloatRows = NDArray[np.float32]
WARM_UP_RUNS = 5
_OUTPUTS = ["label", "probabilities"]
_LOG_SEVERITY_FATAL = (
    4  # the runtime's own lines hold paths and have no shape; its errors arrive as exceptions
)


class Predictions(NamedTuple):
    """Answers to the rows of a batch, in their order.

    Attributes:
        unanswered: rows to which the model has no finite answer; what stands in their places is none.
    """

    labels: list[int]
    probabilities: list[list[float]]
    unanswered: frozenset[int] = frozenset()


class ModelError(Exception):
    """The model answered something that no answer can be."""


class Backend(Protocol):
    """A version of a model."""

    @property
    def version(self) -> str:
        """Name of the version."""

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the numbers of a row, in their order."""

    @property
    def classes(self) -> int:
        """Probabilities of an answer."""

    @property
    def typical(self) -> FloatRows:
        """One row as the model was trained on, [1, features], which it must be able to answer."""

    def predict(self, rows: FloatRows) -> Predictions:
        """Answer rows; may raise whatever it likes."""


class OnnxBackend:
    """A model in ONNX: `features` [n, k] float32 in; `label` [n] int64, `probabilities` [n, c] float32."""

    def __init__(self, model: bytes, *, version: str, features: Sequence[Feature], threads: int) -> None:
        """From the bytes that were verified, never from the file again.

        Raises:
            InputError: no ONNX model, one with other inputs or outputs, or of other features than these.
        """
        self.version = version
        try:
            self._session = ort.InferenceSession(model, _options(threads), providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime's own family has no public root
            raise InputError(
                f"version {version}: the runtime refuses the model ({type(error).__name__}); export it anew"
            ) from None
        width, self.classes = _widths(self._session, version)
        if width != len(features):
            raise InputError(
                f"version {version}: the model takes {width} features and its metadata name "
                f"{len(features)}; export it anew"
            )
        self.features = tuple(feature.name for feature in features)
        with np.errstate(over="ignore"):
            self.typical: FloatRows = np.array([[feature.mean for feature in features]], dtype=np.float32)

    @property
    def threads(self) -> int:
        """Threads of one batch, as the runtime has them; 0 would be as many as the machine has cores."""
        return int(self._session.get_session_options().intra_op_num_threads)

    def predict(self, rows: FloatRows) -> Predictions:
        """Answer rows; those that have no finite answer are named, since their neighbours have one.

        Raises:
            ModelError: not one answer for each row.
        """
        labels, probabilities = self._session.run(_OUTPUTS, {"features": rows})
        if labels.shape != rows.shape[:1] or probabilities.shape[:-1] != rows.shape[:1]:
            raise ModelError("the model gave answers of another shape than its rows")
        finite = np.isfinite(probabilities)
        if finite.all():
            return Predictions(labels.tolist(), probabilities.tolist())
        unanswered = np.flatnonzero(~finite.all(axis=1)).tolist()
        return Predictions(labels.tolist(), probabilities.tolist(), frozenset(unanswered))


def warm_up(backend: Backend, batch_size_max: int) -> None:
    """Run the smallest and the largest batch, so that no user waits for the first allocations.

    Raises:
        InputError: it cannot answer them.
    """
    for size in {1, batch_size_max}:
        rows = np.repeat(backend.typical, size, axis=0)
        for _ in range(WARM_UP_RUNS):
            _check_answer(backend, rows)


def still_answers(backend: Backend) -> bool:
    """Whether it answers its typical row: if so, what it failed at is to blame, not the model."""
    try:
        answer = backend.predict(backend.typical)
    except Exception:
        return False
    return len(answer.labels) == 1 and not answer.unanswered


def _check_answer(backend: Backend, rows: FloatRows) -> None:
    try:
        answer = backend.predict(rows)
    except Exception as error:
        raise InputError(
            f"version {backend.version}: fails at a batch of {len(rows)} rows of the features' means "
            f"({type(error).__name__}); train it anew"
        ) from None
    if len(answer.labels) != len(rows) or len(answer.probabilities) != len(rows):
        raise InputError(
            f"version {backend.version}: gives {len(answer.labels)} answers to {len(rows)} rows; "
            "train it anew"
        )
    if answer.unanswered:
        raise InputError(
            f"version {backend.version}: has no finite answer to a row of the features' means; train it anew"
        )


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = _LOG_SEVERITY_FATAL
    return options


def _widths(session: ort.InferenceSession, version: str) -> tuple[int, int]:
    """Numbers of a row, and of an answer."""
    inputs = {i.name: (i.type, i.shape) for i in session.get_inputs()}
    outputs = {o.name: (o.type, o.shape) for o in session.get_outputs()}
    width = _second("tensor(float)", inputs.get("features"))
    classes = _second("tensor(float)", outputs.get("probabilities"))
    label_kind, _ = outputs.get("label", ("", []))
    if len(inputs) != 1 or width is None or classes is None or label_kind != "tensor(int64)":
        raise InputError(
            f"version {version}: the model must take `features` float32 [n, k] and give `label` int64 [n] "
            f"and `probabilities` float32 [n, c], k and c fixed, but has {sorted(inputs)} and "
            f"{sorted(outputs)}; export it anew"
        )
    return width, classes


def _second(kind: str, found: tuple[str, list[int | str | None]] | None) -> int | None:
    """The second dimension of a matrix of a kind; None of anything else, or where it is not fixed."""
    if found is None or found[0] != kind or len(found[1]) != 2:
        return None
    width = found[1][1]
    return width if isinstance(width, int) else None
