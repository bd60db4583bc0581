"""Engine settings: the sequences and the tokens a step of a sweep, and the requests that all its cells serve."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from capacity.profile.llm import LlmProfile
from capacity.question.grid import Replicas, digest, short
from capacity.question.scenario import Scenario
from capacity.question.tokens import TokenPlan, TokenScenario, require_lengths
from capacity.traffic.lengths import AnyLengths
from capacity.traffic.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """`capacity.question.grid.Settings` of fleets that serve a language model.

    Attributes:
        sequences_max, batched_tokens_max: None stands for the largest that each profile was measured with.
        lengths, cached_share, in_order: as in `capacity.question.tokens.TokenScenario`.
    """

    lengths: AnyLengths
    sequences_max: tuple[int | None, ...]
    batched_tokens_max: tuple[int | None, ...]
    cached_share: float
    in_order: bool

    @property
    def axes(self) -> tuple[Sequence[Any], ...]:
        """Sequences and tokens of a step."""
        return self.sequences_max, self.batched_tokens_max

    def require(self, profile: LlmProfile) -> None:
        """Refuse requests for which an engine with the fewest sequences has no room; others may still be refused."""
        fewest = min(n or profile.limits_measured.sequences_max for n in self.sequences_max)
        require_lengths(profile, self.lengths, fewest)

    def cell(
        self,
        profile: LlmProfile,
        workload: Workload,
        replicas: Replicas,
        sequences: int | None,
        tokens: int | None,
    ) -> TokenScenario:
        """The scenario of one cell."""
        limits = profile.limits_measured
        plan = TokenPlan(
            profile=profile.name,
            replicas=replicas.number,
            sequences_max=sequences or limits.sequences_max,
            batched_tokens_max=tokens or limits.batched_tokens_max,
            routing=replicas.routing,
        )
        return Scenario(
            profile=profile,
            workload=workload,
            lengths=self.lengths,
            plan=plan,
            cached_share=self.cached_share,
            in_order=self.in_order,
        )

    def document(self) -> dict[str, Any]:
        """The settings, long axes and the lengths by their digests."""
        return {
            "sequences_max": short(self.sequences_max),
            "batched_tokens_max": short(self.batched_tokens_max),
            "lengths": digest(repr(self.lengths)),
            "cached_share": self.cached_share,
        }
