"""Search: judges candidates and remembers them; which replica count is the smallest accepted one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from capacity.errors import DomainError
from capacity.judge import Judge, Judgement
from capacity.plan import REPLICAS_LIMIT, Candidate, Plan, Rejection, Routing, Verdict
from capacity.profile import ServiceProfile
from capacity.screen import refuse_batch_size, refuse_load
from capacity.stability import replicas_stable_min
from capacity.workload import LatencyObjective, Workload

Progress = Callable[[str], None]

# Simulated requests after which a search gives up; a count, so that the answer does not depend on speed.
SEARCH_REQUESTS_MAX = 400_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is to be sized, and within which limits.

    Attributes:
        batch_size_limit: largest batch size to consider; None for the profile's largest.
        replicas_max: most replicas to consider.
    """

    profile: ServiceProfile
    workload: Workload
    objective: LatencyObjective
    batch_size_limit: int | None = None
    batch_wait_max_s: float = 0.0
    routing: Routing = Routing.ROUND_ROBIN
    replicas_max: int = 1024

    def __post_init__(self) -> None:
        if not 1 <= self.replicas_max <= REPLICAS_LIMIT:
            raise DomainError(f"replicas_max must be from 1 to {REPLICAS_LIMIT}, got {self.replicas_max}")
        if self.batch_size_limit is not None and self.batch_size_limit < 1:
            raise DomainError(f"batch_size_max must be >= 1, got {self.batch_size_limit}")

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """Batch sizes to consider: the measured ones up to the limit, and the limit."""
        limit = self.batch_size_limit or self.profile.batch_size_max
        return (*(size for size in self.profile.batch_sizes if size < limit), limit)

    def plan(self, replicas: int, batch_size_max: int) -> Plan:
        """The candidate with these two numbers."""
        return Plan(
            profile=self.profile.name,
            replicas=replicas,
            batch_size_max=batch_size_max,
            batch_wait_max_s=self.batch_wait_max_s,
            routing=self.routing,
        )


class Search:
    """Candidates that were looked at, by replicas and batch size, in the order of their judgement."""

    def __init__(self, question: Question, judge: Judge, progress: Progress) -> None:
        self.question = question
        self.judge = judge
        self.progress = progress
        self.requests = 0
        self.requests_of: dict[Plan, int] = {}
        self._attempts = 0
        self._judged: dict[int, list[Candidate]] = {}
        self.floor_rejections: dict[int, Rejection] = {}
        for size in question.batch_sizes:
            rejection = refuse_batch_size(question.profile, question.objective, size)
            if rejection is not None:
                self.floor_rejections[size] = rejection
        self.sizes = [size for size in question.batch_sizes if size not in self.floor_rejections]

    @property
    def out_of_budget(self) -> bool:
        """Whether the search has simulated as much as it may."""
        return self.requests >= SEARCH_REQUESTS_MAX

    @property
    def replicas_min(self) -> int:
        """Fewest replicas that are stable with any batch size that is not refused outright."""
        rate_rps = self.question.workload.arrival_rate_rps
        return min(replicas_stable_min(self.question.profile, rate_rps, size) for size in self.sizes)

    @property
    def considered(self) -> list[Candidate]:
        """All candidates, by replicas and batch size."""
        return [candidate for replicas in sorted(self._judged) for candidate in self._judged[replicas]]

    def at(self, replicas: int) -> list[Candidate]:
        """All batch sizes at one replica count, judged once."""
        if replicas not in self._judged:
            self._judged[replicas] = list(self._judge_sizes(replicas))
        return self._judged[replicas]

    def accepted_at(self, replicas: int) -> bool:
        """Whether any batch size is accepted at this replica count."""
        return any(candidate.accepted for candidate in self.at(replicas))

    def update(self, replicas: int, candidate: Candidate) -> None:
        """Replace what was found of a candidate by a better judgement."""
        others = [old if old.plan != candidate.plan else candidate for old in self._judged[replicas]]
        self._judged[replicas] = others

    def smallest_accepted(self) -> int | None:
        """Fewest replicas at which some batch size is accepted; None where no count up to the most is.

        For greedy plans of a profile whose larger batches take longer, more replicas are taken
        never to hurt (an observation on all cases tried, not a theorem): the count is doubled until
        accepted, then halved in. Otherwise every count is tried in turn.
        """
        if self.question.batch_wait_max_s == 0.0 and self.question.profile.is_monotone:
            return self._doubling()
        for replicas in range(self.replicas_min, self.question.replicas_max + 1):
            if self.accepted_at(replicas):
                return replicas
            if self.out_of_budget:
                break
        return None

    def _doubling(self) -> int | None:
        refused, step = self.replicas_min - 1, 1
        while refused < self.question.replicas_max and not self.out_of_budget:
            replicas = min(refused + step, self.question.replicas_max)
            if self.accepted_at(replicas):
                return self._halve_in(refused, replicas)
            refused, step = replicas, 2 * step
        return None

    def _halve_in(self, refused: int, accepted: int) -> int:
        while accepted - refused > 1:
            middle = (refused + accepted) // 2
            if self.accepted_at(middle):
                accepted = middle
            else:
                refused = middle
        return accepted

    def _judge_sizes(self, replicas: int) -> Iterator[Candidate]:
        """Sizes in rising order; once a limit was never reached, larger ones would change nothing."""
        for size in self.sizes:
            plan = self.question.plan(replicas, size)
            rejection = refuse_load(self.question.profile, self.question.workload.arrival_rate_rps, plan)
            if rejection is not None:
                yield Candidate(plan=plan, verdict=Verdict.MISSED, rejection=rejection)
                continue
            judgement = self._judge(plan)
            yield as_candidate(plan, judgement)
            if judgement.batch_size_largest is not None and judgement.batch_size_largest < size:
                return

    def _judge(self, plan: Plan) -> Judgement:
        self._attempts += 1
        self.progress(f"judging {plan.replicas} replicas, batch {plan.batch_size_max}")
        question = self.question
        judgement = self.judge.search(question.workload, plan, question.objective, self._attempts)
        self.requests += judgement.requests
        self.requests_of[plan] = judgement.requests
        return judgement


def as_candidate(plan: Plan, judgement: Judgement) -> Candidate:
    """A plan with what the judge found."""
    return Candidate(
        plan=plan,
        verdict=judgement.verdict,
        rejection=judgement.rejection,
        performance=judgement.performance,
        settled=judgement.settled,
    )
