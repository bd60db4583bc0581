"""Emulated: a model that computes nothing, and takes for each batch what a profile says."""

import random
import time

import numpy as np

from capacity.profile.profile import ServiceProfile
from serve_api.server.backend import Answers, FloatRows


class Emulated:
    """A model of one feature that sleeps for a draw from the profile's law at each batch's size.

    The thread sleeps as one does that waits for a GPU, so that many replicas fit on few cores. What the server
    itself adds to a batch comes on top: measure the server for a profile of it, do not take this one.

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
