"""Confidence: intervals of a share with few or no events, ranks of samples, and Student's t."""

import math
from functools import lru_cache
from itertools import accumulate
from statistics import NormalDist

from capacity.beta import beta_quantile, beta_shares, binomial, quantile_of
from capacity.errors import DomainError

_ROUNDING = 1e-12  # relative error of a probability


def share_high(happened: float, count: float, confidence: float) -> float:
    """Upper end of the exact interval of a share of independent events; of none, -log(1 - confidence)/n.

    An interval by the scatter between sections knows too little about events that most sections lack.

    Args:
        happened: number of events among `count`.

    Source:
        Clopper & Pearson (1934), Biometrika 26(4), 404-413, for some events, the error shared with the lower end;
        Hanley & Lippman-Hand (1983), JAMA 249(13), 1743-1745, for none, which has no lower end.

    >>> round(1000 * share_high(0, 1000, 0.95), 2), round(1000 * share_high(1, 1000, 0.95), 2)
    (3.0, 5.56)
    """
    if happened >= count:
        return 1.0
    if happened == 0:
        return min(1.0, -math.log1p(-confidence) / count)
    return beta_quantile(happened + 1, count - happened, 0.5 + confidence / 2.0)


def share_interval(happened: int, count: int, confidence: float) -> tuple[float, float]:
    """Exact interval of a share of independent events; with no events, or only events, it has one end.

    Source:
        Clopper & Pearson (1934), Biometrika 26(4), 404-413.

    >>> round(share_interval(0, 20, 0.95)[1], 4), round(share_interval(20, 20, 0.95)[0], 4)
    (0.1391, 0.8609)
    """
    if not 0 <= happened <= count or count < 1:
        raise DomainError(f"a share needs 0 <= happened <= count, got {happened} of {count}")
    one_end = (1.0 - confidence) ** (1.0 / count)
    if happened == 0:
        return 0.0, 1.0 - one_end
    if happened == count:
        return one_end, 1.0
    tail = 0.5 - confidence / 2.0
    low = beta_quantile(happened, count - happened + 1, tail)
    return low, beta_quantile(happened + 1, count - happened, 1.0 - tail)


def has_upper_end(quantile: float, count: float, confidence: float) -> bool:
    """Whether independent samples can bound a quantile from above: whether all being below it would be unlikely.

    >>> has_upper_end(0.99, 299, 0.95), has_upper_end(0.99, 298, 0.95)
    (True, False)
    """
    return count * math.log(quantile) <= math.log(1.0 - confidence)


def order_statistics(quantile: float, count: int, confidence: float) -> tuple[int, int]:
    """Ranks of the two samples, rising and from 1, between which the true quantile lies.

    The rank is 0 if no sample is surely below it, and count + 1 if none is surely above. Each end may err by half, or
    the upper one by more if only the largest sample is left for it, and the lower one by less.

    Source:
        David & Nagaraja (2003), Order Statistics, 3rd ed., sec. 7.1: samples below the quantile are binomial.

    >>> order_statistics(0.99, 800, 0.95), order_statistics(0.99, 300, 0.95), order_statistics(0.99, 200, 0.95)
    ((786, 798), (290, 300), (195, 201))
    """
    if not 0.0 < quantile < 1.0 or count < 1:
        raise DomainError(f"ranks need a quantile in (0, 1) and samples, got {quantile} and {count}")
    error = 1.0 - confidence
    above = max(error / 2.0, quantile**count) if has_upper_end(quantile, count, confidence) else error / 2.0
    each = [binomial(rank, count, quantile, 1.0 - quantile) for rank in range(count + 1)]
    below = list(accumulate(each))  # at most `rank` samples below
    beyond = list(accumulate(reversed(each)))[::-1]  # at least `rank` below
    low = sum(share <= error - above for share in below)
    enough = above * (1.0 + _ROUNDING)
    high = next((rank + 1 for rank in range(count) if beyond[rank + 1] <= enough), count + 1)
    return low, high


@lru_cache(maxsize=4096)
def student_t(confidence: float, degrees: float) -> float:
    """Half-width of an interval in standard errors, for the given degrees of freedom; not a number if there are none.

    Source:
        Abramowitz & Stegun (1964), 26.7.1 and 26.5.27: the share within t is that of a beta distribution; 26.7.5 for
        where the search begins.

    >>> round(student_t(0.95, 9), 3)
    2.262
    """
    normal = NormalDist().inv_cdf(0.5 + confidence / 2.0)
    if not degrees > 0.0 or math.isinf(degrees) or confidence == 0.0:
        return normal if degrees > 0.0 else math.nan

    def law(t: float) -> tuple[float, float, float]:
        inside, outside = t * t / (degrees + t * t), degrees / (degrees + t * t)
        each = binomial(0.5, 0.5 + degrees / 2.0, inside, outside)
        return *beta_shares(0.5, degrees / 2.0, inside, outside), each * degrees / (1.0 + degrees) / t

    return quantile_of(law, confidence, normal * (1.0 + (normal * normal + 1.0) / (4.0 * degrees)), math.inf)
