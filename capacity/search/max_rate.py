"""Max rate: the arrival rates at which one plan meets its objective; there may be several stretches."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from capacity.performance import Interval
from capacity.question.candidate import Candidate, Doubt, Judge, Reason, Rejection, Verdict
from capacity.question.caveat import Caveat, CaveatCode
from capacity.question.objective import Limit, Measure, Objective
from capacity.question.overload import Saturation
from capacity.question.plan import Plan
from capacity.question.scenario import AnyScenario, Scenario
from capacity.search.caveats import trace_caveats
from capacity.search.exact import theory_of
from capacity.search.recommendation import RatesEffort
from capacity.search.what_if import Asker
from capacity.units import format_rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The verdict at one rate; 0 is the limit of low rates, and the sustainable rate never meets it."""

    arrival_rate_rps: float
    candidate: Candidate

    @property
    def verdict(self) -> Verdict:
        """Whether the objective is met there."""
        return self.candidate.verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Neighbouring rates that all meet the objective, as far as they were tried.

    Attributes:
        low: the lowest rate found to meet it, and below that the highest that does not; 0 if all low rates
            meet it. [requests/s]
        high: the highest rate found to meet it, and above that the lowest that does not; infinite if there
            is none. [requests/s]
    """

    low: Interval
    high: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What was found.

    Attributes:
        points: every rate that was judged, rising, without the limit of low rates and the wall.
        lone: at the limit of low rates; None if the arrivals have no known limit.
        stretches: of rates that meet the objective, rising.
        doubts: lowest and highest rate of each stretch that the budget could not settle. [requests/s]
        only_rises: whether the limited quantity is assumed to rise with the rate, so a coarse grid is enough.
        refusal: what no rate can help; None if the rates decide.
        saturation: what one replica does while requests always wait; None of those that batch.
    """

    scenario: Scenario
    points: tuple[Point, ...] = ()
    lone: Candidate | None = None
    stretches: tuple[Stretch, ...] = ()
    doubts: tuple[tuple[float, float], ...] = ()
    only_rises: bool
    refusal: Rejection | None = None
    saturation: Saturation | None = None

    @property
    def verdict(self) -> Verdict:
        """Met if any rate meets the objective."""
        if self.stretches:
            return Verdict.MET
        return Verdict.INCONCLUSIVE if self.doubts else Verdict.MISSED

    @property
    def arrival_rate_max_rps(self) -> float | None:
        """The highest rate found to meet the objective. [requests/s]"""
        return self.stretches[-1].high.value if self.stretches else None

    @property
    def open_rps(self) -> float | None:
        """The lowest rate tried above the highest that is accepted; None if there is none. [requests/s]"""
        most_rps = self.arrival_rate_max_rps or 0.0
        return min((p.arrival_rate_rps for p in self.points if p.arrival_rate_rps > most_rps), default=None)

    @property
    def closest(self) -> Candidate | None:
        """If no rate meets the objective, the refusal that is nearest to its limit."""
        if self.refusal is not None:
            return Candidate(plan=self.scenario.plan, verdict=Verdict.MISSED, rejection=self.refusal)
        candidates = [point.candidate for point in self.points] + ([self.lone] if self.lone else [])
        broken = {
            one.rejection.needed / one.rejection.allowed: one
            for one in candidates
            if one.rejection is not None and one.rejection.limit is not None
        }
        return broken[min(broken)] if broken else None

    @property
    def limit(self) -> Limit:
        """The limit that ends the highest stretch; else the one closest to being missed overall."""
        end_rps = self.arrival_rate_max_rps or 0.0
        above = [p.candidate.rejection for p in self.points if p.arrival_rate_rps > end_rps]
        broken = [one.limit for one in above if one is not None and one.limit is not None]
        if broken:
            return broken[0]
        limits = self.scenario.objective.limits
        return next((p for p in reversed(limits) if p.measure is Measure.RESPONSE), limits[-1])


def stretches_of(points: Sequence[Point]) -> list[Stretch]:
    """Runs of rates that meet the objective, each end with the nearest settled rate beyond it."""
    found = []
    for first, last in _runs(points, Verdict.MET):
        if points[last].arrival_rate_rps == 0.0:  # a limit is not a rate
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


def doubts_of(points: Sequence[Point]) -> list[tuple[float, float]]:
    """First and last rate of each run that is in doubt. [requests/s]"""
    points = [point for point in points if point.arrival_rate_rps > 0.0]  # a limit is not a rate
    runs = _runs(points, Verdict.INCONCLUSIVE)
    return [(points[first].arrival_rate_rps, points[last].arrival_rate_rps) for first, last in runs]


def _runs(points: Sequence[Point], verdict: Verdict) -> list[tuple[int, int]]:
    """First and last place of each run of neighbours with this verdict."""
    inside = [point.verdict is verdict for point in points]
    firsts = [i for i, here in enumerate(inside) if here and (i == 0 or not inside[i - 1])]
    lasts = [i for i, here in enumerate(inside) if here and (i == len(inside) - 1 or not inside[i + 1])]
    return list(zip(firsts, lasts, strict=True))


# Share of a rate within which an end is found; near 0, share of the sustainable rate.
RESOLUTION, _RESOLUTION_AT_0 = 0.01, 1e-4


def find_rates(
    scenario: AnyScenario,
    judge: Judge,
    progress: Callable[[str], None],
    confidence: float = 0.95,
) -> Rates:
    """All rates at which the plan meets its objective, each end to one per cent.

    Up to the sustainable rate; with a queue limit up to twice that. If batches start at once, arrivals
    are Poisson or gamma and only times are limited, P99 was never seen to fall as the rate rises (an
    observation, not a theorem), and a coarse grid is enough. Stretches narrower than its step are not seen.

    Args:
        scenario: its rate does not matter.
        confidence: of the interval of a service time that samples leave open.

    Raises:
        DomainError: the profile does not cover a batch of one request.
    """
    asker = Asker(judge, progress, confidence=confidence)
    plan, theory = scenario.plan, theory_of(scenario.profile)
    theory.require(scenario.profile)
    effort, saturation = theory.rates_effort(scenario), theory.saturation(scenario, judge)
    refusal = theory.refuse_setting(scenario, confidence)
    if refusal is not None:
        return Rates(scenario=scenario, only_rises=effort.only_rises, refusal=refusal, saturation=saturation)
    wall_rps = theory.sustained_rps(scenario, judge)
    trials = _Trials(scenario, asker, wall_rps)
    lone = theory.lone(scenario, confidence)
    ends = [] if lone is None else [Point(arrival_rate_rps=0.0, candidate=lone)]
    if max(effort.loads) < 1.0:  # no rate beyond the wall is served
        ends.append(Point(arrival_rate_rps=wall_rps, candidate=_unstable(plan)))
    _judge_grid(trials, effort)
    _halve_in(trials, ends)
    _settle(trials, ends, effort)
    if lone is None and effort.only_rises:  # what the lowest rate meets, all below it do
        lowest = min(trials.points)
        ends.append(Point(arrival_rate_rps=0.0, candidate=trials.points[lowest].candidate))
    points = trials.with_ends(ends)
    return Rates(
        scenario=scenario,
        saturation=saturation,
        points=tuple(trials.points.values()),
        lone=lone,
        stretches=tuple(stretches_of(points)),
        doubts=tuple(doubts_of(points)),
        only_rises=effort.only_rises,
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
        """Judge a rate as carefully as a recommended plan, with random numbers of its own."""
        self.asker.progress(f"settling {rate_rps:.4g} rps")
        trial = self.points.get(rate_rps)
        first = 0 if trial is None else 2 * trial.candidate.requests_looked
        found = self.asker.judge.certify(self.scenario.at_rate(rate_rps), 1, first)
        self.careful_requests += found.requests
        return self._keep(rate_rps, found)

    def _keep(self, rate_rps: float, candidate: Candidate) -> Point:
        self.points[rate_rps] = Point(arrival_rate_rps=rate_rps, candidate=candidate)
        self.points = dict(sorted(self.points.items()))
        return self.points[rate_rps]

    def forget_doubts(self) -> None:
        """Drop doubts below a rate that meets the objective or above one that misses it, if it only rises."""
        rates = {seen: [r for r, p in self.points.items() if p.verdict is seen] for seen in Verdict}
        kept_rps = max(rates[Verdict.MET], default=0.0)
        missed_rps = min(rates[Verdict.MISSED], default=self.wall_rps)
        for rate_rps in rates[Verdict.INCONCLUSIVE]:
            if not kept_rps < rate_rps < missed_rps:
                del self.points[rate_rps]

    def with_ends(self, ends: Sequence[Point]) -> list[Point]:
        return sorted([*self.points.values(), *ends], key=lambda point: point.arrival_rate_rps)


def _judge_grid(trials: _Trials, effort: RatesEffort) -> None:
    """The grid; if the quantity only rises, no further than two refusals in a row."""
    refused = 0
    for load in effort.loads:
        missed = trials.judge(load * trials.wall_rps).verdict is Verdict.MISSED
        refused = refused + 1 if missed else 0
        if effort.only_rises and refused == 2:
            return


def _halve_in(trials: _Trials, ends: Sequence[Point]) -> None:
    """Bisect between neighbours with different verdicts, until they are as close as asked."""
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


def _settle(trials: _Trials, ends: Sequence[Point], effort: RatesEffort) -> None:
    """Confirmations where short trials left a doubt, until the ends are close or the budget is spent.

    If the quantity only rises, bisection between met and missed is enough, and a doubt that
    does not lie between the two is gone. Otherwise every rate in doubt is settled by itself.
    """
    hopeless: set[float] = set()
    while trials.careful_requests < effort.careful_max:
        points = [p for p in trials.with_ends(ends) if p.arrival_rate_rps not in hopeless]
        rate_rps = _unsettled(trials, points, only_rises=effort.only_rises)
        if rate_rps is None:
            return
        if trials.certify(rate_rps).verdict is Verdict.INCONCLUSIVE:
            hopeless.add(rate_rps)
            if effort.only_rises:  # the next one would be the same
                return
        elif effort.only_rises:
            trials.forget_doubts()
        else:
            _halve_in(trials, ends)


def _unsettled(trials: _Trials, points: Sequence[Point], *, only_rises: bool) -> float | None:
    """The rate that a confirmation would tell most about; None if all is settled. [requests/s]"""
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
    if points[place].verdict is not Verdict.INCONCLUSIVE or points[place].arrival_rate_rps == 0.0:
        return False
    known = [i for i, point in enumerate(points) if point.verdict is not Verdict.INCONCLUSIVE]
    below, above = [i for i in known if i < place], [i for i in known if i > place]
    if not below or not above:
        return True
    low, high = points[below[-1]], points[above[0]]
    is_wide = high.arrival_rate_rps > low.arrival_rate_rps * (1.0 + 2.0 * RESOLUTION)
    return is_wide or low.verdict is high.verdict


def _distance(objective: Objective, point: Point) -> float:
    """How far the binding limit is from its limit, as a share of it: the farther, the cheaper to settle."""
    if point.candidate.performance is None:
        return 0.0
    pressure = objective.binding(point.candidate.performance).pressure(point.candidate.performance)
    return 0.0 if pressure is None else abs(pressure.value - 1.0)


def _is_close(low: Point, high: Point, wall_rps: float) -> bool:
    gap_rps = high.arrival_rate_rps - low.arrival_rate_rps
    return gap_rps <= max(RESOLUTION * low.arrival_rate_rps, _RESOLUTION_AT_0 * wall_rps)


def _unstable(plan: Plan) -> Candidate:
    rejection = Rejection(reason=Reason.STABILITY, allowed=1.0, needed=1.0)
    return Candidate(plan=plan, verdict=Verdict.MISSED, rejection=rejection)


def caveats(rates: Rates) -> list[Caveat]:
    """What the rates leave open."""
    scenario = rates.scenario
    theory, quantiles = theory_of(scenario.profile), scenario.objective.quantiles or (0.99,)
    if rates.refusal is not None:
        return list(theory.implausible(scenario.profile, max(quantiles)))
    return [
        *theory.profile_caveats(scenario),
        *trace_caveats(scenario.workload),
        *_own_caveats(rates),
    ]


def _own_caveats(rates: Rates) -> Iterator[Caveat]:
    mends = theory_of(rates.scenario.profile).mends
    for low_rps, high_rps in rates.doubts:
        mend = ", and ".join(dict.fromkeys(mends[doubt] for doubt in _doubts(rates, low_rps, high_rps)))
        where = f"from {format_rate(low_rps)} to {format_rate(high_rps)}"
        where = f"at {format_rate(low_rps)}" if low_rps == high_rps else where
        yield Caveat(
            code=CaveatCode.RATES_IN_DOUBT,
            message=f"{where} the plan is undecided; {mend}",
        )
    end_rps = rates.stretches[-1].high if rates.stretches else None
    is_doubted = end_rps is not None and any(high_rps > end_rps.value for _, high_rps in rates.doubts)
    if end_rps is not None and end_rps.high == math.inf and not is_doubted:
        yield Caveat(
            code=CaveatCode.RATES_OPEN,
            message=f"the objective still holds at {format_rate(rates.stretches[-1].high.value)}, the "
            "highest rate that was tried, as the queue limit rejects the excess; --loss-max limits that",
        )
    if not rates.only_rises:
        rates_rps = [point.arrival_rate_rps for point in rates.points]
        step_rps = max(high - low for low, high in pairwise(rates_rps))
        yield Caveat(
            code=CaveatCode.RATES_UNSEEN,
            message="response times may fall and rise again with the rate; nothing is known between two "
            f"rates that were tried, up to {format_rate(step_rps)} apart; try others with capacity simulate",
        )


def _doubts(rates: Rates, low_rps: float, high_rps: float) -> Iterator[Doubt]:
    """Why the rates between two are open."""
    for point in rates.points:
        if low_rps <= point.arrival_rate_rps <= high_rps and point.verdict is Verdict.INCONCLUSIVE:
            yield point.candidate.doubt or Doubt.REQUESTS
