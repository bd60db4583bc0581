"""Quantities: what is predicted and measured, how far apart the two may be, and whether they agree."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from capacity.errors import InputError, quoted
from capacity.measurement.sections import REQUESTS_MIN, requests_min
from capacity.performance import Interval, Performance, Quantiles, Share
from capacity.question.candidate import Verdict
from capacity.question.objective import Limit, Measure
from capacity.units import format_duration, format_quantile, format_rate, format_share, is_number

# If more than this many times as many requests are needed, the measured value is at the limit, and no test can tell.
_TIMES_MAX = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitFinding:
    """A limit and its measured value."""

    limit: Limit
    found: Interval | None  # None if it was not measured
    verdict: Verdict | None  # None likewise
    has_interval: bool = True  # whether the error of the measured value is known

    def doubt(self, answered: int) -> tuple[str, float] | None:
        """Why it is unclear whether the limit is met, and how many times as many requests would settle it.

        Args:
            answered: number of requests behind the finding.

        Returns:
            A clause, and a number above 1, infinite if more requests do not help; None if it is clear.
        """
        if self.verdict in (Verdict.MET, Verdict.MISSED):
            return None
        if self.found is None:
            return self._not_measured(answered)
        if not self.has_interval:
            return f"{self.limit}: what was measured has no interval", math.inf
        value, limit = self.found.value, self.limit.allowed
        if self.found.high == math.inf:
            said = "requests that timed out or were refused have an unknown response time"
            return f"{self.limit}: {said}", math.inf
        end = self.found.high if value <= limit else self.found.low
        # Widths fall as the root of the number of requests; for none among n, as n.
        ratio = math.inf if value == limit else (end - value) / (limit - value)
        times = ratio if value == 0.0 else ratio**2
        if times > _TIMES_MAX:
            return f"{self.limit} equals what was measured, within chance", math.inf
        return f"{self.limit} lies within the measured interval", times

    def _not_measured(self, answered: int) -> tuple[str, float]:
        match self.limit.measure:
            case Measure.WAIT:
                return (
                    f"{self.limit}: waits cannot be measured from outside; set an objective on responses",
                    math.inf,
                )
            case Measure.UTILIZATION:
                return f"{self.limit}: the servers' metrics were not read; give --metrics", math.inf
        quantile = self.limit.quantile
        needed = REQUESTS_MIN if quantile is None else requests_min(quantile)
        said = f"{self.limit} was not measured: that needs {needed} answers, and there were {answered}"
        return said, needed / answered if answered else math.inf


def limit_finding(limit: Limit, measured: Performance) -> LimitFinding:
    """Finding on a limit: met or missed if the interval lies wholly on one side of it.

    A request that was given up may or may not have been lost in the queue: a limit on losses is met only if it is met
    with all of these.
    """
    found = limit.found(measured)
    if found is None:
        return LimitFinding(limit=limit, found=None, verdict=None)
    has_interval = limit.measure.has_quantile or limit.measure.value in measured.intervals
    given_up = measured.intervals.get("abandon_probability")
    if limit.measure is Measure.LOSS and measured.abandon_probability and given_up is not None:
        found = replace(found, high=found.high + given_up.high)
    verdict = Verdict.INCONCLUSIVE
    if has_interval and found.high <= limit.allowed:
        verdict = Verdict.MET
    elif has_interval and found.low > limit.allowed:
        verdict = Verdict.MISSED
    return LimitFinding(limit=limit, found=found, verdict=verdict, has_interval=has_interval)


QUANTILES = (0.5, 0.95, 0.99)


def _count(value: float) -> str:
    return f"{value:.3g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """One row of a verification."""

    name: str  # its name in `--tolerance`
    title: str
    shown: Callable[[float], str]
    field: str  # field of `Performance`
    tolerance: float  # largest difference, as a share of the measured value
    quantile: float | None = None
    is_absolute: bool = False  # the tolerance is an absolute difference, since the value itself may be 0
    # what the lack of a prediction means; None if it means nothing
    unsaid: float | None = None

    def found(self, performance: Performance | None) -> Interval | None:
        """The value in a performance; without width if it has no interval, None if it is absent."""
        if performance is None:
            return None
        if self.quantile is not None:
            quantiles: Quantiles = getattr(performance, self.field)
            return quantiles.get(self.quantile)
        value = getattr(performance, self.field)
        if isinstance(value, Share):
            return value.interval
        return performance.intervals.get(self.field) or (None if value is None else Interval.exact(value))

    def has_interval(self, performance: Performance) -> bool:
        """Whether a performance has an interval of this quantity."""
        has_ends = isinstance(getattr(performance, self.field), Share)
        return self.quantile is not None or has_ends or self.field in performance.intervals

    def predicted(self, performance: Performance | None) -> Interval | None:
        """The value in a prediction; None if there is no prediction, or no value."""
        found = self.found(performance)
        if found is None and performance is not None and self.unsaid is not None:
            return Interval.exact(self.unsaid)
        return found


_MEAN = Quantity(name="mean", title="mean", shown=format_duration, field="response_mean_s", tolerance=0.05)
_THROUGHPUT = Quantity(
    name="throughput", title="throughput", shown=format_rate, field="throughput_rps", tolerance=0.05
)
_BATCH = Quantity(name="batch", title="mean batch", shown=_count, field="batch_size_mean", tolerance=0.10)
_LOSS = Quantity(
    name="loss", title="loss", shown=format_share, field="loss_probability", tolerance=0.005, is_absolute=True
)


def _at(mean: Quantity, quantile: float, tolerance: float) -> Quantity:
    """A quantile of the durations of a mean."""
    title = mean.title.replace("mean", format_quantile(quantile))
    return replace(
        mean,
        name=mean.name.replace("mean", format_quantile(quantile).lower()),
        title=title,
        field=mean.field.replace("_mean_s", "_quantiles_s"),
        tolerance=tolerance,
        quantile=quantile,
    )


def _durations(mean: Quantity) -> tuple[Quantity, ...]:
    """A mean and its quantiles. The higher the quantile, the less a profile knows of it."""
    return (mean, _at(mean, 0.5, 0.05), _at(mean, 0.95, 0.10), _at(mean, 0.99, 0.15))


def _of_tokens(name: str) -> tuple[Quantity, ...]:
    """Durations between tokens, or to the first."""
    mean = replace(_MEAN, name=f"{name}-mean", title=f"{name.upper()} mean", field=f"{name}_mean_s")
    return _durations(mean)


_OUTCOMES = (
    _LOSS,
    # Timeouts, broken connections and endless answers: a queue refuses, and never does this.
    replace(_LOSS, name="given-up", title="given up", field="abandon_probability", unsaid=0.0),
)
QUANTITIES = (
    *_durations(_MEAN),
    _THROUGHPUT,
    _BATCH,
    replace(_BATCH, name="utilization", title="utilization", shown=format_share, field="utilization"),
    *_OUTCOMES,
)
QUANTITIES_OF_TOKENS = (
    *_durations(_MEAN),
    *(one for name in ("ttft", "tpot", "itl") for one in _of_tokens(name)),
    _THROUGHPUT,
    # Of sessions alone, as far as servers count what they find.
    Quantity(
        name="hits",
        title="prefix hits",
        shown=format_share,
        field="hit_share",
        tolerance=0.02,
        is_absolute=True,
    ),
    # Where no queue has a limit, nothing is lost.
    *(replace(one, unsaid=0.0) for one in _OUTCOMES),
)


def read_tolerances(texts: Sequence[str], quantities: Sequence[Quantity] = QUANTITIES) -> dict[str, float]:
    """Tolerances from `--tolerance p99=15%`, at most one for each quantity; the others keep their own.

    Raises:
        InputError: no such quantity, not a share, or a quantity twice.

    >>> read_tolerances(["p99=20%"])["p99"], read_tolerances([])["p99"]
    (0.2, 0.15)
    """
    tolerances = {quantity.name: quantity.tolerance for quantity in quantities}
    given: set[str] = set()
    for text in texts:
        name, _, share = (part.strip().lower() for part in text.partition("="))
        if name not in tolerances or name in given:
            what = "names one twice" if name in given else "names no quantity"
            raise InputError(f"--tolerance {quoted(text)} {what}; p99=15% is one, of {', '.join(tolerances)}")
        digits = share.removesuffix("%")
        value = float(digits) / (100.0 if share.endswith("%") else 1.0) if is_number(digits) else -1.0
        if not 0.0 < value <= 1.0:
            raise InputError(f"--tolerance {quoted(text)} must be above 0 and at most 100%, such as p99=15%")
        given.add(name)
        tolerances[name] = value
    return tolerances


def with_tolerances(
    tolerances: Mapping[str, float],
    quantiles: Iterable[float] = QUANTILES,
    quantities: Sequence[Quantity] = QUANTITIES,
) -> tuple[Quantity, ...]:
    """All quantities with the tolerances of their names, and further quantiles in their places.

    A further quantile has the tolerance of the next higher usual one.

    >>> [quantity.name for quantity in with_tolerances(read_tolerances([]), [0.9, 0.95])][:4]
    ['mean', 'p50', 'p90', 'p95']
    """
    usual = [replace(quantity, tolerance=tolerances[quantity.name]) for quantity in quantities]
    found: list[Quantity] = []
    for quantity in usual:
        if quantity.quantile is None:
            found.append(quantity)
        if quantity.field.endswith("_mean_s"):
            found += _quantiles_of(quantity, quantiles, usual)
    return tuple(found)


def _quantiles_of(mean: Quantity, quantiles: Iterable[float], usual: Sequence[Quantity]) -> list[Quantity]:
    """The usual quantiles of the durations of a mean, and further ones, rising."""
    field = mean.field.replace("_mean_s", "_quantiles_s")
    at = {one.quantile: one for one in usual if one.quantile is not None and one.field == field}
    for quantile in set(quantiles) - set(at):
        next_higher = at[min((q for q in QUANTILES if q > quantile), default=max(QUANTILES))]
        at[quantile] = _at(mean, quantile, next_higher.tolerance)
    return [at[quantile] for quantile in sorted(at)]


class Agreement(StrEnum):
    """Whether a prediction is within the tolerance, as far as the intervals tell.

    VOID: the load test was not the intended one, and says nothing.
    NO_INTERVAL: the error of the measured value is unknown, so it is no evidence.
    """

    AGREE = "agree"
    DISAGREE = "disagree"
    UNSURE = "unsure"
    VOID = "void"
    NO_INTERVAL = "no interval"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A prediction compared with a measurement."""

    predicted: Interval
    # error as a share of the measured value, or as a difference if the quantity's tolerance is one; None if the
    # measured value is 0
    error: float | None
    agreement: Agreement


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementRow:
    """A quantity with both predictions."""

    quantity: Quantity
    measured: Interval
    stationary: Held | None  # long-run prediction; None if it lacks this quantity
    replay: Held | None  # prediction for the very requests that were sent; likewise

    @property
    def agreements(self) -> tuple[Agreement, ...]:
        """Agreement of each prediction that exists."""
        return tuple(held.agreement for held in (self.stationary, self.replay) if held is not None)


def hold(quantity: Quantity, predicted: Interval, measured: Interval) -> Held:
    """Comparison over both intervals: if all errors are within the tolerance they agree, if none is they disagree.

    Anything in between is unsure; more requests would narrow the measured interval and settle it.
    """
    lowest = _error(quantity, predicted.low, measured.high)
    highest = _error(quantity, predicted.high, measured.low)
    error, most = _error(quantity, predicted.value, measured.value), quantity.tolerance
    agreement = Agreement.AGREE if -most <= lowest and highest <= most else Agreement.UNSURE
    if lowest > most or highest < -most:
        agreement = Agreement.DISAGREE
    return Held(predicted=predicted, error=error if math.isfinite(error) else None, agreement=agreement)


def _error(quantity: Quantity, predicted: float, measured: float) -> float:
    if quantity.is_absolute:
        return predicted - measured
    if measured == 0.0:
        return 0.0 if predicted == 0.0 else math.inf
    return predicted / measured - 1.0
