"""Records: everything that happened to every request of one run; each statistic is computed from them."""

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

    Attributes:
        arrived_s, started_s, finished_s: instants of simulated time. [s]
        batch_size: size of the batch that the request was served in.
        replica: index of the replica that served it.
        oldest: number of the oldest request in its batch; names the batch.
    """

    arrived_s: Floats
    started_s: Floats
    finished_s: Floats
    batch_size: Integers
    replica: Integers
    oldest: Integers

    @classmethod
    def of(cls, arrived_s: Floats, batches: Sequence[Batch]) -> "Records":
        """Records of a run in which every request was served."""
        requests = np.array([request for batch in batches for request in batch.requests], dtype=np.int64)
        sizes = np.array([len(batch.requests) for batch in batches], dtype=np.int64)
        order = np.argsort(requests)

        def per_request(values: list[float] | list[int]) -> npt.NDArray[np.generic]:
            return np.repeat(np.asarray(values), sizes)[order]

        return cls(
            arrived_s=arrived_s,
            started_s=per_request([batch.started_s for batch in batches]).astype(np.float64),
            finished_s=per_request([batch.finished_s for batch in batches]).astype(np.float64),
            batch_size=np.repeat(sizes, sizes)[order],
            replica=per_request([batch.replica for batch in batches]).astype(np.int64),
            oldest=per_request([batch.requests[0] for batch in batches]).astype(np.int64),
        )

    @property
    def wait_s(self) -> Floats:
        """Time in the queue, shape `(requests,)`. [s]"""
        return self.started_s - self.arrived_s

    @property
    def response_s(self) -> Floats:
        """Waiting and service, without the request overhead, shape `(requests,)`. [s]"""
        return self.finished_s - self.arrived_s
