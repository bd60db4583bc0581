"""WorkBeside: what a server computes for batches and requests beside what was timed, told by crowds.

With a request at a time, a batch has the core to itself. With a crowd, requests come and answers go while a
batch is served on the same core, and it takes longer by the work on these. Of a batch's time only what the
inference thread computed itself is taken off, by its own clock, since the machine may be quicker now.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.optimize import nnls

from capacity.errors import InconclusiveError
from measurements.crowd import CrowdRun

# A crowd that takes this share of a core may come as fast as it can ask, not as it means to.
_CPU_SHARE_MAX = 0.9
_BATCHES_MIN = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Batches over some time.

    Attributes:
        requests: of one row, that came and were answered while batches were served.
        lasted_s: time of the batches. [s]
        computed_s: CPU time of the inference thread in them. [s]
    """

    batches: float
    requests: float
    lasted_s: float
    computed_s: float

    @property
    def beside_s(self) -> float:
        """Time of each batch that the inference thread did not compute. [s]"""
        return (self.lasted_s - self.computed_s) / self.batches

    @property
    def requests_per_batch(self) -> float:
        """Requests on which there was work while a batch was served."""
        return self.requests / self.batches

    @classmethod
    def of(cls, run: CrowdRun) -> Self:
        """A crowd's. Requests come at any time, so that those within batches are as many as batches last.

        Raises:
            InconclusiveError: the crowd may not have asked as it was to, or was answered in few batches.
        """
        if run.cpu_share > _CPU_SHARE_MAX:
            raise InconclusiveError(
                f"asking took {run.cpu_share:.0%} of a core with {run.users} users, who then do not come as "
                "they would; leave out --counters, and give --request-work if you know it"
            )
        if run.batches < _BATCHES_MIN:
            raise InconclusiveError(
                f"{run.users} users were answered in {run.batches:.0f} batches, and {_BATCHES_MIN:.0f} tell "
                "what is beside them; leave out --counters, and give --request-work if you know it"
            )
        return cls(
            batches=run.batches,
            requests=run.requests * min(1.0, run.batches_s / run.lasted_s),
            lasted_s=run.batches_s,
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
    requests = np.array([crowd.requests_per_batch for crowd in crowds])
    more_s = np.array([crowd.beside_s - alone.beside_s for crowd in crowds])
    terms = np.column_stack([np.ones(len(requests)), requests])
    # Each as a share of its batch, since the times of large batches scatter by more.
    scale = np.array([crowd.batches / crowd.lasted_s for crowd in crowds])
    (batch_s, request_s), _ = nnls(terms * scale[:, None], more_s * scale)
    return WorkBeside(batch_s=float(batch_s), request_s=float(request_s), crowds=tuple(crowds))
