"""Bulk closed: a fixed number of users who think, and one replica that serves them in greedy batches."""

import math
from dataclasses import dataclass, field

import numpy as np

from capacity.errors import DomainError
from capacity.numerics.tail import quantile_of
from capacity.performance import Interval, Kind, Performance
from capacity.queues.batches.load import require_batch_times
from capacity.queues.batches.users import BulkTurns, BulkUsers, Floats
from capacity.queues.domain import (
    QUANTILES,
    before_zero,
    require_count,
    require_not_negative,
    require_quantile,
)

USERS_MAX = 2_000
_WIDTH = 1e-12  # of a quantile's bracket: with 2000 users each step takes a third of a second
_THINKS_PER_BATCH_MAX = 150.0  # beyond, e^-(s/Z), how rarely turns change, nears what is left out


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkClosed:
    """N users of one greedily batching replica, in steady state: what a closed load test of it measures.

    Each user thinks for an exponential time of mean Z, sends a request and waits for its answer. No
    load makes that unstable, and its P99 is lower than what an open stream of the same mean
    rate would meet: compare such a test with this law, never with an open one.

    With Z = 0 the users of a batch are back at the same instant, but after the replica has taken its
    next batch from those who waited; nothing is random then. From one user in service at the start it
    serves 1 and N - 1 in turn while N <= B + 1, N - B and B in turn while N < 2B, and B from then on.
    That is not the limit Z -> 0: with N < 2B there are other turns, and a short time of thought leads
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
        for name, value in (*_means(law, self.think_time_s).items(), ("_law", law)):
            object.__setattr__(self, name, value)

    @property
    def wait_mean_s(self) -> float:
        """Mean wait, by Little's law."""
        return self.queue_length_mean / self.throughput_rps

    @property
    def response_mean_s(self) -> float:
        """Mean wait and service, by Little's law."""
        return self.in_system_mean / self.throughput_rps

    def wait_tail(self, time_s: float) -> float:
        """P(W > t); 1 before t = 0. [dimensionless]

        >>> test = BulkClosed(users=6, think_time_s=3.0, batch_times_s=(1.0, 1.2, 1.5))
        >>> round(test.wait_tail(0.5), 6)
        0.523691
        """
        if before_zero(time_s):
            return 1.0
        return self._law.waiting_longer(time_s) / self.batch_size_mean if time_s < math.inf else 0.0

    def response_tail(self, time_s: float) -> float:
        """P(T > t) of wait and service together; 1 before t = 0. [dimensionless]

        A request of a batch of b stays longer than t if it waited already t - s_b before the batch
        started. When that was, is known to the instant: whole batches passed since, and a part
        of one that was in service. So the tail is a finite sum over who waited then.

        >>> test = BulkClosed(users=6, think_time_s=3.0, batch_times_s=(1.0, 1.2, 1.5))
        >>> round(test.response_tail(1.0), 6), test.response_tail(0.999)
        (0.87504, 1.0)
        """
        if before_zero(time_s) or time_s < min(self.batch_times_s[: self.users]):
            return 1.0
        if time_s == math.inf:
            return 0.0
        return min(1.0, self._law.staying_longer(time_s) / self.batch_size_mean)

    def wait_quantile_s(self, quantile: float) -> float:
        """Wait that a fraction `quantile` of requests stays within; 0.0 where so many need none. [s]

        Raises:
            DomainError: quantile is not in (0, 1).

        >>> test = BulkClosed(users=6, think_time_s=3.0, batch_times_s=(1.0, 1.2, 1.5))
        >>> test.wait_quantile_s(0.1), round(test.wait_quantile_s(0.99), 3)
        (0.0, 1.565)
        """
        require_quantile(quantile)
        return quantile_of(
            self.wait_tail,
            quantile,
            self.batch_times_s[0],
            atoms=self._law.wait_atoms(),
            relative_width=_WIDTH,
        )

    def response_quantile_s(self, quantile: float) -> float:
        """Response time that a fraction `quantile` of requests stays within. [s]

        Raises:
            DomainError: quantile is not in (0, 1).

        >>> test = BulkClosed(users=6, think_time_s=3.0, batch_times_s=(1.0, 1.2, 1.5))
        >>> test.response_quantile_s(0.1), round(test.response_quantile_s(0.99), 3)
        (1.0, 2.815)
        """
        require_quantile(quantile)
        return quantile_of(
            self.response_tail,
            quantile,
            self.response_mean_s,
            atoms=self._law.response_atoms(),
            relative_width=_WIDTH,
        )

    def performance(self, quantiles: tuple[float, ...] = QUANTILES) -> Performance:
        """All of this queue as the answer that simulation and measurement give too.

        >>> test = BulkClosed(users=6, think_time_s=3.0, batch_times_s=(1.0, 1.2, 1.5))
        >>> round(test.performance().batch_size_mean, 6)
        1.544238
        """
        return Performance(
            kind=Kind.EXACT,
            utilization=self.utilization,
            throughput_rps=self.throughput_rps,
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


def _means(law: BulkUsers | BulkTurns, think_s: float) -> dict[str, float]:
    """Means by name, from sums over a cycle: the pause until somebody comes, and a batch."""
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
    """1 - (1 - e^-y)/y: share of a batch, y mean think times long, that a thinker is back for, on average."""
    small = np.minimum(thinks, 0.5)
    total, term = small / 2.0, small / 2.0
    for k in range(3, 18):  # y/2! - y^2/3! + ...
        term = term * (-small / k)
        total = total + term
    large = np.maximum(thinks, 0.5)
    return np.asarray(np.where(thinks < 0.5, total, 1.0 + np.expm1(-large) / large))
