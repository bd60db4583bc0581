"""Start: a fleet that is at work when a run begins, so that it need not fill from empty."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from simulations.draws.records import Floats, Integers


class Underway(NamedTuple):
    """What a fleet does when a run begins.

    Attributes:
        sizes: requests in the batch that each replica serves, which are not among those of the run, shape
            `(replicas,)`.
        ends_s: when that batch ends, shape `(replicas,)`. [s]
        placed: replica of each of the first requests of the run, which come at instant 0 and are not routed; any where
            all replicas share a queue.
    """

    sizes: Integers
    ends_s: Floats
    placed: Integers


# Of two replicas that a router looks at, as runs show of fleets of 1,000 whose batches have 10 or 21 requests: by how
# much fewer wait in the middle of a batch than in the limit of many; how much they scatter, over the deviation of a
# batch, at its ends and beyond in its middle; and how much of what a batch has more than others waits less at its end.
_FEWER, _SCATTER, _TURN = 0.4, (0.7, 0.5), 0.5
_EARLY = 0.1  # share of a batch before which they scatter less


class Start(Protocol):
    """A start at which all replicas serve."""

    def underway(self, generator: np.random.Generator) -> Underway:
        """What the fleet does when a run begins."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedStart:
    """A start at which all replicas serve batches from one queue, each at another point of its batch.

    Attributes:
        replicas: number of replicas.
        sizes: probability of each size of a batch from 1 on, of all that are served.
        times_s: mean time of a batch of each size. [s]
        waiting: number of requests that wait.
    """

    replicas: int
    sizes: tuple[float, ...]
    times_s: tuple[float, ...]
    waiting: int

    def underway(self, generator: np.random.Generator) -> Underway:
        """Batches as an instant meets them, the longer ones the more often, at any point of each; and the queue."""
        times_s = np.array(self.times_s)
        met = np.cumsum(times_s * self.sizes)
        which, left = generator.random((2, self.replicas))
        sizes = np.searchsorted(met[:-1] / met[-1], which, side="right") + 1
        return Underway(
            sizes=sizes.astype(np.int64),
            ends_s=times_s[sizes - 1] * left,
            placed=np.zeros(self.waiting, dtype=np.int64),
        )


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
        if self.looked_at is None:
            return self.size
        return self.size * self.looked_at / (self.looked_at + 1) - _FEWER * 2.0 / 3.0

    def underway(self, generator: np.random.Generator) -> Underway:
        """Batches of normal sizes, any point of each as likely as any other, and those who have come meanwhile.

        After a share u of a batch that are b(1 - (1 - u)^d) or a few less, or where the router looks at all, what a
        batch lacks of 2b.
        """
        normal, other = generator.standard_normal((2, self.replicas))
        left, rounding = generator.random((2, self.replicas))
        sizes = np.maximum(np.rint(self.size + self.size_deviation * normal), 1.0)
        waiting = 2.0 * self.size - sizes
        if self.looked_at is not None:
            middle, gone, (at_ends, beyond) = 4.0 * left * (1.0 - left), 1.0 - left, _SCATTER
            scatter = (at_ends + beyond * middle) * np.minimum(1.0, gone / _EARLY)
            waiting = self.size * (1.0 - left**self.looked_at) - _FEWER * middle
            waiting += scatter * self.size_deviation * other - _TURN * gone**2 * (sizes - self.size)
        whole = np.maximum(np.floor(waiting + rounding), 0.0).astype(np.int64)
        return Underway(
            sizes=sizes.astype(np.int64),
            ends_s=(self.fixed_s + self.of_each_s * sizes) * left,
            placed=np.repeat(np.arange(self.replicas), whole),
        )
