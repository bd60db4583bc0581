"""Max rate: the arrival rates, or numbers of users, at which one plan meets its objective, in one or more stretches.

A size is what `capacity.traffic.scale` scales of a demand: its arrival rate [requests/s], or its users.
"""

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
from capacity.search.caveats import day_caveats, outage_caveats, trace_caveats
from capacity.search.exact import Theory, theory_of
from capacity.search.recommendation import RatesEffort
from capacity.search.what_if import Asker
from capacity.traffic.any_lengths import are_sessions
from capacity.traffic.scale import Scale, scale_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The verdict at one size; 0 is the limit of low rates, and the sustainable rate never meets it."""

    size: float
    candidate: Candidate

    @property
    def verdict(self) -> Verdict:
        """Whether the objective is met there."""
        return self.candidate.verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Neighbouring sizes that all meet the objective, as far as they were tried.

    Attributes:
        low: the lowest size found to meet it, and below that the highest that does not; 0 if all low ones meet it.
        high: the highest size found to meet it, and above that the lowest that does not; infinite if there is none.
    """

    low: Interval
    high: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What was found.

    Attributes:
        points: every size that was judged, rising, without the limit of low rates and the wall.
        lone: at the limit of low rates; None if the arrivals have no known limit.
        stretches: of sizes that meet the objective, rising.
        doubts: lowest and highest size of each stretch that the budget could not settle.
        only_rises: whether the limited quantity is assumed to rise with the size, so a coarse grid is enough.
        refusal: what no size can help; None if sizes decide.
        saturation: what one replica does while requests always wait; None of those that batch.
        warm_rps: the largest rate of turns of sessions that settles from empty caches; None where it is not known.
    """

    scenario: AnyScenario
    points: tuple[Point, ...] = ()
    lone: Candidate | None = None
    stretches: tuple[Stretch, ...] = ()
    doubts: tuple[tuple[float, float], ...] = ()
    only_rises: bool
    refusal: Rejection | None = None
    saturation: Saturation | None = None
    warm_rps: float | None = None

    @property
    def verdict(self) -> Verdict:
        """Met if any size meets the objective."""
        if self.stretches:
            return Verdict.MET
        return Verdict.INCONCLUSIVE if self.doubts else Verdict.MISSED

    @property
    def scale(self) -> Scale:
        """What is scaled, and its words."""
        return scale_of(self.scenario.workload)

    @property
    def size_max(self) -> float | None:
        """The highest size found to meet the objective."""
        return self.stretches[-1].high.value if self.stretches else None

    def load(self, point: Point) -> float | None:
        """Load of the fleet at a rate; users have none, and that of sessions is known where they were simulated."""
        scenario, one = self.scenario, self.saturation
        if are_sessions(scenario.lengths):
            seen = point.candidate.performance
            return None if seen is None else seen.load
        if one is None:
            return point.size / theory_of(scenario.profile).size_max(scenario, None)
        most_rps: float = scenario.swing * scenario.plan.replicas * one.rate_rps
        return point.size / most_rps

    @property
    def cold_rps(self) -> Interval | None:
        """Turns of sessions that the fleet serves from empty caches and a backlog; None of other requests."""
        seen = (point.candidate.performance for point in self.points)
        return next((one.cold_saturation for one in seen if one is not None), None)

    @property
    def size_open(self) -> float | None:
        """The lowest size tried above the highest that is accepted; None if there is none."""
        most = self.size_max or 0.0
        return min((point.size for point in self.points if point.size > most), default=None)

    @property
    def closest(self) -> Candidate | None:
        """If no size meets the objective, the refusal that is nearest to its limit."""
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
        end = self.size_max or 0.0
        above = [point.candidate.rejection for point in self.points if point.size > end]
        broken = [one.limit for one in above if one is not None and one.limit is not None]
        if broken:
            return broken[0]
        limits = self.scenario.objective.limits
        return next((p for p in reversed(limits) if p.measure is Measure.RESPONSE), limits[-1])


def stretches_of(points: Sequence[Point]) -> list[Stretch]:
    """Runs of sizes that meet the objective, each end with the nearest settled size beyond it."""
    found = []
    for first, last in _runs(points, Verdict.MET):
        if points[last].size == 0.0:  # a limit is no size
            continue
        below = [p for p in points[:first] if p.verdict is not Verdict.INCONCLUSIVE]
        above = [p for p in points[last + 1 :] if p.verdict is not Verdict.INCONCLUSIVE]
        start, end = points[first].size, points[last].size
        low = below[-1].size if below else 0.0
        high = above[0].size if above else math.inf
        found.append(
            Stretch(
                low=Interval(value=start, low=low, high=start), high=Interval(value=end, low=end, high=high)
            )
        )
    return found


def doubts_of(points: Sequence[Point]) -> list[tuple[float, float]]:
    """First and last size of each run that is in doubt."""
    points = [point for point in points if point.size > 0.0]  # a limit is no size
    runs = _runs(points, Verdict.INCONCLUSIVE)
    return [(points[first].size, points[last].size) for first, last in runs]


def _runs(points: Sequence[Point], verdict: Verdict) -> list[tuple[int, int]]:
    """First and last place of each run of neighbours with this verdict."""
    inside = [point.verdict is verdict for point in points]
    firsts = [i for i, here in enumerate(inside) if here and (i == 0 or not inside[i - 1])]
    lasts = [i for i, here in enumerate(inside) if here and (i == len(inside) - 1 or not inside[i + 1])]
    return list(zip(firsts, lasts, strict=True))


# Share of a size within which an end is found; near 0, share of the largest.
RESOLUTION, _RESOLUTION_AT_0 = 0.01, 1e-4


def find_rates(
    scenario: AnyScenario, judge: Judge, progress: Callable[[str], None], confidence: float = 0.95
) -> Rates:
    """All rates or numbers of users at which the plan meets its objective, each end to one per cent, or to one user.

    Up to the sustainable rate, with a queue limit up to twice that, or up to the users of whom theory says that they
    wait too long. If batches start at once, arrivals are Poisson or gamma and only times are limited, P99 was never
    seen to fall as the rate rises (an observation, not a theorem), and a coarse grid is enough. Stretches narrower
    than its step are not seen. A trace is also tried at its recorded speed.

    Args:
        scenario: its size does not matter.
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
    trials = _Trials(scenario, asker, theory.size_max(scenario, judge))
    lone = theory.lone(scenario, confidence)
    ends = [] if lone is None else [Point(size=0.0, candidate=lone)]
    if max(effort.loads) < 1.0 and _is_refused(trials, theory):
        ends.append(Point(size=trials.wall, candidate=_unstable(plan)))
    _judge_grid(trials, effort)
    _halve_in(trials, ends)
    _settle(trials, ends, effort)
    if lone is None and effort.only_rises:  # what the lowest rate meets, all below it do
        lowest = min(trials.points)
        ends.append(Point(size=0.0, candidate=trials.points[lowest].candidate))
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


def _is_refused(trials: "_Trials", theory: Theory) -> bool:
    """Whether theory refuses the wall and all beyond: rates that cannot be served, or users who wait too long."""
    has_rate = trials.scale.step == 0.0
    return has_rate or theory.refuse_load(trials.scenario.sized(trials.wall)) is not None


class _Trials:
    """Sizes judged once each."""

    def __init__(self, scenario: Scenario, asker: Asker, wall: float) -> None:
        self.scenario, self.asker, self.wall = scenario, asker, wall
        self.scale = scale_of(scenario.workload)
        self.points: dict[float, Point] = {}
        self.careful_requests = 0

    def judge(self, size: float) -> Point:
        size = self.scale.whole(size)
        if size not in self.points:
            found = self.asker.judge_one(self.scenario.sized(size), f"trying {self.scale.text(size)}")
            self._keep(size, found)
        return self.points[size]

    def certify(self, size: float) -> Point:
        """Judge a size as carefully as a recommended plan, with random numbers of its own."""
        self.asker.progress(f"settling {self.scale.text(size)}")
        trial = self.points.get(size)
        first = 0 if trial is None else 2 * trial.candidate.requests_looked
        found = self.asker.judge.certify(self.scenario.sized(size), 1, first)
        self.careful_requests += found.requests
        return self._keep(size, found)

    def _keep(self, size: float, candidate: Candidate) -> Point:
        self.points[size] = Point(size=size, candidate=candidate)
        self.points = dict(sorted(self.points.items()))
        return self.points[size]

    def is_close(self, low: Point, high: Point) -> bool:
        """Whether two sizes are as close as an end is to be found."""
        gap = high.size - low.size
        return gap <= max(RESOLUTION * low.size, _RESOLUTION_AT_0 * self.wall, self.scale.step)

    def between(self, low: Point, high: Point) -> float:
        """The middle of two sizes."""
        return self.scale.whole((low.size + high.size) / 2.0)

    def forget_doubts(self) -> None:
        """Drop doubts below a size that meets the objective or above one that misses it, if it only rises."""
        sizes = {seen: [x for x, point in self.points.items() if point.verdict is seen] for seen in Verdict}
        kept = max(sizes[Verdict.MET], default=0.0)
        missed = min(sizes[Verdict.MISSED], default=self.wall)
        for size in sizes[Verdict.INCONCLUSIVE]:
            if not kept < size < missed:
                del self.points[size]

    def with_ends(self, ends: Sequence[Point]) -> list[Point]:
        return sorted([*self.points.values(), *ends], key=lambda point: point.size)


def _judge_grid(trials: _Trials, effort: RatesEffort) -> None:
    """The grid; if the quantity only rises, no further than two refusals in a row."""
    sizes, refused = {*(load * trials.wall for load in effort.loads), *trials.scale.tried}, 0
    for size in sorted(sizes):
        missed = trials.judge(size).verdict is Verdict.MISSED
        refused = refused + 1 if missed else 0
        if effort.only_rises and refused == 2:
            return


def _halve_in(trials: _Trials, ends: Sequence[Point]) -> None:
    """Bisect between neighbours with different verdicts, until they are as close as asked."""
    while True:
        wide = [
            trials.between(low, high)
            for low, high in pairwise(trials.with_ends(ends))
            if low.verdict is not high.verdict and not trials.is_close(low, high)
        ]
        if not wide:
            return
        for size in wide:
            trials.judge(size)


def _settle(trials: _Trials, ends: Sequence[Point], effort: RatesEffort) -> None:
    """Confirmations where short trials left a doubt, until the ends are close or the budget is spent.

    If the quantity only rises, bisection between met and missed is enough, and a doubt that
    does not lie between the two is gone. Otherwise every size in doubt is settled by itself.
    """
    hopeless: set[float] = set()
    while trials.careful_requests < effort.careful_max:
        points = [p for p in trials.with_ends(ends) if p.size not in hopeless]
        size = _unsettled(trials, points, only_rises=effort.only_rises)
        if size is None:
            return
        if trials.certify(size).verdict is Verdict.INCONCLUSIVE:
            hopeless.add(size)
            if effort.only_rises:  # the next one would be the same
                return
        elif effort.only_rises:
            trials.forget_doubts()
        else:
            _halve_in(trials, ends)


def _unsettled(trials: _Trials, points: Sequence[Point], *, only_rises: bool) -> float | None:
    """The size that a confirmation would tell most about; None if all is settled."""
    doubted = [one for place, one in enumerate(points) if _is_worth_it(points, place)]
    kept = [point for point in points if point.verdict is Verdict.MET]
    missed = [point for point in points if point.verdict is Verdict.MISSED]
    if not only_rises or not kept or not missed:
        return (
            max(doubted, key=lambda one: _distance(trials.scenario.objective, one)).size if doubted else None
        )
    return None if trials.is_close(kept[-1], missed[0]) else trials.between(kept[-1], missed[0])


def _is_worth_it(points: Sequence[Point], place: int) -> bool:
    """Whether it is in doubt, and does not lie in the narrow bracket of an end."""
    if points[place].verdict is not Verdict.INCONCLUSIVE or points[place].size == 0.0:
        return False
    known = [i for i, point in enumerate(points) if point.verdict is not Verdict.INCONCLUSIVE]
    below, above = [i for i in known if i < place], [i for i in known if i > place]
    if not below or not above:
        return True
    low, high = points[below[-1]], points[above[0]]
    return high.size > low.size * (1.0 + 2.0 * RESOLUTION) or low.verdict is high.verdict


def _distance(objective: Objective, point: Point) -> float:
    """How far the binding limit is from its limit, as a share of it: the farther, the cheaper to settle."""
    if point.candidate.performance is None:
        return 0.0
    pressure = objective.binding(point.candidate.performance).pressure(point.candidate.performance)
    return 0.0 if pressure is None else abs(pressure.value - 1.0)


def _unstable(plan: Plan) -> Candidate:
    rejection = Rejection(reason=Reason.STABILITY, allowed=1.0, needed=1.0)
    return Candidate(plan=plan, verdict=Verdict.MISSED, rejection=rejection)


def caveats(rates: Rates) -> list[Caveat]:
    """What the rates leave open."""
    scenario = rates.scenario
    theory, quantiles = theory_of(scenario.profile), scenario.objective.quantiles or (0.99,)
    if rates.refusal is not None:
        return list(theory.implausible([scenario.profile], max(quantiles)))
    return [
        *outage_caveats([scenario.outage]),
        *theory.profile_caveats(scenario),
        *theory.setting_caveats(scenario),
        *trace_caveats(scenario.workload),
        *day_caveats(scenario),
        *_own_caveats(rates),
    ]


def _own_caveats(rates: Rates) -> Iterator[Caveat]:
    mends, scale = theory_of(rates.scenario.profile).mends, rates.scale
    for low, high in rates.doubts:
        mend = ", and ".join(dict.fromkeys(mends[doubt] for doubt in _doubts(rates, low, high)))
        where = f"at {scale.text(low)}" if low == high else f"from {scale.text(low)} to {scale.text(high)}"
        yield Caveat(code=CaveatCode.RATES_IN_DOUBT, message=f"{where} the plan is undecided; {mend}")
    end = rates.stretches[-1].high if rates.stretches else None
    is_doubted = end is not None and any(high > end.value for _, high in rates.doubts)
    if end is not None and end.high == math.inf and not is_doubted:
        yield Caveat(
            code=CaveatCode.RATES_OPEN,
            message=f"the objective still holds at {scale.text(end.value)}, the "
            "highest rate that was tried, as the queue limit rejects the excess; --loss-max limits that",
        )
    if not rates.only_rises:
        step = max(high - low for low, high in pairwise(point.size for point in rates.points))
        yield Caveat(
            code=CaveatCode.RATES_UNSEEN,
            message=f"response times may fall and rise again with the {scale.one}; nothing is known between two "
            f"{scale.many} that were tried, up to {scale.shown(step)} apart; try others with capacity simulate",
        )


def _doubts(rates: Rates, low: float, high: float) -> Iterator[Doubt]:
    """Why the sizes between two are open."""
    for point in rates.points:
        if low <= point.size <= high and point.verdict is Verdict.INCONCLUSIVE:
            yield point.candidate.doubt or Doubt.REQUESTS
