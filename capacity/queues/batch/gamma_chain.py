"""Gamma chain: the requests that the batches of a replica leave behind, if their times have a gamma law."""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc

from capacity.errors import DomainError
from capacity.queues.law import settle
from capacity.queues.numerics.chains import banded_stationary as stationary
from capacity.queues.numerics.chains import pmf
from capacity.queues.numerics.mills import second_remainder
from capacity.queues.numerics.tail import first_true

Floats = NDArray[np.float64]
CELLS_MAX = 5e7  # of the banded matrix: 0.4 GB
_DIGITS = 42.0  # e^-42 of all mass may lie beyond the last state
_GAP_DIGITS = 32.0  # or the geometric tail holds to e^-32 of itself from there on
_ARRIVALS_NEGLIGIBLE = 1e-21


@dataclass(frozen=True, slots=True, kw_only=True)
class JitterChain:
    """Stationary law of X' = (X - B)^+ + A_b, b = min(max(X, 1), B), where A_b arrive in a service of b.

    Arrivals during a gamma service are negative binomial. Far up, the law is geometric with ratio e^-decay;
    the last state represents all from there on, so a load near 1 needs no more states than another.
    Time is in means of a full batch's service.

    Attributes:
        arrivals: lambda: mean number that arrive in the mean service of a full batch.
        means: mean service of a batch of 1, 2, ..., B; the last one is 1.
        shape: k = 1 / cv^2.
        spare: 1 - load.
        decay: theta > 0, the geometric tail's: B theta = -k log(1 - (e^theta - 1) lambda / k).
        rate: eta = lambda (e^theta - 1), at which the tail of the wait falls in time.
        law: probabilities of 0, 1, ..., last - 1, and of all from `last` on.

    Source:
        Bailey (1954), JRSS B 16(1), 80-87; Neuts (1967), Annals of Mathematical Statistics 38(3),
        759-770, for batch services; lumping: Kemeny & Snell (1960), Finite Markov Chains, sec. 6.3.
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
        settle(self, rate=rate, decay=math.log1p(rate / self.arrivals))
        settle(self, law=_chain_law(self))

    @property
    def size_max(self) -> int:
        """B."""
        return len(self.means)

    @property
    def rate_slowest(self) -> float:
        """The slower one of the full batches' queue rate and the longest service's own rate."""
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
        """Mean of all waits per batch: those behind it wait all its service, those that arrive half of it."""
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
    B/k (e^L - 1 - L) + (e^-y - 1 + y): only positive terms, so nothing is lost at a load near 1.
    """
    ratio = shape / arrivals
    spare_share = spare / (arrivals / size_max)

    def beyond(y: float) -> bool:
        share = -math.expm1(-y)
        log_growth = math.log1p(ratio * share)
        if spare > 0.5:  # eta/lambda is large and must not be subtracted
            return size_max / shape * log_growth <= y
        return spare_share * share <= size_max / shape * second_remainder(log_growth) + second_remainder(-y)

    low, high = spare / (1.0 + ratio), size_max / shape * math.log1p(ratio)
    return -shape * math.expm1(-first_true(beyond, low, high))


def _chain_law(chain: JitterChain) -> Floats:
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
    """The state from which on the law is negligible, or geometric because its next singularities no longer matter.

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
    """Transitions from all states from the last one on, geometric among themselves: B down to none."""
    row = np.zeros(size + 1)
    for above in range(size):
        reached = step[: size - above]
        row[above : above + len(reached)] += -math.expm1(-decay) * math.exp(-decay * above) * reached
    row[size] = max(0.0, 1.0 - row.sum())
    return row


def lines(chain: JitterChain, ages: Floats, levels: int) -> tuple[Floats, Floats]:
    """P(line = mB + k) at ages of a full batch, with its start, and of a smaller one, given it.

    Args:
        ages: ascending.
        levels: m = 0, ..., levels - 1.

    Returns:
        Shape `(ages, levels * B)` each, k = 1..B within a level, where B stands for all k >= B.
    """
    size, count = chain.size_max, levels * chain.size_max + 1
    line = chain.behind(count)
    behind, alone = (np.empty((len(ages), levels * size)) for _ in range(2))
    for at, (age, before) in enumerate(zip(ages, np.append(0.0, ages), strict=False)):
        line = _grown(line, _counts(chain.arrivals * (age - before), count))
        behind[at] = _folded(line, size)
        alone[at] = _folded(_padded(_counts(chain.arrivals * age, count), count), size)
    return significant(behind), significant(alone)


def significant(values: Floats) -> Floats:
    """The values without denormals, which are slow, and without terms too small to matter in a sum."""
    values[values < 1e-40 * values.max(initial=0.0)] = 0.0
    return values


def _counts(mean: float, count: int) -> Floats:
    """P(0), P(1), ..., at most `count` of them and as far as they are not negligible, and the rest."""
    reach = min(count, math.ceil(mean + 10.0 * math.sqrt(mean) + 25.0))
    return np.append(pmf(np.arange(reach), mean), gammainc(reach, mean))


def _grown(line: Floats, more: Floats) -> Floats:
    """A law of 0, 1, ... and a rest, after arrivals with a law of the same form, perhaps shorter."""
    count, reach = len(line) - 1, len(more) - 1
    exact = np.convolve(line[:-1], more[:-1])[:count]
    at_least = np.cumsum(more[::-1])[::-1][1:]
    return np.append(exact, line[-1] + line[-2 : -2 - reach : -1] @ at_least)


def _padded(law: Floats, count: int) -> Floats:
    return np.concatenate([law[:-1], np.zeros(count - len(law) + 1), law[-1:]])


def _folded(line: Floats, size: int) -> Floats:
    """A law of 0, 1, ..., levels x B and more as one of k = 1..B at each level, B for all from B on."""
    levels = line[1:-1].copy()
    levels[size - 1 :: size] = np.cumsum(line[::-1])[::-1][size:-1:size]
    return levels
