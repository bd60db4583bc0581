"""Chains: stationary laws of M-matrices and banded chains, times to absorption, Poisson counts."""

import math
import sys
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_TABLE_MAX = 1_000_000


_LOG_OF_NOTHING = -1e300


def pmf(counts: ArrayLike, mean: ArrayLike) -> Floats:
    """P(N = k), 0 for k < 0; shapes broadcast. [dimensionless]

    Computed by logarithms, which lose the digits that k ln(mean) has before the point: 1e-13 at a thousand.

    >>> [round(float(p), 6) for p in pmf([-1, 0, 2], 2.0)]
    [0.0, 0.135335, 0.270671]
    """
    k, at = np.asarray(counts), _floats(mean)
    held = np.maximum(k, 0).astype(np.int64)
    with np.errstate(divide="ignore"):
        log_mean = np.maximum(np.log(at), _LOG_OF_NOTHING)  # so that 0 times it is 0
    return np.asarray(np.where(k < 0, 0.0, np.exp(held * log_mean - at - _log_factorials(held))))


def pmf_run(first: int, count: int, mean: ArrayLike) -> Floats:
    """P(N = k) for the `count` numbers k from `first` on, as by `pmf`: the last axis; means have its length 1.

    >>> [round(float(p), 6) for p in pmf_run(-1, 4, 2.0)]
    [0.0, 0.135335, 0.270671, 0.270671]
    """
    start, end, at = max(first, 0), max(first + count, 0), _floats(mean)
    result = np.zeros((*at.shape[:-1], count))
    if end > start:
        with np.errstate(divide="ignore"):
            log_mean = np.maximum(np.log(at), _LOG_OF_NOTHING)
        exponents = result[..., start - first :]
        np.multiply(np.arange(start, end, dtype=np.float64), log_mean, out=exponents)
        exponents -= at
        exponents -= _log_factorials_between(start, end)
        np.exp(exponents, out=exponents)
    return result


def likely_counts(low: float, high: float) -> tuple[int, int]:
    """The numbers between which a Poisson number of a mean from `low` to `high` lies but for 1e-31.

    Source:
        Canonne (2019), A short note on Poisson tail bounds, Theorem 1.
    """
    return math.floor(low - 12.0 * math.sqrt(low)), math.ceil(high + 12.0 * math.sqrt(high)) + 30


def _log_factorials_between(start: int, end: int) -> Floats:
    """ln k! for start <= k < end."""
    if end > _TABLE_MAX:
        from scipy.special import gammaln  # heavy, and not to be loaded before it is needed

        return np.asarray(gammaln(np.arange(start, end) + 1.0))
    return _table(1 << end.bit_length())[start:end]


def _log_factorials(counts: NDArray[np.int64]) -> Floats:
    """ln k!, read from a table if that is not too long."""
    from scipy.special import gammaln  # heavy, and not to be loaded before it is needed

    most = int(counts.max(initial=0))
    if most > _TABLE_MAX:
        return np.asarray(gammaln(counts + 1.0))
    return _table(1 << most.bit_length())[counts]


@cache
def _table(length: int) -> Floats:
    """ln k! for k < length."""
    from scipy.special import gammaln  # heavy, and not to be loaded before it is needed

    return np.asarray(gammaln(np.arange(length) + 1.0))


def pmf_between(first: int, last: int, mean: float) -> Floats:
    """P(N = k) for k = first ... last, by ratios from the mode between them and divided by their sum.

    It uses no power, factorial or exponential, and suits ends beyond which almost nothing lies.
    """
    mode = int(mean)
    with np.errstate(under="ignore"):
        below = np.cumprod(np.arange(mode, first, -1) / mean)[::-1] if mode > first else np.empty(0)
        above = np.cumprod(mean / np.arange(mode + 1, last + 1))
        weights = np.concatenate((below, [1.0], above))
        return np.asarray(weights / weights.sum())


def at_least(counts: ArrayLike, mean: ArrayLike) -> Floats:
    """P(N >= k), 1 for k <= 0; computed directly, however small. [dimensionless]"""
    from scipy.special import gammainc  # heavy, and not to be loaded before it is needed

    k = _floats(counts)
    return np.asarray(np.where(k <= 0.0, 1.0, gammainc(np.maximum(k, 1.0), _floats(mean))))


def at_least_between(counts: ArrayLike, low: ArrayLike, high: ArrayLike) -> Floats:
    """P(N(high) >= k) - P(N(low) >= k), k >= 1: the k-th arrival lies between, in time of rate 1.

    Computed from the tails or from their complements, whichever are smaller.
    """
    from scipy.special import gammainc, gammaincc  # heavy, and not to be loaded before it is needed

    k, start, end = _floats(counts), _floats(low), _floats(high)
    below = gammainc(k, start)
    near_one = gammaincc(k, start) - gammaincc(k, end)
    return np.asarray(np.where(below > 0.5, near_one, gammainc(k, end) - below))


def at_least_between_run(first: int, count: int, low: Floats, high: Floats) -> Floats:
    """`at_least_between` for the `count` numbers k from `first` >= 1 on: the last axis.

    Sums of the probabilities of single counts take a tenth of the time of the incomplete gamma functions.

    Args:
        low, high: times, `(rows, 1)`.

    Returns:
        Shape `(rows, count)`.
    """
    below, fewer = tails_run(first, count, low)
    above, none = tails_run(first, count, high)
    return np.asarray(np.where(below > 0.5, fewer - none, above - below))


def tails_run(first: int, count: int, mean: Floats) -> tuple[Floats, Floats]:
    """P(N >= k) and P(N < k) for the `count` numbers k from `first` >= 1 on, each a sum of positive terms.

    Args:
        mean: `(rows, 1)`.

    Returns:
        Two of shape `(rows, count)`.
    """
    from scipy.special import gammaincc  # heavy, and not to be loaded before it is needed

    each = pmf_run(first, count, mean)
    beyond, before = at_least(first + count, mean), gammaincc(first, mean)
    above = np.cumsum(np.concatenate((beyond, each[:, ::-1]), axis=1), axis=1)[:, :0:-1]
    fewer = np.cumsum(np.concatenate((before, each[:, :-1]), axis=1), axis=1)
    return above, fewer


def _floats(values: ArrayLike) -> Floats:
    return np.asarray(values, dtype=np.float64)


def inverse(rates: Floats, exits: Floats) -> Floats:
    """Mean times in state j before the exit, from state i: the inverse of diag(outflow) - rates.

    It works by halves: one half is left out of the chain, and its detours are added to the rates and exits of the
    other. Given the exits, not the diagonal, nothing is subtracted: every entry is right to a few roundings, however
    nearly singular the matrix and however small the entry.

    Args:
        rates: non-negative, `(n, n)`; the diagonal is not read.
        exits: rates of leaving for good, `(n,)`, non-negative; some exit is reached from every state.

    Returns:
        Shape `(n, n)`, non-negative.

    Source:
        Grassmann, Taksar & Heyman (1985), Operations Research 33(5); Alfa, Xue & Ye (2002), Mathematics
        of Computation 71(237), 217-236, for the accuracy entry by entry.

    >>> inverse(np.array([[0.0, 1.0], [2.0, 0.0]]), np.array([1e-30, 1e-30])) * 3e-30
    array([[2., 1.],
           [2., 1.]])
    """
    size = len(exits)
    if size == 1:
        return np.array([[1.0 / exits[0]]])
    if size == 2:
        return _inverse_of_two(float(rates[0, 1]), float(rates[1, 0]), float(exits[0]), float(exits[1]))
    first, last = slice(size // 2), slice(size // 2, size)
    within = inverse(rates[first, first], exits[first] + rates[first, last].sum(axis=1))
    back, over = rates[last, first] @ within, within @ rates[first, last]
    result = np.empty((size, size))
    result[last, last] = inverse(
        rates[last, last] + back @ rates[first, last], exits[last] + back @ exits[first]
    )
    result[first, last] = over @ result[last, last]
    result[last, first] = result[last, last] @ back
    result[first, first] = within + result[first, last] @ back
    return result


def stationary(rates: Floats) -> Floats:
    """Stationary law of the chain with these rates, by halves as in `inverse`, summing to 1.

    Args:
        rates: non-negative, `(n, n)`; the diagonal is not read; the last state is reached from all.
    """
    size = len(rates)
    if size == 1:
        return np.ones(1)
    first, last = slice(size // 2), slice(size // 2, size)
    within = inverse(rates[first, first], rates[first, last].sum(axis=1))
    back = rates[last, first] @ within
    law = stationary(rates[last, last] + back @ rates[first, last])
    law = np.concatenate((law @ back, law))
    return np.asarray(law / law.sum())


def _inverse_of_two(over: float, back: float, first_exit: float, last_exit: float) -> Floats:
    """The inverse of two states, as by halves, but faster; no product of two small rates, which could underflow."""
    first = 1.0 / (first_exit + over)
    returning = back * first
    last = 1.0 / (last_exit + returning * first_exit)
    crossing = over * first * last
    return np.array([[first + crossing * returning, crossing], [last * returning, last]])


_RESCALE_ABOVE = 1e200
_NOTHING = 1e-300
_BLOCK_MIN, _BLOCK_MAX = 32, 128


def banded_stationary(row: Callable[[int], Floats], last: int, down: int, up: int) -> Floats:
    """Stationary probabilities of a chain from whose state i steps lead to i - down ... i + up.

    The states are eliminated from the last to the first, without subtraction, so every entry has full relative
    accuracy, however small. The cost is O(last * down * up).

    Args:
        row: function of a state i that gives the probabilities of the steps to max(0, i - down), max(0, i - down) +
            1,
            ..., shorter than the band where the rest is 0; what leads beyond `last` goes to `last`.
        last: N >= 1.
        down, up: how far a step may lead, >= 1.

    Returns:
        Shape `(last + 1,)`, summing to 1.

    Source:
        Grassmann, Taksar & Heyman (1985), Operations Research 33(5), 1107-1116.
    """
    matrix = _band(row, last, down, up)
    blocks, rest = _eliminate_blocks(matrix, last, down, up)
    first = _eliminate(matrix, rest, down, up)
    law = np.zeros(last + 1)
    law[first] = 1.0
    for m in range(first + 1, rest + 1):
        top = max(0, m - up)
        law[m] = law[top:m] @ matrix[top:m, m]
        if law[m] > _RESCALE_ABOVE:
            law[: m + 1] /= law[m]
    for visits in reversed(blocks):
        start = rest + 1
        rest += visits.shape[1]
        law[start : rest + 1] = _onward(law[:start], visits)
        law[: rest + 1] /= max(1.0, law[start : rest + 1].max())
    return np.asarray(law / law.sum())


def _eliminate_blocks(matrix: Floats, last: int, down: int, up: int) -> tuple[list[Floats], int]:
    """Eliminate blocks of states from the last one on, each at once, down to where states must be taken one by one.

    How often a block's states are visited meanwhile is a product of positive matrices, many times faster than
    row by row.

    Returns:
        Mean visits to each block from each state just below it, and the last state that is left.
    """
    size, blocks = min(_BLOCK_MAX, down, up), list[Floats]()
    if size < _BLOCK_MIN:
        return blocks, last
    while last >= size:
        low, end = last + 1 - size, last + 1
        left, top = max(0, low - down), max(0, low - up)
        away = np.triu(matrix[low:end, left:low], low - down - left)
        into = np.tril(matrix[top:low, low:end], top + up - low)
        try:
            with np.errstate(all="ignore"):
                visits = into @ inverse(np.asarray(matrix[low:end, low:end]), away.sum(axis=1))
        except ZeroDivisionError:  # by underflow no state leads below
            break
        if not np.isfinite(visits).all():
            break
        matrix[top:low, left:low] += visits @ away
        blocks.append(visits)
        last = low - 1
    return blocks, last


def _onward(law: Floats, visits: Floats) -> Floats:
    """The law of a block from that of the states below it, which is scaled down if it would overflow."""
    while True:
        with np.errstate(over="ignore", invalid="ignore"):
            block = law[len(law) - len(visits) :] @ visits
        if np.isfinite(block).all():
            return np.asarray(block)
        law /= _RESCALE_ABOVE


def _eliminate(matrix: Floats, last: int, down: int, up: int) -> int:
    """Eliminate the states from `last` to the first one, one by one; returns the last one left."""
    for m in range(last, 0, -1):
        left, top = max(0, m - down), max(0, m - up)
        away = matrix[m, left:m]
        leaving = away.sum()
        if leaving < _NOTHING:  # the states below have a probability as small
            return m
        column = matrix[top:m, m]
        column /= leaving
        matrix[top:m, left:m] += column[:, None] * away
    return 0


def _band(row: Callable[[int], Floats], last: int, down: int, up: int) -> Floats:
    """A square view, of which only the band within `down` and `up` of the diagonal is stored."""
    width = down + up + 1
    store = np.zeros((last + 1) * width + up)
    for i in range(last + 1):
        first = max(0, i - down)
        steps = row(i)[: i + up - first + 1]
        inside = min(len(steps), last - first + 1)
        at = i * width + first - i + down
        store[at : at + inside] = steps[:inside]
        store[i * width + min(last, i + up) - i + down] += steps[inside:].sum()
    item = store.itemsize
    base = as_strided(store[down:], shape=(last + 1, last + 1), strides=((width - 1) * item, item))
    return np.asarray(base)


_NEGLIGIBLE = 1e-20  # the first term of the power series that is left out, of 1
_FLUSHED = 1e-280  # below it, numbers about to underflow only cost time


class Absorption:
    """Occupation probabilities of a chain whose last state is absorbing.

    e^(Qh) of one short step h is squared repeatedly, once for all times. Each power is kept
    stochastic, row by row: a rounding error in a power's mass would be doubled by every later squaring,
    one spread over the row is not. Everything is positive, and small probabilities keep their digits.

    Args:
        rates: non-negative, `(n, n)`; the diagonal is not read, the last row is 0.
        start: probabilities at time 0, `(n,)`.

    Source:
        Jensen (1953), Skandinavisk Aktuarietidskrift 36, 87-91 (uniformization); the powers: Moler & Van
        Loan (2003), SIAM Review 45(1), method 3; the rows' sums: Grassmann, Taksar & Heyman (1985).
    """

    def __init__(self, rates: Floats, start: Floats) -> None:
        jumps = rates.copy()
        np.fill_diagonal(jumps, 0.0)
        outflow = jumps.sum(axis=1)
        # at most half of the steps of the uniformized chain leave a state: its diagonal does not cancel
        self._steps_per_time = 2.0 ** math.frexp(2.0 * float(outflow.max()))[1]
        self._steps = jumps / self._steps_per_time + np.diag(1.0 - outflow / self._steps_per_time)
        self._start = start
        self._powers = [_stochastic(_series(np.eye(len(start)), self._steps, 1.0))]

    def at(self, time: float) -> Floats:
        """Probabilities of the states at a time. `(n,)`"""
        law = self._start
        if time == 0.0:
            return law
        ticks = time * self._steps_per_time
        whole = math.floor(min(ticks, sys.float_info.max))
        if self._over_before(whole.bit_length()):
            return np.append(np.zeros(len(law) - 1), law.sum())
        for bit in range(whole.bit_length()):
            if whole >> bit & 1:
                law = law @ self._powers[bit]
        rest = ticks - whole
        return _series(law, self._steps, rest) * math.exp(-rest) if rest > 0.0 else law

    def _over_before(self, bits: int) -> bool:
        """Whether nothing is left by the time of this many bits; makes the powers for it."""
        while len(self._powers) < bits:
            if not self._powers[-1][:-1, :-1].any():
                return True
            self._powers.append(_stochastic(self._powers[-1] @ self._powers[-1]))
        return False


def _series(law: Floats, steps: Floats, time: float) -> Floats:
    """e^time times the law after a time of at most 1 mean step."""
    total, term, weight, k = law, law, 1.0, 0
    while weight > _NEGLIGIBLE:
        k += 1
        weight *= time / k
        term = (term @ steps) * (time / k)
        total = total + term
    return total


def _stochastic(matrix: Floats) -> Floats:
    matrix[matrix < _FLUSHED] = 0.0
    return np.asarray(matrix / matrix.sum(axis=1, keepdims=True))
