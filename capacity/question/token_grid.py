"""Token grid: the axes of a sweep over fleets that serve language models, and the cells they span."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from capacity.profile.llm import LlmProfile
from capacity.question.grid import Axes, digest, short
from capacity.question.tokens import TokenPlan, TokenScenario, require_lengths
from capacity.traffic.lengths import AnyLengths


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenGrid(Axes[LlmProfile]):
    """The axes of fleets that serve language models, and what all cells share.

    Attributes:
        sequences_max, batched_tokens_max: None stands for what each profile was measured up to.
        lengths, cached_share, in_order: as of `capacity.question.tokens.TokenScenario`.
    """

    lengths: AnyLengths
    sequences_max: tuple[int | None, ...]
    batched_tokens_max: tuple[int | None, ...]
    cached_share: float
    in_order: bool

    def __post_init__(self) -> None:
        # Not super(): slots make a new class, which the bare form does not know.
        super(TokenGrid, self).__post_init__()
        for profile in self.profiles:
            fewest = min(n or profile.limits_measured.sequences_max for n in self.sequences_max)
            require_lengths(profile, self.lengths, fewest)  # a cell with more may still be refused

    @property
    def _axes(self) -> tuple[Sequence[Any], ...]:
        return (
            self.profiles,
            self.workloads,
            self.replicas,
            self.sequences_max,
            self.batched_tokens_max,
            self.routings,
        )

    def cells(self) -> Iterator[TokenScenario]:
        """Every combination; the last axis, the routing, changes fastest."""
        for profile, demand, replicas, sequences_max, tokens_max, routing in product(*self._axes):
            limits = profile.limits_measured
            plan = TokenPlan(
                profile=profile.name,
                replicas=replicas,
                sequences_max=sequences_max or limits.sequences_max,
                batched_tokens_max=tokens_max or limits.batched_tokens_max,
                routing=routing,
            )
            yield TokenScenario(
                profile=profile,
                workload=demand,
                lengths=self.lengths,
                plan=plan,
                cached_share=self.cached_share,
                in_order=self.in_order,
            )

    def settings(self, **effort: Any) -> dict[str, Any]:
        """All that the answers depend on, in brief, as of a `Grid`."""
        others = {
            "sequences_max": short(self.sequences_max),
            "batched_tokens_max": short(self.batched_tokens_max),
            "lengths": digest(repr(self.lengths)),
            "cached_share": self.cached_share,
        }
        return self.all_settings(others, effort)
