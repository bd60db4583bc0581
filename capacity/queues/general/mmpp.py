"""MMPP: queues whose Poisson arrivals switch between two rates at random times, calm and bursty."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from capacity.errors import DomainError
from capacity.queues.durations import Duration, Family
from capacity.queues.general.qbd import MarkovArrivals, PhaseQueue, per_service, require_servers
from capacity.queues.markov.erlang import require_stable
from capacity.units import require_not_negative, require_positive


@dataclass(frozen=True, slots=True, kw_only=True)
class MMPPMc(PhaseQueue):
    """MMPP(2)/M/c in steady state; an unstable queue is refused, with the smallest fix.

    Attributes:
        arrival_rates_rps: in phase 1 and in phase 2; one may be 0 (an interrupted Poisson process).
        switch_rates_per_s: from phase 1 to 2 and from 2 to 1.

    Raises:
        DomainError: a rate that is not positive and finite, but for one of the arrival rates, which may
            be 0; rates more than a factor 1e100 from the service rate; servers not an integer in 1..10000.
        UnstableError: utilization by the mean arrival rate >= 1, up to the rounding of the rates.

    Source:
        Neuts (1981), Matrix-Geometric Solutions in Stochastic Models, ch. 6; Fischer & Meier-Hellstern
        (1993), Performance Evaluation 18(2), 149-171.

    Assumes:
        Arrivals Poisson in each phase, phases exponential, exponential service, FIFO, unlimited queue,
        steady state.

    >>> queue = MMPPMc(
    ...     arrival_rates_rps=(1.5, 0.3), switch_rates_per_s=(0.01, 0.01), service_rate_rps=1.2, servers=1
    ... )
    >>> queue.utilization, round(queue.wait_probability, 4), round(queue.wait_mean_s, 2)
    (0.75, 0.9047, 38.22)
    """

    arrival_rates_rps: tuple[float, float]
    switch_rates_per_s: tuple[float, float]
    service_rate_rps: float
    servers: int

    def __post_init__(self) -> None:
        require_servers(self.servers)
        require_positive("service_rate_rps", self.service_rate_rps)
        service = Duration(family=Family.EXPONENTIAL, mean_s=1.0 / self.service_rate_rps)
        service_rate = Fraction(self.service_rate_rps)
        rate = _mean_rate(self.arrival_rates_rps, self.switch_rates_per_s)
        require_stable(float(rate), float(self.service_rate_rps), self.servers)
        first, second = (per_service(value, service_rate) for value in self.arrival_rates_rps)
        out, back = (per_service(value, service_rate) for value in self.switch_rates_per_s)
        arrivals = MarkovArrivals(
            hidden=np.array([[0.0, out], [back, 0.0]]), marked=np.array([[first, 0.0], [0.0, second]])
        )
        self._settle(arrivals, service, self.servers, rate / service_rate, float(rate))


def _mean_rate(arrival_rates: tuple[float, float], switch_rates: tuple[float, float]) -> Fraction:
    """Mean arrival rate without rounding."""
    for name, rates in (("arrival_rates_rps", arrival_rates), ("switch_rates_per_s", switch_rates)):
        if not isinstance(rates, tuple) or len(rates) != 2:
            raise DomainError(f"{name} must be a pair of rates, got {rates!r}")
    for i, (arrival, switch) in enumerate(zip(arrival_rates, switch_rates, strict=True)):
        require_not_negative(f"arrival_rates_rps[{i}]", arrival)
        require_positive(f"switch_rates_per_s[{i}]", switch)
    if not any(arrival_rates):
        raise DomainError(f"arrival_rates_rps must not both be 0, got {arrival_rates!r}")
    (first, second), (out, back) = map(Fraction, arrival_rates), map(Fraction, switch_rates)
    return (first * back + second * out) / (out + back)
