"""Timely batches: the response quantile that no fleet beats at its rate, since batches that are quick are small."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from capacity.profile.distribution import ServiceLaw
from capacity.profile.profile import ServiceProfile

Floats = npt.NDArray[np.float64]
# Largest batches whose sizes are all looked at, which takes their square; and how closely the quantile is found.
_SIZES_MAX, _HALVINGS = 256, 20


@lru_cache(maxsize=16)
def quantile_floor_s(profile: ServiceProfile, rate_rps: float, batch_size_max: int, quantile: float) -> float:
    """Lower bound of a response quantile at a rate of arrivals at each replica, whatever the router does. [s]

    A response takes at least the service of its batch. In the long run a share x_b of the requests is served in
    batches of b, each of which takes s_b/b of a replica's time on average, and no replica has more than all of it. If
    no mixture that leaves 1 - q of the requests later than t is so quick, the quantile is above t.

    Args:
        batch_size_max: of up to 256 requests; larger ones have no bound, which is 0.
        quantile: q, fraction in (0, 1).

    Assumes:
        Replicas that do not slow each other down, and a service time that does not depend on why a batch has its size.
    """
    if not 1 <= batch_size_max <= min(profile.batch_size_max, _SIZES_MAX):
        return 0.0
    laws = [profile.law(size) for size in range(1, batch_size_max + 1)]
    work_s = np.array([law.mean_s / size for size, law in enumerate(laws, start=1)])
    low_s, high_s = 0.0, max(law.durations_s[-1] for law in laws)
    for _ in range(_HALVINGS):
        middle_s = (low_s + high_s) / 2.0
        if _least_work_s(work_s, _late(laws, middle_s), 1.0 - quantile) * rate_rps > 1.0:
            low_s = middle_s
        else:
            high_s = middle_s
    return low_s + profile.request_overhead_s if low_s > 0.0 else 0.0


def _late(laws: list[ServiceLaw], limit_s: float) -> Floats:
    """Probability that a batch takes longer than a limit, by its size."""
    return np.array([1.0 - _share_within(law, limit_s) for law in laws])


def _share_within(law: ServiceLaw, limit_s: float) -> float:
    """Probability that a batch takes no longer than a limit."""
    durations_s, probabilities = np.array(law.durations_s), np.array(law.probabilities)
    after = int(np.searchsorted(durations_s, limit_s, side="right"))
    if after == 0:
        return 0.0
    if after == len(durations_s):
        return 1.0
    (x0, x1), (u0, u1) = durations_s[after - 1 : after + 1], probabilities[after - 1 : after + 1]
    return float(u0 + (u1 - u0) * (limit_s - x0) / (x1 - x0))


def _least_work_s(work_s: Floats, late: Floats, allowed: float) -> float:
    """Least mean time of a replica that a request takes, of all mixtures of batch sizes with an allowed late share. [s]

    It is a linear programme with one condition, which at most two sizes solve.
    """
    timely, others = np.flatnonzero(late <= allowed), np.flatnonzero(late > allowed)
    if not len(timely):
        return float("inf")
    least_s = float(work_s[timely].min())
    if not len(others):
        return least_s
    share = (allowed - late[timely])[:, None] / (late[others][None, :] - late[timely][:, None])
    mixed_s = work_s[timely][:, None] * (1.0 - share) + work_s[others][None, :] * share
    return min(least_s, float(mixed_s.min()))
