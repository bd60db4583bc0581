"""Token engine: a replica that serves a language model, with a scheduler that fills every step."""

import math
from dataclasses import dataclass
from typing import Self

from capacity.profile.llm import LlmProfile
from capacity.question.overload import Saturated, Saturation
from capacity.question.scenario import Scenario
from capacity.server.engine.plan import TokenPlan, TokenScenario
from capacity.traffic.any_lengths import AnyLengths, are_sessions
from capacity.traffic.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenEngine:
    """A `capacity.server.server.Server` of a language model. A reply is the whole response.

    Attributes:
        lengths: input and output tokens of the requests; each attempt has those of its request.
        saturation: what one engine does while requests always wait.
        cached_share: share of each prompt that is assumed to be in the cache when an attempt comes.
    """

    profile: LlmProfile
    lengths: AnyLengths
    saturation: Saturation
    cached_share: float = 0.0

    @classmethod
    def of(cls, scenario: TokenScenario, saturated: Saturated) -> Self:
        """An engine of a scenario's fleet."""
        return cls(
            profile=scenario.profile,
            lengths=scenario.lengths,
            saturation=saturated(scenario),
            cached_share=scenario.cached_share,
        )

    @property
    def step(self) -> str:
        """Steps of the scheduler."""
        return "steps"

    @property
    def overhead_s(self) -> float:
        """Time outside of the engine for a prompt of mean length. [s]"""
        overhead = self.profile.overhead
        return overhead.request_s + overhead.per_input_token_s * self.lengths.moments.input

    @property
    def served_s(self) -> float:
        """Requests in a full engine over those that it finishes, by Little's law. [s]"""
        return self.saturation.running_mean / self.saturation.rate_rps

    @property
    def has_sessions(self) -> bool:
        """Whether requests are turns of sessions, whose caches fill at first."""
        return are_sessions(self.lengths)

    @property
    def sheds(self) -> bool:
        """False, as an engine serves all requests in its queue."""
        return False

    def reorders(self, plan: TokenPlan) -> bool:
        """False, as an engine admits requests in order."""
        return False

    @property
    def stops(self) -> bool:
        """True, as an engine can stop a request that it has begun."""
        return True

    def capacity_rps(self, plan: TokenPlan) -> float:
        """Capacity of all engines if requests always wait. [requests/s]"""
        return plan.replicas * self.saturation.rate_rps

    def late_margin_s(self, plan: TokenPlan) -> float:
        """Infinite, since no engine turns away what waits. [s]"""
        return math.inf

    def scenario(self, workload: Workload, plan: TokenPlan) -> TokenScenario:
        """A fleet of such engines and its users without any trouble."""
        return Scenario(
            profile=self.profile,
            workload=workload,
            lengths=self.lengths,
            plan=plan,
            cached_share=self.cached_share,
        )
