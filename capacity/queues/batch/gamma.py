"""M/G^[1,B]/1 with gamma service: dynamic batching on a replica whose batches take a random time."""

import math
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from capacity.errors import DomainError
from capacity.performance import Interval, Kind, Performance
from capacity.queues.batch.chain import BATCH_SIZE_LIMIT, exact_batch_load, require_batch_times
from capacity.queues.batch.gamma_law import GammaShape, JitterLaw, wait_meshes
from capacity.queues.numerics.linear import banded_stationary as stationary
from capacity.queues.numerics.tail import Tail, first_true, quantile_of
from capacity.units import QUANTILES, before_zero, require_positive, require_quantile

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
        object.__setattr__(self, "law", _chain_law(self))

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


SERVICE_CV_MIN = 0.01
SERVICE_CV_MAX = 3.0
_RELATIVE_WIDTH = 1e-13


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkJitter:
    """Greedy dynamic batching with jitter, in steady state, exactly: means, laws of wait and response.

    A free replica takes min(waiting, B) requests at once, oldest first; nobody joins a running batch. A
    batch of b takes a gamma-distributed time of mean `batch_times_s[b - 1]`, whatever the shape of that
    table, and of coefficient of variation `service_cv`, the same for all b; at 1 it is exponential.

    Stable when the arrival rate is below B / s_B; `load` is the share of that.

    Attributes:
        batch_times_s: mean service time of a batch of 1, 2, ..., B. [s]
        service_cv: standard deviation over mean of every batch's service time.

    Raises:
        DomainError: a number out of range; B above 512; service_cv not in 0.01..3 (below it is
            within 1e-3 of deterministic service, `Bulk`); a chain or a law that does not fit into memory,
            as with B = 64 and service_cv = 3.
        UnstableError: load >= 1, up to rounding.

    Source:
        Bailey (1954), JRSS B 16(1), 80-87, and Neuts (1967), Annals of Mathematical Statistics 38(3),
        759-770; the law of the wait looks back from a batch's start as Franx (2001), Operations
        Research Letters 29(5), 221-229, does for M/D/c.

    Assumes:
        Poisson arrivals, independent gamma services, FIFO, unlimited queue, steady state.

    >>> queue = BulkJitter(arrival_rate_rps=1500.0, service_cv=0.3,
    ...     batch_times_s=tuple(1e-3 * (0.1438 * b + 1.8874) for b in range(1, 9)))
    >>> round(1e3 * queue.response_quantile_s(0.99), 3), round(queue.load, 3), round(queue.utilization, 3)
    (7.829, 0.57, 0.988)
    """

    arrival_rate_rps: float
    batch_times_s: tuple[float, ...]
    service_cv: float
    load: float = field(init=False, repr=False, compare=False)
    _chain: JitterChain = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check(self)
        full_s = self.batch_times_s[-1]
        load = exact_batch_load(self.arrival_rate_rps, full_s, self.batch_size_max, servers=1)
        chain = JitterChain(
            arrivals=float(load * self.batch_size_max),
            means=np.array(self.batch_times_s) / full_s,
            shape=1.0 / self.service_cv**2,
            spare=float(1 - load),
        )
        wait_meshes(chain, GammaShape(shape=chain.shape))  # refuses here what no law could be made of
        object.__setattr__(self, "load", float(load))
        object.__setattr__(self, "_chain", chain)

    @property
    def batch_size_max(self) -> int:
        """B."""
        return len(self.batch_times_s)

    @property
    def batch_size_mean(self) -> float:
        """Mean over batches."""
        return self._chain.size_mean

    @property
    def utilization(self) -> float:
        """Share of time that the replica is busy."""
        return self._chain.busy / (self._chain.busy + self._chain.idle)

    @property
    def empty_probability(self) -> float:
        """P(N = 0)."""
        return self._chain.idle / (self._chain.busy + self._chain.idle)

    @property
    def wait_probability(self) -> float:
        """P(W > 0): Poisson arrivals see the replica busy as often as it is (PASTA, Wolff 1982)."""
        return self.utilization

    @property
    def wait_mean_s(self) -> float:
        """Mean wait, by Little's law from the mean number waiting. [s]"""
        return self._chain.wait_total / self._chain.size_mean * self.batch_times_s[-1]

    @property
    def response_mean_s(self) -> float:
        """Mean wait and service. [s]"""
        total = self._chain.wait_total + self._chain.service_total
        return total / self._chain.size_mean * self.batch_times_s[-1]

    @property
    def queue_length_mean(self) -> float:
        """Mean number waiting."""
        return self.arrival_rate_rps * self.wait_mean_s

    @property
    def in_system_mean(self) -> float:
        """Mean number waiting or in service."""
        return self.arrival_rate_rps * self.response_mean_s

    @property
    def tail_decay_rate_per_s(self) -> float:
        """eta, where P(W > t) falls as e^(-eta t): the queue's, or the longest service's own. [1/s]"""
        return self._chain.rate_slowest / self.batch_times_s[-1]

    def wait_tail(self, time_s: float) -> float:
        """P(W > t); 1 before t = 0. [dimensionless]

        >>> queue = BulkJitter(arrival_rate_rps=0.5, batch_times_s=(1.0,), service_cv=1.0)
        >>> round(queue.wait_tail(0.0), 12), round(queue.wait_tail(2.0), 12)  # M/M/1: 1/2, e^-1 / 2
        (0.5, 0.183939720586)
        """
        if before_zero(time_s):
            return 1.0
        time = time_s / self.batch_times_s[-1]
        return min(_law(self).wait_tail(time), self.wait_probability) if time > 0.0 else self.wait_probability

    def wait_quantile_s(self, quantile: float) -> float:
        """Wait that a fraction `quantile` of requests stays within; 0.0 where so many need none. [s]

        Raises:
            DomainError: quantile is not in (0, 1).
        """
        require_quantile(quantile)
        return self._quantile(self.wait_tail, quantile)

    def response_tail(self, time_s: float) -> float:
        """P(wait and service > t); 1 before t = 0. [dimensionless]"""
        if before_zero(time_s):
            return 1.0
        time = time_s / self.batch_times_s[-1]
        return min(1.0, _law(self).response_tail(time)) if time > 0.0 else 1.0

    def response_quantile_s(self, quantile: float) -> float:
        """Response time that a fraction `quantile` of requests stays within. [s]

        Raises:
            DomainError: quantile is not in (0, 1).

        >>> queue = BulkJitter(arrival_rate_rps=0.5, batch_times_s=(1.0,), service_cv=1.0)
        >>> round(queue.response_quantile_s(0.99), 9)  # M/M/1: 2 log 100
        9.210340372
        """
        require_quantile(quantile)
        return self._quantile(self.response_tail, quantile)

    def performance(self, quantiles: tuple[float, ...] = QUANTILES) -> Performance:
        """All of this queue as the answer that simulation and measurement give too."""
        return Performance(
            kind=Kind.EXACT,
            load=self.load,
            utilization=self.utilization,
            throughput_rps=self.arrival_rate_rps,
            batch_size_mean=self.batch_size_mean,
            wait_probability=self.wait_probability,
            empty_probability=self.empty_probability,
            queue_length_mean=self.queue_length_mean,
            in_system_mean=self.in_system_mean,
            wait_mean_s=self.wait_mean_s,
            response_mean_s=self.response_mean_s,
            wait_quantiles_s={q: Interval.exact(self.wait_quantile_s(q)) for q in quantiles},
            response_quantiles_s={q: Interval.exact(self.response_quantile_s(q)) for q in quantiles},
        )

    def _quantile(self, tail: Tail, quantile: float) -> float:
        return quantile_of(tail, quantile, self.response_mean_s, relative_width=_RELATIVE_WIDTH)


@lru_cache(maxsize=16)
def _law(queue: BulkJitter) -> JitterLaw:
    """Made when first asked for: means do without."""
    return JitterLaw(chain=queue._chain)


def _check(queue: BulkJitter) -> None:
    """Refuse what has no exact law here, before anything is computed."""
    require_batch_times(queue.batch_times_s, most=BATCH_SIZE_LIMIT)
    require_positive("service_cv", queue.service_cv)
    if not SERVICE_CV_MIN <= queue.service_cv <= SERVICE_CV_MAX:
        raise DomainError(
            f"service_cv must be in {SERVICE_CV_MIN:g}..{SERVICE_CV_MAX:g}, got {queue.service_cv!r}; "
            f"{'take deterministic batches' if queue.service_cv < SERVICE_CV_MIN else 'simulate'} instead"
        )
