"""WorkBeside: what a server computes for batches and requests beside what was timed, told by a crowd.

With a request at a time, the server rests while the client has the answer. In a crowd it never does, so that
all time is either its batches' own or such work. Of a batch's time only what the inference thread computed is
taken, by its own clock: that of a machine that is faster or slower today is so in both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.optimize import nnls

from capacity.errors import InconclusiveError
from measurements.crowd import CrowdRun

# A crowd that takes this share of a core may be what is waited for.
_CPU_SHARE_MAX = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Batches over some time.

    Attributes:
        lasted_s: time in which the server was at a batch, or would have been but for such work. [s]
        computed_s: CPU time of the inference thread meanwhile. [s]
        requests: of one row, in the batches.
    """

    batches: float
    requests: int
    lasted_s: float
    computed_s: float

    @property
    def beside_s(self) -> float:
        """Time of each batch that the inference thread did not compute. [s]"""
        return (self.lasted_s - self.computed_s) / self.batches

    @property
    def batch_size_mean(self) -> float:
        """Requests of a batch."""
        return self.requests / self.batches

    @classmethod
    def of(cls, run: CrowdRun) -> Self:
        """A crowd's.

        Raises:
            InconclusiveError: the crowd may have kept the server waiting.
        """
        if run.cpu_share > _CPU_SHARE_MAX:
            raise InconclusiveError(
                f"asking took {run.cpu_share:.0%} of a core with {run.users} users, so that the server may "
                "have waited for them; leave out --counters, and give --request-work if you know it"
            )
        return cls(
            batches=run.batches,
            requests=run.requests,
            lasted_s=run.lasted_s,
            computed_s=run.computed_s,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkBeside:
    """Work beside what was timed: of each batch, and of each of its requests. [s]

    Attributes:
        crowds: what they are told from.
    """

    batch_s: float
    request_s: float
    crowds: tuple[Stretch, ...]


def work_beside(alone: Stretch, crowds: Sequence[Stretch]) -> WorkBeside:
    """The two that fit crowds of several sizes best, neither below nothing, by least squares.

    What a lone batch takes beside its computing, such as being handed over, is in its timing already.

    Args:
        alone: the batches that were timed, one at a time.
    """
    sizes = np.array([crowd.batch_size_mean for crowd in crowds])
    more_s = np.array([crowd.beside_s - alone.beside_s for crowd in crowds])
    terms = np.column_stack([np.ones(len(sizes)), sizes])
    # Each as a share of its batch, since the times of large batches scatter by more.
    scale = np.array([crowd.batches / crowd.lasted_s for crowd in crowds])
    (batch_s, request_s), _ = nnls(terms * scale[:, None], more_s * scale)
    return WorkBeside(batch_s=float(batch_s), request_s=float(request_s), crowds=tuple(crowds))
