"""G/G/c: any law of gaps and of services, c servers, approximated from means and variabilities."""

import math
from dataclasses import dataclass, field

import numpy as np

from capacity.errors import DomainError
from capacity.numerics.tail import in_atom, quantile_of
from capacity.performance import Interval, Kind, Performance
from capacity.queues.domain import QUANTILES, before_zero, require_count, require_quantile
from capacity.queues.durations import Duration, Family
from capacity.queues.general.convolution import sum_tail
from capacity.queues.general.delay import Delay
from capacity.queues.general.ggc_errors import errors_measured
from capacity.queues.general.ggc_wait import Approximation, Formula, approximation, formula_of, is_poisson
from capacity.queues.mdc import MDc
from capacity.queues.mmc import MMc

_SERVERS_MAX = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class GGc:
    """G/G/c in steady state, approximately; what cannot reach one is refused with the smallest mend.

    All formulas are exact for M/M/c, and `whitt` has the exact mean of M/G/1. They are a first guess and
    a sanity band: `performance().relative_error_max` says how far off they were, and an exact queue or
    a simulation decides.

    Attributes:
        arrival: law of the gaps between arrivals; only its mean and variability count.
        service: law of the services; the response needs all of it, the wait mean and variability.
        formula: `allen-cunneen` and `whitt` for any gaps, `kimura` (mean wait only) and `tijms` (no law
            of the response) for Poisson arrivals.

    Raises:
        DomainError: servers not an integer in 1..1e9 (20000 for kimura and tijms); arrivals that a
            formula is not made for.
        UnstableError: utilization >= 1, up to the rounding of the means.

    Source:
        Allen (1990), Probability, Statistics, and Queueing Theory, 2nd ed., sec. 5.3.4 (Allen-Cunneen);
        Kimura (1994), Queueing Systems 17, 347-382; Whitt (1993), Production and Operations
        Management 2(2), 114-161; Tijms (1986), Stochastic Modelling and Analysis, sec. 4.3 (percentiles).

    Assumes:
        Independent gaps, independent services, FIFO, unlimited queue, steady state.

    >>> gap = Duration(family=Family.EXPONENTIAL, mean_s=0.125)
    >>> service = Duration(family=Family.GAMMA, mean_s=0.4, scv=2.0)
    >>> queue = GGc(arrival=gap, service=service, servers=4)
    >>> round(queue.wait_mean_s, 4), round(queue.response_quantile_s(0.99), 3)
    (0.4273, 4.03)
    """

    arrival: Duration
    service: Duration
    servers: int
    formula: Formula = Formula.WHITT
    _markov: MMc = field(init=False, repr=False, compare=False)
    _fixed: MDc | None = field(init=False, repr=False, compare=False)
    _wait: Approximation = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("arrival", "service"):
            if not isinstance(getattr(self, name), Duration):
                raise DomainError(f"{name} must be a Duration, got {getattr(self, name)!r}")
        formula = formula_of(self.formula)
        require_count("servers", self.servers, most=_SERVERS_MAX)
        rate_rps, service_s = 1.0 / self.arrival.mean_s, self.service.mean_s
        markov = MMc(arrival_rate_rps=rate_rps, service_rate_rps=1.0 / service_s, servers=self.servers)
        fixed = None
        if formula in (Formula.KIMURA, Formula.TIJMS):
            if not is_poisson(self.arrival):
                raise DomainError(
                    f"{formula} is for Poisson arrivals, got gaps of {self.arrival.family}; use whitt"
                )
            fixed = MDc(arrival_rate_rps=rate_rps, service_time_s=service_s, servers=self.servers)
        wait = approximation(formula, markov, fixed, self.arrival.variability, self.service.variability)
        for name, value in (("formula", formula), ("_markov", markov), ("_fixed", fixed), ("_wait", wait)):
            object.__setattr__(self, name, value)

    @property
    def utilization(self) -> float:
        """Share of time that a server is busy: exact, whatever the laws."""
        return self._markov.utilization

    @property
    def offered_load(self) -> float:
        """Arrival rate x mean service time. [erlang]"""
        return self._markov.offered_load

    @property
    def wait_probability(self) -> float:
        """P(W > 0): Erlang's C for Poisson arrivals, and for `allen-cunneen` always."""
        return self._wait.probability

    @property
    def queue_length_mean(self) -> float:
        """Mean number waiting, without those in service."""
        return self.offered_load * self._wait.mean

    @property
    def in_system_mean(self) -> float:
        """Mean number waiting or in service."""
        return self.offered_load * (1.0 + self._wait.mean)

    @property
    def wait_mean_s(self) -> float:
        """Mean wait before service."""
        return self._wait.mean * self.service.mean_s

    @property
    def response_mean_s(self) -> float:
        """Mean wait and service."""
        return (1.0 + self._wait.mean) * self.service.mean_s

    def wait_tail(self, time_s: float) -> float:
        """P(W > t); 1 before t = 0. [dimensionless]

        Raises:
            DomainError: `kimura` and `tijms` have no tail.
        """
        delay = self._fitted("wait_tail")
        return 1.0 if before_zero(time_s) else self._wait_tail(delay, time_s / self.service.mean_s)

    def wait_quantile_s(self, quantile: float) -> float:
        """Wait that a fraction `quantile` of requests stays within; 0.0 where so many need none. [s]

        Raises:
            DomainError: quantile is not in (0, 1); `kimura` has none.

        Source:
            Tijms (1986), Stochastic Modelling and Analysis, sec. 4.3: among those who wait, the quantile
            is scv parts of that of M/M/c and 1 - scv parts of that of M/D/c; others by the fitted law.

        >>> gap = Duration(family=Family.EXPONENTIAL, mean_s=0.125)
        >>> service = Duration(family=Family.GAMMA, mean_s=0.4, scv=0.5)
        >>> queue = GGc(arrival=gap, service=service, servers=4, formula=Formula.TIJMS)
        >>> round(queue.wait_quantile_s(0.99), 3)
        1.517
        """
        require_quantile(quantile)
        if self._fixed is not None and self.formula is Formula.TIJMS:
            return self._interpolated_s(self._fixed, quantile)
        delay = self._fitted("wait_quantile_s")
        scale = self._wait.mean / self.wait_probability if self.wait_probability > 0.0 else 1.0
        return quantile_of(lambda t: self._wait_tail(delay, t), quantile, scale or 1.0) * self.service.mean_s

    def response_tail(self, time_s: float) -> float:
        """P(T > t), the fitted wait and the service added up; 1 before t = 0. [dimensionless]

        Raises:
            DomainError: `kimura` and `tijms` have none.
        """
        delay = self._fitted("response_tail")
        return 1.0 if before_zero(time_s) else self._response_tail(delay, time_s / self.service.mean_s)

    def response_quantile_s(self, quantile: float) -> float:
        """Response time that a fraction `quantile` of requests stays within. [s]

        Args:
            quantile: fraction in (0, 1), dimensionless; 0.99 is P99.

        Returns:
            Seconds, scalar.

        Raises:
            DomainError: quantile is not in (0, 1); `kimura` and `tijms` have none.

        Source:
            Whitt (1993), sec. 4, the fitted wait convolved with the law of the service.

        Assumes:
            Independent gaps, independent services, FIFO, steady state.

        >>> gap = Duration(family=Family.ERLANG, mean_s=0.125, scv=0.5)
        >>> service = Duration(family=Family.LOGNORMAL, mean_s=0.4, scv=1.0)
        >>> round(GGc(arrival=gap, service=service, servers=4).response_quantile_s(0.99), 3)
        2.491
        """
        require_quantile(quantile)
        delay = self._fitted("response_quantile_s")
        atoms = (1.0,) if self.service.family is Family.DETERMINISTIC else ()
        scale = 1.0 + self._wait.mean
        return (
            quantile_of(lambda t: self._response_tail(delay, t), quantile, scale, atoms=atoms)
            * self.service.mean_s
        )

    def performance(self, quantiles: tuple[float, ...] = QUANTILES) -> Performance:
        """All that the formula has, as the answer that simulation and measurement give too.

        >>> gap = Duration(family=Family.EXPONENTIAL, mean_s=0.125)
        >>> service = Duration(family=Family.GAMMA, mean_s=0.4, scv=2.0)
        >>> GGc(arrival=gap, service=service, servers=4).performance().relative_error_max["wait_mean_s"]
        0.13
        """
        waits: dict[float, Interval] = {}
        responses: dict[float, Interval] = {}
        if self.formula is not Formula.KIMURA:
            waits = {q: Interval.exact(self.wait_quantile_s(q)) for q in quantiles}
        if self._wait.delay is not None:
            responses = {q: Interval.exact(self.response_quantile_s(q)) for q in quantiles}
        return Performance(
            kind=Kind.APPROXIMATION,
            load=self.utilization,
            utilization=self.utilization,
            offered_load=self.offered_load,
            throughput_rps=1.0 / self.arrival.mean_s,
            wait_probability=self.wait_probability,
            queue_length_mean=self.queue_length_mean,
            in_system_mean=self.in_system_mean,
            wait_mean_s=self.wait_mean_s,
            response_mean_s=self.response_mean_s,
            wait_quantiles_s=waits,
            response_quantiles_s=responses,
            relative_error_max=errors_measured(
                self.formula, self.arrival, self.service, self.servers, self.utilization
            ),
        )

    def _fitted(self, asked: str) -> Delay:
        if self._wait.delay is None:
            raise DomainError(f"{self.formula} gives no {asked}; use whitt")
        return self._wait.delay

    def _wait_tail(self, delay: Delay, time: float) -> float:
        return self.wait_probability * float(delay.tail(np.array(time)))

    def _response_tail(self, delay: Delay, time: float) -> float:
        served = float(self.service.tail(np.array(time * self.service.mean_s)))
        waited = self.wait_probability
        return (1.0 - waited) * served + (
            waited * sum_tail(delay, self.service, time) if waited > 0.0 else 0.0
        )

    def _interpolated_s(self, fixed: MDc, quantile: float) -> float:
        """Tijms' quantile: the same share of those who wait in M/D/c and in M/M/c."""
        if in_atom(self.wait_probability, quantile):
            return 0.0
        left = (1.0 - quantile) / self.wait_probability
        scv = self.service.variability
        exponential_s = -math.log(left) * self._markov.wait_mean_s / self._markov.wait_probability
        fixed_s = fixed.wait_quantile_s(1.0 - left * fixed.wait_probability)
        return max(0.0, (1.0 - scv) * fixed_s + scv * exponential_s)
