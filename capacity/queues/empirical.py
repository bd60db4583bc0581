"""Empirical: a measured service law as a duration, its quantile function made of straight pieces."""

import math
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from capacity.errors import DomainError
from capacity.queues.domain import require_not_negative, require_positive
from capacity.queues.general.pieces import Pieces
from capacity.service_law import ServiceLaw

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Empirical:
    """A service law with the moments and the tail of a `Duration`; jumps of the quantile function allowed.

    Attributes:
        variability: squared coefficient of variation.

    Raises:
        DomainError: probabilities that do not lead from 0 to 1 without falling, durations that fall,
            are negative, not finite or all 0, or not as many of either.

    Source:
        Devroye (1986), Non-Uniform Random Variate Generation, sec. II.2.1.

    >>> from capacity.service_law import from_samples
    >>> law = Empirical(law=from_samples([1.0, 3.0]))
    >>> law.mean_s, law.variability, law.moment(3), law.tail(np.array([0.5, 1.0, 3.0])).tolist()
    (2.0, 0.25, 14.0, [1.0, 0.5, 0.0])
    """

    law: ServiceLaw
    mean_s: float = field(init=False, repr=False, compare=False)
    variability: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.law, ServiceLaw):
            raise DomainError(f"law must be a ServiceLaw, got {self.law!r}; from_samples makes one")
        _require_law(self.law)
        object.__setattr__(self, "mean_s", self.law.mean_s)
        object.__setattr__(self, "variability", self.law.scv)

    def moment(self, order: int) -> float:
        """E S^order. [s^order]"""
        pieces = pairwise(zip(self.law.probabilities, self.law.durations_s, strict=True))
        return math.fsum((u1 - u0) * _power_mean(x0, x1, order) for (u0, x0), (u1, x1) in pieces)

    def tail(self, time_s: Floats) -> Floats:
        """P(S > t), for times of any shape; 1 before the shortest duration. [dimensionless]"""
        time = np.maximum(np.asarray(time_s, dtype=float), 0.0)
        return Pieces.of(self.law, 1.0).survival(time)


def _power_mean(low: float, high: float, order: int) -> float:
    """Mean of x^order for x uniform between two ends, without the difference that divides by 0."""
    return math.fsum(low**k * high ** (order - k) for k in range(order + 1)) / (order + 1)


def _require_law(law: ServiceLaw) -> None:
    shares, durations = law.probabilities, law.durations_s
    if len(shares) != len(durations) or len(shares) < 2:
        raise DomainError(
            f"a law needs as many durations as probabilities, 2 at least, got {len(durations)} "
            f"and {len(shares)}"
        )
    if shares[0] != 0.0 or shares[-1] != 1.0 or not all(u0 <= u1 for u0, u1 in pairwise(shares)):
        raise DomainError(f"probabilities must lead from 0 to 1 without falling, got {_shown(shares)}")
    for duration in durations:
        require_not_negative("durations_s", duration)
    if not all(x0 <= x1 for x0, x1 in pairwise(durations)):
        raise DomainError(f"durations_s must not fall, got {_shown(durations)}; sort the samples")
    require_positive("the mean of durations_s", law.mean_s)


def _shown(values: tuple[float, ...]) -> str:
    """A few values, however many there are."""
    return ", ".join(f"{value:g}" for value in values[:4]) + (", ..." if len(values) > 4 else "")
