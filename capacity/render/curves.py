"""Curves of an objective: what is limited against the arrival rate or the replicas, ready to be drawn."""

from collections.abc import Iterable
from dataclasses import dataclass

from capacity.objective import Promise
from capacity.performance import Interval
from capacity.plan import Candidate, Recommendation, Verdict
from capacity.rates import Rates

# Times the limit beyond which a point says only that it is far too high.
TOP = 2.0
NAMES = {Verdict.MET: "kept", Verdict.MISSED: "missed", Verdict.INCONCLUSIVE: "in doubt"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One plan at one arrival rate, or the best that was tried at one number of replicas.

    Attributes:
        x: arrival rate in requests per second, or replicas.
        found: the value that is limited, with its interval; durations in milliseconds.
        batch_size_max: the plan's largest batch. [requests]
    """

    x: float
    found: Interval
    verdict: Verdict
    batch_size_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveCurve:
    """Points of one line, rising in x; durations in milliseconds, as people read them.

    Attributes:
        promise: what is limited.
        chosen: replicas of the plan; None where the axis is the arrival rate.
        beyond: replicas that are unstable or refused, or whose value lies above twice the limit.
    """

    title: str
    promise: Promise
    points: tuple[Point, ...]
    chosen: int | None = None
    beyond: tuple[int, ...] = ()

    @property
    def x_title(self) -> str:
        """Title of the x axis, with its unit."""
        return "arrival rate [rps]" if self.chosen is None else "replicas (B: largest batch)"

    @property
    def y_title(self) -> str:
        """Title of the y axis, with its unit."""
        return self.promise.what + (" [ms]" if self.promise.measure.is_duration else "")

    @property
    def limit(self) -> float:
        """What is allowed, in the unit of the y axis."""
        return _scale(self.promise) * self.promise.allowed

    @property
    def top(self) -> float:
        """Upper end of the y axis, in its unit."""
        return TOP * self.limit

    @property
    def batch_sizes(self) -> dict[int, int]:
        """Largest batch by replicas. [requests]"""
        return {round(point.x): point.batch_size_max for point in self.points}

    @property
    def x_range(self) -> tuple[float, float]:
        """Ends of the x axis: from no load at all, or around the fleets."""
        if self.chosen is None:
            return 0.0, max((point.x for point in self.points), default=1.0)
        fleets = [*self.batch_sizes, *self.beyond]
        return min(fleets) - 0.5, max(fleets) + 0.5


def rate_curve(rates: Rates) -> ObjectiveCurve:
    """What binds at the upper end, against the arrival rate; rates far too high are left out."""
    promise, plan = rates.promise, rates.scenario.plan
    points = [_point(point.arrival_rate_rps, point.candidate, promise) for point in rates.points]
    title = f"{promise.what} of {plan.replicas} x {plan.profile}, batches up to {plan.batch_size_max}"
    return ObjectiveCurve(
        title=title, promise=promise, points=tuple(point for point in points if point is not None)
    )


def plan_curve(recommendation: Recommendation) -> ObjectiveCurve | None:
    """The limit that comes closest to being broken, over all that the search judged; None without a plan."""
    plan, performance = recommendation.plan, recommendation.performance
    if plan is None or performance is None:
        return None
    chosen = Candidate(plan=plan, verdict=Verdict.MET, performance=performance)
    promise = recommendation.objective.binding(performance)
    return replicas_curve(chosen, promise, recommendation.considered)


def replicas_curve(chosen: Candidate, promise: Promise, candidates: Iterable[Candidate]) -> ObjectiveCurve:
    """What is limited, over fleets of one profile and routing, each at the best batch that was tried."""
    plan = chosen.plan
    fleets: dict[int, list[Candidate]] = {}
    for one in candidates:
        if (one.plan.profile, one.plan.routing) == (plan.profile, plan.routing):
            fleets.setdefault(one.plan.replicas, []).append(one)
    fleets[plan.replicas] = [chosen]
    best = {n: _point(n, _best(alike, promise), promise) for n, alike in sorted(fleets.items())}
    return ObjectiveCurve(
        title=f"{promise.what} of {plan.profile} by replicas, the best batch that was tried",
        promise=promise,
        chosen=plan.replicas,
        points=tuple(point for point in best.values() if point is not None),
        beyond=tuple(replicas for replicas, point in best.items() if point is None),
    )


def _scale(promise: Promise) -> float:
    return 1e3 if promise.measure.is_duration else 1.0


def _found(candidate: Candidate, promise: Promise) -> Interval | None:
    return None if candidate.performance is None else promise.found(candidate.performance)


def _best(candidates: list[Candidate], promise: Promise) -> Candidate:
    """The one with the lowest value, of accepted ones where there are any."""

    def rank(one: Candidate) -> tuple[bool, bool, float]:
        found = _found(one, promise)
        return found is None, not one.accepted, 0.0 if found is None else found.value

    return min(candidates, key=rank)


def _point(x: float, candidate: Candidate, promise: Promise) -> Point | None:
    """The candidate where it is drawn, its interval cut at the axis; None where it has no place there."""
    found, top, scale = _found(candidate, promise), TOP * promise.allowed, _scale(promise)
    if found is None or found.value > top:
        return None
    high = max(found.value, min(top, found.high))
    drawn = Interval(value=scale * found.value, low=scale * found.low, high=scale * high)
    size = candidate.plan.batch_size_max
    return Point(x=x, found=drawn, verdict=candidate.verdict, batch_size_max=size)
