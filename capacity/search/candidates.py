"""Search: candidates by family, devices, batch size and batch wait, each judged once and remembered."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

from capacity.profile.profile import ServiceProfile
from capacity.profile.sampling import FloorDoubt
from capacity.question.candidate import Candidate, Judge, Limit, Rejection, Verdict
from capacity.question.plan import Plan
from capacity.question.question import Family, Question
from capacity.question.refusal import floor_doubt, refuse_batch_size, refuse_load
from capacity.question.scenario import Scenario
from capacity.search.exact import judge_exactly
from capacity.search.fewest import is_spent
from capacity.search.recommendation import Tally
from capacity.traffic.workload import MmppArrivals, Workload

Progress = Callable[[str], None]

# Simulated requests after which a search gives up; a count, so that the answer does not depend on speed.
SEARCH_REQUESTS_MAX = 400_000_000


class Search:
    """Candidates that were judged, in that order.

    Attributes:
        is_brief: whether no candidate is looked at for long, since the answer is beside another.
        families_untried: families with numbers of devices that the budget left out.
        fleets_untried: how many fleets it left out about which no neighbour's verdict says anything.
    """

    def __init__(
        self,
        question: Question,
        judge: Judge,
        progress: Progress,
        confidence: float = 0.95,
        *,
        is_brief: bool = False,
    ) -> None:
        self.question = question
        self.judge = judge
        self.progress = progress
        self.confidence = confidence
        self.is_brief = is_brief
        self.requests = 0
        self.requests_of: dict[Plan, int] = {}
        self.counts: Counter[str] = Counter()
        self._attempts = 0
        self._largest_formed: dict[tuple[Family, int, float], int] = {}
        self._judged: dict[Plan, Candidate] = {}
        self.families_untried: list[Family] = []
        self.fleets_untried = 0
        self.floor_rejections: dict[tuple[str, int], Rejection] = {}
        self.floor_doubts: dict[tuple[str, int], FloorDoubt] = {}
        for profile in question.profiles:
            self._refuse_sizes(profile)

    def _refuse_sizes(self, profile: ServiceProfile) -> None:
        """Batch sizes that no number of replicas helps, and those for which the samples cannot tell."""
        question = self.question
        for size in question.batch_sizes(profile):
            rejection = refuse_batch_size(profile, question.objective, size, self.confidence)
            doubt = floor_doubt(profile, question.objective, size, self.confidence)
            if rejection is not None:
                self.floor_rejections[profile.name, size] = rejection
            elif doubt is not None:
                self.floor_doubts[profile.name, size] = doubt

    @property
    def out_of_budget(self) -> bool:
        """Whether the search has simulated as much as it may: twice as much while it has accepted nothing."""
        return is_spent(self.requests, SEARCH_REQUESTS_MAX, self._judged.values())

    def beside(self, question: Question) -> "Search":
        """A search for what accompanies the answer, with a budget of its own, whatever the answer took.

        Near its limit a candidate under bursts takes many times as long as others, and is left open here.
        """
        is_bursty = isinstance(question.workload, Workload) and isinstance(
            question.workload.arrivals, MmppArrivals
        )
        return Search(question, self.judge, self.progress, self.confidence, is_brief=is_bursty)

    def count_in(self, other: "Search") -> None:
        """Count what another search has used."""
        self.counts += other.counts
        self.counts["screened"] += len(other.floor_rejections) + len(other.floor_doubts)
        self.requests += other.requests

    @property
    def tally(self) -> Tally:
        """How many candidates were handled, by method."""
        screened = self.counts["screened"] + len(self.floor_rejections) + len(self.floor_doubts)
        return Tally(
            screened=screened,
            simulated=self.counts["simulated"],
            certified=self.counts["certified"],
            requests=self.requests,
        )

    @property
    def considered(self) -> list[Candidate]:
        """All candidates, by profile, replicas, routing, batch wait and size."""
        profiles = [profile.name for profile in self.question.profiles]

        def place(candidate: Candidate) -> tuple[int, int, str, float, int]:
            plan = candidate.plan
            index = profiles.index(plan.profile)
            return index, plan.replicas, plan.routing, plan.batch_wait_max_s, plan.batch_size_max

        return sorted(self._judged.values(), key=place)

    def sizes(self, family: Family) -> list[int]:
        """Batch sizes of a family that are neither refused nor in doubt whatever the number of replicas."""
        name = family.profile.name
        hopeless = {*self.floor_rejections, *self.floor_doubts}
        return [size for size in self.question.batch_sizes(family.profile) if (name, size) not in hopeless]

    def devices_min(self, family: Family) -> int | None:
        """Fewest devices that are stable with any batch size; None where all sizes are refused."""
        needed = (self.question.devices_min(family, size) for size in self.sizes(family))
        return min(needed, default=None)

    def at(self, family: Family, devices: int, *, waits: bool = False) -> list[Candidate]:
        """All batch sizes at one number of devices, judged once: those that start at once, or that wait."""
        return list(self._judge_sizes(family, devices, waits=waits))

    def accepted_at(self, family: Family, devices: int, *, waits: bool = False) -> bool:
        """Whether any batch size is accepted at this number of devices; stops at the first that is."""
        return any(candidate.accepted for candidate in self._judge_sizes(family, devices, waits=waits))

    def candidate(self, plan: Plan) -> Candidate:
        """One plan, judged once."""
        return self._candidate(plan)[0]

    def known(self, family: Family, devices: int, *, waits: bool) -> list[Candidate]:
        """What has been judged at this number of devices."""
        alike = (family.profile.name, family.routing, family.replicas(devices), waits)
        return [
            one
            for one in self._judged.values()
            if (one.plan.profile, one.plan.routing, one.plan.replicas, one.plan.batch_wait_max_s > 0.0)
            == alike
        ]

    def is_in_doubt(self, family: Family, devices: int) -> bool:
        """Whether any batch that starts at once was left in doubt at this number of devices."""
        return any(one.verdict is Verdict.INCONCLUSIVE for one in self.known(family, devices, waits=False))

    def update(self, candidate: Candidate) -> None:
        """Replace a candidate's judgement with a better one."""
        self._judged[candidate.plan] = candidate

    def _judge_sizes(self, family: Family, devices: int, *, waits: bool) -> Iterator[Candidate]:
        """Sizes in rising order; once a limit was never reached, larger ones would change nothing.

        None if a loss would leave nothing of the fleet.
        """
        if not self.question.leaves_some(family, devices):
            return
        for size in self.sizes(family):
            for wait_s in self.question.batch_waits(family.profile, size):
                if (wait_s > 0.0) is not waits:
                    continue
                plan = self.question.plan(family, devices, size, wait_s)
                formed = self._largest_formed.get((family, devices, wait_s), size)
                if formed < size or (waits and self._refuse_load(plan)):  # no wait makes it stable
                    continue
                candidate, largest = self._candidate(plan)
                if largest is not None and largest < size:
                    self._largest_formed[family, devices, wait_s] = size
                yield candidate

    def _candidate(self, plan: Plan) -> tuple[Candidate, int | None]:
        """A plan judged once; and the largest batch that formed, if it was just simulated."""
        if plan in self._judged:
            return self._judged[plan], None
        rejection = self._refuse_load(plan)
        largest = None
        if rejection is not None:
            self.counts["screened"] += 1
            candidate = Candidate(plan=plan, verdict=Verdict.MISSED, rejection=rejection)
        else:
            candidate, largest = self._judge(plan)
        self._judged[plan] = candidate
        return candidate, largest

    def _refuse_load(self, plan: Plan) -> Rejection | None:
        return refuse_loads(self.question, plan)

    def _judge(self, plan: Plan) -> tuple[Candidate, int | None]:
        """The plan before the judge: the hardest events first, since they refuse most."""
        events = list(self.question.events(plan))
        losses, spikes = [e for e in events if e[1].spike is None], [e for e in events if e[1].spike]
        self.progress(f"judging {describe(plan)}")
        for event, scenario in [*losses[:1], *spikes]:
            left = self._judge_one(scenario)
            if left.verdict is not Verdict.MET:
                return survival_candidate(plan, event, left), None
        whole = self._judge_one(self.question.scenario(plan))
        self.requests_of[plan] = whole.requests_looked
        return whole, whole.batch_size_largest

    def _judge_one(self, scenario: Scenario) -> Candidate:
        exact = judge_exactly(scenario)
        if exact is not None:
            self.counts["screened"] += 1
            return exact
        self._attempts += 1
        brief = self.is_brief
        candidate = self.judge.accepts(scenario) if brief else self.judge.search(scenario, self._attempts)
        self.counts["simulated"] += 1
        self.requests += candidate.requests
        return candidate


def refuse_loads(question: Question, plan: Plan) -> Rejection | None:
    """Why the queues of the plan, or of what a failure leaves of it, would grow forever or lose too much."""
    for event, scenario in [("", question.scenario(plan)), *question.events(plan)]:
        rejection = refuse_load(scenario)
        if rejection is not None:
            return replace(rejection, limit=Limit.SURVIVAL, event=event) if event else rejection
    return None


def survival_candidate(plan: Plan, event: str, left: Candidate) -> Candidate:
    """A plan that is refused, or left in doubt, for what is left of it in an event."""
    rejection = left.rejection
    if rejection is not None and rejection.limit is not Limit.BUDGET:
        rejection = replace(rejection, limit=Limit.SURVIVAL)
    if rejection is not None:
        rejection = replace(rejection, event=event)
    return replace(left, plan=plan, rejection=rejection, performance=None)


def describe(plan: Plan) -> str:
    """A plan in a few words, for progress."""
    wait = f", wait {1e3 * plan.batch_wait_max_s:.3g} ms" if plan.batch_wait_max_s else ""
    replicas = f"{plan.replicas} replica{'s' if plan.replicas > 1 else ''}"
    return f"{replicas} of {plan.profile}, batch {plan.batch_size_max}{wait}, {plan.routing}"
