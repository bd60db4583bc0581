"""Gaps: the Laplace transform of a gap between arrivals, and what is left of it near 0 and 1."""

import math
from dataclasses import dataclass
from typing import Protocol

from capacity.numerics.tail import first_true
from capacity.queues.durations import Duration, Family

_SERIES_BELOW = 1.0


class Gap(Protocol):
    """phi(y) = E e^(-yG) of a gap G with mean 1, and its differences without cancellation."""

    @property
    def second_moment(self) -> float:
        """E G^2."""

    def log_transform(self, y: float) -> float:
        """ln phi(y)."""

    def complement(self, y: float) -> float:
        """1 - phi(y)."""

    def remainder(self, y: float) -> float:
        """phi(y) - 1 + y, which is E G^2 y^2 / 2 at the most."""

    def slope(self, y: float, z: float) -> float:
        """(phi(y) - phi(z)) / (z - y), also where y = z."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GammaGap:
    """phi(y) = (1 + vy)^(-1/v); v = 1 is exponential, 1/k Erlang, 0 deterministic."""

    variability: float

    @property
    def second_moment(self) -> float:
        """1 + v."""
        return 1.0 + self.variability

    def log_transform(self, y: float) -> float:
        """-ln(1 + vy) / v."""
        return -_log1p_over(self.variability, y)

    def complement(self, y: float) -> float:
        """1 - phi(y)."""
        return -math.expm1(self.log_transform(y))

    def remainder(self, y: float) -> float:
        """phi(y) - 1 + y; at u = ln(1 + vy) / v, y = (e^vu - 1) / v, it is a sum of two terms above 0."""
        v, u = self.variability, _log1p_over(self.variability, y)
        return second_remainder(-u) + (second_remainder(v * u) / v if v > 0.0 else 0.0)

    def slope(self, y: float, z: float) -> float:
        """phi(near) (1 - phi(far) / phi(near)) / (far - near)."""
        near, gap = min(y, z), abs(z - y)
        stretch = 1.0 + self.variability * near
        fall = _log1p_over(self.variability, gap / stretch)
        height = math.exp(self.log_transform(near))
        return height * (-math.expm1(-fall) / gap if gap > 0.0 else 1.0 / stretch)


@dataclass(frozen=True, slots=True, kw_only=True)
class MixtureGap:
    """phi(y) = sum of p r / (r + y) over exponential branches of probability p and rate r."""

    branches: tuple[tuple[float, float], ...]

    @property
    def second_moment(self) -> float:
        """Sum of 2 p / r^2."""
        return 2.0 * math.fsum(p / rate / rate for p, rate in self.branches)

    def log_transform(self, y: float) -> float:
        """ln phi(y)."""
        return math.log(math.fsum(p * (rate / (rate + y)) for p, rate in self.branches))

    def complement(self, y: float) -> float:
        """Sum of p y / (r + y)."""
        return math.fsum(p * (y / (rate + y)) for p, rate in self.branches)

    def remainder(self, y: float) -> float:
        """Sum of p y^2 / (r (r + y)), as the mean, sum of p / r, is 1."""
        return math.fsum(p * (y / rate) * (y / (rate + y)) for p, rate in self.branches)

    def slope(self, y: float, z: float) -> float:
        """Sum of p r / ((r + y) (r + z))."""
        return math.fsum(p * (rate / (rate + y)) / (rate + z) for p, rate in self.branches)


def gap_of(duration: Duration) -> Gap:
    """The gap of a law, in units of its mean.

    Raises:
        DomainError: a law whose transform has no closed form.
    """
    duration.transform(0.0)  # refuses
    if duration.family is Family.HYPEREXPONENTIAL:
        return MixtureGap(branches=tuple((p, rate * duration.mean_s) for p, rate in duration.branches))
    return GammaGap(variability=duration.variability)


def decay(gap: Gap, rho: float, spare: float) -> float:
    """y > 0 where 1 - phi(y) = rho y: waits fall as e^-y a mean gap. 1 - rho is given apart.

    phi(y) is Takacs's sigma. In heavy traffic y is small and the equation reads
    phi(y) - 1 + y = (1 - rho) y, where nothing cancels.
    """
    low = 1.998 * spare / gap.second_moment
    if rho > 0.5:
        return first_true(lambda y: gap.remainder(y) >= spare * y, low, 1.0 / rho)
    return first_true(lambda y: gap.complement(y) <= rho * y, low, 1.0 / rho)


def second_remainder(x: float) -> float:
    """e^x - 1 - x, by its series where that would cancel."""
    if abs(x) > _SERIES_BELOW:
        return math.expm1(x) - x
    term, total, order = x * x / 2.0, 0.0, 2
    while total + term != total:
        total += term
        order += 1
        term *= x / order
    return total


def _log1p_over(v: float, y: float) -> float:
    """ln(1 + vy) / v, which is y at v = 0."""
    return math.log1p(v * y) / v if v * y > 0.0 else y
