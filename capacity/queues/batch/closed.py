"""Bulk closed: a fixed number of users who think, and one replica that serves them in greedy batches."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

from capacity.errors import DomainError
from capacity.queues.batch.chain import require_batch_times
from capacity.queues.law import Law, settle
from capacity.queues.numerics.chains import banded_stationary as stationary
from capacity.queues.numerics.tail import quantile_of
from capacity.units import require_count, require_not_negative

Floats = NDArray[np.float64]
_NEGLIGIBLE = 1e-26  # probability of a backlog below which it is left out
_ALL_STAY_MIN = 1e-100  # probability that no user comes, kept large enough that elimination does not overflow


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BulkUsers:
    """N users, exponential think times, deterministic batches: the chain of how many wait, x, as batches end.

    The next batch takes b = min(max(x, 1), B), and each of the N - max(x, 1) users who think meanwhile
    arrives during it with probability 1 - e^-(s_b/Z).

    Attributes:
        services: time of a batch of 1, ..., B in any unit, B <= users; shape `(B,)`.
        think: mean Z > 0 in the same unit.
        backlog: probability per batch of x = 0, ..., N - 1; shape `(users,)`.
        by_size: share of the batches that hold 1, ..., B; shape `(B,)`.
    """

    users: int
    services: Floats
    think: float
    backlog: Floats = field(init=False)
    by_size: Floats = field(init=False)
    _log_factorial: Floats = field(init=False)
    _again: dict[tuple[int, int], Floats] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        logs = np.log(np.arange(1, self.users + 1, dtype=np.longdouble))
        factorial = np.concatenate([[0.0], np.cumsum(logs)]).astype(np.float64)
        object.__setattr__(self, "_log_factorial", factorial)
        object.__setattr__(self, "backlog", self._stationary())
        sizes = np.clip(np.arange(self.users), 1, self.batch_size_max)
        by_size = np.bincount(sizes - 1, self.backlog, self.batch_size_max)
        object.__setattr__(self, "by_size", by_size)

    @property
    def batch_size_max(self) -> int:
        """B."""
        return len(self.services)

    @property
    def _sizes(self) -> list[int]:
        """Sizes of the batches that occur."""
        return [int(i) + 1 for i in np.flatnonzero(self.by_size > _NEGLIGIBLE)]

    def _stationary(self) -> Floats:
        """Stationary law per batch; no subtraction, however rare a backlog."""
        last, batch = self.users - 1, self.batch_size_max
        if last == 0:
            return np.ones(1)
        return stationary(self._row, last, min(batch, last), last)

    def _row(self, waiting: int) -> Floats:
        """Probabilities of what the next batch leaves, from max(0, x - B) on."""
        present = max(waiting, 1)
        size = min(present, self.batch_size_max)
        thinking = self.users - present
        arrive = self.arrivals(np.arange(thinking + 1), thinking, float(self.services[size - 1]))
        arrive /= arrive.sum()
        if waiting:
            arrive[0] += _ALL_STAY_MIN
        return arrive

    def arrivals(self, count: NDArray[np.int64], thinking: NDArray[np.int64] | int, during: float) -> Floats:
        """P(of this many thinking users, `count` arrive within a time); 0 if that is impossible."""
        n, share = np.asarray(thinking), during / self.think
        held = np.clip(count, 0, n)
        logs = self._log_factorial
        log = logs[n] - logs[held] - logs[n - held] + xlogy(held, -math.expm1(-share)) - (n - held) * share
        return np.asarray(np.where(held == count, np.exp(log), 0.0))

    def waiting_longer(self, time: float) -> float:
        """Requests per batch whose wait exceeds a time >= 0: those present this long before its start."""
        batch = self.batch_size_max
        return sum(
            float(old @ np.minimum(np.arange(1, len(old) + 1), batch))
            for _, _, old in self._old(time, self.users)
        )

    def staying_longer(self, time: float) -> float:
        """Requests per batch whose wait and service together exceed a time."""
        total = 0.0
        for size in self._sizes:
            wait = time - float(self.services[size - 1])
            total += size * float(self.by_size[size - 1]) if wait < 0.0 else self._old_in(size, wait)
        return total

    def wait_atoms(self) -> set[float]:
        """Only a wait of 0 has a probability of its own."""
        return set()

    def response_atoms(self) -> set[float]:
        """The response of a request that finds the replica idle."""
        return {float(self.services[0])}

    def _old_in(self, size: int, wait: float) -> float:
        """Requests per batch that waited longer than that for a batch of exactly this size."""
        batch, total = self.batch_size_max, 0.0
        for full, served, old in self._old(wait, self.users if size == batch else size):
            few = np.arange(1, min(len(old), size) + 1)
            fitting = self._newer(size, few, full, served, wait)
            total += float((few * old[: len(few)]) @ fitting) + size * float(old[size:].sum())
        return total

    def _old(self, time: float, most: int) -> Iterator[tuple[int, int, Floats]]:
        """State a given time before a batch starts, with m full batches and the rest of one of b in between.

        Yields m, b and the probabilities per batch that 1, 2, ... waiting users, `most` at most, are not
        among the first m B.
        """
        batch, last, longest = self.batch_size_max, float(self.services[-1]), float(self.services.max())
        rest = math.fmod(time, last)  # without rounding: near a whole number of batches none counts twice
        full = round((time - rest) / last)
        while full >= 0 and rest < longest:
            for served in self._sizes if full * batch < self.users else []:
                beyond = np.arange(1, min(most, self.users - served - full * batch) + 1)
                if self.services[served - 1] > rest and len(beyond):
                    since = float(self.services[served - 1]) - rest
                    yield full, served, self._waiting(served, since, full * batch + beyond)
            full, rest = full - 1, rest + last

    def _waiting(self, served: int, since: float, counts: NDArray[np.int64]) -> Floats:
        """Probability per batch that it is one of `served` and, so long after its start, `counts` wait."""
        first, last = served, self.users if served == self.batch_size_max else served + 1
        behind = np.flatnonzero(self.backlog[first:last] > _NEGLIGIBLE)[:, None]
        weights = self.backlog[first:last][behind[:, 0]]
        law = weights @ self.arrivals(counts - behind, self.users - served - behind, since)
        if served == 1:
            law = law + self.backlog[0] * self.arrivals(counts, self.users - 1, since)
        return np.asarray(law)

    def _newer(self, size: int, old: NDArray[np.int64], full: int, served: int, time: float) -> Floats:
        """P(newer requests fill the batch to exactly `size`; B: to B or more), by the number of old ones."""
        missing = size - old
        thinking = self.users - served - full * self.batch_size_max - old
        if size < self.batch_size_max and full == 0:
            return self.arrivals(missing, thinking, time)
        came, again = np.arange(size), self._served_again(full, served)
        law = self.arrivals(came, thinking[:, None], time)
        if size < self.batch_size_max:
            return _matched(law, again, missing)
        return np.asarray(1.0 - _matched(law, np.cumsum(again), missing - 1))

    def _served_again(self, full: int, served: int) -> Floats:
        """Law, below B, of how many users served meanwhile are back before the batch starts."""
        if (full, served) not in self._again:
            batch, step = self.batch_size_max, float(self.services[-1])
            law = np.eye(1, batch)[0]
            back = [(full, served), *((k, batch) for k in range(1, full))]
            for behind, many in back:
                if behind:
                    law = np.convolve(law, self.arrivals(np.arange(batch), many, behind * step))[:batch]
            self._again[full, served] = law
        return self._again[full, served]


def _matched(law: Floats, again: Floats, sums: NDArray[np.int64]) -> Floats:
    """Sum over i of law[i] again[sum - i], row by row."""
    others = sums[:, None] - np.arange(law.shape[1])
    return np.asarray((law * np.where(others >= 0, again[np.maximum(others, 0)], 0.0)).sum(axis=1))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BulkTurns:
    """N users who do not think, from one in service at the start: batches of two sizes in turn, or of one."""

    users: int
    services: Floats
    backlog: Floats = field(init=False)

    def __post_init__(self) -> None:
        backlog = np.zeros(self.users)
        for size in self._turns:
            backlog[self.users - size if self.users > 1 else 0] += 1.0 / len(self._turns)
        object.__setattr__(self, "backlog", backlog)

    @property
    def _turns(self) -> tuple[int, ...]:
        """Sizes of the batches in their order."""
        users, batch = self.users, len(self.services)
        if users == 1 or users >= 2 * batch:
            return (min(users, batch),)
        fewer = max(1, users - batch)
        return (fewer, users - fewer)

    def _stays(self) -> list[tuple[float, float, int]]:
        """Each wait and response, and the number of users that have it and of batches in one turn."""
        users, turns, last = self.users, self._turns, float(self.services[-1])
        if users == 1:
            return [(0.0, last, 1)]
        if len(turns) == 2:  # users back at a batch of a are served in the batch of b after it
            times = [float(self.services[size - 1]) for size in turns]
            return [(times[1 - i], times[0] + times[1], turns[i]) for i in (0, 1)]
        batch = turns[0]
        behind = [(users - 2 * batch + place) // batch + 1 for place in range(batch)]
        return [(full * last, (full + 1) * last, 1) for full in behind]

    def _per_batch(self, stays: int, time: float) -> float:
        """Users per batch whose wait (0) or response (1) is longer."""
        return sum(stay[2] for stay in self._stays() if stay[stays] > time) / len(self._turns)

    def waiting_longer(self, time: float) -> float:
        """Requests per batch whose wait exceeds a time >= 0."""
        return self._per_batch(0, time)

    def staying_longer(self, time: float) -> float:
        """Requests per batch whose wait and service together exceed a time."""
        return self._per_batch(1, time)

    def wait_atoms(self) -> set[float]:
        """All waits."""
        return {stay[0] for stay in self._stays()}

    def response_atoms(self) -> set[float]:
        """All responses."""
        return {stay[1] for stay in self._stays()}


USERS_MAX = 2_000
_WIDTH = 1e-12  # width of a quantile's bracket: with 2000 users each step takes a third of a second
_THINKS_PER_BATCH_MAX = 150.0  # beyond, the probability that turns change, e^-(s/Z), nears what is left out


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkClosed(Law):
    """N users of one greedy batching replica, in steady state: what a closed load test of it measures.

    Each user thinks for an exponential time of mean Z, sends a request and waits for its answer. No
    load makes that unstable, and its P99 is lower than what an open stream of the same mean
    rate would meet: compare such a test with this law, never with an open one.

    With Z = 0 the users of a batch are back at the same instant, but after the replica has taken its
    next batch from those who waited; nothing is random then. From one user in service at the start it
    serves 1 and N - 1 in turn while N <= B + 1, N - B and B in turn while N < 2B, and B from then on.
    That is not the limit Z -> 0: with N < 2B there are other turns, and a short think time leads
    from one to another, very rarely.

    Args:
        think_time_s: mean Z >= 0. [s]
        batch_times_s: time of a batch of 1, 2, ..., B. [s]

    Raises:
        DomainError: users not an integer in 1..2000, a think time that is negative or so short that
            150 of it pass in a batch, a batch time that is not positive, or any not finite.

    Source:
        The chain at the ends of batches: Bailey (1954), JRSS B 16(1), 80-87, here with binomial
        arrivals; mean responses by Little's law from mean numbers, never as N/X - Z.

    Assumes:
        Exponential think times, deterministic batches, FIFO, one replica, steady state.

    >>> test = BulkClosed(users=6, think_time_s=3.0, batch_times_s=(1.0, 1.2, 1.5))
    >>> round(test.throughput_rps, 6), round(test.response_mean_s, 6)
    (1.268154, 1.731286)
    """

    users: int
    think_time_s: float
    batch_times_s: tuple[float, ...]
    throughput_rps: float = field(init=False, repr=False, compare=False)
    batch_size_mean: float = field(init=False, repr=False, compare=False)
    utilization: float = field(init=False, repr=False, compare=False)
    empty_probability: float = field(init=False, repr=False, compare=False)
    wait_probability: float = field(init=False, repr=False, compare=False)
    queue_length_mean: float = field(init=False, repr=False, compare=False)
    in_system_mean: float = field(init=False, repr=False, compare=False)
    _law: BulkUsers | BulkTurns = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_count("users", self.users, most=USERS_MAX)
        require_not_negative("think_time_s", self.think_time_s)
        require_batch_times(self.batch_times_s)
        services = np.array(self.batch_times_s[: self.users])
        shortest = float(services.max()) / _THINKS_PER_BATCH_MAX
        if 0.0 < self.think_time_s < shortest:
            raise DomainError(
                f"think_time_s must be 0 or >= {shortest:.3g} (a 150th of the longest batch), got "
                f"{self.think_time_s!r}; use 0 for users who come back at once"
            )
        law: BulkUsers | BulkTurns
        if self.think_time_s > 0.0:
            law = BulkUsers(users=self.users, services=services, think=self.think_time_s)
        else:
            law = BulkTurns(users=self.users, services=services)
        settle(self, **_means(law, self.think_time_s), _law=law)

    @property
    def wait_mean_s(self) -> float:
        """Mean wait, by Little's law."""
        return self.queue_length_mean / self.throughput_rps

    @property
    def response_mean_s(self) -> float:
        """Mean wait and service, by Little's law."""
        return self.in_system_mean / self.throughput_rps

    def _wait_tail(self, time: float) -> float:
        return self._law.waiting_longer(time) / self.batch_size_mean if time < math.inf else 0.0

    def _response_tail(self, time: float) -> float:
        """Sum over batches of b: requests that had waited t - s_b by its start stay longer than t."""
        if time < min(self.batch_times_s[: self.users]):
            return 1.0
        if time == math.inf:
            return 0.0
        return min(1.0, self._law.staying_longer(time) / self.batch_size_mean)

    def _wait_quantile(self, quantile: float) -> float:
        atoms, scale = self._law.wait_atoms(), self.batch_times_s[0]
        return quantile_of(self._wait_tail, quantile, scale, atoms=atoms, relative_width=_WIDTH)

    def _response_quantile(self, quantile: float) -> float:
        atoms, scale = self._law.response_atoms(), self.response_mean_s
        return quantile_of(self._response_tail, quantile, scale, atoms=atoms, relative_width=_WIDTH)


def _means(law: BulkUsers | BulkTurns, think_s: float) -> dict[str, float]:
    """Means by name, from sums over a cycle: the pause until a user comes, and a batch."""
    present = np.maximum(np.arange(law.users), 1)
    size = np.minimum(present, len(law.services))
    service, thinking = law.services[size - 1], law.users - present
    thinks = service / think_s if think_s > 0.0 else np.full(law.users, math.inf)
    pause = float(law.backlog[0]) * think_s / law.users
    cycle = float(law.backlog @ service) + pause
    served = float(law.backlog @ size)
    waiting = float(law.backlog @ ((present - size + thinking * _arrived_share(thinks)) * service))
    return {
        "throughput_rps": served / cycle,
        "batch_size_mean": served,
        "utilization": float(law.backlog @ service) / cycle,
        "empty_probability": pause / cycle,
        "wait_probability": float(law.backlog @ (thinking * -np.expm1(-thinks))) / served,
        "queue_length_mean": waiting / cycle,
        "in_system_mean": (waiting + float(law.backlog @ (size * service))) / cycle,
    }


def _arrived_share(thinks: Floats) -> Floats:
    """1 - (1 - e^-y)/y: mean share of a batch, y mean think times long, that a thinking user is back for."""
    small = np.minimum(thinks, 0.5)
    total, term = small / 2.0, small / 2.0
    for k in range(3, 18):  # y/2! - y^2/3! + ...
        term = term * (-small / k)
        total = total + term
    large = np.maximum(thinks, 0.5)
    return np.asarray(np.where(thinks < 0.5, total, 1.0 + np.expm1(-large) / large))
