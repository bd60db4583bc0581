"""Durations: the laws of service times and of gaps between arrivals, by mean and variability."""

import math
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from capacity.errors import DomainError
from capacity.units import require_not_negative, require_positive

Floats = NDArray[np.float64]
_STAGES_MAX = 10_000
_ROUNDING = 1e-9


class Family(StrEnum):
    """Shape of a law."""

    DETERMINISTIC = "deterministic"
    EXPONENTIAL = "exponential"
    ERLANG = "erlang"
    HYPEREXPONENTIAL = "hyperexponential"
    GAMMA = "gamma"
    LOGNORMAL = "lognormal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Duration:
    """A positive random duration of one family, with its mean and squared coefficient of variation.

    Deterministic has scv 0, exponential 1, Erlang 1/k, hyper-exponential (two phases, balanced
    means) at least 1, gamma and lognormal any positive one.

    Attributes:
        scv: variance over squared mean; may be left out where the family fixes it.

    Raises:
        DomainError: no such family, mean or scv out of range, or an scv that the family cannot have.

    Source:
        Balanced means: Morse (1958), Queues, Inventories and Maintenance, ch. 5; Whitt (1982),
        Operations Research 30(1), eq. 3.7.

    >>> law = Duration(family=Family.HYPEREXPONENTIAL, mean_s=2.0, scv=4.0)
    >>> [round(float(x), 6) for x in (law.moment(1), law.moment(2), law.tail(np.array([0.0]))[0])]
    [2.0, 20.0, 1.0]
    """

    family: Family
    mean_s: float
    scv: float | None = None
    variability: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "family", _family(self.family))
        require_positive("mean_s", self.mean_s)
        object.__setattr__(self, "variability", _checked_scv(self.family, self.scv))

    @property
    def stages(self) -> int:
        """Number of exponential stages of an Erlang law."""
        return round(1.0 / self.variability)

    @property
    def branches(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Probability and rate of either branch of the hyper-exponential law, slow branch last. [1/s]"""
        half_gap = 0.5 * math.sqrt((self.variability - 1.0) / (self.variability + 1.0))
        fast = 0.5 + half_gap
        slow = 1.0 / ((self.variability + 1.0) * (2.0 * fast))  # 1/2 - half_gap without cancelling
        return (fast, 2.0 * fast / self.mean_s), (slow, 2.0 * slow / self.mean_s)

    def moment(self, order: int) -> float:
        """E S^order. [s^order]"""
        c = self.variability
        match self.family:
            case Family.DETERMINISTIC:
                unit = 1.0
            case Family.HYPEREXPONENTIAL:
                branches = self.branches
                return math.factorial(order) * math.fsum(p / rate**order for p, rate in branches)
            case Family.LOGNORMAL:
                unit = (1.0 + c) ** (order * (order - 1) // 2)
            case _:  # exponential and Erlang are gamma laws
                unit = math.prod(1.0 + k * c for k in range(order))
        return unit * self.mean_s**order

    def tail(self, time_s: Floats) -> Floats:
        """P(S > t), computed directly, for times of any shape; 1 before 0. [dimensionless]"""
        from scipy.special import gammaincc, ndtr

        x = np.maximum(np.asarray(time_s, dtype=float), 0.0) / self.mean_s
        match self.family:
            case Family.DETERMINISTIC:
                return np.asarray(np.where(np.asarray(time_s) < self.mean_s, 1.0, 0.0))
            case Family.EXPONENTIAL:
                return np.asarray(np.exp(-x))
            case Family.HYPEREXPONENTIAL:
                (p, fast), (q, slow) = self.branches
                return np.asarray(p * np.exp(-fast * self.mean_s * x) + q * np.exp(-slow * self.mean_s * x))
            case Family.LOGNORMAL:
                spread = math.sqrt(math.log1p(self.variability))
                with np.errstate(divide="ignore"):
                    return np.asarray(ndtr(-(np.log(x) / spread + spread / 2.0)))
            case _:
                return np.asarray(gammaincc(1.0 / self.variability, x / self.variability))

    def transform(self, s: float) -> float:
        """Laplace-Stieltjes transform E e^(-s S); the lognormal law, which has no closed one, is refused."""
        c, y = self.variability, s * self.mean_s
        match self.family:
            case Family.DETERMINISTIC:
                return math.exp(-y)
            case Family.HYPEREXPONENTIAL:
                return math.fsum(p * rate / (rate + s) for p, rate in self.branches)
            case Family.LOGNORMAL:
                raise DomainError("the lognormal law has no closed Laplace transform; use gamma")
            case _:
                return math.exp(-math.log1p(c * y) / c)

    def phases(self) -> tuple[Floats, Floats]:
        """Phase-type form: start probabilities `(phases,)` and generator `(phases, phases)`. [1/s]"""
        match self.family:
            case Family.EXPONENTIAL | Family.ERLANG:
                k = self.stages
                rate = k / self.mean_s
                start = np.zeros(k)
                start[0] = 1.0
                return start, rate * (np.eye(k, k=1) - np.eye(k))
            case Family.HYPEREXPONENTIAL:
                branches = self.branches
                return np.array([p for p, _ in branches]), np.diag([-rate for _, rate in branches])
            case _:
                raise DomainError(f"{self.family} is not of phase type; use erlang or hyperexponential")


def _family(value: str) -> Family:
    """The family of that name: any other text would pass for a gamma law."""
    try:
        return Family(value)
    except ValueError:
        raise DomainError(f"family must be one of {', '.join(Family)}, got {value!r}") from None


def _checked_scv(family: Family, scv: float | None) -> float:
    fixed = {Family.DETERMINISTIC: 0.0, Family.EXPONENTIAL: 1.0}.get(family)
    if scv is None:
        if fixed is None:
            raise DomainError(f"scv must be given for {family}")
        return fixed
    require_not_negative("scv", scv)
    if fixed is not None:
        if abs(scv - fixed) > _ROUNDING:
            raise DomainError(f"scv of {family} is {fixed:g}, got {scv!r}; choose another family")
        return fixed
    if family is Family.HYPEREXPONENTIAL and scv < 1.0:
        raise DomainError(f"scv of hyperexponential must be >= 1, got {scv!r}; use erlang or gamma below 1")
    if family is Family.ERLANG:
        return _erlang_scv(scv)
    require_positive("scv", scv)
    return scv


def _erlang_scv(scv: float) -> float:
    """1/k for a whole k."""
    inverse = min(1.0 / max(scv, 1e-300), 2.0 * _STAGES_MAX)
    stages = round(inverse)
    if not 1 <= stages <= _STAGES_MAX or abs(scv * stages - 1.0) > 2e-3:  # 0.333 is a third
        fewer = max(1, min(math.floor(inverse), _STAGES_MAX - 1))
        near = min(fewer, fewer + 1, key=lambda k: abs(1.0 / k - scv))
        raise DomainError(
            f"scv of erlang must be 1/k for a whole k up to {_STAGES_MAX}, got {scv!r}; "
            f"the nearest is {1.0 / near!r} (gamma takes any)"
        )
    return 1.0 / stages
