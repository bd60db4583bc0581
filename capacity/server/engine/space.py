"""Engine space: the sequences and the tokens a step to choose from, and the requests that all engines serve."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Self

from capacity.errors import DomainError
from capacity.profile.llm import LlmProfile
from capacity.question.grid import Replicas, digest, short
from capacity.question.plan import Routing
from capacity.question.question import Family, Question
from capacity.question.scenario import Scenario, require_losses, require_second_tokens
from capacity.server.engine.lengths import require_lengths
from capacity.server.engine.plan import TokenPlan, TokenScenario
from capacity.server.engine.rows import EngineRows
from capacity.traffic.lengths import TOKENS_MAX, AnyLengths, LengthLaws
from capacity.traffic.workload import Demand


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpace:
    """A `capacity.question.question.Space` and `capacity.question.grid.Settings` of fleets of engines.

    Attributes:
        sequences_max, batched_tokens_max: settings of the engine; None for the largest that each profile was measured
            with.
        lengths, cached_share, in_order: as in `capacity.question.scenario.Scenario`.
        queue_limit: as in `TokenPlan`, for all fleets.
    """

    lengths: AnyLengths
    sequences_max: tuple[int, ...] | None = None
    batched_tokens_max: tuple[int, ...] | None = None
    cached_share: float = 0.0
    in_order: bool = False
    queue_limit: int | None = None

    @classmethod
    def of(cls, scenario: TokenScenario) -> Self:
        """The settings of one fleet, and its requests."""
        plan = scenario.plan
        return cls(
            lengths=scenario.lengths,
            sequences_max=(plan.sequences_max,),
            batched_tokens_max=(plan.batched_tokens_max,),
            cached_share=scenario.cached_share,
            in_order=scenario.in_order,
            queue_limit=plan.queue_limit,
        )

    @property
    def rejects(self) -> bool:
        """Whether requests that find a queue full are rejected."""
        return self.queue_limit is not None

    @property
    def rows(self) -> EngineRows:
        """Columns of the fleets."""
        return EngineRows()

    @property
    def axes(self) -> tuple[Sequence[Any], ...]:
        """Sequences and tokens of a step."""
        return self.sequences_max or (None,), self.batched_tokens_max or (None,)

    def flags(self, question: "EngineQuestion") -> Iterator[str]:
        """How the space is asked for, as it is typed; without what is as usual, and without lengths of a trace."""
        if not self.in_order:
            yield from ("--lengths", self.lengths.typed)
        if isinstance(self.lengths, LengthLaws):
            usual = (TOKENS_MAX, question.profiles[0].limits_measured.context_tokens_max)
            if self.lengths.limit not in usual:
                yield from ("--context-tokens-max", str(self.lengths.limit))
        for name in ("sequences_max", "batched_tokens_max"):
            for value in getattr(self, name) or ():
                yield from (f"--{name.replace('_', '-')}", str(value))
        if self.cached_share:
            yield from ("--cached-share", repr(self.cached_share))
        if self.queue_limit is not None:
            yield from ("--queue-limit", str(self.queue_limit))

    def require(self, profile: LlmProfile) -> None:
        """Refuse requests for which an engine with the fewest sequences has no room; others may still be refused."""
        fewest = min(self.sequences_max or (profile.limits_measured.sequences_max,))
        require_lengths(profile, self.lengths, fewest)

    def require_for(self, question: "EngineQuestion") -> None:
        """Refuse limits of what requests do not have, and settings without room or beyond a profile."""
        require_second_tokens(question.objective, self.lengths)
        require_losses(question.objective, question.workload, rejects=self.rejects)
        for profile in question.profiles:
            plans = [plan for routing in question.routings for plan in self.plans(profile, routing)]
            for plan in plans:
                require_lengths(profile, self.lengths, plan.sequences_max)
            for plan in plans:
                profile.require(plan.sequences_max, plan.batched_tokens_max)

    def allows(self, profile: LlmProfile, plan: TokenPlan) -> bool:
        """Whether the engine takes the settings, and has room for requests of all lengths that are known."""
        try:
            profile.require(plan.sequences_max, plan.batched_tokens_max)
            require_lengths(profile, self.lengths, plan.sequences_max)
        except DomainError:
            return False
        return True

    def plans(self, profile: LlmProfile, routing: Routing) -> Iterator[TokenPlan]:
        """One engine of a profile in each setting."""
        for sequences, tokens in product(*self.axes):
            yield self._plan(profile, Replicas(1, routing), sequences, tokens)

    def families(self, profile: LlmProfile, routing: Routing) -> Iterator[Family[LlmProfile]]:
        """Families of a profile under a routing: one for each setting."""
        yield from (self.family(profile, plan) for plan in self.plans(profile, routing))

    def family(self, profile: LlmProfile, plan: TokenPlan) -> Family[LlmProfile]:
        """The family of a plan with this profile."""
        return Family(profile=profile, routing=plan.routing, settings=plan.settings)

    def fleets(self, family: Family[LlmProfile], devices: int) -> Iterator[TokenPlan]:
        """The one plan of a family with this many engines."""
        assert family.settings is not None  # noqa: S101  (that of each family of this space)
        yield self._plan(family.profile, Replicas(devices, family.routing), *family.settings)

    def only(self, plan: TokenPlan) -> Self:
        """The setting of one plan."""
        return replace(
            self,
            sequences_max=(plan.sequences_max,),
            batched_tokens_max=(plan.batched_tokens_max,),
            queue_limit=plan.queue_limit,
        )

    def limited_as(self, plan: TokenPlan) -> Self:
        """The same engines with the queue limit of a plan."""
        return replace(self, queue_limit=plan.queue_limit)

    def in_any_order(self) -> Self:
        """The same lengths, drawn for any arrivals."""
        return replace(self, in_order=False)

    def cell(
        self,
        profile: LlmProfile,
        workload: Demand,
        replicas: Replicas,
        sequences: int | None,
        tokens: int | None,
    ) -> TokenScenario:
        """The scenario of one cell."""
        return Scenario(
            profile=profile,
            workload=workload,
            lengths=self.lengths,
            plan=self._plan(profile, replicas, sequences, tokens),
            cached_share=self.cached_share,
            in_order=self.in_order,
        )

    def document(self) -> dict[str, Any]:
        """The settings, long axes and the lengths by their digests."""
        sequences_max, batched_tokens_max = self.axes
        return {
            "sequences_max": short(sequences_max),
            "batched_tokens_max": short(batched_tokens_max),
            "lengths": digest(repr(self.lengths)),
            "cached_share": self.cached_share,
            **({} if self.queue_limit is None else {"queue_limit": self.queue_limit}),
        }

    def _plan(
        self, profile: LlmProfile, replicas: Replicas, sequences: int | None, tokens: int | None
    ) -> TokenPlan:
        """A fleet; None for the largest setting that the profile was measured with."""
        limits = profile.limits_measured
        return TokenPlan(
            profile=profile.name,
            replicas=replicas.number,
            sequences_max=limits.sequences_max if sequences is None else sequences,
            batched_tokens_max=limits.batched_tokens_max if tokens is None else tokens,
            routing=replicas.routing,
            queue_limit=self.queue_limit,
        )


EngineQuestion = Question[LlmProfile, EngineSpace, Demand]
