"""Replicas as a curve: what is promised against the size of the fleet, from what a search has judged."""

from collections.abc import Iterable
from dataclasses import dataclass

from capacity.objective import Promise
from capacity.performance import Interval, Kind, Performance
from capacity.plan import Candidate, Plan, Verdict
from capacity.rates_curve import TOP


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetPoint:
    """The best that was tried at one number of replicas, which a search ends early; in milliseconds."""

    replicas: int
    batch_size_max: int
    found: Interval
    verdict: Verdict
    is_exact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicasCurve:
    """Points of one line, in the order of replicas.

    Attributes:
        chosen: how many replicas the plan has.
        beyond: replicas that are unstable, or whose value lies above the axis.
        limit: what is allowed.
        top: upper end of the axis.
        axis_title: of the values, with the unit.
    """

    title: str
    axis_title: str
    chosen: int
    points: tuple[FleetPoint, ...]
    beyond: tuple[int, ...]
    limit: float
    limit_text: str
    top: float


def replicas_curve(
    plan: Plan, performance: Performance, promise: Promise, candidates: Iterable[Candidate]
) -> ReplicasCurve:
    """The curve of a promise over fleets of one profile and routing, the plan by its own performance."""
    scale, unit = (1e3, " [ms]") if promise.measure.is_duration else (1.0, "")
    top = TOP * promise.allowed * scale
    chosen = Candidate(plan=plan, verdict=Verdict.MET, performance=performance)
    points, beyond = [], []
    for replicas, alike in sorted(_by_replicas(plan, [*candidates, chosen]).items()):
        best = _best(alike, promise) if replicas != plan.replicas else chosen
        point = None if best is None else _point(best, promise, scale)
        if point is None or point.found.value > top:
            beyond.append(replicas)
        else:
            points.append(point)
    return ReplicasCurve(
        title=f"{promise.what} of {plan.profile} by replicas, the best batch that was tried",
        axis_title=promise.what + unit,
        chosen=plan.replicas,
        points=tuple(points),
        beyond=tuple(beyond),
        limit=promise.allowed * scale,
        limit_text=promise.limit,
        top=top,
    )


def _by_replicas(plan: Plan, candidates: Iterable[Candidate]) -> dict[int, list[Candidate]]:
    """Candidates of the plan's profile and routing."""
    found: dict[int, list[Candidate]] = {}
    for one in candidates:
        if (one.plan.profile, one.plan.routing) == (plan.profile, plan.routing):
            found.setdefault(one.plan.replicas, []).append(one)
    return found


def _best(candidates: Iterable[Candidate], promise: Promise) -> Candidate | None:
    """The one with the lowest value, of accepted ones where there are any; None where none has a value."""
    known = [one for one in candidates if _found(one, promise) is not None]
    pool = [one for one in known if one.accepted] or known
    return min(pool, key=lambda one: _value(one, promise), default=None)


def _found(candidate: Candidate, promise: Promise) -> Interval | None:
    return None if candidate.performance is None else promise.found(candidate.performance)


def _value(candidate: Candidate, promise: Promise) -> float:
    found = _found(candidate, promise)
    return float("inf") if found is None else found.value


def _point(candidate: Candidate, promise: Promise, scale: float) -> FleetPoint | None:
    found = _found(candidate, promise)
    if found is None or candidate.performance is None:
        return None
    top = TOP * promise.allowed
    high = max(found.value, min(found.high, top))
    return FleetPoint(
        replicas=candidate.plan.replicas,
        batch_size_max=candidate.plan.batch_size_max,
        found=Interval(value=scale * found.value, low=scale * found.low, high=scale * high),
        verdict=candidate.verdict,
        is_exact=candidate.performance.kind is Kind.EXACT,
    )
