"""Rates: all arrival rates at which one plan keeps its objective; there may be several stretches.

A batch that waits to fill makes low rates slow: the rates that are kept may begin above 0, end, and begin
again. So a grid of rates is judged, and every change of the verdict between two of them is halved in.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from capacity.judge import Judge, Judgement, Proposal
from capacity.objective import Measure, Promise
from capacity.performance import Interval
from capacity.plan import Limit, Rejection, Verdict
from capacity.screen import refuse_batch_size, require_batch_of_one
from capacity.stability import sustainable_rate_rps
from capacity.what_if import Asker, judged, lone_performance
from capacity.workload import DeterministicArrivals, GammaArrivals, PoissonArrivals, Workload

# Share of a rate within which an end is found, and of the sustainable one, near 0.
RESOLUTION, _RESOLUTION_AT_0 = 0.01, 1e-4
_TO_THE_WALL = (0.99, 0.995)
# Batches that wait, or a limit that is not on time, may be kept, missed and kept again.
_FINE = tuple(0.02 + 0.06 * step for step in range(17))
_COARSE = (0.02, 0.2, 0.4, 0.6, 0.7, 0.8, 0.86, 0.92, 0.96, 0.98)
# Simulated requests after which no more doubts are settled by certificates; a count, not a time.
_CAREFUL_REQUESTS_MAX = 60_000_000
_OVERLOADS = (1.05, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The verdict at one rate; 0 is the limit of low rates, and the sustainable rate is never kept."""

    arrival_rate_rps: float
    judgement: Judgement

    @property
    def verdict(self) -> Verdict:
        """Whether the objective is kept there."""
        return self.judgement.verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Neighbouring rates that are all kept, as far as any was tried.

    Attributes:
        low: the lowest rate found kept, and below it the highest that was not; 0 where all low rates are.
            [requests/s]
        high: the highest rate found kept, and above it the lowest that was not; infinite where none was.
            [requests/s]
    """

    low: Interval
    high: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What was found.

    Attributes:
        points: every rate that was judged, rising, the limit of low rates and the wall apart.
        lone: at the limit of low rates; None where the arrivals have none that is known.
        stretches: of rates that are kept, rising.
        doubts: lowest and highest rate of each stretch that the budget could not settle. [requests/s]
        only_rises: whether what is promised was taken to rise with the rate: a coarse grid does.
        refusal: what no rate can help; None where the rates decide.
    """

    proposal: Proposal
    points: tuple[Point, ...] = ()
    lone: Judgement | None = None
    stretches: tuple[Stretch, ...] = ()
    doubts: tuple[tuple[float, float], ...] = ()
    only_rises: bool
    refusal: Rejection | None = None

    @property
    def verdict(self) -> Verdict:
        """Met if any rate is kept."""
        if self.stretches:
            return Verdict.MET
        return Verdict.INCONCLUSIVE if self.doubts else Verdict.MISSED

    @property
    def arrival_rate_max_rps(self) -> float | None:
        """The highest rate found kept. [requests/s]"""
        return self.stretches[-1].high.value if self.stretches else None

    @property
    def closest(self) -> Rejection | None:
        """Where nothing is kept, the refusal that comes nearest to its limit."""
        if self.refusal is not None:
            return self.refusal
        judgements = [point.judgement for point in self.points] + ([self.lone] if self.lone else [])
        refusals = [one.rejection for one in judgements if one.rejection and one.rejection.promise]
        return min(refusals, key=lambda one: one.needed / one.allowed, default=None)

    @property
    def promise(self) -> Promise:
        """What ends the highest stretch; else what is closest to its limit over all."""
        end_rps = self.arrival_rate_max_rps or 0.0
        above = [p.judgement.rejection for p in self.points if p.arrival_rate_rps > end_rps]
        broken = [one.promise for one in above if one is not None and one.promise is not None]
        if broken:
            return broken[0]
        promises = self.proposal.objective.promises
        return next((p for p in reversed(promises) if p.measure is Measure.RESPONSE), promises[-1])


def find_rates(proposal: Proposal, judge: Judge, progress: Callable[[str], None]) -> Rates:
    """All rates at which the plan keeps its objective, each end to one per cent.

    Up to the sustainable rate; with a queue limit up to twice that. Where batches start at once, arrivals
    are Poisson or gamma and only times are promised, P99 was never seen to fall as the rate rises (an
    observation, not a theorem), and a coarse grid does. Stretches narrower than the grid's step are not seen.

    Args:
        proposal: its rate is of no account.

    Raises:
        DomainError: the profile does not cover a batch of one request.
    """
    require_batch_of_one(proposal.profile)
    plan, objective = proposal.plan, proposal.objective
    refusal = refuse_batch_size(proposal.profile, objective, plan.batch_size_max)
    only_rises = _only_rises(proposal)
    if refusal is not None:
        return Rates(proposal=proposal, only_rises=only_rises, refusal=refusal)
    wall_rps = sustainable_rate_rps(proposal.profile, plan)
    trials = _Trials(proposal, Asker(judge, progress), wall_rps)
    lone = _lone(proposal)
    ends = [] if lone is None else [Point(arrival_rate_rps=0.0, judgement=lone)]
    if plan.queue_limit is None:
        ends.append(Point(arrival_rate_rps=wall_rps, judgement=_unstable()))
    _judge_grid(trials, only_rises=only_rises, overload=plan.queue_limit is not None)
    _halve_in(trials, ends)
    _settle(trials, ends, only_rises=only_rises)
    points = trials.with_ends(ends)
    return Rates(
        proposal=proposal,
        points=tuple(trials.points.values()),
        lone=lone,
        stretches=tuple(_stretches(points)),
        doubts=tuple(_doubts(points)),
        only_rises=only_rises,
    )


class _Trials:
    """Rates judged once each."""

    def __init__(self, proposal: Proposal, asker: Asker, wall_rps: float) -> None:
        self.proposal, self.asker, self.wall_rps = proposal, asker, wall_rps
        self.points: dict[float, Point] = {}
        self.careful_requests = 0

    def judge(self, rate_rps: float) -> Point:
        if rate_rps not in self.points:
            judgement = self.asker.judge_one(self.proposal.at_rate(rate_rps), f"trying {rate_rps:.4g} rps")
            self._keep(rate_rps, judgement)
        return self.points[rate_rps]

    def certify(self, rate_rps: float) -> Point:
        """As carefully as a recommended plan is judged, with random numbers of its own."""
        self.asker.progress(f"settling {rate_rps:.4g} rps")
        trial = self.points.get(rate_rps)
        first = 0 if trial is None else 2 * trial.judgement.requests
        judgement = self.asker.judge.certify(self.proposal.at_rate(rate_rps), 1, first)
        self.careful_requests += judgement.requests
        return self._keep(rate_rps, judgement)

    def _keep(self, rate_rps: float, judgement: Judgement) -> Point:
        self.points[rate_rps] = Point(arrival_rate_rps=rate_rps, judgement=judgement)
        self.points = dict(sorted(self.points.items()))
        return self.points[rate_rps]

    def forget_doubts(self) -> None:
        """Drop doubts below a kept rate or above a missed one, where the quantity only rises."""
        rates = {seen: [r for r, p in self.points.items() if p.verdict is seen] for seen in Verdict}
        kept_rps = max(rates[Verdict.MET], default=0.0)
        missed_rps = min(rates[Verdict.MISSED], default=self.wall_rps)
        for rate_rps in rates[Verdict.INCONCLUSIVE]:
            if not kept_rps < rate_rps < missed_rps:
                del self.points[rate_rps]

    def with_ends(self, ends: Sequence[Point]) -> list[Point]:
        return sorted([*self.points.values(), *ends], key=lambda point: point.arrival_rate_rps)


def _judge_grid(trials: _Trials, *, only_rises: bool, overload: bool) -> None:
    """The grid; where the quantity only rises, no further than two refusals in a row."""
    loads = (*(_COARSE if only_rises else _FINE), *_TO_THE_WALL, *(_OVERLOADS if overload else ()))
    refused = 0
    for load in loads:
        missed = trials.judge(load * trials.wall_rps).verdict is Verdict.MISSED
        refused = refused + 1 if missed else 0
        if only_rises and refused == 2:
            return


def _halve_in(trials: _Trials, ends: Sequence[Point]) -> None:
    """Between neighbours of different verdict, until they are as close as asked."""
    while True:
        wide = [
            (low.arrival_rate_rps + high.arrival_rate_rps) / 2.0
            for low, high in pairwise(trials.with_ends(ends))
            if low.verdict is not high.verdict and not _is_close(low, high, trials.wall_rps)
        ]
        if not wide:
            return
        for rate_rps in wide:
            trials.judge(rate_rps)


def _settle(trials: _Trials, ends: Sequence[Point], *, only_rises: bool) -> None:
    """Certificates where short trials left a doubt, until the ends are close or one stays in doubt.

    Where the quantity only rises, halving between what is kept and what is missed does, and a doubt that
    does not lie between the two is gone. Elsewhere every rate in doubt is settled for itself.
    """
    while trials.careful_requests < _CAREFUL_REQUESTS_MAX:
        rate_rps = _unsettled(trials.with_ends(ends), trials.wall_rps, only_rises=only_rises)
        if rate_rps is None or trials.certify(rate_rps).verdict is Verdict.INCONCLUSIVE:
            return
        if only_rises:
            trials.forget_doubts()
        else:
            _halve_in(trials, ends)


def _unsettled(points: Sequence[Point], wall_rps: float, *, only_rises: bool) -> float | None:
    """The rate that a certificate would tell most about; None where all is settled. [requests/s]"""
    doubted = [point.arrival_rate_rps for point in points if point.verdict is Verdict.INCONCLUSIVE]
    kept = [point for point in points if point.verdict is Verdict.MET]
    missed = [point for point in points if point.verdict is Verdict.MISSED]
    if not only_rises or not kept or not missed:
        return doubted[0] if doubted else None
    if _is_close(kept[-1], missed[0], wall_rps):
        return None
    return (kept[-1].arrival_rate_rps + missed[0].arrival_rate_rps) / 2.0


def _is_close(low: Point, high: Point, wall_rps: float) -> bool:
    gap_rps = high.arrival_rate_rps - low.arrival_rate_rps
    return gap_rps <= max(RESOLUTION * low.arrival_rate_rps, _RESOLUTION_AT_0 * wall_rps)


def _stretches(points: Sequence[Point]) -> list[Stretch]:
    """Runs of kept rates, each end with the nearest rate beyond it that is not in doubt."""
    found = []
    for first, last in _runs(points, Verdict.MET):
        if points[last].arrival_rate_rps == 0.0:  # a limit is no rate
            continue
        below = [p for p in points[:first] if p.verdict is not Verdict.INCONCLUSIVE]
        above = [p for p in points[last + 1 :] if p.verdict is not Verdict.INCONCLUSIVE]
        start_rps, end_rps = points[first].arrival_rate_rps, points[last].arrival_rate_rps
        low_rps = below[-1].arrival_rate_rps if below else 0.0
        high_rps = above[0].arrival_rate_rps if above else math.inf
        found.append(
            Stretch(
                low=Interval(value=start_rps, low=low_rps, high=start_rps),
                high=Interval(value=end_rps, low=end_rps, high=high_rps),
            )
        )
    return found


def _doubts(points: Sequence[Point]) -> list[tuple[float, float]]:
    runs = _runs(points, Verdict.INCONCLUSIVE)
    return [(points[first].arrival_rate_rps, points[last].arrival_rate_rps) for first, last in runs]


def _runs(points: Sequence[Point], verdict: Verdict) -> list[tuple[int, int]]:
    """First and last place of each run of neighbours with this verdict."""
    inside = [point.verdict is verdict for point in points]
    firsts = [i for i, here in enumerate(inside) if here and (i == 0 or not inside[i - 1])]
    lasts = [i for i, here in enumerate(inside) if here and (i == len(inside) - 1 or not inside[i + 1])]
    return list(zip(firsts, lasts, strict=True))


def _only_rises(proposal: Proposal) -> bool:
    """Whether what is promised was never seen to fall as the rate rises."""
    plan, profile = proposal.plan, proposal.profile
    measures = {promise.measure for promise in proposal.objective.promises}
    is_smooth = isinstance(proposal.workload, Workload) and isinstance(
        proposal.workload.arrivals, PoissonArrivals | GammaArrivals
    )
    starts_at_once = plan.batch_wait_max_s == 0.0 or plan.batch_size_max == 1
    timed = measures <= {Measure.RESPONSE, Measure.RESPONSE_MEAN, Measure.WAIT}
    grows = plan.batch_size_max == 1 or profile.is_monotone
    return is_smooth and starts_at_once and timed and plan.queue_limit is None and grows


def _lone(proposal: Proposal) -> Judgement | None:
    """At the limit of low rates, where gaps grow without end; recorded arrivals may share an instant."""
    workload = proposal.workload
    assert isinstance(workload, Workload)  # noqa: S101  (a closed population has no rate)
    if not isinstance(workload.arrivals, PoissonArrivals | DeterministicArrivals | GammaArrivals):
        return None
    quantiles = tuple(sorted({0.99, *proposal.objective.quantiles}))
    performance = lone_performance(proposal.profile, proposal.plan, quantiles)
    return judged(performance, proposal.objective)


def _unstable() -> Judgement:
    rejection = Rejection(limit=Limit.STABILITY, allowed=1.0, needed=1.0)
    return Judgement(verdict=Verdict.MISSED, rejection=rejection, performance=None)
