"""Inoue: bounds on the mean response of one replica whose batches have no limit and grow linearly in time."""

import math
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from capacity.errors import DomainError, UnstableError
from capacity.performance import Kind, Performance
from capacity.queues.batches.load import require_batch_times
from capacity.queues.domain import require_not_negative, require_positive

_SPARE_SHARE_MIN = Fraction(1, 2**51)  # as everywhere: what the roundings of the two figures amount to


@dataclass(frozen=True, slots=True, kw_only=True)
class InoueBound:
    """M/D^[1,inf]/1 with batches of b in alpha b + tau0: the mean response from above and below.

    A free replica takes all that wait. With m the mean batch, the mean response is exactly
    f(m) = (alpha (2 + a)/2 (1 + 2 a u + u^2/m)/(1 - a^2)) + tau0 (1 + a) + u tau0/(2 m),
    a = lambda alpha, u = lambda tau0, falling in m. And m = (u + p)/(1 - a), p the share of the batches
    at whose end nobody waits: f(max(1, u/(1 - a))) is not below the truth. p is at most
    e^-(lambda (alpha + tau0)), since no batch is shorter than one of 1: that gives a bound from below.

    A screen for the mean, and for the mean alone: it says nothing of a P99. It is no bound for a
    replica that takes at most B, whose mean response grows beyond all limits where lambda nears
    B/s_B < 1/alpha: with the two GPUs of the paper and B = 4 to 64 it holds up to half that rate, and
    fails at 0.95 of it, by a factor above two where B = 4.

    Attributes:
        alpha_s: time that each request adds to a batch. [s]
        tau0_s: time of a batch that does not depend on its size. [s]

    Raises:
        DomainError: a rate that is not positive and finite; a time that is negative; both times 0.
        UnstableError: lambda alpha >= 1, up to rounding.

    Source:
        Inoue (2021), Performance Evaluation 147, 102183, "Queueing analysis of GPU-based inference servers
        with dynamic batching: a closed-form characterization" (arXiv 1912.06322), sec. 4. The bound
        from below is ours.

    Assumes:
        Poisson arrivals, deterministic batches, FIFO, one replica, no limit on a batch, steady state.

    >>> v100 = InoueBound(arrival_rate_rps=2000.0, alpha_s=0.1438e-3, tau0_s=1.8874e-3)
    >>> round(v100.response_mean_s * 1e3, 6), round(v100.response_mean_min_s * 1e3, 6)
    (4.153341, 4.148102)
    """

    arrival_rate_rps: float
    alpha_s: float
    tau0_s: float

    def __post_init__(self) -> None:
        require_positive("arrival_rate_rps", self.arrival_rate_rps)
        require_not_negative("alpha_s", self.alpha_s)
        require_not_negative("tau0_s", self.tau0_s)
        require_positive("alpha_s + tau0_s", self.alpha_s + self.tau0_s)
        if self._exact_load >= 1 - _SPARE_SHARE_MIN:
            raise UnstableError(
                f"unstable queue: load {float(min(self._exact_load, Fraction(10**300))):.4g} >= 1 "
                f"({self.arrival_rate_rps:g} rps x {self.alpha_s:g} s); let fewer than "
                f"{1.0 / self.alpha_s:.6g} rps arrive"
            )

    @property
    def _exact_load(self) -> Fraction:
        """Lambda alpha without rounding, so that what is spare keeps all its digits."""
        return Fraction(self.arrival_rate_rps) * Fraction(self.alpha_s)

    @property
    def load(self) -> float:
        """Lambda alpha: arrival rate over the rate that ever larger batches approach."""
        return float(self._exact_load)

    @property
    def _fixed(self) -> float:
        """Lambda tau0."""
        return self.arrival_rate_rps * self.tau0_s

    @property
    def _spare(self) -> float:
        """1 - lambda alpha."""
        return float(1 - self._exact_load)

    @property
    def batch_size_mean_min(self) -> float:
        """No mean batch is smaller: max(1, lambda tau0/(1 - lambda alpha))."""
        return max(1.0, self._fixed / self._spare)

    @property
    def batch_size_mean_max(self) -> float:
        """No mean batch is larger: (lambda tau0 + e^-(lambda (alpha + tau0)))/(1 - lambda alpha)."""
        return max(1.0, (self._fixed + math.exp(-self.load - self._fixed)) / self._spare)

    @property
    def response_mean_s(self) -> float:
        """Inoue's phi = min(phi0, phi1), not below the mean response."""
        return self.response_mean_of_s(self.batch_size_mean_min)

    @property
    def response_mean_min_s(self) -> float:
        """Not above the mean response."""
        return self.response_mean_of_s(self.batch_size_mean_max)

    @property
    def in_system_mean(self) -> float:
        """Not below the mean number waiting or in service, by Little's law."""
        return self.arrival_rate_rps * self.response_mean_s

    def response_mean_of_s(self, batch_size_mean: float) -> float:
        """Mean response f(m), exact where m is the exact mean batch. [s]

        Args:
            batch_size_mean: mean over batches, at least 1.

        Raises:
            DomainError: batch_size_mean is below 1 or not finite.

        Source:
            Inoue (2021), sec. 4: Little's law and the first two moments of the batch.

        >>> v100 = InoueBound(arrival_rate_rps=2000.0, alpha_s=0.1438e-3, tau0_s=1.8874e-3)
        >>> round(v100.response_mean_of_s(5.307342) * 1e3, 6)
        4.151463
        """
        require_positive("batch_size_mean", batch_size_mean)
        if batch_size_mean < 1.0:
            raise DomainError(f"batch_size_mean must be >= 1, got {batch_size_mean!r}")
        a, u = self.load, self._fixed
        growth = (2.0 + a) / 2.0 * (1.0 + 2.0 * a * u + u * u / batch_size_mean) / self._spare / (1.0 + a)
        return self.alpha_s * growth + self.tau0_s * (1.0 + a + u / (2.0 * batch_size_mean))

    def performance(self) -> Performance:
        """What is bounded, with how far the bound may lie from the truth.

        >>> v100 = InoueBound(arrival_rate_rps=2000.0, alpha_s=0.1438e-3, tau0_s=1.8874e-3)
        >>> round(v100.performance().relative_error_max["response_mean_s"], 5)
        0.00126
        """
        error = max(0.0, self.response_mean_s / self.response_mean_min_s - 1.0)
        return Performance(
            kind=Kind.BOUND,
            load=self.load,
            throughput_rps=self.arrival_rate_rps,
            in_system_mean=self.in_system_mean,
            response_mean_s=self.response_mean_s,
            relative_error_max={"in_system_mean": error, "response_mean_s": error},
        )


def linear_majorant(batch_times_s: tuple[float, ...]) -> tuple[float, float]:
    """alpha and tau0 >= 0 with s_b <= alpha b + tau0 for b = 1, ..., B, closest to the times on average. [s]

    Of the lines above all times, that with the least sum of the excess: a side of the upper convex hull,
    the one over the middle of 1, ..., B. A falling side is replaced by the largest time, one that
    would start below 0 by the steepest line from the origin.

    An `InoueBound` of it is a screen and no more. Nothing proves that a replica with shorter batches than
    another has the shorter mean response, since it also takes smaller ones; and near the load 1 of its
    limit B a replica is slower than the bound says, which knows no limit: see there.

    Args:
        batch_times_s: time of a batch of 1, 2, ..., B. [s]

    Raises:
        DomainError: no batch time, or one that is not positive and finite.

    Source:
        The hull: Andrew (1979), Information Processing Letters 9(5), 216-219.

    >>> [round(x, 12) for x in linear_majorant((1.0, 2.0, 2.5, 2.9))]
    [0.5, 1.0]
    """
    require_batch_times(batch_times_s)
    alpha = max(0.0, _middle_slope(_upper_hull(batch_times_s), (len(batch_times_s) + 1) / 2.0))
    tau0 = max(time_s - alpha * b for b, time_s in enumerate(batch_times_s, start=1))
    if tau0 >= 0.0:
        return alpha, tau0
    return max(time_s / b for b, time_s in enumerate(batch_times_s, start=1)), 0.0


def _upper_hull(batch_times_s: tuple[float, ...]) -> list[tuple[int, float]]:
    """Corners of the least concave function above all times, from b = 1 to B."""
    hull: list[tuple[int, float]] = []
    for b, time_s in enumerate(batch_times_s, start=1):
        while len(hull) > 1 and _slope(hull[-2], hull[-1]) <= _slope(hull[-1], (b, time_s)):
            hull.pop()
        hull.append((b, time_s))
    return hull


def _slope(one: tuple[int, float], other: tuple[int, float]) -> float:
    """Rise per request between two points."""
    return (other[1] - one[1]) / (other[0] - one[0])


def _middle_slope(hull: list[tuple[int, float]], middle: float) -> float:
    """Of the side over a point; 0 for a single corner."""
    for one, other in pairwise(hull):
        if middle <= other[0]:
            return _slope(one, other)
    return 0.0
