"""Jitter chain: how many are left waiting when a batch of gamma-distributed service ends."""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from capacity.errors import DomainError
from capacity.numerics.banded import stationary
from capacity.numerics.tail import first_true

Floats = NDArray[np.float64]
CELLS_MAX = 5e7  # of the banded matrix: 0.4 GB
_DIGITS = 42.0  # e^-42 of all mass may lie beyond the last state
_GAP_DIGITS = 32.0  # or the geometric tail holds to e^-32 of itself from there on
_ARRIVALS_NEGLIGIBLE = 1e-21


@dataclass(frozen=True, slots=True, kw_only=True)
class JitterChain:
    """Stationary law of X' = (X - B)^+ + A_b, b = min(max(X, 1), B), where A_b arrive in a service of b.

    Arrivals during a gamma service are negative binomial. Far up the law is geometric with ratio
    e^-decay; the last state stands for all states from there on, which move as that geometric law of
    them does. So a load near 1 needs no more states than another.

    Time is in means of a full batch's service.

    Attributes:
        arrivals: lambda: mean number that arrive in the mean service of a full batch.
        means: mean service of a batch of 1, 2, ..., B; the last one is 1.
        shape: k = 1 / cv^2.
        spare: 1 - load.
        decay: theta > 0, the geometric tail's: B theta = -k log(1 - (e^theta - 1) lambda / k).
        rate: eta = lambda (e^theta - 1), at which the tail of the wait falls in time.
        law: probabilities of 0, 1, ..., last - 1, and of all from `last` on.

    Raises:
        DomainError: the chain does not fit into memory.

    Source:
        Bailey (1954), JRSS B 16(1), 80-87; Neuts (1967), Annals of Mathematical Statistics 38(3),
        759-770, for batch services; lumping: Kemeny & Snell (1960), Finite Markov Chains, sec. 6.3.

    >>> chain = JitterChain(arrivals=0.5, means=np.array([1.0]), shape=1.0, spare=0.5)
    >>> [round(float(p), 12) for p in chain.left(3)]  # M/M/1
    [0.5, 0.25, 0.125, 0.125]
    """

    arrivals: float
    means: Floats
    shape: float
    spare: float
    decay: float = field(init=False)
    rate: float = field(init=False)
    law: Floats = field(init=False, repr=False)

    def __post_init__(self) -> None:
        rate = _decay_rate(self.arrivals, self.size_max, self.shape, self.spare)
        object.__setattr__(self, "rate", rate)
        object.__setattr__(self, "decay", math.log1p(rate / self.arrivals))
        object.__setattr__(self, "law", _law(self))

    @property
    def size_max(self) -> int:
        """B."""
        return len(self.means)

    @property
    def rate_slowest(self) -> float:
        """Of the full batches' queue, or of the longest service itself, if that is slower."""
        return min(self.rate, self.shape / float(self.means.max()))

    def left(self, count: int) -> Floats:
        """Probabilities that 0, 1, ..., count - 1 are left, and that more are. Shape `(count + 1,)`."""
        last = len(self.law) - 1
        if count <= last:
            return np.append(self.law[:count], self.law[count:].sum())
        beyond = np.exp(-self.decay * np.arange(count - last))
        tail = self.law[-1] * math.exp(-self.decay * (count - last))
        return np.concatenate([self.law[:-1], -math.expm1(-self.decay) * self.law[-1] * beyond, [tail]])

    def behind(self, count: int) -> Floats:
        """Probabilities that a batch is full and 0, ..., count - 1, or more, wait behind it at its start."""
        law = self.left(self.size_max + count)[self.size_max :]
        if self.size_max == 1:
            law[0] += self.law[0]
        return law

    @property
    def sizes(self) -> Floats:
        """Probabilities that a batch has size 1, 2, ..., B: an idle server starts one of 1."""
        law = self.left(self.size_max)
        law[1] += law[0]
        return law[1:]

    @property
    def size_mean(self) -> float:
        """Mean batch."""
        return float(np.arange(1, self.size_max + 1) @ self.sizes)

    @property
    def busy(self) -> float:
        """Mean service of a batch."""
        return float(self.means @ self.sizes)

    @property
    def idle(self) -> float:
        """Mean idle time before a batch."""
        return float(self.law[0]) / self.arrivals

    @property
    def wait_total(self) -> float:
        """Mean of all waits per batch: those behind it wait all its service, those who arrive half of it."""
        size, last = self.size_max, len(self.law) - 1
        behind = float(np.arange(last - size) @ self.law[size:-1])
        behind += float(self.law[-1]) * (last - size + 1.0 / math.expm1(self.decay))
        second = (1.0 + 1.0 / self.shape) * float(self.means**2 @ self.sizes)
        return behind + 0.5 * self.arrivals * second

    @property
    def service_total(self) -> float:
        """Mean of all services per batch, each counted once for every request in it."""
        return float(np.arange(1, self.size_max + 1) * self.means @ self.sizes)


def _decay_rate(arrivals: float, size_max: int, shape: float, spare: float) -> float:
    """eta = k (1 - e^-y), where y > 0 solves B log(1 + eta/lambda) = k y, by bisection.

    With L = log(1 + eta/lambda), and eta taken off both sides, that is (1 - rho)/rho eta/k =
    B/k (e^L - 1 - L) + (e^-y - 1 + y): only positive terms, so that nothing is lost at a load near 1.
    """
    ratio = shape / arrivals
    spare_share = spare / (arrivals / size_max)

    def beyond(y: float) -> bool:
        share = -math.expm1(-y)
        log_growth = math.log1p(ratio * share)
        if spare > 0.5:  # eta/lambda is large, and not to be subtracted
            return size_max / shape * log_growth <= y
        return spare_share * share <= size_max / shape * _rest(log_growth) + _rest(-y)

    low, high = spare / (1.0 + ratio), size_max / shape * math.log1p(ratio)
    return -shape * math.expm1(-first_true(beyond, low, high))


def _rest(z: float) -> float:
    """e^z - 1 - z without cancellation."""
    if abs(z) > 1.0:
        return math.expm1(z) - z
    total, term, k = 0.0, z, 1
    while abs(term) > 1e-18 * abs(total):
        k += 1
        term *= z / k
        total += term
    return total


def _law(chain: JitterChain) -> Floats:
    size, last = chain.size_max, _last_state(chain)
    _require_room(chain, last, 1)
    steps = [_arrivals(chain.shape, chain.arrivals * mean, last + size + 1) for mean in chain.means]
    up = min(last, max(len(step) for step in steps))
    _require_room(chain, last, up)

    def row(state: int) -> Floats:
        return steps[min(max(state, 1), size) - 1] if state < last else _lumped(steps[-1], chain.decay, size)

    return stationary(row, last, size, up)


def _require_room(chain: JitterChain, last: int, up: int) -> None:
    cells = last * (chain.size_max + up)
    if cells > CELLS_MAX:
        raise DomainError(
            f"the exact chain needs {cells} cells, more than {CELLS_MAX:g}, at a service_cv of "
            f"{1.0 / math.sqrt(chain.shape):.4g}, batches up to {chain.size_max} and a mean batch time of "
            f"{chain.means.max():.3g} times the last one; lower one of them, or simulate"
        )


def _last_state(chain: JitterChain) -> int:
    """From where on the law is negligible, or geometric: its next singularities are then forgotten.

    Those are the arrivals' own, 1 + k/(lambda max s), and, near a load of 1, roots about
    sqrt(2 pi / (B (1 + B cv^2))) further from 0 than e^decay.
    """
    size, longest = chain.size_max, float(chain.means.max())
    slowest = math.log1p(chain.rate_slowest / chain.arrivals)
    states = _DIGITS / slowest
    gap = math.log1p(chain.shape / (longest * chain.arrivals)) - chain.decay
    if gap > 0.0:
        roots = math.sqrt(size * (1.0 + size / chain.shape) / (2.0 * math.pi))
        states = min(states, _GAP_DIGITS * max(1.0 / gap, roots))
    return size + 10 + math.ceil(states)


def _arrivals(shape: float, mean: float, count: int) -> Floats:
    """Negative binomial probabilities of 0, 1, ..., below `count`, as far as they are not negligible."""
    i = np.arange(count - 1)
    ratios = np.log((shape + i) / (i + 1.0)) + math.log(mean / (shape + mean))
    logs = np.concatenate([[0.0], np.cumsum(ratios)]) - shape * math.log1p(mean / shape)
    law = np.exp(logs)
    beyond = np.cumsum(law[::-1])[::-1]
    return np.asarray(law[: max(1, int(np.count_nonzero(beyond > _ARRIVALS_NEGLIGIBLE)))])


def _lumped(step: Floats, decay: float, size: int) -> Floats:
    """Steps from all states from the last one on, geometric among themselves: B down to none at all."""
    row = np.zeros(size + 1)
    for above in range(size):
        reached = step[: size - above]
        row[above : above + len(reached)] += -math.expm1(-decay) * math.exp(-decay * above) * reached
    row[size] = max(0.0, 1.0 - row.sum())
    return row
