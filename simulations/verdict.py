"""Verdict: what one look allows to be said of an objective, at the error that it may spend."""

import math
from dataclasses import dataclass

from capacity.objective import LatencyObjective, Measure, Promise
from capacity.performance import Interval
from capacity.plan import Rejection, Verdict
from simulations.estimate import Look
from simulations.pool import Pool

# So many losses must have been possible within what is allowed: of few, in bursts, no interval tells much.
_LOSSES_MIN = 300


def share_of_error(number: int) -> float:
    """Share of the allowed error that the `number`-th of endlessly many tests may spend.

    6/(π²k²) sums to 1 over k = 1, 2, ..., so that all tests together err as rarely as one was
    allowed to (union bound).
    """
    return 6.0 / (math.pi * number) ** 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Probabilities with which one look may accept or refuse wrongly."""

    accept: float
    refuse: float


def decide(
    look: Look, objective: LatencyObjective, errors: Errors, replicas: int = 1
) -> tuple[Verdict, Rejection | None]:
    """Whether a look settles the matter; a quantile by its value and by its share of late requests.

    Met only when the upper ends of all stay within what the objective allows; missed when a lower end is
    above it, of a quantile that of the late share. Runs that have not settled understate a busy fleet and
    may only refuse. A path that happened once cannot be made longer: what is said is said of it, and of
    other days no more than its few bursts tell.

    Args:
        replicas: of the fleet that the look is at.
    """
    missed: list[Rejection] = []
    met = look.settled or look.pool.is_path
    for promise in objective.promises:
        value, low_is_above, high_is_within = _held(look.pool, promise, errors, replicas)
        if low_is_above:
            missed.append(broken(look.pool, promise, value))
        met = met and high_is_within
    if missed:
        return Verdict.MISSED, max(missed, key=lambda rejection: rejection.needed / rejection.allowed)
    return (Verdict.MET if met else Verdict.INCONCLUSIVE), None


def open_promises(
    pool: Pool, objective: LatencyObjective, errors: Errors, replicas: int = 1
) -> list[Promise]:
    """Those that are neither surely kept nor surely broken."""
    held = {promise: _held(pool, promise, errors, replicas) for promise in objective.promises}
    return [promise for promise, (_, broken, kept) in held.items() if not broken and not kept]


def _held(pool: Pool, promise: Promise, errors: Errors, replicas: int) -> tuple[float, bool, bool]:
    """What was found of a promise, whether it is surely broken, and whether it is surely kept."""
    accept, refuse = 1.0 - errors.accept, 1.0 - errors.refuse
    if promise.quantile is None:
        low, high = found(pool, promise, refuse, replicas), found(pool, promise, accept, replicas)
        few = promise.measure is Measure.LOSS and promise.allowed * pool.counted < _LOSSES_MIN
        return low.value, low.low > promise.allowed, high.high <= promise.allowed and not few
    is_wait = promise.measure is Measure.WAIT
    late = pool.wait_exceedance(promise.allowed) if is_wait else pool.exceedance(promise.allowed)
    allowed_share = 1.0 - promise.quantile
    interval = found(pool, promise, accept, replicas)
    return (
        interval.value,
        late.interval(refuse).low > allowed_share,
        late.interval(accept).high <= allowed_share and interval.high <= promise.allowed,
    )


def broken(pool: Pool, promise: Promise, value: float) -> Rejection:
    """The refusal of a broken promise; of a quantile beyond which all are lost, by the share of these."""
    if math.isfinite(value):
        return Rejection.of(promise, value)
    return Rejection.of_losses(promise, pool.loss.value)


def found(pool: Pool, promise: Promise, confidence: float, replicas: int) -> Interval:
    """What a pool says of a promise."""
    match promise.measure:
        case Measure.RESPONSE if promise.quantile is not None:
            return pool.response_quantile_with_losses(promise.quantile).interval(confidence)
        case Measure.WAIT if promise.quantile is not None:
            return pool.wait_quantile_with_losses(promise.quantile).interval(confidence)
        case Measure.RESPONSE_MEAN:
            return pool.response_mean.interval(confidence)
        case Measure.LOSS:
            return pool.loss_interval(confidence)
        case _:
            return pool.utilization(replicas).interval(confidence)
