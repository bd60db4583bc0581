"""Modified offered load: busy servers under a rate that rises and falls, lagging and flatter than it."""

import math
from dataclasses import dataclass, replace

from capacity.errors import DomainError
from capacity.performance import Kind, Performance
from capacity.queues.domain import QUANTILES, require_not_negative, require_positive
from capacity.queues.mmc import MMc
from capacity.queues.relaxation import measured_error, relaxation_time_s


@dataclass(frozen=True, slots=True, kw_only=True)
class SinusoidalLoad:
    """Offered load of rate lambda + A sin(2 pi t / period) with exponential service, in closed form.

    The number busy on unlimited servers is exactly Poisson with mean m(t), which follows the rate
    late and damped. `queue` is the approximation for c servers: M/M/c at the rate m(t) mu.

    Attributes:
        amplitude_rps: A, from 0 to the mean rate.

    Raises:
        DomainError: a number out of range.

    Source:
        Eick, Massey & Whitt (1993), Management Science 39(2), "Mt/G/infinity queues with sinusoidal
        arrival rates"; for c servers: Jagerman (1975), Bell System Technical Journal 54(3).

    Assumes:
        Poisson arrivals of this rate for ever, exponential service.

    >>> day = SinusoidalLoad(mean_rate_rps=20.0, amplitude_rps=8.0, period_s=10.0, service_time_s=1.0)
    >>> round(day.offered_load_max, 3), round(day.lag_s, 3)
    (26.774, 0.893)
    """

    mean_rate_rps: float
    amplitude_rps: float
    period_s: float
    service_time_s: float

    def __post_init__(self) -> None:
        for name in ("mean_rate_rps", "period_s", "service_time_s"):
            require_positive(name, getattr(self, name))
        require_not_negative("amplitude_rps", self.amplitude_rps)
        if self.amplitude_rps > self.mean_rate_rps:
            raise DomainError(
                f"amplitude_rps must be <= mean_rate_rps, got {self.amplitude_rps:g} > "
                f"{self.mean_rate_rps:g}; no rate is negative"
            )

    @property
    def _turn(self) -> float:
        """Angle that the sinusoid turns in a mean service."""
        return 2.0 * math.pi * (self.service_time_s / self.period_s)

    @property
    def attenuation(self) -> float:
        """Amplitude of the load over that of the rate x service time."""
        return 1.0 / math.hypot(1.0, self._turn)

    @property
    def lag_s(self) -> float:
        """Time from the peak of the rate to the peak of the load: at most a service, or a quarter period."""
        return math.atan(self._turn) / (2.0 * math.pi) * self.period_s

    def offered_load(self, time_s: float) -> float:
        """m(t), mean number busy on unlimited servers. [erlang]

        Raises:
            DomainError: time_s is not finite.
        """
        if not math.isfinite(time_s):
            raise DomainError(f"time_s must be finite, got {time_s!r}")
        angle = 2.0 * math.pi * math.fmod(time_s, self.period_s) / self.period_s - math.atan(self._turn)
        rate_rps = self.mean_rate_rps + self.amplitude_rps * self.attenuation * math.sin(angle)
        return max(0.0, rate_rps * self.service_time_s)

    @property
    def offered_load_max(self) -> float:
        """Load at its peak. [erlang]"""
        return (self.mean_rate_rps + self.amplitude_rps * self.attenuation) * self.service_time_s

    def queue(self, time_s: float, servers: int) -> MMc:
        """M/M/c at the load of the moment.

        Raises:
            DomainError: an argument out of range.
            UnstableError: the load is not below the number of servers.
        """
        return queue_at(self.offered_load(time_s), self.service_time_s, servers)

    def peak_performance(self, servers: int, quantiles: tuple[float, ...] = QUANTILES) -> Performance:
        """The worst moment of the period on c servers.

        Raises:
            UnstableError: the load at its peak is not below the number of servers.

        >>> day = SinusoidalLoad(mean_rate_rps=20.0, amplitude_rps=8.0, period_s=10.0, service_time_s=1.0)
        >>> round(day.peak_performance(servers=30).wait_probability, 3)  # exactly 0.341
        0.441
        """
        return at_peak(self.offered_load_max, self.service_time_s, servers, self.period_s, quantiles)


def queue_at(load: float, service_time_s: float, servers: int) -> MMc:
    """M/M/c with the offered load of a moment, the approximation for c servers.

    Raises:
        DomainError: an argument out of range, or a moment without load.
        UnstableError: the load is not below the number of servers.
    """
    return MMc(arrival_rate_rps=load / service_time_s, service_rate_rps=1.0 / service_time_s, servers=servers)


def at_peak(
    load: float, service_time_s: float, servers: int, period_s: float, quantiles: tuple[float, ...]
) -> Performance:
    """Such a queue's numbers as an approximation, with the measured error of its waiting probability."""
    queue = queue_at(load, service_time_s, servers)
    relaxation_s = relaxation_time_s(queue.arrival_rate_rps, queue.service_rate_rps, servers)
    error = {"wait_probability": measured_error(period_s, relaxation_s)}
    return replace(queue.performance(quantiles), kind=Kind.APPROXIMATION, relative_error_max=error)
