"""AgreementRow: one quantity, predicted beside measured, and whether the two agree."""

import math
from dataclasses import dataclass
from enum import StrEnum

from capacity.performance import Interval
from measurements.quantities import Quantity


class Agreement(StrEnum):
    """Whether a prediction is within the tolerance, for all that the intervals leave open.

    VOID: the load test was not the one that was meant, and says nothing.
    NO_INTERVAL: nobody knows how far the measured value may be off, so that it says nothing for certain.
    """

    AGREE = "agree"
    DISAGREE = "disagree"
    UNSURE = "unsure"
    VOID = "void"
    NO_INTERVAL = "no interval"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A prediction held against a measurement.

    Attributes:
        error: of the predicted value, as a share of the measured one; a difference where the quantity's
            tolerance is one; None where the measured value is 0.
    """

    predicted: Interval
    error: float | None
    agreement: Agreement


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementRow:
    """A quantity with both predictions.

    Attributes:
        stationary: of the long run; None where it has nothing of this quantity.
        replay: of the very requests that were sent; likewise.
    """

    quantity: Quantity
    measured: Interval
    stationary: Held | None
    replay: Held | None

    @property
    def agreements(self) -> tuple[Agreement, ...]:
        """Of the predictions that there are."""
        return tuple(held.agreement for held in (self.stationary, self.replay) if held is not None)


def hold(quantity: Quantity, predicted: Interval, measured: Interval) -> Held:
    """Errors of all pairs within both intervals: all within the tolerance agree, all beyond it disagree.

    What lies astride is unsure: more requests would narrow the measured interval, and settle it.
    """
    lowest = _error(quantity, predicted.low, measured.high)
    highest = _error(quantity, predicted.high, measured.low)
    error = _error(quantity, predicted.value, measured.value)
    return Held(
        predicted=predicted,
        error=error if math.isfinite(error) else None,
        agreement=_agreement(lowest, highest, quantity.tolerance),
    )


def _error(quantity: Quantity, predicted: float, measured: float) -> float:
    if quantity.is_absolute:
        return predicted - measured
    if measured == 0.0:
        return 0.0 if predicted == 0.0 else math.inf
    return predicted / measured - 1.0


def _agreement(lowest: float, highest: float, tolerance: float) -> Agreement:
    if lowest > tolerance or highest < -tolerance:
        return Agreement.DISAGREE
    return Agreement.AGREE if -tolerance <= lowest and highest <= tolerance else Agreement.UNSURE
