"""Confirmation: the accepted fleet to recommend, judged again by an exact law or with seeds of its own."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from capacity.question.candidate import Candidate, Judge, Verdict, worst_of
from capacity.question.plan import Plan, Routing
from capacity.question.question import Family, Question
from capacity.question.scenario import Scenario
from capacity.search.candidates import Progress, Search, describe, survival_candidate
from capacity.search.cheapest import Level, devices_within, fewest, unskippable
from capacity.search.exact import judge_exactly
from capacity.search.fewest import always, fewest_enough, finest, is_bracketed
from capacity.search.recommendation import Certificate, Survived
from capacity.units import QUANTILES

# Numbers of devices that are confirmed in turn before the planner gives up.
_ROUNDS_MAX = 10
# From the simplest to run to the least simple; what a balancer makes of one is as simple.
SIMPLICITY = (
    Routing.ROUND_ROBIN,
    Routing.RANDOM,
    Routing.POWER_OF_TWO,
    Routing.LEAST_OUTSTANDING,
    Routing.SHARED_QUEUE,
    Routing.SESSION,
    Routing.SESSION_COOKIE,
    Routing.PREFIX_PRODUCTION_STACK,
    Routing.PREFIX_SGLANG,
    Routing.PREFIX_LLM_D,
    Routing.PREFIX_LLM_D_SCORES,
    Routing.PREFIX_DYNAMO,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Certified:
    """A candidate that met the objective under fresh random numbers, and what it survived."""

    candidate: Candidate[Any]
    whole: Candidate[Any]
    survived: tuple[Survived, ...]
    certificate: Certificate


class Certifier:
    """Confirms candidates, each more strictly than the one before."""

    def __init__(self, search: Search) -> None:
        self.search = search
        self._attempt = 1
        self._spent = 0
        self._certified: set[Plan] = set()

    def first(self, level: Level) -> Certified | None:
        """The preferred fleet of the cheapest level that is confirmed; else of the next more expensive one.

        With fresh random numbers, and the profile's own error, more may be needed than in the search.
        """
        best = self._preferred(level.candidates) or self._costlier_unskippable(level) or self._costlier(level)
        return self._cheaper(best)

    def _cheaper(self, best: Certified | None) -> Certified | None:
        """The best so far, or a cheaper plan that the search accepts and that meets its objective too.

        One device fewer is always judged; so is a fleet that was accepted on the way and passed over, or put off.
        """
        price = self.search.question.cost
        for _ in range(_ROUNDS_MAX):
            bound = math.inf if best is None else price(best.candidate.plan)
            if best is not None:
                self._one_fewer(best)
            while self.search.go_on():  # what was put off may be worth it now
                pass
            passed_over = [
                one
                for one in self.search.considered
                if one.accepted and one.plan not in self._certified and price(one.plan) < bound
                if not self._is_like_one_in_doubt(one.plan)
            ]
            if not passed_over or self._is_spent:
                break
            least = min(price(one.plan) for one in passed_over)
            found = self._preferred([one for one in passed_over if price(one.plan) == least])
            best = found or best
        return best

    def _one_fewer(self, best: Certified) -> None:
        """Judge one device fewer than what was confirmed: refused, or confirmed too.

        Not in a fleet of hundreds above one in doubt that no finer step would tell from it.
        """
        question, plan = self.search.question, best.candidate.plan
        family = question.family(plan)
        devices = family.devices(plan.replicas)
        if devices <= max(1, family.devices(question.replicas_min)):
            return
        parts = self.search.doubt_parts(family)
        if not is_bracketed(devices, lambda fewer: self.search.is_in_doubt(family, fewer), parts):
            self.search.glance(family, devices - 1)  # `go_on` looks again at the best in doubt

    def _is_like_one_in_doubt(self, plan: Plan) -> bool:
        """Whether a fleet of hundreds, as large but for a part, was left in doubt, which no budget tells from it."""
        family = self.search.question.family(plan)
        devices = family.devices(plan.replicas)
        near = finest(devices, always, self.search.doubt_parts(family))
        return near > 1 and any(
            self.search.is_in_doubt(family, devices + step) for step in range(-near, near + 1)
        )

    def _costlier_unskippable(self, level: Level) -> Certified | None:
        """The next more expensive fleets, one by one and then by doubled steps, up to what bisection found."""
        starts = (family.cost(devices) for family, devices in level.starts.items())
        fleets = unskippable(self.search, min(starts, default=math.inf))
        costlier = sorted((one for one in fleets if one.price > level.cost), key=lambda one: one.price)
        for number in _one_by_one_then_doubled(len(costlier)):
            if self.search.out_of_budget or self._is_spent:
                return None
            one = costlier[number]
            fleet = self.search.at(one.family, one.devices, waits=one.waits)
            certified = self._preferred([one for one in fleet if one.accepted])
            if certified is not None:
                return certified
        return None

    def _costlier(self, level: Level) -> Certified | None:
        """The cheapest fleet of any family whose batches start at once."""
        search, best, bound = self.search, None, math.inf
        known = {family: family.cost(devices) for family, devices in level.starts.items()}
        for family in sorted(search.question.families, key=lambda one: known.get(one, math.inf)):
            most = devices_within(search, family, bound)
            if family.cost(most) == bound:
                most -= 1
            start = level.starts.get(family) or fewest(search, family, most, is_bounded=False)
            certified = None if start is None else self._grow(family, start, most)
            if certified is not None:
                best, bound = certified, search.question.cost(certified.candidate.plan)
        return best

    def _grow(self, family: Family, start: int, most: int) -> Certified | None:
        """The fewest devices from `start` on that are confirmed; the search goes on above those in doubt."""
        found: dict[int, Certified | None] = {}

        def is_confirmed(devices: int) -> bool:
            found[devices] = self._at(family, devices)
            return found[devices] is not None

        devices = fewest_enough(
            is_confirmed,
            start - 1,
            most,
            may_go_on=lambda: not self._is_spent,
            is_in_doubt=lambda devices: self.search.is_in_doubt(family, devices),
            parts=self.search.doubt_parts(family),
        )
        return None if devices is None else found[devices]

    @property
    def _is_spent(self) -> bool:
        """Whether no larger fleet is confirmed, which would need as many requests."""
        return self._spent > self.search.theory.confirm_requests_max

    def _at(self, family: Family, devices: int) -> Certified | None:
        return self._preferred([one for one in self.search.at(family, devices) if one.accepted])

    def _preferred(self, accepted: tuple[Candidate, ...] | list[Candidate]) -> Certified | None:
        for candidate in by_preference(self.search, accepted):
            certified = self._certify(candidate.plan)
            if certified is not None:
                return certified
        return None

    def _certify(self, plan: Plan) -> Certified | None:
        """The plan and every event that it must survive."""
        search = self.search
        self._certified.add(plan)
        if search.is_brief:  # accepted with as much care
            known = search.candidate(plan)
            return Certified(candidate=known, whole=known, survived=(), certificate=Certificate(attempt=1))
        search.counts["certified"] += 1
        certificate = Certificate(attempt=self._attempt, requests_first=search.requests_of.get(plan, 0))
        trial = certify(search.question, search.judge, plan, certificate, search.progress)
        self._attempt += trial.judged
        search.requests += trial.requests
        self._spent += trial.requests
        search.update(trial.candidate)
        if not trial.candidate.accepted:
            return None
        return Certified(
            candidate=trial.candidate, whole=trial.whole, survived=trial.survived, certificate=certificate
        )


def _one_by_one_then_doubled(count: int) -> Iterator[int]:
    """Places in a list: the first ones all, then by doubled steps to the last."""
    yield from range(min(count, _ROUNDS_MAX))
    place, step = _ROUNDS_MAX - 1, 1
    while place < count - 1:
        step *= 2
        place = min(place + step, count - 1)
        yield place


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A plan being confirmed.

    Attributes:
        candidate: the final result.
        whole: result of the whole fleet, before any event.
        survived: the events that it survived, up to the first that it did not.
        judged: how many scenarios the judge has seen.
        requests: simulated in all.
    """

    candidate: Candidate[Any]
    whole: Candidate[Any]
    survived: tuple[Survived, ...]
    judged: int
    requests: int


def certify(
    question: Question, judge: Judge, plan: Plan, certificate: Certificate, progress: Progress
) -> Trial:
    """Confirm the plan in every event that it must survive, by an exact law or with fresh random numbers."""
    attempt, first = certificate.attempt, certificate.requests_first
    progress(f"confirming {describe(plan)}")
    candidate = whole = _settled(judge, question.scenario(plan), attempt, first)
    survived, judged, requests, others = [], 1, whole.requests, [whole.like_it]
    for event, scenario in question.events(plan) if candidate.accepted else ():
        progress(f"confirming {describe(plan)}: {event}")
        outcome = _settled(judge, scenario, attempt + judged, first)
        judged, requests = judged + 1, requests + outcome.requests
        others.append(outcome.like_it)
        if outcome.verdict is not Verdict.MET or outcome.performance is None:
            candidate = survival_candidate(plan, event, outcome)
            break
        survived.append(Survived(event=event, plan=scenario.plan, performance=outcome.performance))
    return Trial(
        candidate=replace(candidate, like_it=worst_of(others)),
        whole=whole,
        survived=tuple(survived),
        judged=judged,
        requests=requests,
    )


def _settled(judge: Judge, scenario: Scenario, attempt: int, requests_first: int) -> Candidate:
    """What a law says exactly needs no interval, which might span a limit that the law meets."""
    return judge_exactly(scenario, QUANTILES) or judge.certify(scenario, attempt, requests_first)


def by_preference(search: Search, accepted: tuple[Candidate, ...] | list[Candidate]) -> list[Candidate]:
    """Farthest from its limit first; among those that intervals cannot tell apart, the simplest.

    Simplest is: nothing waits for a batch to fill, a router that knows less, more headroom at the same price (a lower
    load), the smallest setting.
    """

    def ends(candidate: Candidate) -> tuple[float, float, float]:
        """Binding value over its limit: value, low and high end."""
        interval = search.pressure(candidate)
        assert interval is not None  # noqa: S101  (an accepted candidate was judged by numbers)
        return interval.value, interval.low, interval.high

    def preference(candidate: Candidate) -> tuple[bool, float, bool, int, float, tuple[float, int]]:
        value, low, _ = ends(candidate)
        tied, plan = low <= best_high, candidate.plan
        load = candidate.performance.load if candidate.performance else None
        return (
            not tied,
            0.0 if tied else value,
            not plan.starts_at_once,
            SIMPLICITY.index(plan.routing.base),
            load or 0.0,
            plan.settings,
        )

    best_high = min(map(ends, accepted))[2] if accepted else 0.0
    return sorted(accepted, key=preference)
