"""Engine plan: a fleet of engines of a language model, and how much each takes at a time."""

from dataclasses import dataclass, replace
from typing import Any

from capacity.errors import DomainError, InputError
from capacity.profile.llm import LlmProfile
from capacity.question.objective import Measure
from capacity.question.plan import Names, Routing, require_fleet, server_addresses
from capacity.question.scenario import Scenario
from capacity.server.engine.router import RouterRules, routing_text
from capacity.traffic.any_lengths import AnyLengths

# What is measured of a fleet that serves a language model.
MEASURES = frozenset(Measure) - {Measure.WAIT, Measure.UTILIZATION}
OF_SESSIONS = frozenset({Measure.SESSION, Measure.SESSION_MEAN})

_NAMES = Names(
    at_once="S: sequences at most",
    this="these settings",
    others="Other settings",
    tried="settings that were tried",
    leave="full engines finish them",
    busier="an engine is busy as long as one request runs in it, however far from full it is",
    work="time in which steps are computed",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPlan:
    """How many engines, and how much each takes at a time.

    Attributes:
        sequences_max: most requests that run at once in an engine.
        batched_tokens_max: most tokens that one of its steps computes.
        queue_limit: how many requests may wait for a place among the running ones of each engine, those that join the
            next step included; a request that finds as many is rejected. None if any number may.
        router: what a router of conversations was told; None if all is as usual.
    """

    profile: str
    replicas: int
    sequences_max: int
    batched_tokens_max: int
    routing: Routing = Routing.ROUND_ROBIN
    queue_limit: int | None = None
    router: RouterRules | None = None

    def __post_init__(self) -> None:
        require_fleet(self)
        if self.queue_limit == 0:
            raise DomainError(
                "a queue limit of 0 lets nothing into an engine, where all wait for the next step; give at least 1"
            )
        if self.routing is Routing.SHARED_QUEUE:
            raise InputError(
                "engines have a queue each, so that shared-queue does not apply; use least-outstanding"
            )

    @property
    def router_told(self) -> RouterRules:
        """Settings of the fleet's router, with the address of each engine where it hashes these."""
        told = self.router or RouterRules()
        if self.routing is not Routing.SESSION_NGINX:
            return told
        return replace(told, servers=server_addresses(self.profile, self.replicas, told.servers))

    @property
    def kept(self) -> tuple[str, ...]:
        """Names of the settings that a document holds; a queue limit and a router's rules only if there are any."""
        names = ("profile", "replicas", "sequences_max", "batched_tokens_max", "routing")
        given = [name for name in ("queue_limit", "router") if getattr(self, name) is not None]
        return (*names, *given)

    @property
    def starts_at_once(self) -> bool:
        """Whether a free replica never waits for a batch to fill, as is so of engines."""
        return True

    @property
    def settings(self) -> tuple[float, int]:
        """How an engine is set, by which plans are ordered: the sequences, and the tokens of a step."""
        return self.sequences_max, self.batched_tokens_max

    @property
    def size_name(self) -> str:
        """Head of the column of sequences."""
        return "sequences"

    @property
    def other_setting(self) -> tuple[str, str]:
        """Name and text of the setting beside the size, in a table."""
        return "tokens", str(self.batched_tokens_max)

    @property
    def at_once(self) -> int:
        """Sequences that run at once."""
        return self.sequences_max

    @property
    def holds_s(self) -> float:
        """0, as an engine begins its next step at once. [s]"""
        return 0.0

    @property
    def names(self) -> Names:
        """Names of sequences and tokens."""
        return _NAMES

    @property
    def words(self) -> dict[str, str]:
        """How an engine is set, by name, as tables show it."""
        return {
            "sequences, most": str(self.sequences_max),
            "tokens a step, most": str(self.batched_tokens_max),
        }

    @property
    def with_text(self) -> str:
        """What each engine does, as a sentence says it of a fleet."""
        return f"with {self.size_text}"

    @property
    def size_text(self) -> str:
        """How much an engine takes at once."""
        return f"up to {self.at_once_text}"

    @property
    def at_once_text(self) -> str:
        """The sequences, in two words."""
        return f"{self.sequences_max} sequence" + ("" if self.sequences_max == 1 else "s")

    @property
    def server_text(self) -> str:
        """The sequences and the tokens of a step, in a few words."""
        return f"{self.at_once_text}, {self.batched_tokens_max} tokens a step"

    @property
    def setting_text(self) -> str:
        """How an engine is set, in a few words."""
        return f"{self.server_text}, {routing_text(self.routing, self.router)}"

    def value_text(self, what: str) -> str:
        """Empty, as each setting is named with its value."""
        return ""


# A scenario of engines, which have requests with lengths; they arrive at a rate, or users send them.
TokenScenario = Scenario[LlmProfile, TokenPlan, Any, AnyLengths]
