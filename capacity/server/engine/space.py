"""Engine space: the sequences and the tokens a step to choose from, and the requests that all engines serve."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Self

from capacity.errors import DomainError
from capacity.profile.llm import LlmProfile, Scheduler
from capacity.question.candidate import Rejection
from capacity.question.grid import Replicas, digest, short
from capacity.question.objective import BETWEEN_TOKENS, Measure, Objective
from capacity.question.plan import Routing
from capacity.question.question import Family, Question
from capacity.question.scenario import Scenario, require_losses, require_second_tokens
from capacity.server.engine.lengths import require_lengths, require_patience, require_router, room_tokens
from capacity.server.engine.plan import TokenPlan, TokenScenario
from capacity.server.engine.router import RouterRules, routing_text
from capacity.server.engine.rows import EngineRows
from capacity.traffic.any_lengths import AnyLengths, are_sessions
from capacity.traffic.lengths import TOKENS_MAX, LengthLaws
from capacity.traffic.sessions.laws import SessionLaws
from capacity.traffic.workload import Demand

_STEP_TOKENS_MIN = 256  # of smaller steps, which compute prompts too slowly to be of use
# Numbers of sequences on each side of the first that are tried after it.
_MOVES_MAX = 2


def _is_chunk_felt(profile: LlmProfile, objective: Objective) -> bool:
    """Whether a limit is on what a part of a prompt delays, and parts may be smaller."""
    engine, felt = profile.engine, {Measure.ITL, Measure.ITL_MEAN}
    may_be_smaller = engine.chunked_prefill and engine.scheduler is not Scheduler.LLAMA_CPP
    return may_be_smaller and any(limit.measure in felt for limit in objective.limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpace:
    """A `capacity.question.question.Space` and `capacity.question.grid.Settings` of fleets of engines.

    Attributes:
        sequences_max, batched_tokens_max: settings of the engine; None for the largest that each profile was measured
            with.
        lengths, cached_share, bistable, in_order: as in `capacity.question.scenario.Scenario`.
        queue_limit: as in `TokenPlan`, for all fleets.
        routers: what routers of conversations were told, where that is not as usual, by their routing.
    """

    lengths: AnyLengths
    sequences_max: tuple[int, ...] | None = None
    batched_tokens_max: tuple[int, ...] | None = None
    cached_share: float = 0.0
    bistable: bool = False
    in_order: bool = False
    queue_limit: int | None = None
    routers: tuple[tuple[Routing, RouterRules], ...] = ()

    @classmethod
    def of(cls, scenario: TokenScenario) -> Self:
        """The settings of one fleet, and its requests."""
        plan = scenario.plan
        return cls(
            lengths=scenario.lengths,
            sequences_max=(plan.sequences_max,),
            batched_tokens_max=(plan.batched_tokens_max,),
            cached_share=scenario.cached_share,
            bistable=scenario.bistable,
            in_order=scenario.in_order,
            queue_limit=plan.queue_limit,
            routers=() if plan.router is None else ((plan.routing, plan.router),),
        )

    @property
    def rejects(self) -> bool:
        """Whether requests that find a queue full are rejected."""
        return self.queue_limit is not None

    @property
    def rows(self) -> EngineRows:
        """Columns of the fleets."""
        return EngineRows()

    def at_once(self, sizes: Sequence[int]) -> Self:
        """The same engines with these numbers of sequences."""
        return replace(self, sequences_max=tuple(sizes))

    def with_outputs(self, profile: LlmProfile, factor: float) -> Self:
        """The same engines for outputs that are `factor` times as long, cut where an engine has no room for them."""
        fewest = min(self.sequences_max or (profile.limits_measured.sequences_max,))
        return replace(self, lengths=self.lengths.with_outputs(factor, room_tokens(profile, fewest)))

    @property
    def axes(self) -> tuple[Sequence[Any], ...]:
        """Sequences and tokens of a step."""
        return self.sequences_max or (None,), self.batched_tokens_max or (None,)

    def flags(self, question: "EngineQuestion") -> Iterator[str]:
        """How the space is asked for, as it is typed; without what is as usual, and without lengths of a trace."""
        if not self.in_order:
            yield from ("--sessions" if are_sessions(self.lengths) else "--lengths", self.lengths.typed)
        if isinstance(self.lengths, LengthLaws | SessionLaws):
            usual = (TOKENS_MAX, question.profiles[0].limits_measured.context_tokens_max)
            if self.lengths.limit not in usual:
                yield from ("--context-tokens-max", str(self.lengths.limit))
        for name in ("sequences_max", "batched_tokens_max"):
            for value in getattr(self, name) or ():
                yield from (f"--{name.replace('_', '-')}", str(value))
        yield from ["--allow-bistable"] * self.bistable
        yield from ("--cached-share", repr(self.cached_share)) if self.cached_share else ()
        yield from () if self.queue_limit is None else ("--queue-limit", str(self.queue_limit))

    def typed_routing(self, routing: Routing) -> str:
        """A routing as it is typed, with the options of its router."""
        return routing_text(routing, dict(self.routers).get(routing))

    def require(self, profile: LlmProfile) -> None:
        """Refuse requests for which an engine with the fewest sequences has no room; others may still be refused."""
        fewest = min(self.sequences_max or (profile.limits_measured.sequences_max,))
        require_lengths(profile, self.lengths, fewest)

    def require_for(self, question: "EngineQuestion") -> None:
        """Refuse limits of what requests do not have, and settings without room or beyond a profile."""
        require_second_tokens(question.objective, self.lengths)
        require_losses(question.objective, question.workload, rejects=self.rejects)
        require_patience(question.workload, self.lengths)
        for routing in question.routings:
            require_router(routing, self.lengths)
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

    def families(
        self, profile: LlmProfile, routing: Routing, objective: Objective
    ) -> Iterator[Family[LlmProfile]]:
        """Families of a profile under a routing: one for each setting.

        Where the time between tokens is limited, and no number of tokens a step was asked for, there are also those of
        half, a quarter and an eighth of the largest: the part of a prompt that others wait for is as much shorter.
        """
        divisors = (
            (1, 2, 4, 8) if self.batched_tokens_max is None and _is_chunk_felt(profile, objective) else (1,)
        )
        for plan in self.plans(profile, routing):
            least = max(plan.sequences_max, _STEP_TOKENS_MIN)
            for divisor in divisors:
                if divisor == 1 or plan.batched_tokens_max // divisor >= least:
                    smaller = replace(plan, batched_tokens_max=plan.batched_tokens_max // divisor)
                    yield self.family(profile, smaller)

    def settled(self, plan: TokenPlan) -> Self:
        """The same space with the sequences and the tokens a step of a plan, unless some were asked for."""
        return replace(
            self,
            sequences_max=self.sequences_max or (plan.sequences_max,),
            batched_tokens_max=self.batched_tokens_max or (plan.batched_tokens_max,),
        )

    def eased(
        self, family: Family[LlmProfile], objective: Objective, refused: Rejection
    ) -> Family[LlmProfile] | None:
        """Engines with fewer sequences, where none were asked for and the time between tokens is what is missed.

        The first have as many as let a full engine's mean step keep the limit, and fit its cache. After them come those
        of an eighth or a sixteenth fewer if that is still missed, or more if something else is. None where a full
        engine as measured keeps the limit: there its number of sequences is not what is missed.
        """
        between_s = [one.allowed for one in objective.limits if one.measure in BETWEEN_TOKENS]
        if self.sequences_max is not None or not between_s:
            return None
        assert family.settings is not None  # noqa: S101  (that of each family of this space)
        profile, (sequences, tokens) = family.profile, family.settings
        full, largest = (
            self._most_within(profile, tokens, min(between_s)),
            profile.limits_measured.sequences_max,
        )
        step = 1 << max(0, (full // 8).bit_length() - 1)
        first = full - full % step
        is_between = refused.limit is not None and refused.limit.measure in {*BETWEEN_TOKENS, Measure.MISSED}
        if sequences < largest:
            tried = sequences - step if is_between else sequences + step
        else:
            tried = first if is_between else largest
        plan = self._plan(profile, Replicas(1, family.routing), tried, tokens)
        is_near = abs(tried - first) <= _MOVES_MAX * step and 0 < tried < largest
        return self.family(profile, plan) if is_near and self.allows(profile, plan) else None

    def _most_within(self, profile: LlmProfile, tokens: int, allowed_s: float) -> int:
        """Most sequences with which a full engine's mean step is within a limit, and which fit its cache."""
        moments, most = self.lengths.moments, profile.limits_measured.sequences_max
        passes = float(profile.passes(moments.output))
        fresh = (1.0 - self.cached_share) * moments.input
        part = min(fresh, tokens)

        def step_s(running: int) -> float:
            alone_s = profile.pass_s(0.0, running, moments.context)
            with_prompts = min(1.0, running * fresh / (part * passes)) if part else 0.0
            return alone_s + with_prompts * (profile.pass_s(part, running, moments.context) - alone_s)

        within = bisect_right(range(1, most + 1), allowed_s, key=step_s)
        return min(within, int(profile.kv.usable_tokens / moments.context))

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

    def others(self, profile: LlmProfile, plan: TokenPlan) -> Iterator[Self]:
        """The space for each other number of sequences and of tokens a step that was listed, or as measured."""
        if self.sequences_max is None and plan.sequences_max < profile.limits_measured.sequences_max:
            yield replace(self, sequences_max=(profile.limits_measured.sequences_max,))
        for sequences, tokens in product(*self.axes):
            if (sequences or plan.sequences_max, tokens or plan.batched_tokens_max) != (
                plan.sequences_max,
                plan.batched_tokens_max,
            ):
                yield replace(
                    self,
                    sequences_max=None if sequences is None else (sequences,),
                    batched_tokens_max=None if tokens is None else (tokens,),
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
            bistable=self.bistable,
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
            **({"bistable": True} if self.bistable else {}),
            **({} if self.queue_limit is None else {"queue_limit": self.queue_limit}),
            **({"routers": [routing_text(*one) for one in self.routers]} if self.routers else {}),
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
            router=dict(self.routers).get(replicas.routing),
        )


EngineQuestion = Question[LlmProfile, EngineSpace, Demand]
