"""Rates: the arrival rates at which one plan keeps its objective; there may be several stretches."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from capacity.objective import Measure, Promise
from capacity.performance import Interval
from capacity.plan import Candidate, Rejection, Verdict
from capacity.scenario import Scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The verdict at one rate; 0 is the limit of low rates, and the sustainable rate is never kept."""

    arrival_rate_rps: float
    candidate: Candidate

    @property
    def verdict(self) -> Verdict:
        """Whether the objective is kept there."""
        return self.candidate.verdict


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

    scenario: Scenario
    points: tuple[Point, ...] = ()
    lone: Candidate | None = None
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
    def closest(self) -> Candidate | None:
        """Where nothing is kept, the refusal that comes nearest to its limit."""
        if self.refusal is not None:
            return Candidate(plan=self.scenario.plan, verdict=Verdict.MISSED, rejection=self.refusal)
        candidates = [point.candidate for point in self.points] + ([self.lone] if self.lone else [])
        broken = {
            one.rejection.needed / one.rejection.allowed: one
            for one in candidates
            if one.rejection is not None and one.rejection.promise is not None
        }
        return broken[min(broken)] if broken else None

    @property
    def promise(self) -> Promise:
        """What ends the highest stretch; else what is closest to its limit over all."""
        end_rps = self.arrival_rate_max_rps or 0.0
        above = [p.candidate.rejection for p in self.points if p.arrival_rate_rps > end_rps]
        broken = [one.promise for one in above if one is not None and one.promise is not None]
        if broken:
            return broken[0]
        promises = self.scenario.objective.promises
        return next((p for p in reversed(promises) if p.measure is Measure.RESPONSE), promises[-1])


def stretches_of(points: Sequence[Point]) -> list[Stretch]:
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


def doubts_of(points: Sequence[Point]) -> list[tuple[float, float]]:
    """First and last rate of each run that is in doubt. [requests/s]"""
    runs = _runs(points, Verdict.INCONCLUSIVE)
    return [(points[first].arrival_rate_rps, points[last].arrival_rate_rps) for first, last in runs]


def _runs(points: Sequence[Point], verdict: Verdict) -> list[tuple[int, int]]:
    """First and last place of each run of neighbours with this verdict."""
    inside = [point.verdict is verdict for point in points]
    firsts = [i for i, here in enumerate(inside) if here and (i == 0 or not inside[i - 1])]
    lasts = [i for i, here in enumerate(inside) if here and (i == len(inside) - 1 or not inside[i + 1])]
    return list(zip(firsts, lasts, strict=True))
