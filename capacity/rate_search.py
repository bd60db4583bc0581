"""Rate search: a grid of rates, each judged, and every change of the verdict halved in.

A batch that waits to fill makes low rates slow: the rates that are kept may begin above 0, end, and begin
again, so that no single end is sought.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

from capacity.judge import Judge
from capacity.objective import LatencyObjective, Measure
from capacity.plan import Candidate, Limit, Plan, Rejection, Verdict
from capacity.rates import Point, Rates, doubts_of, stretches_of
from capacity.scenario import Scenario
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


def find_rates(scenario: Scenario, judge: Judge, progress: Callable[[str], None]) -> Rates:
    """All rates at which the plan keeps its objective, each end to one per cent.

    Up to the sustainable rate; with a queue limit up to twice that. Where batches start at once, arrivals
    are Poisson or gamma and only times are promised, P99 was never seen to fall as the rate rises (an
    observation, not a theorem), and a coarse grid does. Stretches narrower than the grid's step are not seen.

    Args:
        scenario: its rate is of no account.

    Raises:
        DomainError: the profile does not cover a batch of one request.
    """
    require_batch_of_one(scenario.profile)
    plan, objective = scenario.plan, scenario.objective
    refusal = refuse_batch_size(scenario.profile, objective, plan.batch_size_max)
    only_rises = _only_rises(scenario)
    if refusal is not None:
        return Rates(scenario=scenario, only_rises=only_rises, refusal=refusal)
    wall_rps = sustainable_rate_rps(scenario.profile, plan)
    trials = _Trials(scenario, Asker(judge, progress), wall_rps)
    lone = _lone(scenario)
    ends = [] if lone is None else [Point(arrival_rate_rps=0.0, candidate=lone)]
    if plan.queue_limit is None:
        ends.append(Point(arrival_rate_rps=wall_rps, candidate=_unstable(plan)))
    _judge_grid(trials, only_rises=only_rises, overload=plan.queue_limit is not None)
    _halve_in(trials, ends)
    _settle(trials, ends, only_rises=only_rises)
    points = trials.with_ends(ends)
    return Rates(
        scenario=scenario,
        points=tuple(trials.points.values()),
        lone=lone,
        stretches=tuple(stretches_of(points)),
        doubts=tuple(doubts_of(points)),
        only_rises=only_rises,
    )


class _Trials:
    """Rates judged once each."""

    def __init__(self, scenario: Scenario, asker: Asker, wall_rps: float) -> None:
        self.scenario, self.asker, self.wall_rps = scenario, asker, wall_rps
        self.points: dict[float, Point] = {}
        self.careful_requests = 0

    def judge(self, rate_rps: float) -> Point:
        if rate_rps not in self.points:
            found = self.asker.judge_one(self.scenario.at_rate(rate_rps), f"trying {rate_rps:.4g} rps")
            self._keep(rate_rps, found)
        return self.points[rate_rps]

    def certify(self, rate_rps: float) -> Point:
        """As carefully as a recommended plan is judged, with random numbers of its own."""
        self.asker.progress(f"settling {rate_rps:.4g} rps")
        trial = self.points.get(rate_rps)
        first = 0 if trial is None else 2 * trial.candidate.requests
        found = self.asker.judge.certify(self.scenario.at_rate(rate_rps), 1, first)
        self.careful_requests += found.requests
        return self._keep(rate_rps, found)

    def _keep(self, rate_rps: float, candidate: Candidate) -> Point:
        self.points[rate_rps] = Point(arrival_rate_rps=rate_rps, candidate=candidate)
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
    """Certificates where short trials left a doubt, until the ends are close or the budget is spent.

    Where the quantity only rises, halving between what is kept and what is missed does, and a doubt that
    does not lie between the two is gone. Elsewhere every rate in doubt is settled for itself.
    """
    hopeless: set[float] = set()
    while trials.careful_requests < _CAREFUL_REQUESTS_MAX:
        points = [p for p in trials.with_ends(ends) if p.arrival_rate_rps not in hopeless]
        rate_rps = _unsettled(trials, points, only_rises=only_rises)
        if rate_rps is None:
            return
        if trials.certify(rate_rps).verdict is Verdict.INCONCLUSIVE:
            hopeless.add(rate_rps)
            if only_rises:  # the next one would be the same
                return
        elif only_rises:
            trials.forget_doubts()
        else:
            _halve_in(trials, ends)


def _unsettled(trials: _Trials, points: Sequence[Point], *, only_rises: bool) -> float | None:
    """The rate that a certificate would tell most about; None where all is settled. [requests/s]"""
    doubted = [one for place, one in enumerate(points) if _is_worth_it(points, place)]
    kept = [point for point in points if point.verdict is Verdict.MET]
    missed = [point for point in points if point.verdict is Verdict.MISSED]
    if not only_rises or not kept or not missed:
        return (
            max(doubted, key=lambda one: _distance(trials.scenario.objective, one)).arrival_rate_rps
            if doubted
            else None
        )
    if _is_close(kept[-1], missed[0], trials.wall_rps):
        return None
    return (kept[-1].arrival_rate_rps + missed[0].arrival_rate_rps) / 2.0


def _is_worth_it(points: Sequence[Point], place: int) -> bool:
    """Whether it is in doubt, and does not lie in the narrow bracket of an end."""
    if points[place].verdict is not Verdict.INCONCLUSIVE:
        return False
    known = [i for i, point in enumerate(points) if point.verdict is not Verdict.INCONCLUSIVE]
    below, above = [i for i in known if i < place], [i for i in known if i > place]
    if not below or not above:
        return True
    low, high = points[below[-1]], points[above[0]]
    is_wide = high.arrival_rate_rps > low.arrival_rate_rps * (1.0 + 2.0 * RESOLUTION)
    return is_wide or low.verdict is high.verdict


def _distance(objective: LatencyObjective, point: Point) -> float:
    """How far what binds is from its limit, as a share of it: the farther, the cheaper to settle."""
    if point.candidate.performance is None:
        return 0.0
    pressure = objective.binding(point.candidate.performance).pressure(point.candidate.performance)
    return 0.0 if pressure is None else abs(pressure.value - 1.0)


def _is_close(low: Point, high: Point, wall_rps: float) -> bool:
    gap_rps = high.arrival_rate_rps - low.arrival_rate_rps
    return gap_rps <= max(RESOLUTION * low.arrival_rate_rps, _RESOLUTION_AT_0 * wall_rps)


def _only_rises(scenario: Scenario) -> bool:
    """Whether what is promised was never seen to fall as the rate rises."""
    plan, profile = scenario.plan, scenario.profile
    measures = {promise.measure for promise in scenario.objective.promises}
    is_smooth = isinstance(scenario.workload, Workload) and isinstance(
        scenario.workload.arrivals, PoissonArrivals | GammaArrivals
    )
    starts_at_once = plan.batch_wait_max_s == 0.0 or plan.batch_size_max == 1
    timed = measures <= {Measure.RESPONSE, Measure.RESPONSE_MEAN, Measure.WAIT}
    grows = plan.batch_size_max == 1 or profile.is_monotone
    return is_smooth and starts_at_once and timed and plan.queue_limit is None and grows


def _lone(scenario: Scenario) -> Candidate | None:
    """At the limit of low rates, where gaps grow without end; recorded arrivals may share an instant."""
    workload = scenario.workload
    assert isinstance(workload, Workload)  # noqa: S101  (a closed population has no rate)
    if not isinstance(workload.arrivals, PoissonArrivals | DeterministicArrivals | GammaArrivals):
        return None
    quantiles = tuple(sorted({0.99, *scenario.objective.quantiles}))
    performance = lone_performance(scenario.profile, scenario.plan, quantiles)
    return judged(scenario, performance)


def _unstable(plan: Plan) -> Candidate:
    rejection = Rejection(limit=Limit.STABILITY, allowed=1.0, needed=1.0)
    return Candidate(plan=plan, verdict=Verdict.MISSED, rejection=rejection)
