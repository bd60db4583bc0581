"""Scalability: the universal scalability law, how throughput grows, saturates and falls with size."""

import math
from dataclasses import dataclass
from fractions import Fraction

from capacity.errors import DomainError
from capacity.performance import Kind, Performance
from capacity.queues.domain import require_not_negative, require_positive


@dataclass(frozen=True, slots=True, kw_only=True)
class UniversalScalability:
    """X(N) = X(1) N / (1 + sigma (N - 1) + kappa N (N - 1)), for N users, threads or replicas.

    sigma is the share of the work that is done one at a time (contention), kappa the cost of keeping
    each pair in agreement (coherency). With kappa = 0 it is Amdahl's law, with both 0 linear.
    It is a law of throughput alone: no response time follows from it.

    Raises:
        DomainError: throughput_one_rps not positive, sigma not in [0, 1], kappa negative, or one not
            finite.

    Source:
        Gunther (2007), Guerrilla Capacity Planning, ch. 4-6; derivation as a queue in which all
        requests are synchronous: Gunther (2008), arXiv 0808.1431.

    >>> law = UniversalScalability(throughput_one_rps=90.0, sigma=0.02, kappa=0.0001)
    >>> round(law.throughput_rps(36), 1), law.peak
    (1774.4, 99)
    """

    throughput_one_rps: float
    sigma: float
    kappa: float

    def __post_init__(self) -> None:
        require_positive("throughput_one_rps", self.throughput_one_rps)
        require_not_negative("sigma", self.sigma)
        require_not_negative("kappa", self.kappa)
        if self.sigma > 1.0:
            raise DomainError(f"sigma must be <= 1, got {self.sigma!r}; it is a share of the work")

    def efficiency(self, size: float) -> float:
        """X(N) / (N X(1)), in (0, 1]. [dimensionless]

        Raises:
            DomainError: size is not a finite number from 1.
        """
        return 1.0 / (size * self._share(size))

    def throughput_rps(self, size: float) -> float:
        """Throughput at N users, threads or replicas.

        Raises:
            DomainError: size is not a finite number from 1.

        >>> UniversalScalability(throughput_one_rps=10.0, sigma=1.0, kappa=0.0).throughput_rps(7)
        10.0
        """
        return self.throughput_one_rps / self._share(size)

    def _share(self, size: float) -> float:
        """X(1) / X(N), so divided by N that nothing overflows."""
        require_positive("size", size)
        if size < 1.0:
            raise DomainError(f"size must be >= 1, got {size!r}; it counts users, threads or replicas")
        return (1.0 + self.sigma * (size - 1.0)) / size + self.kappa * (size - 1.0)

    @property
    def peak_size(self) -> float:
        """Real N at which throughput is largest, at least 1; infinite where it never falls.

        sqrt((1 - sigma) / kappa): Gunther (2007), ch. 6.
        """
        if self.kappa == 0.0:
            return 1.0 if self.sigma == 1.0 else math.inf
        # two roots: a subnormal kappa would make the quotient infinite
        return max(1.0, math.sqrt(1.0 - self.sigma) / math.sqrt(self.kappa))

    @property
    def peak(self) -> int | None:
        """Whole N with the largest throughput, the smaller of two equal; None where it never falls.

        X(N + 1) > X(N) where N (N + 1) < (1 - sigma) / kappa: in whole numbers, since near a flat
        peak the throughputs differ by less than their rounding.
        """
        if math.isinf(self.peak_size):
            return None
        if self.kappa == 0.0:
            return 1
        needed = math.ceil((1 - Fraction(self.sigma)) / Fraction(self.kappa))
        root = max(1, math.isqrt(needed))
        return root if root * (root + 1) >= needed else root + 1

    @property
    def asymptote_rps(self) -> float:
        """Throughput as N grows without end: 0 with coherency, X(1)/sigma without, infinite if linear."""
        if self.kappa > 0.0:
            return 0.0
        return self.throughput_one_rps / self.sigma if self.sigma > 0.0 else math.inf

    @property
    def throughput_max_rps(self) -> float:
        """What no whole N exceeds: the peak's throughput, or the asymptote where there is no peak."""
        return self.asymptote_rps if self.peak is None else self.throughput_rps(self.peak)

    @property
    def knee(self) -> float:
        """N at which linear growth would reach the largest throughput, as N* of a closed system."""
        return self.throughput_max_rps / self.throughput_one_rps

    def performance(self, replicas: int) -> Performance:
        """Throughput as the answer that simulation and measurement give too; the law has no more.

        >>> UniversalScalability(throughput_one_rps=10.0, sigma=0.5, kappa=0.0).performance(3).throughput_rps
        15.0
        """
        return Performance(kind=Kind.EXACT, throughput_rps=self.throughput_rps(replicas))
