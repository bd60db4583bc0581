"""M/M_b^[1,B]/c: greedy batches whose exponential time depends on their size, by a Markov chain."""

import math
from dataclasses import dataclass, field

import numpy as np

from capacity.errors import DomainError
from capacity.numerics.tail import first_true, quantile_of
from capacity.performance import Interval, Kind, Performance
from capacity.queues.batches.load import exact_batch_load, log_inverse_ratio, require_batch_times
from capacity.queues.batches.states import BulkStates, Floats, count_of_states, stationary
from capacity.queues.batches.tagged import Tagged
from capacity.queues.domain import QUANTILES, before_zero, require_count, require_quantile

STATES_MAX = 500_000
_NEGLIGIBLE = 1e-22  # probability of the longer queues that are left out


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkCTMC:
    """Greedy batches of b that take an exponential time of mean s_b, in steady state.

    The chain counts the batches of each size in service and the queue behind c busy servers. A queue
    longer than one with probability below 1e-22 is left out; all else is exact. Response and wait of a
    request are found by following it: ahead of it m full batches, and k in its own batch so far, which
    arrivals fill up to B. As many states as the chain has serve, and one sweep of it for all times:
    P(T > t) = sum over n of e^-Ht (Ht)^n/n! a_n, a_n the probability not to be done after n of
    the events of a Poisson stream of rate H, faster than any event of the chain (uniformisation). All
    terms are positive; tails are right to 1e-10 of themselves down to 1e-9, and to 1e-20 below.

    Args:
        batch_times_s: mean time of a batch of 1, 2, ..., B. [s]

    Raises:
        DomainError: a rate or time that is not positive and finite, no batch time, or servers not an
            integer >= 1; more than 500 000 states (many servers, sizes, or a load near 1): simulate.
        UnstableError: arrival_rate_rps >= servers x B / s_B, up to rounding.

    Source:
        Neuts (1967), Annals of Mathematical Statistics 38(3), 759-770 (the general bulk service rule);
        Jensen (1953), Skandinavisk Aktuarietidskrift 36, 87-91 (uniformisation).

    Assumes:
        Poisson arrivals, FIFO, one unlimited queue in front of all servers, steady state.

    >>> queue = BulkCTMC(arrival_rate_rps=3.0, batch_times_s=(0.8, 1.0), servers=2)
    >>> round(queue.response_mean_s, 6), round(queue.response_quantile_s(0.99), 6)
    (2.061196, 8.087221)
    """

    arrival_rate_rps: float
    batch_times_s: tuple[float, ...]
    servers: int
    load: float = field(init=False, repr=False, compare=False)
    utilization: float = field(init=False, repr=False, compare=False)
    batch_size_mean: float = field(init=False, repr=False, compare=False)
    wait_probability: float = field(init=False, repr=False, compare=False)
    empty_probability: float = field(init=False, repr=False, compare=False)
    queue_length_mean: float = field(init=False, repr=False, compare=False)
    in_system_mean: float = field(init=False, repr=False, compare=False)
    _tagged: Tagged = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        states = _states(self.arrival_rate_rps, self.batch_times_s, self.servers)
        law = stationary(states)
        waiting = law[len(states.idle) :].reshape(-1, states.places)
        busy = np.concatenate([law[: len(states.idle)], waiting.sum(axis=1)])
        sizes = [*states.idle, *states.full]
        servers = float(busy @ [len(x) for x in sizes])
        started = float(busy @ [sum(states.rates[b - 1] for b in x) for x in sizes])
        queue = float(waiting.sum(axis=0) @ np.arange(states.places))
        for name, value in (
            ("load", states.arrival_rate / self.servers / len(self.batch_times_s)),
            ("utilization", servers / self.servers),
            ("batch_size_mean", states.arrival_rate / started),
            ("wait_probability", float(waiting.sum())),
            ("empty_probability", float(law[0])),
            ("queue_length_mean", queue),
            ("in_system_mean", queue + float(busy @ [sum(x) for x in sizes])),
            ("_tagged", Tagged(states, waiting, float(law[: len(states.idle)].sum()))),
        ):
            object.__setattr__(self, name, value)

    @property
    def wait_mean_s(self) -> float:
        """Mean wait, by Little's law."""
        return self.queue_length_mean / self.arrival_rate_rps

    @property
    def response_mean_s(self) -> float:
        """Mean wait and service, by Little's law."""
        return self.in_system_mean / self.arrival_rate_rps

    def wait_tail(self, time_s: float) -> float:
        """P(W > t); 1 before t = 0. [dimensionless]

        Raises:
            DomainError: time_s is NaN, or so long that following a request takes too many steps.

        >>> queue = BulkCTMC(arrival_rate_rps=3.0, batch_times_s=(0.8, 1.0), servers=2)
        >>> round(queue.wait_tail(1.0), 6)
        0.374573
        """
        return self._tagged.wait_tail(time_s / self.batch_times_s[-1]) if not before_zero(time_s) else 1.0

    def response_tail(self, time_s: float) -> float:
        """P(T > t) of wait and service together; 1 before t = 0. [dimensionless]

        Raises:
            DomainError: time_s is NaN, or so long that following a request takes too many steps.

        >>> queue = BulkCTMC(arrival_rate_rps=3.0, batch_times_s=(0.8, 1.0), servers=2)
        >>> round(queue.response_tail(1.0), 6)
        0.676124
        """
        return self._tagged.response_tail(time_s / self.batch_times_s[-1]) if not before_zero(time_s) else 1.0

    def wait_quantile_s(self, quantile: float) -> float:
        """Wait that a fraction `quantile` of requests stays within; 0.0 where so many need none. [s]

        Raises:
            DomainError: quantile is not in (0, 1), or following a request takes too many steps.

        >>> queue = BulkCTMC(arrival_rate_rps=3.0, batch_times_s=(0.8, 1.0), servers=2)
        >>> queue.wait_quantile_s(0.1), round(queue.wait_quantile_s(0.99), 3)
        (0.0, 6.529)
        """
        require_quantile(quantile)
        return quantile_of(self._tagged.wait_tail, quantile, 1.0) * self.batch_times_s[-1]

    def response_quantile_s(self, quantile: float) -> float:
        """Response time that a fraction `quantile` of requests stays within. [s]

        Raises:
            DomainError: quantile is not in (0, 1), or following a request takes too many steps.

        >>> queue = BulkCTMC(arrival_rate_rps=3.0, batch_times_s=(0.8, 1.0), servers=2)
        >>> round(queue.response_quantile_s(0.5), 3)
        1.597
        """
        require_quantile(quantile)
        return quantile_of(self._tagged.response_tail, quantile, 1.0) * self.batch_times_s[-1]

    def performance(self, quantiles: tuple[float, ...] = QUANTILES) -> Performance:
        """All of this queue as the answer that simulation and measurement give too.

        >>> queue = BulkCTMC(arrival_rate_rps=3.0, batch_times_s=(0.8, 1.0), servers=2)
        >>> answer = queue.performance()
        >>> answer.load, round(answer.utilization, 6), round(answer.batch_size_mean, 6)
        (0.75, 0.879157, 1.553981)
        """
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


def _states(arrival_rate_rps: float, batch_times_s: tuple[float, ...], servers: int) -> BulkStates:
    """The chain in units of the time of a full batch; refused where it is too large."""
    require_batch_times(batch_times_s)
    require_count("servers", servers)
    batch = len(batch_times_s)
    share = exact_batch_load(arrival_rate_rps, batch_times_s[-1], batch, servers)
    rates = batch_times_s[-1] / np.array(batch_times_s)
    arrivals = float(share * batch * servers)
    slowest = min(log_inverse_ratio(share, batch), *_decays(rates, arrivals, servers))
    blocks = 2 + math.ceil(-math.log(_NEGLIGIBLE) / slowest / batch)
    count = count_of_states(batch, servers, blocks * batch)
    if count > STATES_MAX:
        raise DomainError(
            f"{servers} servers with batches up to {batch} at load {float(share):.4g} need {count:.3g} "
            f"states, at most {STATES_MAX} are supported; simulate"
        )
    return BulkStates(rates=rates, arrival_rate=arrivals, servers=servers, places=blocks * batch)


def _decays(rates: Floats, arrivals: float, servers: int) -> list[float]:
    """By number k < c of full batches beside the slowest others: the queue's law falls as e^-xq meanwhile.

    x is the root of lambda (e^x - 1) = k mu_B (1 - e^-Bx) + (c - k) min mu_b.
    """
    batch, slow = len(rates), float(rates[:-1].min(initial=math.inf))

    def decay(full: int) -> float:
        least = (servers - full) * slow
        return first_true(
            lambda x: arrivals * math.expm1(x) + full * math.expm1(-batch * x) >= least,
            0.0,
            math.log1p((full + least) / arrivals),
        )

    return [decay(full) for full in range(servers)] if batch > 1 else [math.inf]
