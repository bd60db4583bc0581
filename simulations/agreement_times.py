"""Service times of the laws that the simulator is held against, by one uniform number a batch."""

import math

from scipy.special import gammaincinv, ndtri

from capacity.queues.durations import Duration, Family


class TableTimes:
    """Batches that take a known time by their size."""

    def __init__(self, times_s: tuple[float, ...]) -> None:
        self._times_s = times_s

    def __call__(self, batch_size: int, uniform: float) -> float:
        """Service time of a batch, whatever the draw. [s]"""
        return self._times_s[batch_size - 1]


class TableExponentialTimes:
    """Batches that take an exponential time whose mean goes by their size."""

    def __init__(self, means_s: tuple[float, ...]) -> None:
        self._means_s = means_s

    def __call__(self, batch_size: int, uniform: float) -> float:
        """Service time of a batch by inversion. [s]"""
        return -self._means_s[batch_size - 1] * math.log1p(-uniform)


class DurationTimes:
    """Service of a given law whatever the batch size.

    By inversion; of the hyper-exponential law the uniform number first chooses the branch, and what
    is left of it is uniform again (Devroye 1986, Non-Uniform Random Variate Generation, sec. II.4).
    """

    def __init__(self, law: Duration) -> None:
        self._law = law

    def __call__(self, batch_size: int, uniform: float) -> float:
        """Service time of a batch. [s]"""
        law, scv = self._law, self._law.variability
        match law.family:
            case Family.DETERMINISTIC:
                return law.mean_s
            case Family.EXPONENTIAL:
                return -law.mean_s * math.log1p(-uniform)
            case Family.HYPEREXPONENTIAL:
                (fast, fast_rate), (slow, slow_rate) = law.branches
                if uniform < fast:
                    return -math.log1p(-uniform / fast) / fast_rate
                return -math.log1p(-(uniform - fast) / slow) / slow_rate
            case Family.LOGNORMAL:
                spread = math.sqrt(math.log1p(scv))
                return law.mean_s * math.exp(spread * float(ndtri(uniform)) - spread**2 / 2.0)
            case _:
                return law.mean_s * scv * float(gammaincinv(1.0 / scv, uniform))
