"""Questions about language models: a fleet of engines, its scenario, and what is to be sized."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Self

from capacity.errors import DomainError, InputError
from capacity.profile.llm import LlmProfile, Scheduler
from capacity.question.objective import Measure, Objective
from capacity.question.overload import Saturation
from capacity.question.plan import REPLICAS_LIMIT, Routing
from capacity.question.resilience import Survival
from capacity.question.scenario import Scenario, require_second_tokens
from capacity.traffic.lengths import AnyLengths, LengthLaws, require_context
from capacity.traffic.workload import ArrivalProcess, Workload

_NOTHING = Survival()
# What is measured of a fleet that serves a language model.
MEASURES = frozenset(Measure) - {Measure.WAIT, Measure.LOSS, Measure.UTILIZATION}


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPlan:
    """How many engines, and how much each takes at a time.

    Attributes:
        sequences_max: most requests that run at once in an engine.
        batched_tokens_max: most tokens that one of its steps computes.
        queue_limit: limit of each engine's queue, which only a fleet in trouble has; None if it is unlimited.
    """

    profile: str
    replicas: int
    sequences_max: int
    batched_tokens_max: int
    routing: Routing = Routing.ROUND_ROBIN
    queue_limit: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.replicas <= REPLICAS_LIMIT:
            raise DomainError(f"replicas must be from 1 to {REPLICAS_LIMIT}, got {self.replicas}")
        if self.routing is Routing.SHARED_QUEUE:
            raise InputError(
                "engines have a queue each, so that shared-queue does not apply; use least-outstanding"
            )
        if self.queue_limit is not None and self.queue_limit < 0:
            raise DomainError(f"the queue limit must be >= 0, got {self.queue_limit}")

    @property
    def starts_at_once(self) -> bool:
        """Whether a free replica never waits for a batch to fill, as is so of engines."""
        return True

    @property
    def settings(self) -> tuple[float, int]:
        """How an engine is set, by which plans are ordered: the sequences, and the tokens of a step."""
        return self.sequences_max, self.batched_tokens_max

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
        return f"up to {self.sequences_max} sequences"

    @property
    def setting_text(self) -> str:
        """How an engine is set, in a few words."""
        return f"{self.sequences_max} sequences, {self.batched_tokens_max} tokens a step, {self.routing}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFamily:
    """Fleets of engines of one profile under one routing and setting, of any size; larger ones cost more.

    Attributes:
        setting: one such engine.
    """

    profile: LlmProfile = field(hash=False)
    setting: TokenPlan

    @property
    def routing(self) -> Routing:
        """How the load balancer picks the engine for a request."""
        return self.setting.routing

    @property
    def per_device(self) -> int:
        """Engines on what is priced as one: the devices of one engine."""
        return 1

    def includes(self, plan: TokenPlan) -> bool:
        """Whether a plan is of this family."""
        return replace(plan, replicas=1) == self.setting

    def replicas(self, devices: int) -> int:
        """Engines: each is priced by itself."""
        return devices

    def devices(self, replicas: int) -> int:
        """Number of engines."""
        return replicas

    def cost(self, devices: int) -> float:
        """Price of this many engines; their number if no price is known. [USD/h]"""
        return float(f"{devices * (self.profile.replica_hourly_usd or 1.0):.12g}")


# A scenario of engines, which have a rate of arrivals and requests with lengths.
TokenScenario = Scenario[LlmProfile, TokenPlan, Workload, AnyLengths]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenQuestion:
    """What is to be sized for a language model, and within which limits.

    Attributes:
        sequences_max, batched_tokens_max: settings of the engine to choose from; None for what each profile
            was measured up to.
        replicas_min: fewest, where something other than the objective needs that number.
    """

    profiles: tuple[LlmProfile, ...]
    workload: Workload
    lengths: AnyLengths
    objective: Objective
    sequences_max: tuple[int, ...] | None = None
    batched_tokens_max: tuple[int, ...] | None = None
    routings: tuple[Routing, ...] = (Routing.ROUND_ROBIN,)
    replicas_min: int = 1
    replicas_max: int = 1024
    cached_share: float = 0.0
    in_order: bool = False
    survival: Survival = _NOTHING

    def __post_init__(self) -> None:
        if not 1 <= self.replicas_max <= REPLICAS_LIMIT:
            raise DomainError(f"replicas_max must be from 1 to {REPLICAS_LIMIT}, got {self.replicas_max}")
        self.objective.require()
        require_second_tokens(self.objective, self.lengths)
        unpriced = [profile.name for profile in self.profiles if profile.hourly_usd is None]
        if unpriced and len(self.profiles) > 1:
            raise InputError(
                f"profile {unpriced[0]} has no price and cannot be compared by cost with the others; give "
                f"--hourly-usd {unpriced[0]}=6.88, or plan for one profile at a time"
            )
        for profile in self.profiles:
            for plan in self.plans(profile):
                require_lengths(profile, self.lengths, plan.sequences_max)
            for plan in self.plans(profile):
                profile.require(plan.sequences_max, plan.batched_tokens_max)

    def plans(self, profile: LlmProfile) -> list[TokenPlan]:
        """One replica of a profile under each routing and setting."""
        limits = profile.limits_measured
        return [
            TokenPlan(
                profile=profile.name,
                replicas=1,
                sequences_max=sequences,
                batched_tokens_max=tokens,
                routing=routing,
            )
            for routing in self.routings
            for sequences in self.sequences_max or (limits.sequences_max,)
            for tokens in self.batched_tokens_max or (limits.batched_tokens_max,)
        ]

    @property
    def families(self) -> list[EngineFamily]:
        """All families: fleets that differ in more than their size."""
        return [EngineFamily(profile=one, setting=plan) for one in self.profiles for plan in self.plans(one)]

    def family(self, plan: TokenPlan) -> EngineFamily:
        """The family of a plan."""
        return EngineFamily(profile=self.profile(plan.profile), setting=replace(plan, replicas=1))

    def fleets(self, family: EngineFamily, devices: int) -> Iterator[TokenPlan]:
        """The one plan of a family with this many engines."""
        yield replace(family.setting, replicas=devices)

    def devices_max(self, family: EngineFamily) -> int:
        """Most engines within the limit of replicas."""
        return self.replicas_max

    def leaves_some(self, family: EngineFamily, devices: int) -> bool:
        """Whether the worst failure leaves any of this many engines."""
        return self.survival.left(devices) >= 1

    def with_arrivals(self, arrivals: ArrivalProcess) -> Self:
        """The same question with other arrivals at the same rate, which have no lengths of their own."""
        return replace(self, workload=replace(self.workload, arrivals=arrivals), in_order=False)

    def events(self, plan: TokenPlan) -> Iterator[tuple[str, TokenScenario]]:
        """What the plan must survive, the worst failure first; each with what is left."""
        whole = self.scenario(plan)
        for event, left in self.survival.events(plan.replicas):
            yield event, replace(whole, plan=replace(plan, replicas=left))

    def for_plan(self, plan: TokenPlan) -> Self:
        """The same question with one answer: that plan, or one with more replicas."""
        return replace(
            self,
            profiles=(self.profile(plan.profile),),
            sequences_max=(plan.sequences_max,),
            batched_tokens_max=(plan.batched_tokens_max,),
            routings=(plan.routing,),
            replicas_min=plan.replicas,
        )

    def allows(self, plan: TokenPlan) -> bool:
        """Whether the engine takes the settings, and has room for requests of all lengths that are known."""
        profile = self.profile(plan.profile)
        try:
            profile.require(plan.sequences_max, plan.batched_tokens_max)
            require_lengths(profile, self.lengths, plan.sequences_max)
        except DomainError:
            return False
        return True

    def profile(self, name: str) -> LlmProfile:
        """The profile of that name."""
        return next(profile for profile in self.profiles if profile.name == name)

    def cost(self, plan: TokenPlan) -> float:
        """Price of a plan; its replicas where there is none. [USD/h]"""
        return self.family(plan).cost(plan.replicas)

    def hourly_usd(self, plan: TokenPlan) -> float | None:
        """Price of a plan; None if it is not known. [USD/h]"""
        return None if self.profile(plan.profile).replica_hourly_usd is None else self.cost(plan)

    def scenario(self, plan: TokenPlan) -> TokenScenario:
        """A plan before the judge."""
        return Scenario(
            profile=self.profile(plan.profile),
            workload=self.workload,
            lengths=self.lengths,
            plan=plan,
            objective=self.objective,
            cached_share=self.cached_share,
            in_order=self.in_order,
        )


def fitted_lengths(profile: LlmProfile, lengths: AnyLengths, context_tokens_max: int | None) -> AnyLengths:
    """Lengths within the engine's context where that is set; laws without an end are cut at what was measured.

    Raises:
        DomainError: longer requests, or a context beyond the measured one.
    """
    measured = profile.limits_measured.context_tokens_max
    if context_tokens_max is not None:
        if context_tokens_max > measured:
            raise DomainError(
                f"profile {profile.name} was measured up to "
                f"{measured} tokens of "
                f"context and does not cover {context_tokens_max}; measure up to there, or allow less"
            )
        return lengths.within(context_tokens_max)
    unbounded = ("geometric", "lognormal", "gamma")
    if isinstance(lengths, LengthLaws) and {lengths.input.kind, lengths.output.kind} & set(unbounded):
        return lengths.within(measured)
    return lengths


def require_lengths(profile: LlmProfile, lengths: AnyLengths, sequences_max: int) -> None:
    """Refuse requests beyond the measured context, or larger than the cache or their share of it.

    Raises:
        DomainError: with the numbers.
    """
    limit = profile.limits_measured.context_tokens_max
    require_context(lengths, limit, f"profile {profile.name} was measured with")
    if profile.engine.scheduler is Scheduler.LLAMA_CPP:
        share = profile.kv.slot_tokens(sequences_max)
        tokens = profile.kv.tokens
        require_context(lengths, share, f"each of {sequences_max} slots has in a KV cache of {tokens}")
        return
    room = profile.kv.usable_tokens
    require_context(lengths, room + 1, f"the KV cache of {profile.name} has room for")


def replicas_stable_min(arrival_rate_rps: float, saturation: Saturation) -> int:
    """Fewest engines whose load is below 1."""
    return math.floor(arrival_rate_rps / saturation.rate_rps) + 1
