"""Pauses: M/G/1 whose server stops now and then, as for a garbage collection, and resumes where it stopped."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capacity.errors import DomainError
from capacity.queues.durations import Duration, Family
from capacity.queues.markov.erlang import require_stable
from capacity.queues.numerics.fourier import Octave, octave_end
from capacity.queues.numerics.tail import quantile_of
from capacity.units import before_zero, require_positive, require_quantile

Complexes = NDArray[np.complex128]
_SIDE = 128
_AROUND = 32  # points of a circle, whose mean is the value at its middle
_NEAR = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class PausedMG1:
    """M/G/1 whose server pauses at random, also in the middle of a service, which then resumes.

    A service of S and all its pauses take C, with C*(s) = S*(s + xi - xi R*(s)). If the server pauses while it is
    idle as well, a request that finds it so waits for the rest of a pause first, and the queue is M/G/1 with another
    first service in each busy period. The law of the response is found by inversion of its transform, right to ten
    digits or more; for a constant service not within 1 % of that service, where the law jumps.

    Attributes:
        pauses_per_s: rate of pauses while the server does not pause, as a Poisson process. [1/s]
        pauses_idle: whether it also pauses when idle.

    Raises:
        DomainError: a rate that is not positive and finite; lognormal service or pauses, which have no closed
            transform.
        UnstableError: arrival rate x mean service with its pauses >= 1.

    Source:
        Gaver (1962), Journal of the Royal Statistical Society B 24(1), 73-90, for C; Welch (1964), Operations Research
        12(5), 736-752, for another first service; Avi-Itzhak & Naor (1963), Operations Research 11(3), 303-320.

    Assumes:
        Poisson arrivals, independent services and pauses, FIFO, unlimited queue, steady state.

    >>> work, stop = (Duration(family=Family.EXPONENTIAL, mean_s=mean_s) for mean_s in (1.0, 2.0))
    >>> queue = PausedMG1(arrival_rate_rps=0.6, service=work, pause=stop, pauses_per_s=0.05)
    >>> round(queue.in_system_mean, 6), round(queue.response_quantile_s(0.99), 4)
    (2.262032, 18.5854)
    """

    arrival_rate_rps: float
    service: Duration
    pause: Duration
    pauses_per_s: float
    pauses_idle: bool = True

    def __post_init__(self) -> None:
        require_positive("arrival_rate_rps", self.arrival_rate_rps)
        require_positive("pauses_per_s", self.pauses_per_s)
        for name, law in (("service", self.service), ("pause", self.pause)):
            if law.family is Family.LOGNORMAL:
                raise DomainError(f"{name} must not be lognormal, which has no closed transform; use gamma")
        require_stable(self.arrival_rate_rps, 1.0 / self._completion_mean_s, 1)

    @property
    def _completion_mean_s(self) -> float:
        """Mean of a service with its pauses."""
        return self.service.mean_s * (1.0 + self.pauses_per_s * self.pause.mean_s)

    @property
    def load(self) -> float:
        """Share of time that the server has a request, paused or not."""
        return self.arrival_rate_rps * self._completion_mean_s

    @property
    def response_mean_s(self) -> float:
        """Mean wait and service with its pauses. [s]"""
        rate, first = self.arrival_rate_rps, self._completion_mean_s
        longer = 1.0 + self.pauses_per_s * self.pause.mean_s
        second = self.service.moment(2) * longer**2
        second += self.pauses_per_s * self.service.mean_s * self.pause.moment(2)
        rest, rest_second = self._rest_moments()
        alone = (rest + first + rate * (rest_second + 2.0 * rest * first) / 2.0) / (1.0 + rate * rest)
        return rate * second / (2.0 * (1.0 - self.load)) + alone

    @property
    def in_system_mean(self) -> float:
        """Mean number waiting or in service, by Little's law."""
        return self.arrival_rate_rps * self.response_mean_s

    def response_tail(self, time_s: float) -> float:
        """P(T > t); 1 before t = 0. [dimensionless]

        Raises:
            DomainError: time_s is NaN.
        """
        if before_zero(time_s) or time_s == 0.0:
            return 1.0
        if time_s == math.inf:
            return 0.0
        octave = Octave(last=octave_end(time_s), tilt=0.0, side=_SIDE)
        nodes = octave.nodes()
        value = octave.value(octave.coefficients((1.0 - self._response(nodes)) / nodes), time_s)
        return min(1.0, max(0.0, value))

    def response_quantile_s(self, quantile: float) -> float:
        """Response time that a fraction `quantile` of requests stays within. [s]

        Raises:
            DomainError: quantile is not in (0, 1).
        """
        require_quantile(quantile)
        return quantile_of(self.response_tail, quantile, self.response_mean_s, relative_width=1e-10)

    def _response(self, s: Complexes) -> Complexes:
        """Transform of the response: C if no pause was met as the busy period began, else Welch's."""
        rate, served = self.arrival_rate_rps, self._completion(s)
        idle = (1.0 - self.load) / (1.0 + rate * self._rest_moments()[0])
        first = served * self._rest(s)
        return np.asarray(idle * ((rate - s) * first - rate * served) / (rate - s - rate * served))

    def _completion(self, s: Complexes) -> Complexes:
        return _transform(self.service, s + self.pauses_per_s * (1.0 - _transform(self.pause, s)))

    def _meets(self) -> float:
        """xi / (lambda + xi (1 - R*(lambda))): pauses until a request comes, from when the server falls idle."""
        within = float(_transform(self.pause, np.array(self.arrival_rate_rps + 0j)).real)
        return self.pauses_per_s / (self.arrival_rate_rps + self.pauses_per_s * (1.0 - within))

    def _rest(self, s: Complexes) -> Complexes:
        """Transform of the rest of a pause that a request at an idle server waits for; 1 if there is none."""
        if not self.pauses_idle:
            return np.ones_like(s)
        rate, overlap = self.arrival_rate_rps, self._overlap(s)
        near = np.abs(s - rate) < _NEAR * rate
        circle = 0.5 * rate * np.exp(2j * math.pi * (np.arange(_AROUND) + 0.5) / _AROUND)
        overlap[near] = self._overlap(s[near][:, None] + circle).mean(axis=1)
        return np.asarray(self._meets() * (rate / self.pauses_per_s + overlap))

    def _overlap(self, s: Complexes) -> Complexes:
        """E(e^(-s (R - A)); A < R) of a pause R and an exponential time A until a request comes."""
        rate = self.arrival_rate_rps
        at_rate = _transform(self.pause, np.array(rate + 0j))
        with np.errstate(
            divide="ignore", invalid="ignore"
        ):  # at s = rate, which is then computed from around it
            return np.asarray(rate * (_transform(self.pause, s) - at_rate) / (rate - s))

    def _rest_moments(self) -> tuple[float, float]:
        """First and second moment of that rest. [s, s^2]"""
        if not self.pauses_idle:
            return 0.0, 0.0
        rate, meets = self.arrival_rate_rps, self._meets()
        within = float(_transform(self.pause, np.array(rate + 0j)).real)
        first = self.pause.mean_s - (1.0 - within) / rate
        return meets * first, meets * (self.pause.moment(2) - 2.0 * first / rate)


def _transform(law: Duration, s: Complexes) -> Complexes:
    """Laplace-Stieltjes transform of a law at complex s."""
    match law.family:
        case Family.DETERMINISTIC:
            return np.asarray(np.exp(-s * law.mean_s))
        case Family.HYPEREXPONENTIAL:
            return np.asarray(sum(share * rate / (rate + s) for share, rate in law.branches))
        case _:
            scv = law.variability
            return np.asarray((1.0 + scv * law.mean_s * s) ** (-1.0 / scv))
