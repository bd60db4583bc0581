"""Offered load curve: busy servers under a rate that changes in steps, with any law of service."""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from capacity.errors import DomainError
from capacity.performance import Performance
from capacity.queues.domain import QUANTILES, require_not_negative, require_positive
from capacity.queues.durations import Duration, Family
from capacity.queues.mmc import MMc
from capacity.queues.modified_offered_load import at_peak, queue_at

Floats = NDArray[np.float64]
_TERMS_MAX = 5_000_000
_NEGLIGIBLE = 1e-13  # of the mean service
_PARTS = 8  # points of a step at which the peak is looked for


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedLoadCurve:
    """Offered load of a rate that is constant in steps and repeats, with any service law.

    m(t) is the integral over the age u of lambda(t - u) P(S > u), exact for unlimited servers.
    As a sum over the jumps of the rate: each has by now done E S - E (S - age)^+ of its effect.

    Attributes:
        rates_rps: rate of each step; the last is followed by the first.
        step_s: length of a step.
        service: law of the service time.

    Raises:
        DomainError: a number out of range, no rate above 0, or steps so short against the service
            that more than 5 million of them are still remembered (then the rate is its mean).

    Source:
        Eick, Massey & Whitt (1993), Operations Research 41(4), "The physics of the Mt/G/infinity
        queue", theorem 1.

    Assumes:
        Poisson arrivals of this rate for ever.

    >>> from capacity.queues.durations import Duration, Family
    >>> day = OfferedLoadCurve(rates_rps=(10.0, 30.0), step_s=2.0,
    ...     service=Duration(family=Family.DETERMINISTIC, mean_s=1.0))
    >>> day.offered_load(2.5), day.peak
    (20.0, (0.0, 30.0))
    """

    rates_rps: tuple[float, ...]
    step_s: float
    service: Duration
    _jumps: Floats = field(init=False, repr=False, compare=False)
    _cycles: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rates_rps", tuple(self.rates_rps))
        require_positive("step_s", self.step_s)
        for index, rate in enumerate(self.rates_rps):
            require_not_negative(f"rates_rps[{index}]", rate)
        if not any(self.rates_rps):
            raise DomainError("rates_rps must hold a rate > 0")
        rates = np.array(self.rates_rps)
        object.__setattr__(self, "_jumps", rates - np.roll(rates, 1))
        object.__setattr__(self, "_cycles", self._remembered())

    def _remembered(self) -> int:
        """How many periods back a service may have begun."""
        longest = 1.0
        while float(_excess(self.service, np.array([longest * self.service.mean_s]))[0]) > (
            _NEGLIGIBLE * self.service.mean_s
        ):
            longest *= 1.5
        periods = longest * (self.service.mean_s / self.period_s)
        if (periods + 2.0) * len(self.rates_rps) > _TERMS_MAX:
            raise DomainError(
                f"step_s must be longer against a service of {self.service.mean_s:g} s, got {self.step_s!r}; "
                f"use the mean rate, which so fast changes leave"
            )
        return math.ceil(periods) + 1

    @property
    def period_s(self) -> float:
        """Length of all steps together."""
        return self.step_s * len(self.rates_rps)

    def offered_load(self, time_s: float) -> float:
        """m(t), mean number busy on unlimited servers; t = 0 is the start of the first step. [erlang]

        Raises:
            DomainError: time_s is not finite.
        """
        if not math.isfinite(time_s):
            raise DomainError(f"time_s must be finite, got {time_s!r}")
        within_s = time_s % self.period_s
        step = min(int(within_s / self.step_s), len(self.rates_rps) - 1)
        undone = self._undone(max(0.0, within_s - step * self.step_s))
        newest_first = np.roll(self._jumps[::-1], step + 1)
        load = self.rates_rps[step] * self.service.mean_s - float(newest_first @ undone)
        return max(0.0, load)

    def _undone(self, offset_s: float) -> Floats:
        """What a jump of 1 rps so many steps ago, and its like in earlier periods, has yet to do."""
        count = len(self.rates_rps)
        ages_s = offset_s + self.step_s * np.arange(self._cycles * count, dtype=float)
        return np.asarray(_excess(self.service, ages_s).reshape(self._cycles, count).sum(axis=0))

    @property
    def peak(self) -> tuple[float, float]:
        """Time within the period and load where it is highest. [s, erlang]

        The best of eight points of each step, all by one convolution, then a search between its
        neighbours.
        """
        from scipy.optimize import minimize_scalar

        part_s = self.step_s / _PARTS
        spectrum = np.fft.rfft(self._jumps)
        best_s = 0.0
        highest = -math.inf
        for part in range(_PARTS):
            undone = np.fft.rfft(self._undone(part * part_s))
            loads = np.array(self.rates_rps) * self.service.mean_s - np.fft.irfft(
                spectrum * undone, len(self.rates_rps)
            )
            step = int(np.argmax(loads))
            if loads[step] > highest:
                best_s, highest = step * self.step_s + part * part_s, float(loads[step])
        found = minimize_scalar(
            lambda time_s: -self.offered_load(time_s),
            bounds=(best_s - part_s, best_s + part_s),
            method="bounded",
            options={"xatol": 1e-9 * part_s},
        )
        at_s = max(best_s, float(found.x) % self.period_s, key=self.offered_load)
        return at_s, self.offered_load(at_s)

    def queue(self, time_s: float, servers: int) -> MMc:
        """M/M/c at the load of the moment, the approximation for c servers.

        Raises:
            DomainError: an argument out of range, or a moment without load.
            UnstableError: the load is not below the number of servers.
        """
        return queue_at(self.offered_load(time_s), self.service.mean_s, servers)

    def peak_performance(self, servers: int, quantiles: tuple[float, ...] = QUANTILES) -> Performance:
        """The worst moment of the period on c servers with exponential service.

        Raises:
            UnstableError: the load at its peak is not below the number of servers.
        """
        return at_peak(self.peak[1], self.service.mean_s, servers, self.period_s, quantiles)


def _excess(service: Duration, age_s: Floats) -> Floats:
    """E (S - age)^+, the mean service left beyond an age. [s]"""
    from scipy.special import gammaincc, ndtr

    mean_s, scv = service.mean_s, service.variability
    match service.family:
        case Family.DETERMINISTIC:
            return np.maximum(mean_s - age_s, 0.0)
        case Family.HYPEREXPONENTIAL:
            return np.asarray(sum(p / rate * np.exp(-rate * age_s) for p, rate in service.branches))
        case Family.LOGNORMAL:
            spread = math.sqrt(math.log1p(scv))
            with np.errstate(divide="ignore"):
                score = np.log(mean_s / age_s) / spread
            return np.asarray(mean_s * ndtr(score + spread / 2.0) - age_s * ndtr(score - spread / 2.0))
        case _:
            shape, x = 1.0 / scv, age_s / mean_s / scv
            return np.asarray(mean_s * gammaincc(shape + 1.0, x) - age_s * gammaincc(shape, x))
