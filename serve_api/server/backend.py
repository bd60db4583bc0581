"""Backend: a version of a model in memory, which answers rows."""

import random
import time
from typing import NamedTuple, Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from capacity.errors import InputError
from capacity.profile.profile import ServiceProfile
from serve_api.models.store import Artifact

FloatRows = NDArray[np.float32]
WARM_UP_RUNS = 5
_LOG_SEVERITY_FATAL = 4  # the runtime's errors arrive as exceptions too


class Answers(NamedTuple):
    """Answers to the rows of a batch, in order; `finite` says which rows have one."""

    labels: list[int]
    probabilities: list[list[float]]
    finite: list[bool]


class Predictor(Protocol):
    """A model that is served, however it computes; see `Backend` for its attributes."""

    version: str
    features: tuple[str, ...]
    classes: int
    typical: FloatRows

    def predict(self, rows: FloatRows) -> Answers:
        """Answer rows, in order."""


class Backend:
    """A model in ONNX: `features` [n, k] float32 in; `label` [n] int64, `probabilities` [n, c] float32.

    Attributes:
        features: names of the numbers in a row, in order.
        classes: number of probabilities in an answer.
        typical: a row like those the model was trained on, which it must be able to answer.
    """

    def __init__(self, artifact: Artifact, *, threads: int) -> None:
        """Load the model from the bytes that were checked, never from the file again.

        Raises:
            InputError: the runtime refuses the model, or it has other inputs and outputs.
        """
        self.version = artifact.version
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = _LOG_SEVERITY_FATAL
        try:
            self._session = ort.InferenceSession(artifact.model, options, providers=["CPUExecutionProvider"])
            self.classes = self._check_shapes(len(artifact.metadata.features))
        except Exception as error:  # the runtime's own family has no public root
            raise InputError(
                f"version {self.version}: not a model that can be served ({type(error).__name__}: "
                f"{str(error)[:80]}); export it again"
            ) from None
        self.features = tuple(feature.name for feature in artifact.metadata.features)
        means = [feature.mean for feature in artifact.metadata.features]
        self.typical: FloatRows = np.array([means], dtype=np.float32)

    def predict(self, rows: FloatRows) -> Answers:
        """Answer rows; one without a finite answer does not spoil the others."""
        labels, probabilities = self._session.run(["label", "probabilities"], {"features": rows})
        finite = np.isfinite(probabilities).all(axis=1)
        return Answers(labels.tolist(), probabilities.tolist(), finite.tolist())

    def _check_shapes(self, features: int) -> int:
        """Number of classes; refuses a model with other inputs or outputs."""
        given = {i.name: (i.type, i.shape[1:]) for i in self._session.get_inputs()}
        gives = {o.name: (o.type, o.shape[1:]) for o in self._session.get_outputs()}
        kind, width = gives.get("probabilities", ("", []))
        if given != {"features": ("tensor(float)", [features])} or gives.get("label") != (
            "tensor(int64)",
            [],
        ):
            raise ValueError(f"it must take `features` [n, {features}] and give `label` [n]")
        if kind != "tensor(float)" or len(width) != 1 or not isinstance(width[0], int):
            raise ValueError("it must give `probabilities` [n, classes]")
        return width[0]


def warm_up(backend: Predictor, batch_size_max: int) -> None:
    """Run the smallest and the largest batch, so that no user waits for the first allocations.

    Raises:
        InputError: it cannot answer them.
    """
    for size in (1, batch_size_max) * WARM_UP_RUNS:
        try:
            answers = backend.predict(np.repeat(backend.typical, size, axis=0))
        except Exception as error:
            failure = type(error).__name__
        else:
            failure = "" if len(answers.labels) == size and all(answers.finite) else "no finite answer"
        if failure:
            raise InputError(
                f"version {backend.version}: fails at a batch of {size} rows of the features' means "
                f"({failure}); train it again"
            )


class Emulated:
    """A model of one feature that sleeps for a draw from the profile's law at each batch's size.

    The thread sleeps like one that waits for a GPU, so that many replicas fit on few cores. The server's own time for
    a batch comes on top: to get a profile of the server, measure it instead.

    Raises:
        DomainError: the profile does not cover all batches up to `batch_size_max`.
    """

    def __init__(self, profile: ServiceProfile, batch_size_max: int) -> None:
        self.version = profile.name
        self.features: tuple[str, ...] = ("x",)
        self.classes = 1
        self.typical: FloatRows = np.zeros((1, 1), dtype=np.float32)
        self._laws = [profile.law(size) for size in range(1, batch_size_max + 1)]
        self._random = random.Random()  # noqa: S311  (a draw of times, no secret)

    def predict(self, rows: FloatRows) -> Answers:
        """The only class for each row, when the batch's time is over."""
        size = len(rows)
        time.sleep(self._laws[size - 1].quantile_s(self._random.random()))
        return Answers([0] * size, [[1.0]] * size, [True] * size)
