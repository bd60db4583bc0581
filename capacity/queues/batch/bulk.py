"""M/D^[a,B]/1 and fleets of it: Poisson arrivals, batches that take a known time each, dynamic batching."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from capacity.question.plan import Routing
from capacity.queues.batch.chain import BATCH_SIZE_LIMIT, exact_batch_load, require_batch_times
from capacity.queues.batch.waits import BatchLaw, StartRule, require_routing
from capacity.queues.law import Law, settle
from capacity.queues.numerics.chains import Floats
from capacity.queues.numerics.tail import quantile_of
from capacity.server.batch.batching import BatchTimer
from capacity.units import require_count

_RELATIVE_WIDTH = 1e-13


@dataclass(frozen=True, slots=True, kw_only=True)
class Bulk(Law):
    """Dynamic batching in steady state, exactly: means, and the laws of wait and response.

    A free replica takes min(waiting, B) requests, oldest first, once `batch_size_min` wait or, with
    a batch wait, once B wait or the timer ends. A batch of b takes `batch_times_s[b - 1]`, whatever
    the shape of that table; no request joins a running batch. Under random routing each replica is this
    queue at a c-th of the rate. Under round-robin it receives every c-th arrival: the chain counts
    arrivals of the fleet.

    Stable when the arrival rate is below c B / s_B, since a long queue fills every batch; `load` is the
    share of that. `utilization`, the share of time busy, says little: 99 % at a load of 57 % is common.

    Attributes:
        batch_times_s: service time of a batch of 1, 2, ..., B. [s]
        batch_size_min: a, without a batch wait.
        batch_wait_max_s: T; exact, and allowed, up to s_B for the timer of the oldest request. [s]

    Raises:
        DomainError: a number out of range; B above 512; a batch wait with a minimum batch; the timer
            of the oldest request with a wait above s_B; a routing without an exact law; a load so
            close to 1 that the chain does not fit into memory.
        UnstableError: load >= 1.

    Source:
        Bailey (1954), J. Royal Statistical Society B 16, 80-87, and Neuts (1967), Annals of
        Mathematical Statistics 38(3), 759-770, for the chain; the law of the wait looks back from the
        start of a batch, as Franx (2001), Operations Research Letters 29, does for M/D/c.

    Assumes:
        Poisson arrivals, deterministic batches, FIFO, unlimited queue, steady state.

    >>> queue = Bulk(arrival_rate_rps=1500.0, batch_times_s=tuple(1e-3 * (0.1438 * b + 1.8874)
    ...     for b in range(1, 9)))
    >>> round(1e3 * queue.response_quantile_s(0.99), 3), round(queue.load, 3), round(queue.utilization, 3)
    (5.69, 0.57, 0.992)
    """

    arrival_rate_rps: float
    batch_times_s: tuple[float, ...]
    batch_size_min: int = 1
    batch_wait_max_s: float = 0.0
    timer: BatchTimer = BatchTimer.OLDEST
    replicas: int = 1
    routing: Routing = Routing.ROUND_ROBIN
    _law: BatchLaw = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_batch_times(self.batch_times_s, most=BATCH_SIZE_LIMIT)
        rule = StartRule(
            batch_size_min=self.batch_size_min, batch_wait_max_s=self.batch_wait_max_s, timer=self.timer
        )
        rule.require_law(self.batch_times_s)
        require_count("replicas", self.replicas)
        full_s, size_max = self.batch_times_s[-1], self.batch_size_max
        require_routing(self.routing, self.replicas, size_max)
        exact_batch_load(self.arrival_rate_rps, full_s, size_max, self.replicas, unit="replicas")
        settle(self, _law=rule.law(self.batch_times_s, self._phase_rate_rps, self._stride))

    @property
    def batch_size_max(self) -> int:
        """B."""
        return len(self.batch_times_s)

    @property
    def load(self) -> float:
        """Arrival rate over the largest sustainable one, lambda s_B / (c B)."""
        return self.arrival_rate_rps * self.batch_times_s[-1] / (self.replicas * self.batch_size_max)

    @property
    def batch_size_mean(self) -> float:
        """Mean over batches."""
        return self._law.starts.batch_size_mean

    @property
    def utilization(self) -> float:
        """Share of time that a replica is busy."""
        return self._law.starts.busy_phases / self._cycle_phases

    @property
    def empty_probability(self) -> float | None:
        """Share of time that the replica has no request, waiting or in service; None for several replicas."""
        return None if self.replicas > 1 else self._law.starts.idle_phases / self._cycle_phases

    @property
    def wait_probability(self) -> float:
        """P(W > 0)."""
        return self.wait_tail(0.0)

    @property
    def wait_mean_s(self) -> float:
        """Mean wait, by Little's law from the mean number waiting. [s]"""
        return self._law.waiting / self.batch_size_mean / self._phase_rate_rps

    @property
    def response_mean_s(self) -> float:
        """Mean wait and service. [s]"""
        return self.wait_mean_s + self._served_mean_s

    @property
    def _served_mean_s(self) -> float:
        """Mean service, over requests. [s]"""
        return self._law.starts.served_phases / self._phase_rate_rps

    @property
    def queue_length_mean(self) -> float:
        """Mean number waiting, at all replicas."""
        return self.arrival_rate_rps * self.wait_mean_s

    @property
    def in_system_mean(self) -> float:
        """Mean number waiting or in service, at all replicas."""
        return self.arrival_rate_rps * self.response_mean_s

    def _wait_tail(self, time_s: float, beside: float = 0.0) -> float:
        return self._share(np.full(self.batch_size_max, time_s * self._phase_rate_rps), beside)

    def _response_tail(self, time_s: float, beside: float = 0.0) -> float:
        return self._share(self._waits(time_s), beside)

    def _wait_quantile(self, quantile: float) -> float:
        return self._quantile(self._wait_tail, quantile, [self.batch_wait_max_s])

    def _response_quantile(self, quantile: float) -> float:
        """A response may be the time of a batch that started at once, or that plus the batch wait."""
        waits_s = (0.0, self.batch_wait_max_s)
        return self._quantile(
            self._response_tail,
            quantile,
            [time_s + wait_s for time_s in self.batch_times_s for wait_s in waits_s],
        )

    def _quantile(self, tail: Callable[[float, float], float], quantile: float, atoms: list[float]) -> float:
        return quantile_of(
            lambda time_s: tail(time_s, 1.0 - quantile),
            quantile,
            self.batch_times_s[-1],
            atoms=atoms,
            relative_width=_RELATIVE_WIDTH,
        )

    @property
    def _stride(self) -> int:
        """Phases (arrivals at the fleet) that make one request at a replica."""
        return self.replicas if self.routing is Routing.ROUND_ROBIN else 1

    @property
    def _phase_rate_rps(self) -> float:
        return self.arrival_rate_rps * self._stride / self.replicas

    @property
    def _cycle_phases(self) -> float:
        """Mean phases from one batch to the next: as many as make up the requests of a batch."""
        return self._stride * self.batch_size_mean

    def _share(self, waits: Floats, beside: float = 0.0) -> float:
        """Share of requests that wait longer, at most 1, to the digits that matter beside `beside`."""
        older = self._law.older(waits, beside * self.batch_size_mean)
        return min(1.0, older / self.batch_size_mean)

    def _waits(self, time_s: float) -> Floats:
        """The wait beyond which a response is later than a time, by batch size; negative for none. [phases]

        A wait that ends with the timer is distinguished from a longer one by the given times: their difference would
        be off by its rounding.
        """
        served_s, timer = np.array(self.batch_times_s), self.batch_wait_max_s * self._phase_rate_rps
        waits = (time_s - served_s) * self._phase_rate_rps
        within = np.minimum(waits, math.nextafter(timer, 0.0))
        beyond = np.maximum(waits, timer)
        waits = np.where(time_s >= served_s + self.batch_wait_max_s, beyond, within)
        return np.where(time_s < served_s, -1.0, waits)
