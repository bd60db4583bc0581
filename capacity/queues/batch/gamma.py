"""M/G^[1,B]/1 with gamma service: dynamic batching on a replica whose batches take a random time."""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from capacity.errors import DomainError
from capacity.queues.batch.chain import BATCH_SIZE_LIMIT, exact_batch_load, require_batch_times
from capacity.queues.batch.gamma_chain import JitterChain
from capacity.queues.batch.gamma_law import GammaShape, JitterLaw, wait_meshes
from capacity.queues.law import Law, settle
from capacity.queues.numerics.tail import quantile_of
from capacity.units import require_positive

SERVICE_CV_MIN = 0.01
SERVICE_CV_MAX = 3.0
_RELATIVE_WIDTH = 1e-13


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkJitter(Law):
    """Greedy dynamic batching with jitter, in steady state, exactly: means, laws of wait and response.

    A free replica takes min(waiting, B) requests at once, oldest first; no request joins a running batch. A
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
        require_batch_times(self.batch_times_s, most=BATCH_SIZE_LIMIT)
        require_positive("service_cv", self.service_cv)
        if not SERVICE_CV_MIN <= self.service_cv <= SERVICE_CV_MAX:
            raise DomainError(
                f"service_cv must be in {SERVICE_CV_MIN:g}..{SERVICE_CV_MAX:g}, got {self.service_cv!r}; "
                f"{'take deterministic batches' if self.service_cv < SERVICE_CV_MIN else 'simulate'} instead"
            )
        full_s = self.batch_times_s[-1]
        load = exact_batch_load(self.arrival_rate_rps, full_s, self.batch_size_max, servers=1)
        chain = JitterChain(
            arrivals=float(load * self.batch_size_max),
            means=np.array(self.batch_times_s) / full_s,
            shape=1.0 / self.service_cv**2,
            spare=float(1 - load),
        )
        wait_meshes(chain, GammaShape(shape=chain.shape))  # refuses here what has no law
        settle(self, load=float(load), _chain=chain)

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

    def _wait_tail(self, time_s: float) -> float:
        time = time_s / self.batch_times_s[-1]
        return min(_law(self).wait_tail(time), self.wait_probability) if time > 0.0 else self.wait_probability

    def _response_tail(self, time_s: float) -> float:
        time = time_s / self.batch_times_s[-1]
        return min(1.0, _law(self).response_tail(time)) if time > 0.0 else 1.0

    def _wait_quantile(self, quantile: float) -> float:
        return quantile_of(self._wait_tail, quantile, self.response_mean_s, relative_width=_RELATIVE_WIDTH)

    def _response_quantile(self, quantile: float) -> float:
        return quantile_of(
            self._response_tail, quantile, self.response_mean_s, relative_width=_RELATIVE_WIDTH
        )


@lru_cache(maxsize=16)
def _law(queue: BulkJitter) -> JitterLaw:
    """The law of the wait, computed when first needed: means do without it."""
    return JitterLaw(chain=queue._chain)
