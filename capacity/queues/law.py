"""Law: what every queue in steady state reports, from its tails in its own unit of time."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar

from capacity.performance import Interval, Kind, Performance, Quantiles
from capacity.units import QUANTILES, before_zero, require_quantile

_FIGURES = (
    "load",
    "utilization",
    "offered_load",
    "throughput_rps",
    "batch_size_mean",
    "wait_probability",
    "queue_length_mean",
    "in_system_mean",
    "wait_mean_s",
    "response_mean_s",
    "loss_probability",
    "abandon_probability",
    "empty_probability",
)


def settle(noun: object, **values: object) -> None:
    """Set attributes of a frozen instance that follow from its arguments."""
    for name, value in values.items():
        object.__setattr__(noun, name, value)


class Law(ABC):
    """A queue in steady state, FIFO: its means, and the laws of the wait before service and of the response.

    Times are counted in seconds, unless a subclass counts them in a unit of its own.
    """

    __slots__ = ()
    _kind: ClassVar[Kind] = Kind.EXACT

    arrival_rate_rps: float  # a law without one reports its throughput itself

    @property
    def throughput_rps(self) -> float:
        """Rate of served requests."""
        return self.arrival_rate_rps

    def wait_tail(self, time_s: float) -> float:
        """P(W > t) of served requests; 1 before t = 0. [dimensionless]

        Raises:
            DomainError: time_s is NaN; a law without a tail, or one that would take too long.
        """
        return self._tail(self._wait_tail, time_s)

    def response_tail(self, time_s: float) -> float:
        """P(T > t) of wait and service together, of served requests; 1 before t = 0. [dimensionless]

        Raises:
            DomainError: time_s is NaN; a law without a tail, or one that would take too long.
        """
        return self._tail(self._response_tail, time_s)

    def wait_quantile_s(self, quantile: float) -> float:
        """Wait that a fraction `quantile` of requests stays within; 0.0 where that many do not wait. [s]

        Raises:
            DomainError: quantile is not in (0, 1); a law without a tail, or one that would take too long.
        """
        require_quantile(quantile)
        return self._seconds(self._wait_quantile(quantile))

    def response_quantile_s(self, quantile: float) -> float:
        """Response time that a fraction `quantile` of requests stays within. [s]

        If the law has a time with a probability of its own, that time comes back to the last digit.

        Args:
            quantile: fraction in (0, 1), dimensionless; 0.99 is P99.

        Raises:
            DomainError: quantile is not in (0, 1); a law without a tail, or one that would take too long.
        """
        require_quantile(quantile)
        return self._seconds(self._response_quantile(quantile))

    def performance(self, quantiles: tuple[float, ...] = QUANTILES) -> Performance:
        """The performance of this queue, in the type that simulation and measurement have too."""
        return self._performance(
            {q: self.wait_quantile_s(q) for q in quantiles},
            {q: self.response_quantile_s(q) for q in quantiles},
        )

    def _performance(self, waits_s: Mapping[float, float], responses_s: Mapping[float, float]) -> Performance:
        """The performance with all figures of this law, and these quantiles."""
        return Performance(
            kind=self._kind,
            **{name: getattr(self, name) for name in _FIGURES if hasattr(type(self), name)},
            wait_quantiles_s=_exact(waits_s.items()),
            response_quantiles_s=_exact(responses_s.items()),
            relative_error_max=self._relative_error_max(),
        )

    def _relative_error_max(self) -> Mapping[str, float]:
        """Largest relative error by field of a `Performance`; empty if exact."""
        return {}

    def _units(self, time_s: float) -> float:
        """A time in the unit of this law."""
        return time_s

    def _seconds(self, units: float) -> float:
        return units

    def _tail(self, tail: Callable[[float], float], time_s: float) -> float:
        """1 before t = 0 and 0 at infinity; between them the tail at this time in the law's own unit."""
        if before_zero(time_s):
            return 1.0
        return 0.0 if time_s == math.inf else tail(self._units(time_s))

    @abstractmethod
    def _wait_tail(self, time: float) -> float:
        """P(W > t) for t >= 0."""

    @abstractmethod
    def _response_tail(self, time: float) -> float:
        """P(T > t) for t >= 0."""

    @abstractmethod
    def _wait_quantile(self, quantile: float) -> float:
        """inf{t >= 0: P(W > t) <= 1 - q}."""

    @abstractmethod
    def _response_quantile(self, quantile: float) -> float:
        """inf{t >= 0: P(T > t) <= 1 - q}."""


def _exact(values_s: Iterable[tuple[float, float]]) -> Quantiles:
    return {quantile: Interval.exact(value_s) for quantile, value_s in values_s}


class LawInServices(Law):
    """Times in mean services, and the means that follow from the mean wait by Little's law."""

    __slots__ = ()

    @property
    @abstractmethod
    def offered_load(self) -> float:
        """Arrival rate x mean service time. [erlang]"""

    @property
    @abstractmethod
    def utilization(self) -> float:
        """Share of time that a server is busy."""

    @property
    @abstractmethod
    def _wait_mean(self) -> float:
        """Mean wait, in mean services."""

    @property
    @abstractmethod
    def _service_mean_s(self) -> float:
        """The unit of time."""

    @property
    def load(self) -> float:
        """Arrival rate over the largest sustainable one."""
        return self.utilization

    @property
    def wait_mean_s(self) -> float:
        """Mean wait before service."""
        return self._seconds(self._wait_mean)

    @property
    def response_mean_s(self) -> float:
        """Mean wait and service."""
        return self._seconds(1.0 + self._wait_mean)

    @property
    def queue_length_mean(self) -> float:
        """Mean number waiting, without those in service."""
        return self.offered_load * self._wait_mean

    @property
    def in_system_mean(self) -> float:
        """Mean number waiting or in service."""
        return self.offered_load * (1.0 + self._wait_mean)

    def _units(self, time_s: float) -> float:
        return time_s / self._service_mean_s

    def _seconds(self, units: float) -> float:
        return units * self._service_mean_s


class LawAtRate(LawInServices):
    """A law with a given service rate instead of the mean, which would be rounded once more."""

    __slots__ = ()

    service_rate_rps: float

    @property
    def offered_load(self) -> float:
        """Arrival rate x mean service time. [erlang]"""
        return self.arrival_rate_rps / self.service_rate_rps

    @property
    def _service_mean_s(self) -> float:
        return 1.0 / self.service_rate_rps

    def _units(self, time_s: float) -> float:
        return self.service_rate_rps * time_s

    def _seconds(self, units: float) -> float:
        return units / self.service_rate_rps
