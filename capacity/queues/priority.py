"""Priority: classes of requests share c exponential servers, the highest waiting class first."""

import math
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import accumulate, pairwise

from capacity.errors import DomainError
from capacity.performance import Performance
from capacity.queues.domain import QUANTILES, require_count, require_positive
from capacity.queues.erlang import SERVERS_MAX, blocking, ready_sum, require_stable
from capacity.queues.priority_class import PriorityClass
from capacity.queues.priority_wait import PriorityWait


@dataclass(frozen=True, slots=True, kw_only=True)
class Priority:
    """Non-preemptive priorities in M/M/c with one service rate, in steady state.

    A free server takes the oldest request of the highest class that waits; nobody is interrupted.
    That changes who waits, not how many do: all together wait as long in the mean as in M/M/c.

    Attributes:
        arrival_rates_rps: of each class, the highest first.
        classes: each class's own law, in the same order.
        together: the law of all requests, of whatever class.

    Raises:
        DomainError: no class; a rate that is not positive and finite; servers not an integer in
            1..5e9.
        UnstableError: utilization >= 1 with all classes, up to the rounding of the rates.

    Source:
        Cobham (1954), Operations Research 2(1), for the means; Davis (1966), Operations Research
        14(1), and Kella & Yechiali (1985), Naval Research Logistics Quarterly 32, for the laws.

    Assumes:
        Poisson arrivals, exponential service of the same rate for all, FIFO within a class, unlimited
        queue, steady state.

    >>> queue = Priority(arrival_rates_rps=(1.0, 2.0), service_rate_rps=2.0, servers=2)
    >>> [round(law.wait_mean_s, 4) for law in (*queue.classes, queue.together)]
    [0.2143, 0.8571, 0.6429]
    """

    arrival_rates_rps: tuple[float, ...]
    service_rate_rps: float
    servers: int
    classes: tuple[PriorityClass, ...] = field(init=False, repr=False, compare=False)
    together: PriorityClass = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.arrival_rates_rps, tuple) or not self.arrival_rates_rps:
            raise DomainError(
                f"arrival_rates_rps must be a tuple of one rate or more, the highest class first, "
                f"got {self.arrival_rates_rps!r}"
            )
        for k, rate in enumerate(self.arrival_rates_rps):
            require_positive(f"arrival_rates_rps[{k}]", rate)
        require_count("servers", self.servers, most=int(SERVERS_MAX))
        require_stable(math.fsum(self.arrival_rates_rps), self.service_rate_rps, self.servers)
        *classes, together = _classes(self.arrival_rates_rps, self.service_rate_rps, self.servers)
        object.__setattr__(self, "classes", tuple(classes))
        object.__setattr__(self, "together", together)

    @property
    def offered_load(self) -> float:
        """Arrival rate x mean service time. [erlang]"""
        return self.together.offered_load

    @property
    def utilization(self) -> float:
        """Share of time that a server is busy."""
        return self.together.load

    @property
    def wait_probability(self) -> float:
        """P(W > 0), the same for every class: Erlang C."""
        return self.together.wait_probability

    @property
    def wait_means_s(self) -> tuple[float, ...]:
        """Mean wait of each class."""
        return tuple(law.wait_mean_s for law in self.classes)

    @property
    def response_means_s(self) -> tuple[float, ...]:
        """Mean wait and service of each class."""
        return tuple(law.response_mean_s for law in self.classes)

    def performances(self, quantiles: tuple[float, ...] = QUANTILES) -> tuple[Performance, ...]:
        """Each class as the answer that simulation and measurement give too.

        >>> queue = Priority(arrival_rates_rps=(1.0, 2.0), service_rate_rps=2.0, servers=2)
        >>> [round(answer.wait_quantiles_s[0.99].value, 4) for answer in queue.performances()]
        [1.3878, 5.9751]
        """
        return tuple(law.performance(quantiles) for law in self.classes)

    def performance(self, quantiles: tuple[float, ...] = QUANTILES) -> Performance:
        """All requests together as that answer; the quantiles are of the mixture of the classes.

        >>> queue = Priority(arrival_rates_rps=(1.0, 2.0), service_rate_rps=2.0, servers=2)
        >>> round(queue.performance().wait_quantiles_s[0.99].value, 4)
        5.3682
        """
        return self.together.performance(quantiles)


def _classes(
    rates_rps: tuple[float, ...], service_rate_rps: float, servers: int
) -> tuple[PriorityClass, ...]:
    """Each class, then all together: W_k = C / (c mu (1 - s_(k-1)) (1 - s_k)), s_k the load of 1 to k."""
    unit = Fraction(service_rate_rps) * servers
    loads = list(accumulate((Fraction(rate) / unit for rate in rates_rps), initial=Fraction(0)))
    load, spare = loads[-1] * servers, float((1 - loads[-1]) * servers)
    lost = blocking(load, servers, spare)
    waiting = servers * lost / (spare + float(load) * lost)
    ready = spare * (1.0 - lost) / (spare + float(load) * lost)
    waits = [PriorityWait.behind(higher, upto) for higher, upto in pairwise(loads)]
    idle = [(1 - higher) * (1 - upto) for higher, upto in pairwise(loads)]
    together = PriorityWait.mixture(waits, rates_rps)
    return tuple(
        PriorityClass(
            arrival_rate_rps=rate,
            service_rate_rps=service_rate_rps,
            servers=servers,
            load=float(loads[-1]),
            wait_probability=waiting,
            empty_probability=ready / ready_sum(float(load), servers),
            wait_mean_s=waiting / servers / float(share) / service_rate_rps,
            wait=wait,
        )
        for rate, share, wait in zip(
            (*rates_rps, math.fsum(rates_rps)), (*idle, 1 - loads[-1]), (*waits, together), strict=True
        )
    )
