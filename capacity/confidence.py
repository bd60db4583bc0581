"""Intervals of a share with few or no events, and Student's t; P99: `simulations/statistics/intervals.py`."""

import math

from capacity.errors import DomainError


def share_high(happened: float, count: float, confidence: float) -> float:
    """Upper end of the exact interval of a share of independent events; of none, -log(1 - confidence)/n.

    An interval by the scatter between sections knows too little of events of which most sections have none.

    Args:
        happened: events, among `count`.

    Source:
        Clopper & Pearson (1934), Biometrika 26(4), 404-413, for some, the error shared with the lower end;
        Hanley & Lippman-Hand (1983), JAMA 249(13), 1743-1745, for none, which has no lower end.

    >>> round(1000 * share_high(0, 1000, 0.95), 2), round(1000 * share_high(1, 1000, 0.95), 2)
    (3.0, 5.56)
    """
    from scipy.special import betaincinv  # heavy, and not to be loaded before what is measured

    if happened >= count:
        return 1.0
    if happened == 0:
        return min(1.0, -math.log1p(-confidence) / count)
    return float(betaincinv(happened + 1, count - happened, 0.5 + confidence / 2.0))


def share_interval(happened: int, count: int, confidence: float) -> tuple[float, float]:
    """Exact interval of a share of independent events; of none or all of them, it has one end only.

    Source:
        Clopper & Pearson (1934), Biometrika 26(4), 404-413.

    >>> round(share_interval(0, 20, 0.95)[1], 4), round(share_interval(20, 20, 0.95)[0], 4)
    (0.1391, 0.8609)
    """
    from scipy.special import betaincinv  # heavy, and not to be loaded before what is measured

    if not 0 <= happened <= count or count < 1:
        raise DomainError(f"a share needs 0 <= happened <= count, got {happened} of {count}")
    one_end = (1.0 - confidence) ** (1.0 / count)
    if happened == 0:
        return 0.0, 1.0 - one_end
    if happened == count:
        return one_end, 1.0
    tail = 0.5 - confidence / 2.0
    low = float(betaincinv(happened, count - happened + 1, tail))
    return low, float(betaincinv(happened + 1, count - happened, 1.0 - tail))


def student_t(confidence: float, degrees: float) -> float:
    """Half-width of an interval in standard errors, for the given degrees of freedom.

    >>> round(student_t(0.95, 9), 3)
    2.262
    """
    from scipy.special import stdtrit  # heavy, and not to be loaded before what is measured

    return float(stdtrit(degrees, 0.5 + confidence / 2.0))
