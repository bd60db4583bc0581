"""Paired loss: how much accuracy a model lost beside one that answered the same rows, with an interval."""

import math
from statistics import NormalDist

from capacity.errors import DomainError
from capacity.performance import Interval

CONFIDENCE = 0.95
_HALVINGS = 60  # of a width of 2 at most: to the last digit


def accuracy_loss(*, rows: int, newly_wrong: int, newly_right: int) -> Interval:
    """Share of rows by which accuracy went down, negative where it went up, with its 95 % score interval.

    Rows that both models have right or wrong say nothing of a difference but how rare one is, so that the
    interval has a width where no answer changed too.

    Args:
        rows: that both answered, all of the kind that the accuracy is to be told of.
        newly_wrong: of these, right before and wrong now.
        newly_right: of these, wrong before and right now.

    Raises:
        DomainError: no rows, or more that changed than there are.

    Source:
        Tango (1998), Equivalence test and confidence interval for the difference in proportions for the
        paired-sample design, Statistics in Medicine 17, 891-908. At a loss of 0 its statistic is McNemar's.

    Assumes:
        Rows drawn by themselves from those that will be asked.

    >>> found = accuracy_loss(rows=161, newly_wrong=6, newly_right=16)
    >>> [round(share, 4) for share in (found.low, found.value, found.high)]
    [-0.124, -0.0621, -0.0054]
    """
    if min(newly_wrong, newly_right) < 0 or not newly_wrong + newly_right <= rows or rows < 1:
        raise DomainError(
            f"rows must be >= 1 and not fewer than those that changed, got {rows} rows, "
            f"{newly_wrong} newly wrong and {newly_right} newly right"
        )
    return Interval(
        value=(newly_wrong - newly_right) / rows,
        low=-_loss_max(rows, newly_right, newly_wrong),
        high=_loss_max(rows, newly_wrong, newly_right),
    )


def rows_to_tell(loss: float) -> int:
    """Rows from which on a loss can be told to be below a share, if no answer at all changes.

    The limit of the interval is then z^2 / (rows + z^2).

    >>> rows_to_tell(0.005)
    765
    """
    return math.floor(_z() ** 2 * (1.0 / loss - 1.0)) + 1


def _z() -> float:
    return NormalDist().inv_cdf(0.5 * (1.0 + CONFIDENCE))


def _loss_max(rows: int, newly_wrong: int, newly_right: int) -> float:
    """The largest loss that the counts do not refute, by bisection: the statistic falls in the loss."""
    z, low, high = _z(), (newly_wrong - newly_right) / rows, 1.0
    for _ in range(_HALVINGS):
        loss = 0.5 * (low + high)
        expected, deviation = rows * loss, _deviation(loss, rows, newly_wrong, newly_right)
        if newly_wrong - newly_right + z * deviation > expected:
            low = loss
        else:
            high = loss
    return low


def _deviation(loss: float, rows: int, newly_wrong: int, newly_right: int) -> float:
    """Standard deviation of newly wrong less newly right, were this the loss; the rest is the likeliest."""
    # The likeliest share of newly right q solves 2 n q^2 + b q + c = 0; that of newly wrong is q + loss.
    b = (2 * rows - newly_wrong + newly_right) * loss - newly_wrong - newly_right
    c = -newly_right * loss * (1.0 - loss)
    share = (math.sqrt(max(0.0, b * b - 8.0 * rows * c)) - b) / (4.0 * rows)
    return math.sqrt(max(0.0, rows * (2.0 * share + loss * (1.0 - loss))))
