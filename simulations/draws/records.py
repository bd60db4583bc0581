"""Records: everything that happened to every request of one run, from which each statistic is computed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class Batch(NamedTuple):
    """One batch that a replica has served, with the numbers of its requests, oldest first."""

    replica: int
    started_s: float
    finished_s: float
    requests: list[int]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Records:
    """One row per request, in order of arrival; every array has the shape `(requests,)`.

    A lost request was neither started nor finished (NaN), in no batch (size 0, oldest -1), by no replica (-1).

    Attributes:
        arrived_s, started_s, finished_s: instants of simulated time. [s]
        batch_size: size of the batch that the request was served in.
        replica: index of the replica that served it.
        oldest: number of the oldest request in its batch; identifies the batch.
    """

    arrived_s: Floats
    started_s: Floats
    finished_s: Floats
    batch_size: Integers
    replica: Integers
    oldest: Integers

    @classmethod
    def of(cls, arrived_s: Floats, batches: Sequence[Batch]) -> "Records":
        """Records of a run; a request in no batch was rejected."""
        requests = np.array([request for batch in batches for request in batch.requests], dtype=np.int64)
        sizes = np.array([len(batch.requests) for batch in batches], dtype=np.int64)

        def whole(values: Sequence[int], lost: int) -> Integers:
            column = np.full(len(arrived_s), lost, dtype=np.int64)
            column[requests] = np.repeat(np.asarray(values, dtype=np.int64), sizes)
            return column

        def instants_s(values: Sequence[float]) -> Floats:
            column = np.full(len(arrived_s), np.nan)
            column[requests] = np.repeat(np.asarray(values, dtype=np.float64), sizes)
            return column

        return cls(
            arrived_s=arrived_s,
            started_s=instants_s([batch.started_s for batch in batches]),
            finished_s=instants_s([batch.finished_s for batch in batches]),
            batch_size=whole(sizes.tolist(), lost=0),
            replica=whole([batch.replica for batch in batches], lost=-1),
            oldest=whole([batch.requests[0] for batch in batches], lost=-1),
        )

    @property
    def is_lost(self) -> npt.NDArray[np.bool_]:
        """Whether a request was rejected, shape `(requests,)`."""
        return np.asarray(self.batch_size == 0)

    @property
    def wait_s(self) -> Floats:
        """Time in the queue, shape `(requests,)`. [s]"""
        return self.started_s - self.arrived_s

    @property
    def response_s(self) -> Floats:
        """Waiting and service, without the request overhead, shape `(requests,)`. [s]"""
        return self.finished_s - self.arrived_s
