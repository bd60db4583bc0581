"""Start: a fleet that is at work when a run begins, so that it need not fill from empty."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from simulations.draws.records import Floats, Integers


class Underway(NamedTuple):
    """What a fleet does when a run begins.

    Attributes:
        sizes: requests in the batch that each replica serves, which are not among those of the run, shape
            `(replicas,)`.
        ends_s: when that batch ends, shape `(replicas,)`. [s]
        placed: replica of each of the first requests of the run, which come at instant 0 and are not routed.
    """

    sizes: Integers
    ends_s: Floats
    placed: Integers


@dataclass(frozen=True, slots=True, kw_only=True)
class BusyStart:
    """A start at which all replicas serve, each at another point of its batch, and requests wait.

    Attributes:
        replicas: number of replicas.
        size: mean number of requests in a batch.
        size_deviation: its standard deviation.
        fixed_s, of_each_s: time of a batch: a part that does not grow with it, and one for each request. [s]
        looked_at: number of replicas of which the router chooses the one with the fewest requests; None for all.
    """

    replicas: int
    size: float
    size_deviation: float
    fixed_s: float
    of_each_s: float
    looked_at: int | None = None

    @property
    def waiting(self) -> float:
        """Mean number of requests that wait at a replica."""
        return self.size if self.looked_at is None else self.size * self.looked_at / (self.looked_at + 1)

    def underway(self, generator: np.random.Generator) -> Underway:
        """Batches of normal sizes, any point of each as likely as any other, and those who have come meanwhile.

        After a share u of a batch that are b(1 - (1 - u)^d), or where the router looks at all, what a batch lacks of
        2b.
        """
        normal, left, rounding = (
            generator.standard_normal(self.replicas),
            *generator.random((2, self.replicas)),
        )
        sizes = np.maximum(np.rint(self.size + self.size_deviation * normal), 1.0)
        waiting = 2.0 * self.size - sizes
        if self.looked_at is not None:
            waiting = self.size * (1.0 - left**self.looked_at)
        whole = np.maximum(np.floor(waiting + rounding), 0.0).astype(np.int64)
        return Underway(
            sizes=sizes.astype(np.int64),
            ends_s=(self.fixed_s + self.of_each_s * sizes) * left,
            placed=np.repeat(np.arange(self.replicas), whole),
        )
