"""Emulated model: computes nothing, and takes the time of a profile for each batch."""

import random
import time

import numpy as np

from capacity.profile.profile import ServiceProfile
from serve_api.server.backend import Answers, FloatRows


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
