"""Search: candidates by family, devices, batch size and batch wait, each judged once and remembered."""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

from capacity.performance import Interval
from capacity.question.candidate import Candidate, Judge, Reason, Verdict
from capacity.question.plan import Plan
from capacity.question.question import Family, Question
from capacity.question.scenario import Scenario
from capacity.search.exact import judge_exactly, refuse_loads, theory_of
from capacity.search.fewest import is_spent
from capacity.search.recommendation import Tally
from capacity.traffic.workload import MmppArrivals, Workload

Progress = Callable[[str], None]


class Search:
    """Candidates that were judged, in that order.

    Attributes:
        is_brief: whether no candidate is looked at for long, since the answer is beside another.
        is_aside: whether doubt is left as soon as a candidate is known to the asked precision.
        requests_max: simulated requests after which it gives up.
        is_patient: whether a candidate is judged to the end, and not put off while it is undecided.
        fleets_untried: how many fleets the budget left out.
        fleets_between: how many more of them lie between large fleets that are tried.
    """

    def __init__(
        self,
        question: Question,
        judge: Judge,
        progress: Progress,
        confidence: float = 0.95,
        *,
        is_brief: bool = False,
        is_aside: bool = False,
        share: float = 1.0,
    ) -> None:
        self.question = question
        self.judge = judge
        self.progress = progress
        self.confidence = confidence
        self.is_brief = is_brief
        self.is_aside = is_aside
        self.requests = 0
        self.requests_of: dict[Plan, int] = {}
        self.counts: Counter[str] = Counter()
        self._tests: dict[object, int] = {}
        self._skippable: dict[str, bool] = {}
        self._largest_formed: dict[tuple[Family, int, float], int] = {}
        self._judged: dict[Plan, Candidate] = {}
        self._put_off: dict[Plan, Iterator[Candidate]] = {}
        self.is_patient = True
        self.fleets_untried = 0
        self.fleets_between = 0
        self.theory = theory_of(question.profiles[0])
        self.requests_max = int(share * self.theory.search_requests_max)
        self.floors = self.theory.floors(question, confidence)

    @property
    def out_of_budget(self) -> bool:
        """Whether the search has simulated as much as it may: twice as much while it has accepted nothing."""
        return is_spent(self.requests, self.requests_max, self._judged.values())

    def separate(self, question: Question, *, is_aside: bool = False, share: float = 1.0) -> "Search":
        """A search for what accompanies the answer, with a budget of its own, whatever the answer took.

        Near its limit a candidate under bursts takes many times as long as others, and is left open here; and what
        is compared with a plan for bursts may not take longer than that plan.

        Args:
            share: of the usual budget.
        """
        is_brief = is_bursty(self.question) or is_bursty(question)
        return Search(
            question,
            self.judge,
            self.progress,
            self.confidence,
            is_brief=is_brief,
            is_aside=is_aside,
            share=share,
        )

    def learn(self, other: "Search") -> None:
        """Take over what another search of the same demand has decided about fleets that are asked about here.

        Families that leave settings open are the same only where both may choose from the same settings.
        """
        is_alike = self.question.space == other.question.space
        families = [one for one in self.question.families if is_alike or one.settings is not None]
        self._judged |= {
            plan: one
            for plan, one in other._judged.items()
            if one.verdict is not Verdict.INCONCLUSIVE and any(family.includes(plan) for family in families)
        }

    def count_in(self, other: "Search") -> None:
        """Count what another search has used."""
        self.counts += other.counts
        self.counts["screened"] += other.floors.count
        self.requests += other.requests

    @property
    def tally(self) -> Tally:
        """How many candidates were handled, by method."""
        return Tally(
            screened=self.counts["screened"] + self.floors.count,
            simulated=self.counts["simulated"],
            certified=self.counts["certified"],
            requests=self.requests,
        )

    @property
    def considered(self) -> list[Candidate]:
        """All candidates, by profile, replicas, routing and settings."""
        profiles = [profile.name for profile in self.question.profiles]

        def place(candidate: Candidate) -> tuple[int, int, str, tuple[float, int]]:
            plan = candidate.plan
            return profiles.index(plan.profile), plan.replicas, plan.routing, plan.settings

        return sorted(self._judged.values(), key=place)

    def with_floors(self) -> list[Candidate]:
        """All candidates, starting with the settings that no number of replicas could help."""
        return [*self.floors.candidates.values(), *self.considered]

    def refused_at_once(self) -> list[Candidate]:
        """Why no plan within the limits is enough, if theory knows; empty otherwise."""
        question = self.question
        least = {family: self.devices_min(family) for family in question.families}
        if any(n is not None and n <= question.devices_max(family) for family, n in least.items()):
            return []
        refused = [
            self.theory.too_many(question, family, n, self.floors)
            for family, n in least.items()
            if n is not None
        ]
        return [*self.with_floors(), *refused]

    def devices_min(self, family: Family) -> int | None:
        """Fewest devices that are stable under any setting; None where all settings are refused."""
        return self.theory.devices_min(self.question, family, self.floors, self.judge)

    def at(self, family: Family, devices: int, *, waits: bool = False) -> list[Candidate]:
        """All settings at one number of devices, judged once: those that start at once, or that wait."""
        return list(self._judge_all(family, devices, waits=waits))

    def glance(self, family: Family, devices: int) -> None:
        """Judge all settings that start at once at one number of devices, putting off those that are undecided.

        If all have to wait, those that wait.
        """
        self.is_patient = False
        if not (self.at(family, devices) or self.at(family, devices, waits=True)):
            for plan in self.theory.fleets(self.question, family, devices, self.floors):
                if refuse_loads(self.question, plan) is not None:
                    self.candidate(plan)
        self.is_patient = True

    def accepted_at(self, family: Family, devices: int, *, waits: bool = False) -> bool:
        """Whether any setting is accepted at this number of devices; stops at the first that is."""
        return any(candidate.accepted for candidate in self._judge_all(family, devices, waits=waits))

    def candidate(self, plan: Plan) -> Candidate:
        """One plan, judged once."""
        return self._candidate(plan)[0]

    def known(self, family: Family, devices: int, *, waits: bool) -> list[Candidate]:
        """What has been judged at this number of devices."""
        replicas = family.replicas(devices)
        return [
            one
            for one in self._judged.values()
            if one.plan.replicas == replicas
            and one.plan.starts_at_once is not waits
            and family.includes(one.plan)
        ]

    def is_in_doubt(self, family: Family, devices: int, *, waits: bool = False) -> bool:
        """Whether any setting was left in doubt at this number of devices: one that starts at once, or that waits."""
        return any(one.verdict is Verdict.INCONCLUSIVE for one in self.known(family, devices, waits=waits))

    def go_on(self, requests_max: float = math.inf) -> bool:
        """Go on with candidates that were put off, until one is decided; whether one was.

        First those that took least so far, and of these the best. Only what would be better than all that is accepted
        is worth it: cheaper, or as cheap and farther within its limit.

        Args:
            requests_max: requests of the whole search after which none is worth it.
        """
        while open_ones := self._worth_it():
            for one in sorted(open_ones, key=lambda one: (one.requests.bit_length(), self.merit(one))):
                if self.out_of_budget or self.requests >= requests_max:
                    return False
                if one.plan not in self._put_off:
                    continue  # refused with a larger fleet meanwhile
                self.progress(f"going on with {describe(one.plan)}")
                self._look_again(one.plan)
                if self._judged[one.plan].verdict is not Verdict.INCONCLUSIVE:
                    return True
        return False

    def _worth_it(self) -> list[Candidate]:
        """The best of each fleet that was put off, if it would be better than all that is accepted.

        One setting of a fleet is enough, so that others wait until it is decided. What is left of a fleet in an event
        has no value to compare, so that each setting counts by itself.
        """
        accepted = min(
            (self.merit(one) for one in self._judged.values() if one.accepted), default=(math.inf,)
        )
        open_ones = (self._judged[plan] for plan in self._put_off if not self.is_outdone(plan))
        best: dict[object, Candidate] = {}
        for one in sorted(open_ones, key=self.merit):
            best.setdefault(_line(one), one)
        return [one for one in best.values() if self.merit(one) < accepted]

    def merit(self, candidate: Candidate) -> tuple[float, ...]:
        """Price, and the value that binds over its limit, infinite if it is not known: the best come first."""
        pressure = self.pressure(candidate)
        return self.question.cost(candidate.plan), math.inf if pressure is None else pressure.value

    def pressure(self, candidate: Candidate) -> Interval | None:
        """The value that binds over its limit; None if it is not known.

        Of servers whose limits a load near saturation hardly touches, the load counts as much.
        """
        seen, objective = candidate.performance, self.question.objective
        found = None if seen is None else objective.binding(seen).pressure(seen)
        if found is None:
            return None
        value, low, high = (
            max(one, self.theory.strain(seen)) for one in (found.value, found.low, found.high)
        )
        return Interval(value=value, low=low, high=high)

    def doubt_parts(self, family: Family) -> int:
        """Parts of a number of devices in doubt, by one of which the next one that is tried differs."""
        return self.theory.doubt_parts(family)

    def is_put_off(self, plan: Plan) -> bool:
        """Whether a plan is undecided because the budget ended that all candidates share."""
        return plan in self._put_off and not self.is_outdone(plan)

    def is_outdone(self, plan: Plan) -> bool:
        """Whether a plan was put off and lies above a setting of its fleet that is in doubt after all its looks."""
        if plan not in self._put_off:
            return False
        behind = self._judged[plan]
        return any(
            one.verdict is Verdict.INCONCLUSIVE
            and one.plan not in self._put_off
            and _line(one) == _line(behind)
            and self._is_clearly_better(one, behind)
            for one in self._judged.values()
        )

    def _is_clearly_better(self, one: Candidate, other: Candidate) -> bool:
        """Whether the interval of the one ends below that of the other."""
        ours, theirs = self.pressure(one), self.pressure(other)
        return ours is not None and theirs is not None and ours.high < theirs.low

    def update(self, candidate: Candidate) -> None:
        """Replace a candidate's judgement with a better one."""
        self._judged[candidate.plan] = candidate

    def _judge_all(self, family: Family, devices: int, *, waits: bool) -> Iterator[Candidate]:
        """Settings in rising order, those that are barely stable last, and only if no other one is accepted.

        Once a limit was never reached, larger ones would change nothing. None if a loss would leave nothing of the
        fleet.
        """
        if not self.question.leaves_some(family, devices):
            return
        fleets = self.theory.fleets(self.question, family, devices, self.floors)
        plans = [plan for plan in fleets if plan.starts_at_once is not waits]
        strained = [plan for plan in plans if self._is_barely_stable(plan)]
        is_accepted = False
        for plan in [*(plan for plan in plans if plan not in strained), *strained]:
            wait_s, size = plan.settings
            formed = self._largest_formed.get((family, devices, wait_s), size)
            is_outdone = is_accepted and plan in strained
            if formed < size or is_outdone or (waits and not self._may_wait(plan, family, devices)):
                continue
            candidate = self._formed(family, devices, plan)
            is_accepted |= candidate.accepted
            yield candidate

    def _is_barely_stable(self, plan: Plan) -> bool:
        """Whether a plan, or what is left of it in an event, is barely stable."""
        events = (scenario for _, scenario in self.question.events(plan))
        return any(self.theory.is_barely_stable(one) for one in (self.question.scenario(plan), *events))

    def _formed(self, family: Family, devices: int, plan: Plan) -> Candidate:
        """A plan judged once, and whether its largest batches never form, so that larger ones would not either."""
        candidate, largest = self._candidate(plan)
        wait_s, size = plan.settings
        if largest is not None and largest < size:
            self._largest_formed[family, devices, wait_s] = size
        return candidate

    def _may_wait(self, plan: Plan, family: Family, devices: int) -> bool:
        """Whether a plan may be enough because its batches wait: no wait makes it stable, or much quicker."""
        if refuse_loads(self.question, plan) is not None:
            return False
        formed = {
            number: size
            for (of, number, wait_s), size in self._largest_formed.items()
            if of == family and wait_s == 0.0 and number >= devices
        }
        above = formed[min(formed)] if formed else None  # smaller fleets that miss less are not looked for

        def known(one: Plan) -> Candidate:
            return self._larger_refused(one) or judged(one)

        def judged(one: Plan) -> Candidate:
            return self._formed(family, devices, one)

        ways = ((above, known), (formed.get(devices), judged))
        return all(self.theory.may_wait(self.question, plan, size, of) for size, of in ways)

    def _candidate(self, plan: Plan) -> tuple[Candidate, int | None]:
        """A plan judged once, and on if it was put off; with the largest batch that formed, if just simulated."""
        is_new = plan not in self._judged
        if is_new and (rejection := refuse_loads(self.question, plan)) is not None:
            self.counts["screened"] += 1
            self._judged[plan] = Candidate(plan=plan, verdict=Verdict.MISSED, rejection=rejection)
        elif is_new:
            self.progress(f"judging {describe(plan)}")
            self._put_off[plan] = self._judging(plan)
            self._look_again(plan)
        while self.is_patient and plan in self._put_off and not self.out_of_budget:
            self._look_again(plan)
        known = self._judged[plan]
        return known, known.batch_size_largest if is_new else None

    def _look_again(self, plan: Plan) -> None:
        """Judge a plan until it is put off again, or to the end."""
        candidate = next(self._put_off[plan])
        if candidate.further is None:
            del self._put_off[plan]
        self._judged[plan] = replace(candidate, further=None)
        for smaller in [one for one in self._put_off if one.replicas < plan.replicas]:
            if (larger := self._larger_refused(smaller)) is not None:
                del self._put_off[smaller]
                self._judged[smaller] = _refused_with(larger, smaller)

    def _judging(self, plan: Plan) -> Iterator[Candidate]:
        """The plan before the judge as often as it is put off: the hardest events first, since they refuse most."""
        events = list(self.question.events(plan))
        losses, spikes = [e for e in events if e[1].spike is None], [e for e in events if e[1].spike]
        for event, scenario in [*losses[:1], *spikes]:
            for left in self._judging_one(scenario):
                if left.verdict is not Verdict.MET:
                    yield survival_candidate(plan, event, left)
            if left.verdict is not Verdict.MET:
                return
        for whole in self._judging_one(self.question.scenario(plan)):
            self.requests_of[plan] = 0 if self.theory.confirms_from_start else whole.requests_looked
            yield whole

    def _test(self, scenario: Scenario) -> int:
        """Which test of a search a scenario is, from 1: the same with any number of replicas, where more never hurt.

        All have the same users, so that a larger fleet that is enough is refused by chance only where the smallest one
        that is enough is refused as well: together they err as often as that one.
        """
        plan = scenario.plan
        setting = replace(plan, replicas=1) if self._more_never_hurts(plan) else plan
        return self._tests.setdefault((setting, scenario.spike), len(self._tests) + 1)

    def _more_never_hurts(self, plan: Plan) -> bool:
        """Whether a smaller fleet is refused with a plan, as more replicas never hurt where batches start at once."""
        if not plan.starts_at_once:
            return False
        if plan.profile not in self._skippable:
            kinds = self.theory.one_by_one(self.question, self.question.family(plan), self.floors)
            self._skippable[plan.profile] = False not in kinds
        return self._skippable[plan.profile]

    def _larger_refused(self, plan: Plan) -> Candidate | None:
        """The smallest larger fleet in the same setting that is refused, if that refuses this one too; else None."""
        if not self._more_never_hurts(plan):
            return None
        larger = (
            one
            for known, one in self._judged.items()
            if known.replicas > plan.replicas
            and one.verdict is Verdict.MISSED
            and replace(known, replicas=plan.replicas) == plan
        )
        return min(larger, key=lambda one: one.plan.replicas, default=None)

    def _judging_one(self, scenario: Scenario) -> Iterator[Candidate]:
        """One scenario before the judge as often as it is put off."""
        exact = judge_exactly(scenario)
        if exact is not None:
            self.counts["screened"] += 1
            yield exact
            return
        candidate = self.judge.search(scenario, self._test(scenario), is_aside=self.is_aside)
        self.counts["simulated" if candidate.requests else "screened"] += 1
        self.requests += candidate.requests
        yield candidate
        while candidate.further is not None:
            known, candidate = candidate.requests, candidate.further()
            self.requests += candidate.requests - known
            yield candidate


def _line(candidate: Candidate) -> object:
    """What candidates in doubt are compared within: a fleet, but for its setting; a plan alone without a value."""
    plan = candidate.plan
    return plan if candidate.performance is None else (plan.profile, plan.routing, plan.replicas)


def _refused_with(larger: Candidate, plan: Plan) -> Candidate:
    """The refusal of a smaller fleet, which misses its limit by no less than the larger one."""
    return replace(larger, plan=plan, performance=None, requests=0, requests_resampled=0, is_resampled=False)


def is_bursty(question: Question) -> bool:
    """Whether requests come in bursts and calm stretches."""
    workload = question.workload
    return isinstance(workload, Workload) and isinstance(workload.arrivals, MmppArrivals)


def survival_candidate(plan: Plan, event: str, left: Candidate) -> Candidate:
    """A plan that is refused, or left in doubt, for what is left of it in an event."""
    rejection = left.rejection
    if rejection is not None and rejection.reason is not Reason.BUDGET:
        rejection = replace(rejection, reason=Reason.SURVIVAL)
    if rejection is not None:
        rejection = replace(rejection, event=event)
    return replace(left, plan=plan, rejection=rejection, performance=None, batch_size_largest=None)


def describe(plan: Plan) -> str:
    """A plan in a few words, for progress."""
    replicas = f"{plan.replicas} replica{'s' if plan.replicas > 1 else ''}"
    return f"{replicas} of {plan.profile}, {plan.setting_text}"
